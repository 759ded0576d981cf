"""The labelled photos of a folder, and a second opinion: those whose side a network sees otherwise are left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from handmesh.geometry.crop import CropSettings
from handmesh.io.images import read_image
from handmesh.labeling.ensemble import label_together
from handmesh.labeling.held_out import read_held_out
from handmesh.labeling.landmark_files import landmark_folders, read_landmark_photos
from handmesh.labeling.photo_sets import LabelledPhoto, crop_for, photos_with_landmarks

if TYPE_CHECKING:
    from handmesh.inference.engines.base import Engine

#: A hand whose other side's points lie nearer to the label by this share of its box has the wrong side.
MARGIN = 0.02


def photos_of(
    root: str | Path, held_out: str | Path | None = None, checkpoint: str | Path | None = None,
    networks: Sequence[str | Path] = (),
) -> tuple[list[LabelledPhoto], bool]:
    """The labelled photos of a folder, and whether their labels came with them.

    Photos that come with landmarks (labels.jsonl) need no model to be run, but are one view's output, whose depth may
    be dropped where a hand does not fit it. Others are labelled by the landmark model.

    Args:
        root: a folder of photos, or of folders of photos.
        held_out: with landmarks, a YAML file of makers that are never trained on; the project's own when None.
        checkpoint: with landmarks, a network whose side each photo must have (:func:`agreed`).
        networks: files of further landmark networks, which label the photos together with the project's own
            (ensemble.py).

    Raises:
        HandMeshError: no photo, a damaged label file, or a model that cannot be had.
    """
    if not landmark_folders(root):
        return label_together(photos_with_landmarks(root), networks), False
    photos = read_landmark_photos(root, read_held_out(held_out) if held_out else None)
    photos = label_together(photos, networks)
    if checkpoint is not None:
        from handmesh.inference.engines.factory import make_engine
        from handmesh.models.checkpoint import config_of, load_checkpoint

        net, header = load_checkpoint(checkpoint)
        photos = agreed(make_engine(net), photos, config_of(header).crop)
    return photos, True


def agreed(
    engine: Engine, photos: Sequence[LabelledPhoto], settings: CropSettings, progress: bool = True
) -> list[LabelledPhoto]:
    """The photos whose side a network agrees on.

    It sees each hand as the label has it, and mirrored: the label's own side must be called a right hand (as which
    every crop shows its hand), and its keypoints may not lie farther from the label's than the other side's.

    Args:
        engine: runs the network.
        photos: with known side and all 21 keypoints.
        settings: of the network's crops.
        progress: show a progress bar on stderr.
    """
    kept = []
    for photo in tqdm(photos, desc="comparing sides", disable=not progress):
        image = read_image(photo.path)
        crop = crop_for(photo, image.shape[1], image.shape[0], settings)
        picture = crop.apply_image(image)
        output = engine(np.stack([picture, picture[:, ::-1]]))
        label = crop.apply_points_2d(photo.keypoints_2d)
        mirrored = output.keypoints_2d[1] * [-1, 1] + [crop.size - 1, 0]
        own, other = (_apart(points, label) for points in (output.keypoints_2d[0], mirrored))
        if output.is_right[0] > 0.5 and other >= own - MARGIN:
            kept.append(photo)
    return kept


def _apart(points: NDArray[np.floating], label: NDArray[np.floating]) -> float:
    """Mean distance over the label's box."""
    return float(np.linalg.norm(points - label, axis=-1).mean() / np.ptp(label, axis=0).max())
