"""A second opinion on labels: photos whose side or points another network sees otherwise are left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from handmesh.io.images import read_image
from handmesh.evaluation.real_photos import crop_for
from handmesh.labeling.photo_sets import LabelledPhoto

if TYPE_CHECKING:
    from handmesh.inference.engines.factory import Engine

#: A hand whose other side's points lie nearer to the label by this share of its box has the wrong side.
MARGIN = 0.02


def agreed(
    engine: Engine, photos: Sequence[LabelledPhoto], size: int, padding: float, progress: bool = True
) -> list[LabelledPhoto]:
    """The photos whose side a network agrees on.

    It sees each hand as the label shows it, and mirrored: the label's own side must be called a right hand (as which
    every crop shows its hand), and its keypoints may not lie farther from the label's than the other side's.

    Args:
        engine: runs the network. photos: with known side and all 21 keypoints.
        size, padding: of the network's crops, in pixels and over the hand's box.
    """
    kept = []
    for photo in tqdm(photos, desc="comparing sides", disable=not progress):
        image = read_image(photo.path)
        crop = crop_for(photo, image.shape[1], image.shape[0], size, padding)
        picture = crop.apply_image(image)
        output = engine(np.stack([picture, picture[:, ::-1]]))
        label = crop.apply_points_2d(photo.keypoints_2d)
        mirrored = output.keypoints_2d[1] * [-1, 1] + [size - 1, 0]
        own, other = (_apart(points, label) for points in (output.keypoints_2d[0], mirrored))
        if output.is_right[0] > 0.5 and other >= own - MARGIN:
            kept.append(photo)
    return kept


def _apart(points: NDArray[np.floating], label: NDArray[np.floating]) -> float:
    """Mean distance over the label's box."""
    return float(np.linalg.norm(points - label, axis=-1).mean() / np.ptp(label, axis=0).max())
