"""One labelled picture on its way from a source to a loss: whole, cropped, and stacked into a batch.

Lengths are metres, pixels those of the picture (of the crop, once it is cropped); rotations are absolute matrices in
MANO's order. Joints and vertices are in the camera's frame, in a crop in that of the crop's virtual camera.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypedDict

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from handmesh.data.crop_parameters import CropParameters


class HandLabels(TypedDict):
    """The hand in a picture and the camera that sees it."""

    K: np.ndarray  # (3, 3)
    joints: np.ndarray  # (21, 3); without has_3d at any depth on the rays of the keypoints
    vertices: np.ndarray  # (778, 3)
    global_orient: np.ndarray  # (3, 3), meaningful with has_mano, as the next two
    hand_pose: np.ndarray  # (15, 3, 3)
    betas: np.ndarray  # (10,)
    is_right: bool
    presence: bool  # whether there is a hand


class Sample(HandLabels, total=False):
    """A whole picture with its labels. A source to train on gives the first four; the rest where it has it."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    has_mano: bool
    visibility: np.ndarray  # (21,) 0..1
    index: int
    has_3d: bool  # whether joints and vertices are labels; True when absent
    mask: np.ndarray  # (H, W) bool, the hand's
    scale: float  # length of the reference bone
    box_xyxy: np.ndarray  # (4,): where a picture without a hand is cropped


class CropLabels(TypedDict):
    """A crop and its labels as the network sees them: float32, flags 0 or 1."""

    image: np.ndarray  # (S, S, 3) uint8 RGB; the whole picture where crop_parameters say how to cut it
    K_crop: np.ndarray  # (3, 3)
    joints: np.ndarray  # (21, 3)
    vertices: np.ndarray  # (778, 3)
    keypoints_2d: np.ndarray  # (21, 2)
    global_orient: np.ndarray  # (3, 3)
    hand_pose: np.ndarray  # (15, 3, 3)
    betas: np.ndarray  # (10,)
    visibility: np.ndarray  # (21,)
    has_mano: np.ndarray
    has_3d: np.ndarray
    presence: np.ndarray
    is_right: np.ndarray  # as shown in the crop
    index: np.int64


class CropSample(CropLabels, total=False):
    """A crop, or a whole picture with the parameters that make one of it on the network's device."""

    crop_parameters: CropParameters


class TeacherOutput(NamedTuple):
    """What a teacher makes of a batch."""

    joints: Tensor  # (B, 21, 3)
    vertices: Tensor  # (B, 778, 3)
    rotations: Tensor  # (B, 16, 3, 3)
    betas: Tensor  # (B, 10)
    maps: list[Tensor]  # its last maps (B, C, H, W), finest first


class Batch(TypedDict, total=False):
    """Crop samples stacked: the same names, with a first axis of B."""

    image: Tensor
    K_crop: Tensor
    joints: Tensor
    vertices: Tensor
    keypoints_2d: Tensor
    global_orient: Tensor
    hand_pose: Tensor
    betas: Tensor
    visibility: Tensor
    has_mano: Tensor
    has_3d: Tensor  # presence when absent
    presence: Tensor
    is_right: Tensor
    index: Tensor
    weight: Tensor  # trust in a sample, 1 when absent; below 1 for labels made by a model
    crop_parameters: CropParameters
    teacher: TeacherOutput
