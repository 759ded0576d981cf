"""How far a network is from the labels of real photos: PA error in millimetres, 2D error as a share of the hand's box.

Two ways. With the crop made from the label (upright, padded as in training) the numbers speak of the network and of
what is made of its answer (inference/estimator.py); with a whole predictor, which has to find the hand first, of all
that a user gets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.evaluation.metrics import auc
from handmesh.geometry.alignment import point_errors, similarity_align
from handmesh.inference.estimator import HandEstimator
from handmesh.io.images import read_image
from handmesh.labeling.landmark_correction import LandmarkCorrection
from handmesh.labeling.photo_sets import LabelledPhoto, crops_for
from handmesh.results import Hand

#: An image (H, W, 3) uint8 RGB -> the hands in it.
Predict = Callable[[NDArray[np.uint8]], list[Hand]]
#: Of the hands found in a photo, the one whose points are nearest to the label's is the labelled one, if they lie
#: within this share of its box on average.
FOUND_WITHIN = 0.5
#: Side of the picture that keypoints_px_256 counts in.
PICTURE_PX = 256


@dataclass(frozen=True, eq=False)
class RealResult:
    """Errors of one photo.

    Attributes:
        photo: the photo and its label.
        pa_mm: mean joint error after similarity alignment (proper rotations), mm; NaN where the label is 2D only.
        error_2d: mean distance of keypoints over the side of the label's box; 0.05 is 5 %.
        joint_errors: (21,) metres after the official alignment, which allows reflections; None where 2D only.
        keypoints_px_256: mean distance of keypoints in pixels, the photo's longer side scaled to PICTURE_PX.
        joints, keypoints_2d: what was predicted, (21, 3) metres in camera axes and (21, 2) pixels of the photo.
        longer_side: of the photo, in pixels.
        is_right: the predicted side; None where nobody asked.
    """

    photo: LabelledPhoto
    pa_mm: float
    error_2d: float
    joint_errors: NDArray[np.float64] | None
    keypoints_px_256: float
    joints: NDArray[Any]
    keypoints_2d: NDArray[Any]
    longer_side: int
    is_right: bool | None = None

    @property
    def has_side_right(self) -> bool | None:
        """Whether the side is right; None where the label has no side or nobody asked."""
        if self.is_right is None or self.photo.is_right is None:
            return None
        return self.is_right == self.photo.is_right


def as_landmarks(results: Sequence[RealResult], correction: LandmarkCorrection | None) -> list[RealResult]:
    """The results with predicted joints moved to where the landmark model would put its points of the same hands:
    labels by the landmark model measure these without the distance between its points and the joints that bear their
    names. Without correction (of a hand model for which that was not measured) they are the results as they are.
    """
    if correction is None:
        return list(results)
    return [
        compare(
            one.photo, correction.points_of(one.joints), correction.keypoints_of(one.keypoints_2d), one.longer_side,
            one.is_right,
        )
        for one in results
    ]  # fmt: skip


def evaluate_real(estimator: HandEstimator, photos: Sequence[LabelledPhoto], batch_size: int = 32) -> list[RealResult]:
    """Errors of every photo, in their order, with crops made from the labels. Where a label does not say which hand it
    is, the network does.

    Args:
        estimator: makes hands of crops.
        photos: with labels.
        batch_size: photos at a time.
    """
    results: list[RealResult] = []
    for start in range(0, len(photos), batch_size):
        chunk = photos[start : start + batch_size]
        images = [read_image(photo.path) for photo in chunk]
        crops = [crops_for(p, i.shape[1], i.shape[0], estimator.crop) for p, i in zip(chunk, images, strict=True)]
        results += [
            compare(photo, found.hand.joints, found.hand.keypoints_2d, max(image.shape[:2]))
            for photo, image, found in zip(chunk, images, estimator.estimate_either(images, crops), strict=True)
        ]
    return results


def evaluate_found(predict: Predict, photos: Iterable[LabelledPhoto]) -> list[RealResult | None]:
    """Errors of every photo by a predictor that does not get the label; None where it does not find the hand."""
    results: list[RealResult | None] = []
    for photo in photos:
        image = read_image(photo.path)
        found = [
            compare(photo, hand.joints, hand.keypoints_2d, max(image.shape[:2]), hand.is_right)
            for hand in predict(image)
        ]
        nearest = min(found, key=lambda result: result.error_2d, default=None)
        results.append(nearest if nearest is not None and nearest.error_2d <= FOUND_WITHIN else None)
    return results


def compare(
    photo: LabelledPhoto, joints: NDArray[Any], keypoints: NDArray[Any], longer_side: int, is_right: bool | None = None
) -> RealResult:
    """A prediction against a label.

    Args:
        photo: its keypoints_2d may be NaN where they are unknown.
        joints: (21, 3) metres, camera axes.
        keypoints: (21, 2) pixels of the photo.
        longer_side: of the photo, pixels.
        is_right: the predicted side; None where it was given.
    """
    known = np.isfinite(photo.keypoints_2d).all(-1)
    label = photo.keypoints_2d[known]
    distance = float(np.linalg.norm(np.asarray(keypoints)[known] - label, axis=-1).mean())
    side = float(np.max(np.ptp(label, axis=0)))
    pa_mm, official = np.nan, None
    if photo.joints is not None:
        proper, _ = similarity_align(joints, photo.joints, allow_reflection=False)
        pa_mm = 1000 * float(point_errors(proper, photo.joints).mean())
        official = point_errors(similarity_align(joints, photo.joints)[0], photo.joints)
    return RealResult(
        photo, pa_mm, distance / side, official, distance * PICTURE_PX / longer_side, joints, keypoints, longer_side,
        is_right,
    )  # fmt: skip


def summarize(results: Sequence[RealResult]) -> list[dict[str, Any]]:
    """One row a group of photos (sets together, trained-on and held-out apart), and of several held-out sets with the
    labels of the landmark model one of all: count, mean and median errors, and the official figures under their
    official names.
    """
    keys = sorted({(_kind(result), result.photo.is_held_out) for result in results})
    groups = [
        (kind, held, [r for r in results if (_kind(r), r.photo.is_held_out) == (kind, held)]) for kind, held in keys
    ]
    labelled = [(kind, chosen) for kind, held, chosen in groups if held and not kind.startswith("annotated")]
    if len(labelled) > 1:
        groups.append(("all of these", True, [result for _, chosen in labelled for result in chosen]))
    return [{"photos": kind, "held_out": held, "samples": len(part), **_means(part)} for kind, held, part in groups]


def _means(results: Sequence[RealResult]) -> dict[str, Any]:
    pa = np.array([result.pa_mm for result in results])
    error = np.array([result.error_2d for result in results])
    errors = [result.joint_errors for result in results if result.joint_errors is not None]
    return {
        "pa_mm": float(np.nanmean(pa)) if errors else None,
        "pa_mm_median": float(np.nanmedian(pa)) if errors else None,
        "error_2d": float(error.mean()) if len(error) else None,
        "error_2d_median": float(np.median(error)) if len(error) else None,
        "pa_mpjpe": 1000 * float(np.mean(errors)) if errors else None,
        "auc_joints": auc(np.stack(errors)) if errors else None,
        "keypoints_px_256": float(np.mean([r.keypoints_px_256 for r in results])) if len(error) else None,
    }


def summarize_found(photos: Sequence[LabelledPhoto], results: Sequence[RealResult | None]) -> list[dict[str, Any]]:
    """As :func:`summarize`, over the photos in which the hand was found, with the share of these (``found``) and, of
    these, the share whose side was right (``side_right``).
    """
    rows = []
    pairs = list(zip(photos, results, strict=True))
    for kind, held in sorted({(_kind_of(photo), photo.is_held_out) for photo in photos}):
        here = [result for photo, result in pairs if (_kind_of(photo), photo.is_held_out) == (kind, held)]
        found = [result for result in here if result is not None]
        sides = [result.has_side_right for result in found if result.has_side_right is not None]
        rows.append(
            {
                "photos": kind, "held_out": held, "samples": len(here), "found": len(found) / len(here),
                "side_right": float(np.mean(sides)) if sides else None, **_means(found),
            }
        )  # fmt: skip
    return rows


def format_rows(rows: Sequence[dict[str, Any]]) -> str:
    """The rows of :func:`summarize` or :func:`summarize_found` as a text table; 2D errors in per cent of the hand's
    box, and in pixels of a picture of 256.
    """
    found = [("found", "found %", 100), ("side_right", "side %", 100)] if rows and "found" in rows[0] else []
    columns = [
        *found, ("pa_mm", "PA mm", 1), ("pa_mm_median", "median", 1), ("error_2d", "2D %", 100),
        ("error_2d_median", "median", 100), ("keypoints_px_256", "px@256", 1),
    ]  # fmt: skip
    lines = [f"{'photos':24s} {'split':9s} {'n':>5s}" + "".join(f" {name:>7s}" for _, name, _ in columns)]
    for row in rows:
        split = "held out" if row["held_out"] else "trainable"
        cells = "".join(f" {'-' if row[k] is None else format(scale * row[k], '.2f'):>7s}" for k, _, scale in columns)
        lines.append(f"{row['photos']:24s} {split:9s} {row['samples']:5d}{cells}")
    return "\n".join(lines)


def _kind(result: RealResult) -> str:
    return _kind_of(result.photo)


def _kind_of(photo: LabelledPhoto) -> str:
    return photo.group if photo.group.startswith("annotated") else photo.group.split("/")[0]
