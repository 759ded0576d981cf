"""Rotations as unit quaternions (x, y, z, w), the form that files hold: back and forth, and without jumps in time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]


def to_matrix(quaternions: FloatArray) -> NDArray[np.float64]:
    """(..., 4) quaternions x y z w -> (..., 3, 3) rotations."""
    # Imported here: it takes a third of a second, which the start of a live view does without.
    from scipy.spatial.transform import Rotation

    quaternions = np.array(quaternions, np.float64)  # a copy: scipy wants to be able to write
    flat = Rotation.from_quat(quaternions.reshape(-1, 4)).as_matrix()
    return np.asarray(flat.reshape(*quaternions.shape[:-1], 3, 3))


def to_quaternion(matrices: FloatArray, before: FloatArray | None = None) -> NDArray[np.float64]:
    """Rotations as unit quaternions without jumps of the sign.

    Args:
        matrices: (..., 3, 3).
        before: (..., 4) quaternions of the frame before, or None: then w is not negative.

    Returns:
        (..., 4) x y z w, the sign nearer to ``before``.
    """
    from scipy.spatial.transform import Rotation

    matrices = np.array(matrices, np.float64)
    found = Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_quat().reshape(*matrices.shape[:-2], 4)
    agreement = found[..., 3] if before is None else (found * before).sum(-1)
    return np.asarray(np.where(agreement[..., None] < 0, -found, found))


def continuous_signs(quaternions: FloatArray) -> NDArray[np.float64]:
    """Quaternions (T, ..., 4) with the sign of each nearer to the one before; the first is kept."""
    quaternions = np.asarray(quaternions, np.float64)
    jumps = np.where((quaternions[1:] * quaternions[:-1]).sum(-1) < 0, -1.0, 1.0)
    signs = np.concatenate([np.ones((1, *quaternions.shape[1:-1])), np.cumprod(jumps, axis=0)])
    return np.asarray(quaternions * signs[..., None])
