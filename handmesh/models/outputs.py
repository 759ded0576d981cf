"""What a head and the whole network give, as named tensors, and the weak-perspective camera that both speak of.

That camera (s, tx, ty) sees a point (x, y, z), metres, at s (x + tx), s (y + ty) in -1..1 over the crop.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class HeadDetails(NamedTuple):
    """What only losses look at, of a head with heatmaps and joint tokens."""

    heatmap_logits: Tensor  # (B, 21, cells), row by row
    points: Tensor  # (B, 21, 2) in -1..1 over the crop, the heatmaps' expectation
    lifted: Tensor  # (B, 21, 3) metres, relative to the root joint
    tokens: Tensor  # (B, 21, width)


class HeadOutput(NamedTuple):
    """A head's answer about each picture."""

    rotations: Tensor  # (B, 16, 3, 3), MANO order, absolute
    betas: Tensor  # (B, 10)
    camera: Tensor | None  # (B, 3) weak perspective; None: to be fitted to the keypoints
    keypoints_2d: Tensor | None  # (B, 21, 2) in -1..1 over the crop; None: the projected joints
    confidence: Tensor | None  # (B, 21) logits
    presence: Tensor  # (B,) logit
    is_right: Tensor  # (B,) logit
    details: HeadDetails | None


class HandMeshOutput(NamedTuple):
    """One hand a picture, in the crop's own (virtual) camera, translation 0. Metres and crop pixels."""

    vertices: Tensor  # (B, 778, 3)
    joints: Tensor  # (B, 21, 3)
    rotations: Tensor  # (B, 16, 3, 3), MANO order, absolute
    betas: Tensor  # (B, 10)
    camera: Tensor  # (B, 3) weak perspective
    keypoints_2d: Tensor  # (B, 21, 2)
    confidence: Tensor  # (B, 21), 0..1
    presence: Tensor  # (B,), probability that a hand is there
    is_right: Tensor  # (B,), probability that the picture, as shown, is of a right hand


def to_pixels(points: Tensor, size: int) -> Tensor:
    """-1..1 over a crop of ``size`` pixels -> crop pixels, a pixel's centre at whole numbers."""
    return (points + 1.0) * (size / 2) - 0.5


def project(joints: Tensor, camera: Tensor) -> Tensor:
    """joints (B, J, 3) and weak-perspective camera (B, 3) -> (B, J, 2) in -1..1 over the crop."""
    return camera[:, None, :1] * (joints[..., :2] + camera[:, None, 1:])


def fit_camera(joints: Tensor, keypoints: Tensor) -> Tensor:
    """The weak-perspective camera (B, 3) that brings joints (B, J, 3) nearest to keypoints (B, J, 2) in -1..1.

    Least squares in closed form: the scale is a covariance over a variance, the shift follows from the means.
    """
    xy = joints[..., :2]
    centre, target = xy.mean(1, keepdim=True), keypoints.mean(1, keepdim=True)
    moved = xy - centre
    covariance = (moved * (keypoints - target)).sum((1, 2))
    variance = (moved * moved).sum((1, 2))
    # A hand never fills less than 1 / 20 of its crop; the floor keeps the inverse below finite.
    scale = (covariance / (variance + 1e-8)).clamp(min=0.5, max=100.0).unsqueeze(-1)
    return torch.cat([scale, target[:, 0] / scale - centre[:, 0]], dim=-1)
