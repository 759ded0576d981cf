"""Photos without annotation, made into a data set in FreiHAND's layout by a landmark model and a fit.

The landmark model's points (photo_sets.py) become parameters of the hand model (mano/fitting.py), which are drawn to
the hand's outline where a network segments the photo (outline_fit.py); what the views or the fit disagree on is left
out. Left hands are stored mirrored, as right ones. Held-out photos go to the evaluation split.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

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
from handmesh.io.runtime.worker_threads import map_in_threads
from handmesh.labeling.compositing import cut_out, on_backgrounds
from handmesh.labeling.landmark_correction import correction_for
from handmesh.labeling.outline_fit import PlacedHands, SeenHands, beyond_the_wrist, fit_to_outlines, overlap
from handmesh.labeling.photo_sets import LabelledPhoto
from handmesh.labeling.plain_ground import hand_before_plain_ground
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.fitting import FittedHands, fit_hands
from handmesh.mano.layers.numpy_layer import pose_vertices
from handmesh.synthesis.backgrounds.pool import Backgrounds

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
#: The probability (H, W) that each pixel of a picture (H, W, 3) is hand, as FastVitDetector.segment gives it.
Segment = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

PICTURE_SIZE = 224
#: Side of the stored picture over the box of the 21 joints: room for the crops of training.
PICTURE_PADDING = 2.0
#: How much an outline before plain ground counts beside the landmarks: with 1, 2 and 3 the labels' overlap with it was
#: 0.905, 0.917 and 0.924, their joints 1.11, 1.20 and 1.27 per cent of the box from the landmarks (without any 1.47).
_PLAIN_TRUST = 2.0
#: Overlap of the network's mask and a segmentation by colour from which the latter is taken, and how much that counts.
#: On photos' hands before other scenes the network's overlap with the truth was 0.905, so chosen 0.926; the labels'
#: 0.894 with the network's, then 0.899, 0.903 and 0.907 with 1, 1.5 and 2, their joints 1.04, 1.04, 1.08 and 1.13 %.
_LEAST_AGREEMENT, _AGREED_TRUST = 0.8, 1.5
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
    segment: Segment | None = None,
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
        segment: says which pixels are hand; the fits' outlines are drawn to theirs. Without it landmarks decide alone.

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
            in_picture = [i for i in range(len(chunk)) if fits.error_2d[i] <= MAX_ERROR_2D]
            in_space = [i for i in in_picture if fits.error_mm[i] <= MAX_ERROR_MM and chunk[i].has_depth]
            samples = dict(zip(in_space, make_samples(arrays, chunk, fits, in_space, segment), strict=True))
            copied_from = [i for i in in_space if copies and not chunk[i].is_held_out]
            alphas = dict(zip(copied_from, _alphas(arrays, [samples[i] for i in copied_from]), strict=True))
            for i in in_picture:
                photo = chunk[i]
                if i not in samples:
                    if keep_flat and not photo.is_held_out:
                        training.add(flat_sample(arrays, photo))
                        flat += 1
                    continue
                sample = samples[i]
                writers[photo.is_held_out].add(sample)
                counts[photo.is_held_out] += 1
                for copy in on_backgrounds(sample, alphas.get(i), scenes, copies, rng):
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


def shipped_segmentation() -> Segment | None:
    """Our own detector's; None in a package that was built without its weights."""
    from handmesh.inference.detectors.fastvit import FastVitDetector, is_shipped

    return FastVitDetector().segment if is_shipped() else None


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


def make_samples(
    arrays: ManoArrays, photos: Sequence[LabelledPhoto], fits: FittedHands, chosen: Sequence[int],
    segment: Segment | None = None,
) -> list[Sample]:
    """Samples as :class:`handmesh.data.freihand.FreiHandDataset` gives them, from photos and their fits.

    The picture is a plain square crop round the hand, mirrored for a left hand; the camera's field of view is assumed
    (the photo's fov_deg), and the hand stands where its joints project onto the landmarks.

    Args:
        arrays: the hand model of the fits.
        photos: the labelled photos.
        fits: of all of them.
        chosen: which of them become samples.
        segment: as :func:`write_pseudo_labelled` takes it.
    """
    cuts = [_cut_out(photos[i]) for i in chosen]
    if not cuts:
        return []
    hands = _placed(arrays, [photos[i] for i in chosen], cuts, fits, chosen)
    if segment is not None:
        hands = fit_to_outlines(arrays, hands, _seen(arrays, [photos[i] for i in chosen], cuts, hands, segment))
    samples: list[Sample] = []
    each = zip(cuts, hands.global_orient, hands.hand_pose, hands.betas, hands.translation, strict=True)
    for cut, orient, pose, betas, place in each:
        vertices, joints = pose_vertices(arrays, orient, pose, betas)
        samples.append({
            "image": cut.picture,
            "K": cut.crop.K_crop,
            "joints": joints + place,
            "vertices": vertices + place,
            "global_orient": orient,
            "hand_pose": pose,
            "betas": betas,
            "is_right": True,
            "presence": True,
        })  # fmt: skip
    return samples


def flat_sample(arrays: ManoArrays, photo: LabelledPhoto) -> Sample:
    """A sample labelled in the picture alone: ``has_3d`` False, joints on their keypoints' rays at one depth."""
    _, image, crop = _cut_out(photo)
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


class _CutOut(NamedTuple):
    """A photo (H, W, 3), the stored picture of it (PICTURE_SIZE, PICTURE_SIZE, 3), which shows the hand as a right one,
    and how that was cropped.
    """

    photo: NDArray[np.uint8]
    picture: NDArray[np.uint8]
    crop: CropTransform


def _cut_out(photo: LabelledPhoto) -> _CutOut:
    image = read_image(photo.path)
    height, width = image.shape[:2]
    K = intrinsics_from_fov(width, height, photo.fov_deg)
    box = box_around(photo.keypoints_2d, PICTURE_PADDING)
    crop = CropTransform.from_box(box, K, PICTURE_SIZE, mirror=not photo.is_right, perspective=False)
    return _CutOut(image, crop.apply_image(image, border=cv2.BORDER_REPLICATE), crop)


def _placed(
    arrays: ManoArrays, photos: Sequence[LabelledPhoto], cuts: Sequence[_CutOut], fits: FittedHands,
    chosen: Sequence[int],
) -> PlacedHands:
    """The chosen fits, each where its joints project onto its photo's landmarks."""
    rows = list(chosen)
    orient, pose, betas = fits.global_orient[rows], fits.hand_pose[rows], fits.betas[rows]
    _, joints = pose_vertices(arrays, orient, pose, betas)
    places = [
        fit_translation(each, cut.crop.apply_points_2d(photo.keypoints_2d), cut.crop.K_crop)
        for each, cut, photo in zip(joints, cuts, photos, strict=True)
    ]
    return PlacedHands(orient, pose, betas, np.stack(places))


def _seen(
    arrays: ManoArrays, photos: Sequence[LabelledPhoto], cuts: Sequence[_CutOut], hands: PlacedHands, segment: Segment
) -> SeenHands:
    """The hands of the stored pictures: landmarks, pixels, and where these count: in the photo, short of the arm."""
    vertices = pose_vertices(arrays, hands.global_orient, hands.hand_pose, hands.betas)[0] + hands.translation[:, None]
    points = [cut.crop.apply_points_2d(photo.keypoints_2d) for photo, cut in zip(photos, cuts, strict=True)]
    joints = [
        cut.crop.apply_points_3d(np.asarray(photo.joints, np.float64))
        for photo, cut in zip(photos, cuts, strict=True)
    ]

    def pixels(number: int) -> tuple[Mask, Mask, float]:
        cut = cuts[number]
        in_photo = _cropped(cut, np.ones(cut.photo.shape[:2]), 254)
        counts = in_photo & ~beyond_the_wrist(points[number], PICTURE_SIZE)
        # Colour tells a hand's outline more exactly than the network.
        mask = hand_before_plain_ground(cut.picture, points[number], in_photo)
        if mask is not None:
            return mask, counts, _PLAIN_TRUST
        mask, trust = _segmented(arrays, cut, vertices[number], counts, segment)
        return mask, counts, trust

    masks, counts, trust = zip(*map_in_threads(pixels, range(len(cuts))), strict=True)
    K = np.stack([np.asarray(cut.crop.K_crop, np.float64) for cut in cuts])
    return SeenHands(K, np.stack(points), np.stack(joints), np.stack(masks), np.stack(counts), np.array(trust))


def _alphas(arrays: ManoArrays, samples: Sequence[Sample]) -> list[NDArray[np.float32] | None]:
    """How much of each pixel of the samples' pictures is hand or arm; None where that cannot be told."""

    def alpha(sample: Sample) -> NDArray[np.float32] | None:
        return cut_out(sample["image"], sample["vertices"], arrays.faces, sample["K"])

    return list(map_in_threads(alpha, samples))


def _segmented(
    arrays: ManoArrays, cut: _CutOut, mesh: Array, counts: Mask, segment: Segment
) -> tuple[Mask, float]:
    """A hand's pixels before any ground, and their trust: a segmentation by colour that starts from the mesh (778, 3),
    where it agrees with the network's, else the network's.
    """
    told = _cropped(cut, segment(cut.photo), 127)
    alpha = cut_out(cut.picture, mesh, arrays.faces, cut.crop.K_crop)
    if alpha is not None and overlap((alpha > 0.5) & counts, told & counts) >= _LEAST_AGREEMENT:
        return alpha > 0.5, _AGREED_TRUST
    return told, 1.0


def _cropped(cut: _CutOut, shares: NDArray[np.floating], above: int) -> Mask:
    """Where the stored picture of a photo's (H, W) shares, 0..1, is above a grey level, 0..255."""
    grey = np.rint(255 * shares).astype(np.uint8)
    return np.asarray(cut.crop.apply_image(np.repeat(grey[..., None], 3, axis=2))[..., 0] > above)


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
