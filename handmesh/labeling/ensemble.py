"""Labels by several landmark networks: where one takes a raised finger for its neighbour, the others mostly do not.

Each network sees each hand in the views of landmark_label.py. Networks differ in where they put a knuckle or a wrist
even when all are right; so each is first moved into the terms of the first one, by its median difference over all
photos, joint by joint, in the hand's own frame and size. What remains are mistakes: the label is a mean that leans
towards the median, and the distance of the farthest network tells how much it can be trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from handmesh.detection.landmark_model import LandmarkModel
from handmesh.detection.model_files import ensure_landmark_model
from handmesh.geometry.crop import box_around, roll_of
from handmesh.io.images import read_image
from handmesh.io.runtime.worker_threads import PerThread, map_in_threads
from handmesh.labeling.landmark_files import has_collapsed_palm
from handmesh.labeling.landmark_label import SURE_OF_SIDE, VIEWS
from handmesh.labeling.photo_sets import LabelledPhoto
from handmesh.skeleton import NUM_JOINTS, WRIST

Array = NDArray[np.float64]
#: Fewer photos than this say too little of how networks differ; then they are taken as they are.
ENOUGH_PHOTOS = 50
#: Distance from the median, as a share of the hand, at which a network's weight is half of what it is at none.
_SOFT = 0.01
INDEX_BASE, MIDDLE_BASE, LITTLE_BASE = 5, 9, 17


@dataclass(frozen=True, eq=False)
class Opinions:
    """What the networks say of one hand, each the mean of its views.

    Attributes:
        points: (networks, 21, 2) pixels of the photo.
        joints: (networks, 21, 3) metres about their middle, camera axes; NaN of a network that gives none.
        right: 0..1, that it is a right hand in the picture as it is, the networks' mean.
    """

    points: Array
    joints: Array
    right: float


def label_together(photos: list[LabelledPhoto], networks: Sequence[str | Path]) -> list[LabelledPhoto]:
    """The photos with the common label (:func:`relabel`) of the project's landmark network and others.

    Args:
        photos: with all 21 keypoints.
        networks: the other networks' files; without any the photos stay as they are.
    """
    if not networks:
        return photos
    files = [ensure_landmark_model(), *networks]
    return relabel(photos, PerThread(lambda: [LandmarkModel(file, threads=1) for file in files]))


def relabel(
    photos: Sequence[LabelledPhoto], models: Callable[[], Sequence[LandmarkModel]], progress: bool = True
) -> list[LabelledPhoto]:
    """The photos with the common label of several networks.

    Args:
        photos: with all 21 keypoints, which say where the hand is.
        models: gives a thread its networks; the labels are in the terms of the first one, which must give points in
            space.
        progress: show a progress bar on stderr.

    Returns:
        As many photos. ``disagreement`` is the mean distance of the farthest network's points from the label as a
        share of the hand's extent, and 1 where they do not know left from right.
    """
    asked = map_in_threads(lambda photo: ask(photo, models()), photos)
    opinions = list(tqdm(asked, desc="landmark networks", total=len(photos), disable=not progress))
    if not opinions:
        return []
    differences = mean_differences(np.stack([each.points for each in opinions]))
    found = []
    for photo, opinion in zip(photos, opinions, strict=True):
        points, apart = common_points(opinion.points, differences)
        is_sure = abs(opinion.right - 0.5) >= SURE_OF_SIDE
        joints = np.nanmean(opinion.joints, axis=0)
        found.append(
            replace(
                photo, keypoints_2d=points, joints=joints, is_right=opinion.right >= 0.5,
                disagreement=apart if is_sure else 1.0, has_depth=not has_collapsed_palm(joints),
                opinions=opinion.joints[np.isfinite(opinion.joints).all((1, 2))],
            )
        )  # fmt: skip
    return found


def ask(photo: LabelledPhoto, models: Sequence[LandmarkModel]) -> Opinions:
    """What each network says of the hand of a photo (about 12 ms a network on one core)."""
    image = read_image(photo.path)
    roll = roll_of(photo.keypoints_2d)
    box = box_around(photo.keypoints_2d, rotation_deg=roll)
    points, joints, right = [], [], []
    for model in models:
        seen = [model.landmarks(image, box, roll + view.turn_deg, view.padding, view.mirror) for view in VIEWS]
        points.append(np.mean([view.points for view in seen], axis=0))
        joints.append(np.mean([view.joints - view.joints.mean(0) for view in seen], axis=0))
        right.append(np.mean([view.right for view in seen]))
    return Opinions(np.stack(points), np.stack(joints), float(np.mean(right)))


def mean_differences(points: Array) -> Array:
    """How networks differ from the first one where none is wrong.

    Args:
        points: (photos, networks, 21, 2) pixels.

    Returns:
        (networks, 21, 2): medians over the photos of each network's points less the first one's, in the first one's
        :func:`hand_frame` and size; zeros for fewer than :data:`ENOUGH_PHOTOS`.
    """
    if len(points) < ENOUGH_PHOTOS:
        return np.zeros(points.shape[1:])
    differences = [(hand - hand[0]) @ hand_frame(hand[0]).T / extent(hand[0]) for hand in points]
    return np.asarray(np.median(differences, axis=0))


def common_points(points: Array, differences: Array) -> tuple[Array, float]:
    """One label of several networks.

    Args:
        points: (networks, 21, 2) pixels.
        differences: of :func:`mean_differences`.

    Returns:
        (21, 2) pixels, and the farthest network's mean distance from them as a share of the hand's extent.
    """
    size = extent(points[0])
    moved = points - differences @ hand_frame(points[0]) * size
    weights = 1 / (_SOFT * size + np.linalg.norm(moved - np.median(moved, axis=0), axis=-1, keepdims=True))
    label = (weights * moved).sum(0) / weights.sum(0)
    distances = np.linalg.norm(moved - label, axis=-1).mean(-1)
    return label, float(distances.max() / extent(label))


def hand_frame(points: Array) -> Array:
    """Axes (2, 2) of a hand in the picture, as rows: across the palm towards the thumb, and from wrist to fingers."""
    along = points[MIDDLE_BASE] - points[WRIST]
    along = along / max(float(np.linalg.norm(along)), 1e-9)
    across = np.array([-along[1], along[0]])
    return np.stack([across if (points[INDEX_BASE] - points[LITTLE_BASE]) @ across >= 0 else -across, along])


def extent(points: Array) -> float:
    """The longer side of the box around points (21, 2)."""
    assert len(points) == NUM_JOINTS, "one hand's points"
    return max(float(np.ptp(points, axis=0).max()), 1e-9)
