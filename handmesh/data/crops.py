"""From a labelled picture to a training crop: the image and every label go through one CropTransform
together.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from handmesh.config import AugmentConfig
from handmesh.data.augment import degrade, draw_light, jitter_colour, occlude, shade
from handmesh.data.gpu_augment import draw_parameters
from handmesh.data.sample import CropSample, Sample
from handmesh.geometry.camera import project_points
from handmesh.geometry.crop import CropTransform, box_around, mirror_pose, roll_of

#: The share of hands that augment.stretch stretches: the others keep MANO's pose and shape as labels.
_STRETCHED = 0.5
#: In the order of gpu_augment.BORDERS.
_BORDERS = (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT_101)


def sample_box(sample: Sample, padding: float, rotation_deg: float = 0.0) -> np.ndarray:
    """The square box a sample is cropped to: around its 21 joints, or its own box_xyxy, or the central square.

    Args:
        sample: one without a hand has a box of its own or none.
        padding: side of the box over the joints' extent; not applied to a sample without a hand.
        rotation_deg: roll of the crop the box is for; the joints' extent is measured along that crop's axes.

    Returns:
        box_xyxy (4,) in pixels of the picture.
    """
    if sample["presence"]:
        return box_around(project_points(sample["joints"], sample["K"]), padding, rotation_deg)
    box = sample.get("box_xyxy")
    if box is not None:
        return np.asarray(box, np.float64)
    height, width = sample["image"].shape[:2]
    half = min(height, width) / 2
    return np.array([width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half])


def crop_sample(
    sample: Sample, crop: CropTransform, border: int = cv2.BORDER_CONSTANT, with_image: bool = True
) -> CropSample:
    """Crop a sample: labels in the crop's (virtual, perhaps mirrored) camera frame.

    Args:
        sample: picture and labels in the camera's frame.
        crop: the crop.
        border: cv2's rule for what lies outside the picture.
        with_image: crop the picture too; else the whole picture stands under ``image``.
    """
    present = bool(sample["presence"])
    joints = crop.apply_points_3d(sample["joints"])
    hand_pose = mirror_pose(sample["hand_pose"]) if crop.is_mirrored else sample["hand_pose"]
    keypoints_2d = project_points(joints, crop.K_crop) if present else np.zeros((21, 2))
    labels = {
        "K_crop": crop.K_crop,
        "joints": joints,
        "vertices": crop.apply_points_3d(sample["vertices"]),
        "keypoints_2d": keypoints_2d,
        "global_orient": crop.apply_rotation(sample["global_orient"]),
        "hand_pose": hand_pose,
        "betas": sample["betas"],
        "visibility": sample["visibility"],
        "has_mano": sample["has_mano"],
        "has_3d": present and sample.get("has_3d", True),
        "presence": present,
        "is_right": bool(sample["is_right"]) != crop.is_mirrored,
    }
    numbers = {key: np.asarray(value, np.float32) for key, value in labels.items()}
    image = crop.apply_image(sample["image"], border=border) if with_image else np.asarray(sample["image"])
    return cast(CropSample, {"image": image, **numbers, "index": np.int64(sample["index"])})


def stretch_sample(sample: Sample, ratio: float) -> Sample:
    """A sample as a picture of a hand that is ``ratio`` times as wide for its height, along the picture's sides.

    The pixels stay: the camera is said to have pixels that are not square, and the hand to be as much wider. A crop,
    whose pixels are square, then shows it so. A stretched hand is none of MANO's, so pose and shape are no labels.

    Args:
        sample: picture and labels in the camera's frame.
        ratio: above 0; 1 changes nothing but the labels that count.
    """
    widen = np.array([ratio**0.5, ratio**-0.5, 1.0])
    return cast(Sample, {
        **sample,
        "K": sample["K"] / widen,
        "joints": sample["joints"] * widen,
        "vertices": sample["vertices"] * widen,
        "has_mano": False,
    })  # fmt: skip


def plain_crop(
    sample: Sample, size: int, padding: float, perspective: bool = True, upright: bool = False
) -> CropSample:
    """The crop of a sample's own box, without any change.

    Args:
        sample: picture and labels in the camera's frame.
        size: side of the crop, pixels.
        padding: side of the crop over the joints' extent.
        perspective: turn the virtual camera to the hand.
        upright: roll the crop so that the middle finger points up (by the true joints).
    """
    roll = _roll(sample) if upright else 0.0
    box = sample_box(sample, padding, roll)
    return crop_sample(sample, CropTransform.from_box(box, sample["K"], size, roll, perspective=perspective))


def random_crop(
    sample: Sample,
    rng: np.random.Generator,
    augment: AugmentConfig,
    size: int,
    padding: float,
    perspective: bool = True,
) -> CropSample:
    """A training crop: perhaps stretched, box scaled, shifted and rolled at random, perhaps mirrored, then light,
    colour and degradation.

    Args:
        sample: picture and labels in the camera's frame.
        rng: draws everything.
        augment: how far; with ``on_device`` the picture stays whole, and :func:`finish` crops it later.
        size: side of the crop, pixels.
        padding: side of the crop over the joints' extent, before scaling.
        perspective: turn the virtual camera to the hand.

    Returns:
        As :func:`crop_sample`; visibility is 0 where the occluder hides a joint.
    """
    if augment.stretch > 0 and sample["presence"] and rng.random() < _STRETCHED:
        sample = stretch_sample(sample, 1 + rng.uniform(-augment.stretch, augment.stretch))
    if rng.random() < augment.full_circle:
        roll = rng.uniform(-180, 180)
    else:
        roll = (_roll(sample) if augment.upright else 0.0) + rng.normal(0, augment.rotation_deg)
    box = sample_box(sample, padding, roll)
    side = max(box[2] - box[0], box[3] - box[1])
    centre = (box[:2] + box[2:]) / 2 + rng.uniform(-augment.shift, augment.shift, 2) * side
    half = side / 2 * (1 + rng.uniform(-augment.scale, augment.scale))
    crop = CropTransform.from_box(
        np.concatenate([centre - half, centre + half]),
        sample["K"],
        size,
        rotation_deg=float(roll),
        mirror=bool(rng.random() < augment.mirror),
        perspective=perspective,
    )
    # Rendered and packed pictures end near the hand; a real frame goes on. No one border must become a cue.
    border = int(rng.integers(len(_BORDERS)))
    result = crop_sample(sample, crop, _BORDERS[border], with_image=not augment.on_device)
    if augment.on_device:
        parameters = draw_parameters(rng, augment, crop, border, result["keypoints_2d"], present=sample["presence"])
        return {**result, "crop_parameters": parameters}
    image = result["image"]
    if sample["presence"] and rng.random() < augment.degrade:
        image, hidden = occlude(image, result["keypoints_2d"], rng)
        result["visibility"] = np.where(hidden, np.float32(0), result["visibility"])
    image = jitter_colour(shade(image, draw_light(rng, augment.light)), rng, augment.colour)
    result["image"] = degrade(image, rng, augment.degrade, augment.sharpen)
    return result


def _roll(sample: Sample) -> float:
    if not sample["presence"]:
        return 0.0
    return roll_of(project_points(sample["joints"], sample["K"]))
