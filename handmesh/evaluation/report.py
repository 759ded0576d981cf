"""An evaluation as people read it: the table beside the published one, JSON, scores.txt, CSV, curves, worst
pictures.

Every file is written whole or not at all.
"""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from handmesh.data.freihand import FreiHandDataset
from handmesh.evaluation.metrics import PCK_THRESHOLDS_M, pck_curve
from handmesh.evaluation.protocols import Evaluation, Predictions
from handmesh.evaluation.published import PublishedRow, format_table
from handmesh.geometry.camera import project_points, resize_points
from handmesh.io.files import atomic_path, write_json
from handmesh.io.images import write_image
from handmesh.skeleton import BONES, FINGERS, JOINT_NAMES


def result_dict(results: Sequence[Evaluation], **facts: Any) -> dict[str, Any]:
    """What `--json` holds: the first protocol's figures at the top, every protocol's below, and the given
    facts.
    """
    first = results[0]
    return {
        **asdict(first.scores),
        "protocol": first.protocol,
        "joint_error_mm": joint_errors_mm(first),
        "finger_error_mm": finger_errors_mm(first),
        "protocols": {
            r.protocol: {**asdict(r.scores), "rounds": r.rounds, "views": r.views, "crop": r.about} for r in results
        },
        **facts,
    }


def joint_errors_mm(result: Evaluation) -> dict[str, float]:
    """Mean aligned error of each joint by name, mm."""
    means = result.measured.pa_joint_errors.mean(axis=0) * 1000
    return {name: float(value) for name, value in zip(JOINT_NAMES, means, strict=True)}


def finger_errors_mm(result: Evaluation) -> dict[str, float]:
    """Mean aligned error over the joints of each finger, and the wrist's, mm."""
    means = result.measured.pa_joint_errors.mean(axis=0) * 1000
    return {"wrist": float(means[0]), **{name: float(means[list(ids)].mean()) for name, ids in FINGERS.items()}}


def format_results(
    results: Sequence[Evaluation],
    mean_pose_pa_mpjpe: float,
    method: str,
    backbone: str,
    with_published: bool = False,
) -> str:
    """The console's answer: figures a protocol, error a finger, and our rows in the published table.

    Args:
        results: one a protocol.
        mean_pose_pa_mpjpe: mm, of the mean pose on the same samples.
        method, backbone: of our rows.
        with_published: whether the samples are FreiHAND's own evaluation set, all of it. Of any other, published
            figures say nothing, and none are shown.
    """
    lines = [f"{'':14}" + "".join(f"{r.protocol:>14}" for r in results)]
    for label, key, digits in (
        ("PA-MPJPE mm", "pa_mpjpe", 2),
        ("PA-MPVPE mm", "pa_mpvpe", 2),
        ("F@5", "f5", 3),
        ("F@15", "f15", 3),
        ("AUC joints", "auc_joints", 3),
        ("AUC vertices", "auc_vertices", 3),
        ("MPJPE mm", "mpjpe", 1),
        ("  root-rel.", "root_mpjpe", 1),
        ("reflected", "reflected", 0),
    ):
        lines.append(f"{label:14}" + "".join(f"{getattr(r.scores, key):14.{digits}f}" for r in results))
    first = results[0]
    fingers = ", ".join(f"{name} {value:.1f}" for name, value in finger_errors_mm(first).items())
    share = first.scores.pa_mpjpe / mean_pose_pa_mpjpe
    views = ", ".join(f"{r.protocol} {r.views}" for r in results if r.views > 1) or "none"
    lines += [
        f"samples: {first.scores.samples}; rounds of cropping: {first.rounds}; views averaged: {views}",
        f"by finger ({first.protocol}), mm: {fingers}",
        f"the mean pose scores {mean_pose_pa_mpjpe:.2f} mm PA-MPJPE here; {first.protocol} is {share:.0%} of that",
    ]
    if with_published:
        table = format_table([table_row(result, method, backbone) for result in results])
        lines += ["", "Beside published results on FreiHAND's evaluation set:", table]
    else:
        lines += ["", "These are not FreiHAND's 3960 evaluation samples: no published result is comparable."]
    return "\n".join(lines)


def table_row(result: Evaluation, method: str, backbone: str) -> PublishedRow:
    """A result as a row of the published table.

    Args:
        result: what was scored.
        method, backbone: names for the row.
    """
    s = result.scores
    tta = f"{result.views} views" if result.views > 1 else "none"
    crop = result.about + (" + own" if result.rounds > 1 else "")
    return PublishedRow(method, "", "MANO", backbone, s.pa_mpjpe, s.pa_mpvpe, s.f5, s.f15, "", crop, tta=tta)


def write_folder(
    folder: str | Path,
    results: Sequence[Evaluation],
    predictions: Predictions,
    dataset: FreiHandDataset,
    content: dict[str, Any],
) -> None:
    """Everything about the first protocol in one folder: result.json, scores.txt, samples.csv, worst.png, pck.png.

    The last only where matplotlib is installed.

    Args:
        folder: made where there is none.
        results: one a protocol.
        predictions: of the first protocol.
        dataset: what was scored on.
        content: of result.json.
    """
    folder = Path(folder)
    write_json(folder / "result.json", content, indent=2)
    write_scores_txt(folder / "scores.txt", results[0])
    write_sample_csv(folder / "samples.csv", results[0], dataset)
    write_image(folder / "worst.png", worst_sheet(results[0], predictions, dataset))
    if importlib.util.find_spec("matplotlib"):
        plot_pck(folder / "pck.png", results)


def write_scores_txt(path: str | Path, result: Evaluation) -> None:
    """scores.txt in the official tool's lines, order and units (cm)."""
    s = result.scores
    rows = (
        ("xyz_mean3d", s.mpjpe / 10),
        ("xyz_auc3d", s.raw_auc_joints),
        ("xyz_al_mean3d", s.pa_mpjpe / 10),
        ("xyz_al_auc3d", s.auc_joints),
        ("mesh_mean3d", s.mpvpe / 10),
        ("mesh_auc3d", s.raw_auc_vertices),
        ("mesh_al_mean3d", s.pa_mpvpe / 10),
        ("mesh_al_auc3d", s.auc_vertices),
        ("f_score_5", s.raw_f5),
        ("f_al_score_5", s.f5),
        ("f_score_15", s.raw_f15),
        ("f_al_score_15", s.f15),
    )
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{name}: {value:f}\n" for name, value in rows), encoding="ascii")


def write_sample_csv(path: str | Path, result: Evaluation, dataset: FreiHandDataset) -> None:
    """One line a sample: errors in mm, F-scores, and the aligned error of each joint in mm.

    Args:
        path: the file, written whole or not at all.
        result: what was scored.
        dataset: names the images.
    """
    m = result.measured
    head = ["index", "file", "pa_mpjpe", "pa_mpvpe", "mpjpe", "root_mpjpe", "f5", "f15", "reflected", *JOINT_NAMES]
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for i in range(len(m.joint_errors)):
            errors = (m.pa_joint_errors[i], m.pa_vertex_errors[i], m.joint_errors[i], m.root_joint_error[i])
            means = [f"{1000 * np.mean(e):.3f}" for e in errors]
            shares = [f"{value:.4f}" for value in m.f_aligned[i]]
            joints = [f"{1000 * value:.3f}" for value in m.pa_joint_errors[i]]
            writer.writerow([i, dataset.file_index(i), *means, *shares, int(m.is_reflected[i]), *joints])


def plot_pck(path: str | Path, results: Sequence[Evaluation]) -> None:
    """PCK curves of joints and vertices, aligned, one colour a protocol. Needs matplotlib
    (handmesh[train]).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, result in enumerate(results):
        for kind, errors, auc, style in (
            ("joints", result.measured.pa_joint_errors, result.scores.auc_joints, "-"),
            ("vertices", result.measured.pa_vertex_errors, result.scores.auc_vertices, "--"),
        ):
            label = f"{result.protocol}, {kind}: AUC {auc:.3f}"
            axes.plot(PCK_THRESHOLDS_M * 1000, pck_curve(errors).mean(axis=0), style, color=f"C{number}", label=label)
    axes.set(xlabel="error threshold after alignment, mm", ylabel="share of points within", xlim=(0, 50), ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def worst_sheet(
    result: Evaluation, predictions: Predictions, dataset: FreiHandDataset, count: int = 20, tile: int = 224
) -> np.ndarray:
    """The samples of largest aligned error as one picture: truth in green, prediction in red, the error in mm.

    Args:
        result: what was scored.
        predictions: that it scored.
        dataset: gives pictures and truth.
        count: how many samples.
        tile: side of each, pixels.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    errors = result.measured.pa_joint_errors.mean(axis=1) * 1000
    tiles = []
    for index in np.argsort(-errors, kind="stable")[:count]:
        sample = dataset.sample(int(index))
        zoom = tile / max(sample["image"].shape[:2])
        picture = np.zeros((tile, tile, 3), np.uint8)
        shrunk = cv2.resize(sample["image"], None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
        picture[: shrunk.shape[0], : shrunk.shape[1]] = shrunk
        for points, colour in ((sample["joints"], (0, 220, 0)), (predictions.joints[index], (255, 40, 40))):
            draw_bones(picture, resize_points(project_points(points, sample["K"]), zoom), colour)
        text = f"{dataset.file_index(int(index))}: {errors[index]:.1f} mm"
        cv2.rectangle(picture, (0, tile - 22), (tile, tile), (0, 0, 0), -1)
        cv2.putText(picture, text, (5, tile - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
        tiles.append(picture)
    columns = min(5, len(tiles))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    return np.concatenate([np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)])


def draw_bones(picture: np.ndarray, pixels: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Draw a skeleton.

    Args:
        picture: (H, W, 3) uint8, changed.
        pixels: (21, 2); they may lie outside or be NaN.
        colour: of the lines, in the picture's order of channels.
    """
    points = np.clip(np.nan_to_num(np.round(pixels)), -9999, 9999).astype(int)
    for parent, child in BONES:
        cv2.line(picture, points[parent].tolist(), points[child].tolist(), colour, 1, cv2.LINE_AA)
