"""Photos without annotation, made into a data set in FreiHAND's layout by a landmark model and a fit.

The landmark model's points (photo_sets.py) become parameters of the hand model (mano/fitting.py); what its views or
the fit disagree on is left out. Left hands are stored mirrored, as right ones. Held-out photos go to the evaluation
split.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from handmesh.data.freihand_writer import FreiHandWriter
from handmesh.data.sample import Sample
from handmesh.errors import HandMeshError
from handmesh.geometry.camera import fit_translation, intrinsics_from_fov
from handmesh.geometry.crop import CropTransform, box_around
from handmesh.io.images import read_image
from handmesh.labeling.compositing import on_backgrounds
from handmesh.labeling.landmark_correction import correction_for
from handmesh.labeling.photo_sets import LabelledPhoto
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.fitting import FittedHands, fit_hands
from handmesh.mano.layers.numpy_layer import pose_vertices
from handmesh.synthesis.backgrounds.pool import Backgrounds

Array = NDArray[np.float64]

PICTURE_SIZE = 224
#: Side of the stored picture over the box of the 21 joints: room for the crops of training.
PICTURE_PADDING = 2.0
#: Fits further than this from the landmark model are left out.
MAX_ERROR_MM = 9.0
MAX_ERROR_2D = 0.04
#: Where the joints of a sample stand that is labelled in the picture alone.
FLAT_DEPTH_M = 0.5
_CHUNK = 256


@dataclass(frozen=True)
class Kept:
    """How many photos became samples, how many more are copies, how many of the training samples are labelled in the
    picture alone, and how many were left out and why.
    """

    training: int
    evaluation: int
    untrusted: int
    unfitted: int
    copies: int = 0
    flat: int = 0


def write_pseudo_labelled(
    photos: Sequence[LabelledPhoto], out: str | os.PathLike[str], arrays: ManoArrays, progress: bool = True,
    backgrounds: str | os.PathLike[str] | None = None, copies: int = 0, keep_flat: bool = False,
) -> Kept:
    """Fit every trusted photo and write the good fits as a data set in FreiHAND's layout.

    Args:
        photos: with 2D and 3D labels and a known side, as :func:`photos_with_landmarks` gives them.
        out: the folder of the data set.
        arrays: the hand model that is fitted.
        progress: show a progress bar on stderr.
        backgrounds: a folder of photos for the copies' scenes, besides drawn ones.
        copies: of each training photo whose hand can be segmented, on other backgrounds.
        keep_flat: keep training photos that some hand fits in the picture though not in space, or whose depth is
            known to be wrong (``has_depth``), with labels in the picture alone.

    Returns:
        How many samples of each kind were written and left out.

    Raises:
        HandMeshError: no photo is left or fits, no such folder of backgrounds, or ``out`` holds a data set already.
    """
    trusted = [p for p in photos if p.is_trusted and p.joints is not None and p.is_right is not None]
    trusted = correct(trusted, arrays)
    if not trusted:
        raise HandMeshError("expected photos with trusted labels, got none; check the photos that were given")
    counts = {False: 0, True: 0}
    copied = flat = 0
    mean, scenes, rng = arrays.hands_mean, Backgrounds(0, backgrounds), np.random.default_rng(0)
    folder = Path(out)
    with FreiHandWriter(folder, "training", mean) as training, FreiHandWriter(folder, "evaluation", mean) as evaluation:
        writers = {False: training, True: evaluation}
        for start in tqdm(range(0, len(trusted), _CHUNK), desc="fitting", disable=not progress):
            chunk = trusted[start : start + _CHUNK]
            fits = _fit(arrays, chunk)
            for i, photo in enumerate(chunk):
                if fits.error_2d[i] > MAX_ERROR_2D:
                    continue
                if fits.error_mm[i] > MAX_ERROR_MM or not photo.has_depth:
                    if keep_flat and not photo.is_held_out:
                        training.add(flat_sample(arrays, photo))
                        flat += 1
                    continue
                sample = make_sample(arrays, photo, fits, i)
                writers[photo.is_held_out].add(sample)
                counts[photo.is_held_out] += 1
                for copy in on_backgrounds(sample, arrays, scenes, 0 if photo.is_held_out else copies, rng):
                    training.add(copy)
                    copied += 1
    written = counts[False] + counts[True] + flat
    if not written:
        raise HandMeshError(
            f"expected photos that the hand model fits, got none of {len(trusted)} with trusted labels; "
            "give photos in which hands are larger and sharper"
        )
    counts[False] += flat
    return Kept(counts[False], counts[True], len(photos) - len(trusted), len(trusted) - written, copied, flat)


def correct(photos: Sequence[LabelledPhoto], arrays: ManoArrays) -> list[LabelledPhoto]:
    """The photos with the landmark model's points replaced by the joints that are likeliest behind them.

    For a hand model for which that was not measured (scripts/calibrate_landmarks.py), the photos stay as they are.
    """
    correction = correction_for(arrays.fingerprint())
    if not photos or correction is None:
        return list(photos)
    joints, keypoints, sign = _as_right(photos)
    joints, keypoints = correction.joints_of(joints, keypoints)
    return [
        replace(photo, joints=j, keypoints_2d=k)
        for photo, j, k in zip(photos, joints * sign, keypoints * sign[..., :2], strict=True)
    ]


def make_sample(arrays: ManoArrays, photo: LabelledPhoto, fits: FittedHands, index: int) -> Sample:
    """A sample as :class:`handmesh.data.freihand.FreiHandDataset` gives it, from a photo and its fit.

    The picture is a plain square crop round the hand, mirrored for a left hand; the camera's field of view is assumed
    (the photo's fov_deg), and the hand stands where its joints project onto the landmarks.

    Args:
        arrays: the hand model of the fit.
        photo: the labelled photo.
        fits: of several photos.
        index: of this one among them.
    """
    image, crop = _cut_out(photo)
    vertices, joints = pose_vertices(arrays, fits.global_orient[index], fits.hand_pose[index], fits.betas[index])
    translation = fit_translation(joints, crop.apply_points_2d(photo.keypoints_2d), crop.K_crop)
    return {
        "image": image,
        "K": crop.K_crop,
        "joints": joints + translation,
        "vertices": vertices + translation,
        "global_orient": fits.global_orient[index],
        "hand_pose": fits.hand_pose[index],
        "betas": fits.betas[index],
        "is_right": True,
        "presence": True,
    }


def flat_sample(arrays: ManoArrays, photo: LabelledPhoto) -> Sample:
    """A sample labelled in the picture alone: ``has_3d`` False, joints on their keypoints' rays at one depth."""
    image, crop = _cut_out(photo)
    pixels = crop.apply_points_2d(photo.keypoints_2d)
    rays = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1) @ np.linalg.inv(crop.K_crop).T
    joints = FLAT_DEPTH_M * rays
    return {
        "image": image,
        "K": crop.K_crop,
        "joints": joints,
        "vertices": np.tile(joints.mean(0), (len(arrays.v_template), 1)),
        "global_orient": np.eye(3),
        "hand_pose": np.tile(np.eye(3), (15, 1, 1)),
        "betas": np.zeros(10),
        "is_right": True,
        "presence": True,
        "has_3d": False,
    }


def _cut_out(photo: LabelledPhoto) -> tuple[NDArray[np.uint8], CropTransform]:
    """The stored picture (PICTURE_SIZE, PICTURE_SIZE, 3) of a photo, shown as a right hand, and how it was cropped."""
    image = read_image(photo.path)
    height, width = image.shape[:2]
    K = intrinsics_from_fov(width, height, photo.fov_deg)
    box = box_around(photo.keypoints_2d, PICTURE_PADDING)
    crop = CropTransform.from_box(box, K, PICTURE_SIZE, mirror=not photo.is_right, perspective=False)
    return crop.apply_image(image, border=cv2.BORDER_REPLICATE), crop


def _fit(arrays: ManoArrays, photos: Sequence[LabelledPhoto]) -> FittedHands:
    joints, keypoints, _ = _as_right(photos)
    return fit_hands(arrays, joints, keypoints)


def _as_right(photos: Sequence[LabelledPhoto]) -> tuple[Array, Array, Array]:
    """joints (B, 21, 3) and keypoints (B, 21, 2), a left hand's as of the right one that it is the mirror of, and the
    sign (B, 1, 3) that takes them back.
    """
    sign = np.array([[1.0 if photo.is_right else -1.0, 1, 1] for photo in photos])[:, None]
    joints = np.stack([photo.joints for photo in photos if photo.joints is not None]) * sign
    keypoints = np.stack([photo.keypoints_2d for photo in photos]) * sign[..., :2]
    return joints, keypoints, sign
