"""Is a FreiHAND folder whole and right? Every fault of it, not the first alone, with file names and ids.

Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from handmesh.data.freihand import (
    ENTRY_SHAPES,
    MAX_VERSIONS,
    REQUIRED,
    SPLITS,
    image_path,
    mano_translation,
    read_picture,
)
from handmesh.data.json_arrays import name_ids, read_json_array
from handmesh.errors import HandMeshError
from handmesh.geometry.alignment import similarity_align
from handmesh.geometry.camera import project_points
from handmesh.geometry.rotation_numpy import axis_angle_to_matrix_np
from handmesh.io.files import user_path
from handmesh.io.runtime.worker_threads import map_in_threads
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.layers.numpy_layer import joint_regressor_21, pose_vertices
from handmesh.skeleton import ROOT_JOINT

#: Larger disagreements than these are faults. The official labels agree to some hundredths of a millimetre.
MAX_MM, MAX_PX = 1.0, 1.0


@dataclass
class DataReport:
    """facts: what is there, a line each; problems: what is wrong, a line each, empty when nothing is."""

    root: Path
    facts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [str(self.root), *(f"  {fact}" for fact in self.facts)]
        return "\n".join([*lines, *(f"  PROBLEM {problem}" for problem in self.problems)])


def check_data(root: str | Path, mano: ManoArrays, images: bool = True, with_bar: bool = False) -> DataReport:
    """Check every split of a folder in FreiHAND's layout. What is wrong with it is reported, never raised.

    Args:
        root: the folder.
        mano: the hand model its labels were made with.
        images: whether to open every image (two minutes for the whole set).
        with_bar: show progress on stderr.
    """
    report = DataReport(user_path(root))
    there = [s for s in SPLITS if (report.root / s).is_dir() or any(report.root.glob(f"{s}_*.json"))]
    if not there:
        report.problems.append(
            f"expected training/ or evaluation/ and their .json files in {report.root}, found neither; give the folder "
            "that holds training_K.json"
        )
    for split in there:
        arrays = _check_annotations(report, split)
        counts = [len(array) for array in arrays.values() if len(array)]
        if counts:
            # Where files are of several lengths, the rest is checked against the one that most of them have.
            usual = max(sorted(set(counts), reverse=True), key=counts.count)
            _check_images(report, split, usual, images, with_bar)
            _check_geometry(report, split, {key: a for key, a in arrays.items() if len(a) == usual}, mano)
    return report


def _check_annotations(report: DataReport, split: str) -> dict[str, np.ndarray]:
    arrays = {}
    for key in REQUIRED[split]:
        try:
            arrays[key] = read_json_array(report.root / f"{split}_{key}.json", ENTRY_SHAPES[key])
        except HandMeshError as error:
            report.problems.append(str(error))
    counts = {key: len(array) for key, array in arrays.items()}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        listed = ", ".join(f"{split}_{key}.json {count}" for key, count in counts.items())
        report.problems.append(f"expected files of one length, not 0, got {listed}")
    return arrays


def _check_images(report: DataReport, split: str, hands: int, decode: bool, with_bar: bool) -> None:
    folder = report.root / split / "rgb"
    found = {path.name for path in folder.glob("*.jpg")} if folder.is_dir() else set()
    possible = range(MAX_VERSIONS if split == "training" else 1)
    versions = [
        v for v in possible if any(image_path(report.root, split, v * hands + i).name in found for i in range(hands))
    ]
    indices = [v * hands + i for v in versions for i in range(hands)] or list(range(hands))
    wanted = {image_path(report.root, split, i).name: i for i in indices}
    report.facts.append(f"{split}: {hands} hands x {max(len(versions), 1)} images, {len(found)} files in {split}/rgb")
    _complain(report, f"missing images in {folder}", sorted(wanted[name] for name in wanted.keys() - found))
    if found - wanted.keys():
        report.problems.append(
            f"{len(found - wanted.keys())} unexpected images in {folder}, like {min(found - wanted.keys())}"
        )
    if split == "training":
        masks = {path.name for path in (report.root / split / "mask").glob("*.jpg")}
        missing = [i for i in range(hands) if image_path(report.root, split, i).name not in masks]
        if masks:
            _complain(report, f"missing masks in {report.root / split / 'mask'}", missing)
        else:
            report.facts.append(f"{split}: no masks")
    if decode:
        _open_images(report, split, [wanted[name] for name in sorted(wanted.keys() & found)], with_bar)


def _open_images(report: DataReport, split: str, indices: list[int], with_bar: bool) -> None:
    def size_of(index: int) -> tuple[int, int] | None:
        try:
            height, width = read_picture(image_path(report.root, split, index)).shape[:2]
            return width, height
        except HandMeshError:
            return None

    bar = tqdm(indices, desc=f"{split} images", unit="", leave=False, disable=not with_bar)
    sizes = list(zip(bar, map_in_threads(size_of, indices), strict=True))
    good = [size for _, size in sizes if size]
    _complain(report, f"empty or corrupt images in {report.root / split / 'rgb'}", [i for i, s in sizes if s is None])
    if good:
        usual = max(set(good), key=good.count)
        report.facts.append(f"{split}: images of {usual[0]} x {usual[1]} pixels")
        odd = [i for i, size in sizes if size and size != usual]
        _complain(report, f"images of another size than {usual[0]} x {usual[1]} in {report.root / split / 'rgb'}", odd)


def _check_geometry(report: DataReport, split: str, arrays: dict[str, np.ndarray], mano: ManoArrays) -> None:
    joints, vertices, K = arrays.get("xyz"), arrays.get("verts"), arrays.get("K")
    if joints is None:
        return
    _complain(report, f"{split}: joints behind the camera", np.flatnonzero((joints[..., 2] <= 0).any(axis=1)))
    if "scale" in arrays:
        bone = np.linalg.norm(joints[:, 9] - joints[:, 10], axis=1)
        wrong = np.flatnonzero(np.abs(bone - arrays["scale"]) * 1000 > MAX_MM)
        _complain(report, f"{split}: scale is not the length from joint 9 to joint 10", wrong)
    if vertices is not None:
        errors = _distances(joint_regressor_21(mano) @ vertices, joints) * 1000
        _errors(report, f"{split}: joints regressed from the vertices", errors, "mm", MAX_MM)
    if "mano" in arrays and vertices is not None and K is not None:
        _check_mano(report, split, arrays["mano"], joints, vertices, K, mano)


def _check_mano(
    report: DataReport,
    split: str,
    parameters: np.ndarray,
    joints: np.ndarray,
    vertices: np.ndarray,
    K: np.ndarray,
    mano: ManoArrays,
) -> None:
    """Rebuild every hand from its parameters: millimetres against vertices and joints, pixels against the
    image.
    """
    rebuilt_vertices, rebuilt_joints = np.empty_like(vertices), np.empty_like(joints)
    pose = axis_angle_to_matrix_np(
        np.concatenate([parameters[:, :3], parameters[:, 3:48] + mano.hands_mean], axis=1).reshape(-1, 16, 3)
    )
    for start in range(0, len(parameters), 512):
        rows = slice(start, start + 512)
        v, j = pose_vertices(mano, pose[rows, 0], pose[rows, 1:], parameters[rows, 48:58])
        root = np.stack([mano_translation(p, k) for p, k in zip(parameters[rows], K[rows], strict=True)])
        shift = (root - j[:, ROOT_JOINT])[:, None]
        rebuilt_vertices[rows], rebuilt_joints[rows] = v + shift, j + shift
    _errors(report, f"{split}: vertices rebuilt from mano", _distances(rebuilt_vertices, vertices) * 1000, "mm", MAX_MM)
    _errors(report, f"{split}: joints rebuilt from mano", _distances(rebuilt_joints, joints) * 1000, "mm", MAX_MM)
    turned = _distances(similarity_align(rebuilt_joints, joints)[0], joints).mean() * 1000
    report.facts.append(f"{split}: joints rebuilt from mano, then aligned: mean {turned:.3f} mm")
    in_front = np.flatnonzero((joints[..., 2] > 0).all(axis=1) & (rebuilt_joints[..., 2] > 0).all(axis=1))
    if in_front.size:
        pixels = np.stack([project_points(rebuilt_joints[i], K[i]) - project_points(joints[i], K[i]) for i in in_front])
        errors = np.linalg.norm(pixels, axis=-1)
        _errors(report, f"{split}: reprojection of joints rebuilt from mano", errors, "px", MAX_PX, in_front)


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(first - second, axis=-1))


def _errors(
    report: DataReport, name: str, errors: np.ndarray, unit: str, limit: float, ids: np.ndarray | None = None
) -> None:
    """A line of figures, and the ids whose mean error (N, P) is beyond the limit."""
    means = errors.mean(axis=1)
    report.facts.append(f"{name}: mean {means.mean():.3f} {unit}, largest {errors.max():.3f} {unit}")
    bad = np.flatnonzero(means > limit)
    hint = " (another hand model? give it with --mano)" if len(bad) > len(means) / 2 else ""
    _complain(report, f"{name}: more than {limit:g} {unit} off{hint}", bad if ids is None else ids[bad])


def _complain(report: DataReport, what: str, ids: Iterable[int]) -> None:
    listed = list(ids)
    if listed:
        report.problems.append(f"{what}: {name_ids(listed)}")
