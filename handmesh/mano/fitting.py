"""A hand model fitted to landmarks: pose, shape and orientation whose joints lie where a landmark model sees them.

Turns 21 points in the picture and 21 rough points in space into parameters of the hand model, inside the joints'
anatomical ranges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handmesh.geometry.alignment import similarity_align
from handmesh.geometry.rotation import axis_angle_to_matrix, matrix_to_rotation_6d, rotation_6d_to_matrix
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.layers.joint_layer import JointLayer
from handmesh.mano.prior.joint_limits import joint_axes, pose_limits
from handmesh.skeleton import FINGERTIP_VERTICES, ROOT_JOINT

#: The palm: joints that hardly move against one another, for a first orientation.
_PALM = [0, 5, 9, 13, 17]
_WEIGHT_2D = 1.0
_WEIGHT_3D = 0.7
_WEIGHT_ANGLES = 2e-4
_WEIGHT_BETAS = 1e-3


@dataclass(frozen=True, eq=False)
class FittedHands:
    """Fits of B hands, in the axes of the points they were fitted to.

    Attributes:
        global_orient: (B, 3, 3).
        hand_pose: (B, 15, 3, 3) absolute matrices.
        betas: (B, 10).
        joints: (B, 21, 3) the model's joints, metres.
        error_mm: (B,) mean distance to the 3D points after similarity alignment.
        error_2d: (B,) mean distance to the 2D points after the best scale and shift, as a share of their box's side.
    """

    global_orient: NDArray[np.float32]
    hand_pose: NDArray[np.float32]
    betas: NDArray[np.float32]
    joints: NDArray[np.float32]
    error_mm: NDArray[np.float64]
    error_2d: NDArray[np.float64]


def fit_hands(
    arrays: ManoArrays, joints: NDArray[np.floating], keypoints_2d: NDArray[np.floating], steps: int = 250
) -> FittedHands:
    """Fit right hands to landmarks by Adam on joint angles, orientation and betas.

    Args:
        arrays: the hand model.
        joints: (B, 21, 3) metres, camera axes, any origin; their overall size is ignored.
        keypoints_2d: (B, 21, 2) pixels of any picture; scale and shift are solved in closed form (weak perspective).
        steps: iterations; 250 take about 40 seconds for 500 hands on two cores.

    Returns:
        Parameters of each hand, its joints, and how far both are from the landmarks.
    """
    layer = JointLayer(arrays)
    target = torch.as_tensor(np.asarray(joints), dtype=torch.float32)
    target = target - target[:, ROOT_JOINT : ROOT_JOINT + 1]
    pixels = torch.as_tensor(np.asarray(keypoints_2d), dtype=torch.float32)
    side = (pixels.amax(1) - pixels.amin(1)).amax(-1).clamp_min(1e-6)
    pixels = (pixels - pixels.mean(1, keepdim=True)) / side[:, None, None]
    pose = _Pose(arrays, len(target))
    pose.start_at(_first_orientation(layer, target))
    optimizer = torch.optim.Adam(pose.parameters(), lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=1e-3)
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        orient, hand_pose = pose.rotations()
        found = layer(orient, hand_pose, pose.betas)
        residual_3d, residual_2d = _residuals(found, target, pixels)
        # Sums over the batch, so that one hand's fit does not depend on the others'.
        loss = (_WEIGHT_3D * residual_3d.mean(-1) + _WEIGHT_2D * residual_2d.mean(-1)).sum()
        loss = loss + _WEIGHT_ANGLES * pose.raw.square().sum() + _WEIGHT_BETAS * pose.betas.square().sum()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        orient, hand_pose = pose.rotations()
        found = layer(orient, hand_pose, pose.betas)
        _, residual_2d = _residuals(found, target, pixels)
    aligned, _ = similarity_align(found.numpy(), target.numpy(), allow_reflection=False)
    error_mm = 1000 * np.linalg.norm(aligned - target.numpy(), axis=-1).mean(-1)
    return FittedHands(
        orient.numpy(), hand_pose.numpy(), pose.betas.detach().numpy(), found.numpy(), error_mm,
        residual_2d.mean(-1).double().numpy(),
    )  # fmt: skip


class _Pose(torch.nn.Module):
    """Orientation, joint angles and betas of B hands, as free numbers."""

    def __init__(self, arrays: ManoArrays, batch: int) -> None:
        super().__init__()
        rest = arrays.J_regressor @ arrays.v_template
        tips = arrays.v_template[list(FINGERTIP_VERTICES["freihand"])]
        low, high = pose_limits()
        self.axes = torch.as_tensor(joint_axes(rest, tips), dtype=torch.float32)
        self.low = torch.as_tensor(low, dtype=torch.float32)
        self.range = torch.as_tensor(high - low, dtype=torch.float32)
        self.orient_6d = torch.nn.Parameter(torch.zeros(batch, 6))
        # A sigmoid keeps every angle inside its range; zero is the middle, so start where the angle itself is zero.
        share = (0.15 - self.low / self.range).clamp(0.05, 0.95)
        self.raw = torch.nn.Parameter(torch.logit(share).expand(batch, 15, 3).clone())
        self.betas = torch.nn.Parameter(torch.zeros(batch, 10))

    def start_at(self, orient: Tensor) -> None:
        with torch.no_grad():
            self.orient_6d.copy_(matrix_to_rotation_6d(orient))

    def rotations(self) -> tuple[Tensor, Tensor]:
        """global_orient (B, 3, 3) and hand_pose (B, 15, 3, 3)."""
        angles = self.low + self.range * torch.sigmoid(self.raw)
        flexion, abduction, twist = (axis_angle_to_matrix(angles[..., k, None] * self.axes[:, k]) for k in range(3))
        return rotation_6d_to_matrix(self.orient_6d), abduction @ flexion @ twist


def distances_in_space(found: Tensor, target: Tensor) -> Tensor:
    """How far joints lie from others of any size, (B, 21), in units of the hand's extent.

    Args:
        found: (B, 21, 3) metres.
        target: (B, 21, 3) from its root; it is scaled to the size that fits best.
    """
    relative = found - found[:, ROOT_JOINT : ROOT_JOINT + 1]
    scale = (relative * target).sum((1, 2)) / target.square().sum((1, 2)).clamp_min(1e-9)
    extent = relative.detach().norm(dim=-1).amax(-1)
    return (relative - scale[:, None, None] * target).norm(dim=-1) / extent[:, None]


def _residuals(found: Tensor, target: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Distances (B, 21) in 3D, in units of the hand's extent, and in 2D, as a share of the box."""
    flat = found[..., :2] - found[..., :2].mean(1, keepdim=True)
    zoom = (flat * pixels).sum((1, 2)) / flat.square().sum((1, 2)).clamp_min(1e-9)
    residual_2d = (zoom[:, None, None] * flat - pixels).norm(dim=-1)
    return distances_in_space(found, target), residual_2d


def _first_orientation(layer: JointLayer, target: Tensor) -> Tensor:
    """(B, 3, 3) that lays the resting palm onto the target's palm (Kabsch)."""
    eye = torch.eye(3)
    rest = layer(eye[None], eye.expand(1, 15, 3, 3), torch.zeros(1, 10))
    source = (rest[:, _PALM] - rest[:, _PALM].mean(1, keepdim=True)).expand(len(target), -1, -1)
    goal = target[:, _PALM] - target[:, _PALM].mean(1, keepdim=True)
    u, _, vt = torch.linalg.svd(goal.transpose(1, 2) @ source)
    sign = torch.linalg.det(u @ vt)
    u = torch.cat([u[..., :2], u[..., 2:] * sign[:, None, None]], -1)
    return u @ vt
