"""Rotations: 6D, matrix and axis-angle, batched over any leading shape, in torch and where needed in numpy.

6D is what the network predicts (Zhou et al., "On the Continuity of Rotation Representations", CVPR 2019): the first
two columns of the matrix. Matrices are used inside, axis-angle (radians) only at files.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from handmesh.geometry.rotation_numpy import axis_angle_to_matrix_np as axis_angle_to_matrix_np
from handmesh.geometry.rotation_numpy import expect_tail
from handmesh.geometry.rotation_numpy import matrix_to_axis_angle_np as matrix_to_axis_angle_np


def rotation_6d_to_matrix(d6: Tensor) -> Tensor:
    """(..., 6) -> (..., 3, 3) by Gram-Schmidt; d6 holds the first column, then the second (Zhou et al. 2019)."""
    expect_tail("d6", tuple(d6.shape), (6,))
    a, b = d6[..., :3], d6[..., 3:]
    x = torch.nn.functional.normalize(a, dim=-1, eps=1e-8)
    y = torch.nn.functional.normalize(b - (x * b).sum(-1, keepdim=True) * x, dim=-1, eps=1e-8)
    z = torch.stack(
        [
            x[..., 1] * y[..., 2] - x[..., 2] * y[..., 1],
            x[..., 2] * y[..., 0] - x[..., 0] * y[..., 2],
            x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0],
        ],
        dim=-1,
    )
    return torch.stack([x, y, z], dim=-1)


def matrix_to_rotation_6d(matrix: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 6): the first two columns, one after the other."""
    expect_tail("matrix", tuple(matrix.shape), (3, 3))
    return matrix[..., :, :2].transpose(-1, -2).reshape(*matrix.shape[:-2], 6)


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """(..., 3) radians -> (..., 3, 3) by Rodrigues' formula, smooth through zero."""
    expect_tail("axis_angle", tuple(axis_angle.shape), (3,))
    squared = (axis_angle * axis_angle).sum(-1)
    small = squared < 1e-8
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    # sin(t)/t and (1-cos t)/t^2, with their series where t is tiny, so that gradients at zero stay finite.
    a = torch.where(small, 1 - squared / 6, torch.sin(angle) / angle)
    b = torch.where(small, 0.5 - squared / 24, (1 - torch.cos(angle)) / safe)
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*axis_angle.shape[:-1], 3, 3)
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return identity + a[..., None, None] * cross + b[..., None, None] * (cross @ cross)


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 3) radians with angle in [0, pi]; goes by numpy in float64, so it carries no gradient."""
    expect_tail("matrix", tuple(matrix.shape), (3, 3))
    values = matrix_to_axis_angle_np(matrix.detach().cpu().double().numpy())
    return torch.from_numpy(np.ascontiguousarray(values)).to(matrix)
