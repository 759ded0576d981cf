"""FreiHAND's official metrics, batched: errors, Procrustes-aligned errors, PCK and AUC, F-scores. Metres in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from handmesh.errors import HandMeshError
from handmesh.geometry.alignment import point_errors, root_align, similarity_align
from handmesh.skeleton import ROOT_JOINT

PCK_THRESHOLDS_M = np.linspace(0.0, 0.05, 100)
F_THRESHOLDS_M = (0.005, 0.015)
_CHUNK = 256  # samples worked on at once: bounds memory, not results


@dataclass(frozen=True)
class Scores:
    """The figures of one evaluation. Errors in millimetres, the rest between 0 and 1.

    mpjpe, mpvpe: as predicted, in the camera frame; root_*: after moving joint 9 onto the truth (official
    tool: not printed, papers: often); pa_*: after Procrustes. auc_*, f5, f15: aligned; raw_*: as predicted.
    reflected: samples whose best alignment of joints (or of vertices: reflected_vertices) is a reflection.
    """

    samples: int
    pa_mpjpe: float
    pa_mpvpe: float
    f5: float
    f15: float
    auc_joints: float
    auc_vertices: float
    mpjpe: float
    mpvpe: float
    root_mpjpe: float
    root_mpvpe: float
    raw_f5: float
    raw_f15: float
    raw_auc_joints: float
    raw_auc_vertices: float
    reflected: int
    reflected_vertices: int


@dataclass(frozen=True, eq=False)
class Measurements:
    """What the scores are made of, one row a sample, metres.

    joint_errors, pa_joint_errors (N, 21); vertex_errors, pa_vertex_errors (N, 778); root_* (N,) means over
    the points after moving joint 9 onto the truth; f_raw, f_aligned (N, 2) at 5 and 15 mm; is_reflected,
    is_reflected_vertices (N,) bool.
    """

    joint_errors: np.ndarray
    pa_joint_errors: np.ndarray
    vertex_errors: np.ndarray
    pa_vertex_errors: np.ndarray
    root_joint_error: np.ndarray
    root_vertex_error: np.ndarray
    f_raw: np.ndarray
    f_aligned: np.ndarray
    is_reflected: np.ndarray
    is_reflected_vertices: np.ndarray


def pa_mpjpe(predicted: np.ndarray, true: np.ndarray, allow_reflection: bool = True) -> float:
    """Mean aligned error: the short way for validation during training.

    Args:
        predicted, true: (N, P, 3) metres.
        allow_reflection: the official rule (:func:`similarity_align`).

    Returns:
        In mm.
    """
    aligned, _ = similarity_align(predicted, true, allow_reflection)
    return float(point_errors(aligned, true).mean() * 1000)


def pck_curve(errors: np.ndarray, thresholds: np.ndarray = PCK_THRESHOLDS_M) -> np.ndarray:
    """Share of samples whose error is at most each threshold, per point: (N, P) -> (P, T)."""
    count, points = errors.shape
    first_within = np.searchsorted(thresholds, errors, side="left")  # T when beyond the last threshold
    slots = first_within + np.arange(points) * (len(thresholds) + 1)
    hits = np.bincount(slots.ravel(), minlength=points * (len(thresholds) + 1))
    return hits.reshape(points, -1)[:, :-1].cumsum(axis=1) / count


def auc(errors: np.ndarray, thresholds: np.ndarray = PCK_THRESHOLDS_M) -> float:
    """Area under each point's PCK curve over that of a perfect one, averaged over points: (N, P) ->
    number.
    """
    curve = pck_curve(errors, thresholds)
    width = np.diff(thresholds)
    area = ((curve[:, 1:] + curve[:, :-1]) / 2 * width).sum(axis=1)
    return float((area / width.sum()).mean())


def f_scores(predicted: np.ndarray, true: np.ndarray, thresholds: tuple[float, ...] = F_THRESHOLDS_M) -> np.ndarray:
    """F-scores: harmonic mean of the shares of either set that lie strictly closer than a threshold to the other set.

    Args:
        predicted: (P, 3) metres.
        true: (Q, 3) metres.
        thresholds: metres.

    Returns:
        One for each threshold, 0..1.
    """
    # Distances beyond the largest threshold need not be known exactly.
    bound = max(thresholds) * 1.01
    to_true = cKDTree(true).query(predicted, distance_upper_bound=bound)[0]
    to_predicted = cKDTree(predicted).query(true, distance_upper_bound=bound)[0]
    limit = np.asarray(thresholds)[:, None]
    precision, recall = (to_true < limit).mean(axis=1), (to_predicted < limit).mean(axis=1)
    total = precision + recall
    return np.where(total > 0, 2 * precision * recall / np.where(total > 0, total, 1), 0.0)


def measure(
    joints: np.ndarray,
    vertices: np.ndarray,
    true_joints: np.ndarray,
    true_vertices: np.ndarray,
    allow_reflection: bool = True,
) -> Measurements:
    """Every error of N predictions.

    Args:
        joints, true_joints: (N, 21, 3) metres, camera frame.
        vertices, true_vertices: (N, 778, 3) metres, camera frame.
        allow_reflection: False aligns with proper rotations only (not the official rule).

    Raises:
        HandMeshError: the shapes differ, there are no samples, or a prediction is not finite.
    """
    for name, predicted, true in (("joints", joints, true_joints), ("vertices", vertices, true_vertices)):
        _check(name, predicted, true)
    if len(joints) != len(vertices):
        raise HandMeshError(f"expected as many joints as vertices, got {len(joints)} and {len(vertices)} samples")
    parts = []
    for start in range(0, len(joints), _CHUNK):
        rows = slice(start, start + _CHUNK)
        chunk = [np.asarray(a[rows], np.float64) for a in (joints, vertices, true_joints, true_vertices)]
        parts.append(_measure_chunk(allow_reflection, *chunk))
    return Measurements(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _check(name: str, predicted: np.ndarray, true: np.ndarray) -> None:
    if np.shape(predicted) != np.shape(true) or not len(true):
        raise HandMeshError(
            f"expected predicted {name} of shape {np.shape(true)} (at least one sample), got {np.shape(predicted)}; "
            "predict every sample of the set, in order"
        )
    bad = np.flatnonzero(~np.isfinite(predicted).reshape(len(predicted), -1).all(axis=1))
    if bad.size:
        raise HandMeshError(f"expected finite predicted {name}, got NaN or infinity in samples {bad[:8].tolist()}")


def _measure_chunk(
    allow_reflection: bool,
    joints: np.ndarray,
    vertices: np.ndarray,
    true_joints: np.ndarray,
    true_vertices: np.ndarray,
) -> tuple[np.ndarray, ...]:
    aligned_joints, is_reflected = similarity_align(joints, true_joints, allow_reflection)
    aligned_vertices, is_reflected_vertices = similarity_align(vertices, true_vertices, allow_reflection)
    shift = (true_joints - joints)[:, ROOT_JOINT, None]
    pairs = list(zip(vertices, aligned_vertices, true_vertices, strict=True))
    return (
        point_errors(joints, true_joints),
        point_errors(aligned_joints, true_joints),
        point_errors(vertices, true_vertices),
        point_errors(aligned_vertices, true_vertices),
        point_errors(root_align(joints), root_align(true_joints)).mean(axis=1),
        point_errors(vertices + shift, true_vertices).mean(axis=1),
        np.stack([f_scores(raw, true) for raw, _, true in pairs]),
        np.stack([f_scores(aligned, true) for _, aligned, true in pairs]),
        is_reflected,
        is_reflected_vertices,
    )


def summarize(measured: Measurements) -> Scores:
    """The figures that papers print, from the measurements of every sample."""

    def mm(errors: np.ndarray) -> float:
        return float(errors.mean() * 1000)

    f_raw, f_aligned = measured.f_raw.mean(axis=0), measured.f_aligned.mean(axis=0)
    return Scores(
        samples=len(measured.joint_errors),
        pa_mpjpe=mm(measured.pa_joint_errors),
        pa_mpvpe=mm(measured.pa_vertex_errors),
        f5=float(f_aligned[0]),
        f15=float(f_aligned[1]),
        auc_joints=auc(measured.pa_joint_errors),
        auc_vertices=auc(measured.pa_vertex_errors),
        mpjpe=mm(measured.joint_errors),
        mpvpe=mm(measured.vertex_errors),
        root_mpjpe=mm(measured.root_joint_error),
        root_mpvpe=mm(measured.root_vertex_error),
        raw_f5=float(f_raw[0]),
        raw_f15=float(f_raw[1]),
        raw_auc_joints=auc(measured.joint_errors),
        raw_auc_vertices=auc(measured.vertex_errors),
        reflected=int(measured.is_reflected.sum()),
        reflected_vertices=int(measured.is_reflected_vertices.sum()),
    )
