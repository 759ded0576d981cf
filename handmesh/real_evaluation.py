"""How far a network is from the labels of real photos: PA error in millimetres, 2D error as a share of the hand's box.

The crop is made from the label (upright, padded as in training), so that these numbers speak of the network alone and
not of the detector. Knows labels and predictions; knows nothing of how the network was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.geometry.alignment import similarity_align
from handmesh.geometry.camera import intrinsics_from_fov
from handmesh.geometry.crop import CropTransform, box_around, roll_of
from handmesh.images import read_image
from handmesh.real_photos import LabelledPhoto

#: (B, S, S, 3) uint8 crops -> joints (B, 21, 3) metres in the crop's frame and keypoints_2d (B, 21, 2) crop pixels.
Network = Callable[[NDArray[np.uint8]], tuple[NDArray[Any], NDArray[Any]]]


@dataclass(frozen=True)
class RealResult:
    """Errors of one photo.

    Attributes:
        photo: the photo and its label.
        pa_mm: mean joint error after similarity alignment (proper rotations), mm; NaN where the label is 2D only.
        error_2d: mean distance of keypoints over the side of the label's box; 0.05 is 5 %.
    """

    photo: LabelledPhoto
    pa_mm: float
    error_2d: float


def crop_for(photo: LabelledPhoto, width: int, height: int, size: int, padding: float) -> CropTransform:
    """The upright crop around a label's keypoints, mirrored for a left hand."""
    known = photo.keypoints_2d[np.isfinite(photo.keypoints_2d).all(-1)]
    both = np.isfinite(photo.keypoints_2d[[0, 9]]).all()
    roll = roll_of(photo.keypoints_2d) if both else 0.0
    return CropTransform.from_box(
        box_around(known, padding, roll),
        intrinsics_from_fov(width, height),
        size,
        roll,
        mirror=photo.is_right is False,
    )


def evaluate_real(
    network: Network, photos: Sequence[LabelledPhoto], size: int, padding: float, batch_size: int = 32
) -> list[RealResult]:
    """Errors of every photo, in their order.

    Args:
        size: side of the network's input in pixels.
        padding: side of the crop over the box of the 21 joints, as in training.
    """
    results: list[RealResult] = []
    for start in range(0, len(photos), batch_size):
        chunk = photos[start : start + batch_size]
        images = [read_image(photo.path) for photo in chunk]
        crops = [crop_for(p, i.shape[1], i.shape[0], size, padding) for p, i in zip(chunk, images, strict=True)]
        batch = np.stack([crop.apply_image(image) for crop, image in zip(crops, images, strict=True)])
        joints, keypoints = network(batch)
        results += [_compare(p, c, j, k) for p, c, j, k in zip(chunk, crops, joints, keypoints, strict=True)]
    return results


def _compare(
    photo: LabelledPhoto, crop: CropTransform, joints: NDArray[Any], keypoints: NDArray[Any]
) -> RealResult:
    known = np.isfinite(photo.keypoints_2d).all(-1)
    label = photo.keypoints_2d[known]
    distance = np.linalg.norm(crop.invert_points_2d(keypoints)[known] - label, axis=-1)
    side = np.max(np.ptp(label, axis=0))
    pa_mm = np.nan
    if photo.joints is not None:
        aligned, _ = similarity_align(crop.invert_points_3d(joints), photo.joints, allow_reflection=False)
        pa_mm = 1000 * float(np.linalg.norm(aligned - photo.joints, axis=-1).mean())
    return RealResult(photo, pa_mm, float(distance.mean() / side))


def summarize(results: Sequence[RealResult]) -> list[dict[str, Any]]:
    """One row a group of photos (sets together, trained-on and held-out apart): count, mean and median errors."""
    rows = []
    keys = sorted({(_kind(result), result.photo.is_held_out) for result in results})
    for kind, held_out in keys:
        chosen = [r for r in results if (_kind(r), r.photo.is_held_out) == (kind, held_out)]
        pa = np.array([result.pa_mm for result in chosen])
        error = np.array([result.error_2d for result in chosen])
        has_3d = np.isfinite(pa).any()
        rows.append(
            {
                "photos": kind,
                "held_out": held_out,
                "samples": len(chosen),
                "pa_mm": float(np.nanmean(pa)) if has_3d else None,
                "pa_mm_median": float(np.nanmedian(pa)) if has_3d else None,
                "error_2d": float(error.mean()),
                "error_2d_median": float(np.median(error)),
            }
        )
    return rows


def format_rows(rows: Sequence[dict[str, Any]]) -> str:
    """The rows of :func:`summarize` as a text table; 2D errors in per cent of the hand's box."""
    lines = [f"{'photos':24s} {'split':9s} {'n':>5s} {'PA mm':>7s} {'median':>7s} {'2D %':>6s} {'median':>7s}"]
    for row in rows:
        split = "held out" if row["held_out"] else "trainable"
        pa = f"{row['pa_mm']:7.2f} {row['pa_mm_median']:7.2f}" if row["pa_mm"] is not None else f"{'-':>7s} {'-':>7s}"
        lines.append(
            f"{row['photos']:24s} {split:9s} {row['samples']:5d} {pa} "
            f"{100 * row['error_2d']:6.2f} {100 * row['error_2d_median']:7.2f}"
        )
    return "\n".join(lines)


def _kind(result: RealResult) -> str:
    return result.photo.group if result.photo.group.startswith("annotated") else result.photo.group.split("/")[0]
