"""Axis-angle and matrices in numpy and scipy: the float64 twins of rotation.py for what must run without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]


def expect_tail(name: str, shape: tuple[int, ...], tail: tuple[int, ...]) -> None:
    """Check how a shape ends.

    Args:
        name: of the array, for the message.
        shape: of the array.
        tail: how the shape has to end.

    Raises:
        ValueError: it ends in another way.
    """
    if tuple(shape[-len(tail) :]) != tail:
        wanted = ", ".join(str(size) for size in tail)
        raise ValueError(f"expected {name} of shape (..., {wanted}), got {tuple(shape)}")


def axis_angle_to_matrix_np(axis_angle: FloatArray) -> NDArray[np.float64]:
    """(..., 3) radians -> (..., 3, 3) float64."""
    # Imported here: it takes a third of a second, which the start of a live view does without.
    from scipy.spatial.transform import Rotation

    # A copy: scipy wants to be able to write, and a packed data set's labels are mapped read-only.
    vector = np.array(axis_angle, np.float64)
    expect_tail("axis_angle", vector.shape, (3,))
    flat = Rotation.from_rotvec(vector.reshape(-1, 3)).as_matrix() if vector.size else np.empty((0, 3, 3))
    return np.asarray(flat.reshape(*vector.shape[:-1], 3, 3))


def matrix_to_axis_angle_np(matrix: FloatArray) -> NDArray[np.float64]:
    """(..., 3, 3) -> (..., 3) radians, angle in [0, pi]; exact near both 0 and pi (by way of the quaternion).

    Not scipy's, which makes each matrix orthogonal first: 93 microseconds for the 16 rotations of a hand, for 154.
    """
    m = np.asarray(matrix, np.float64)
    expect_tail("matrix", m.shape, (3, 3))
    m00, m11, m22 = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    # Four ways to write the quaternion, each scaled by its own largest part (Shepperd 1978); the best-conditioned wins.
    rows = np.stack(
        [
            np.stack([1 + m00 + m11 + m22, m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0],
                      m[..., 1, 0] - m[..., 0, 1]], -1),
            np.stack([m[..., 2, 1] - m[..., 1, 2], 1 + m00 - m11 - m22, m[..., 1, 0] + m[..., 0, 1],
                      m[..., 0, 2] + m[..., 2, 0]], -1),
            np.stack([m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] + m[..., 0, 1], 1 - m00 + m11 - m22,
                      m[..., 2, 1] + m[..., 1, 2]], -1),
            np.stack([m[..., 1, 0] - m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2],
                      1 - m00 - m11 + m22], -1),
        ],
        -2,
    )  # fmt: skip
    best = np.argmax(np.diagonal(rows, axis1=-2, axis2=-1), -1)
    quaternion = np.take_along_axis(rows, best[..., None, None], -2)[..., 0, :]
    quaternion /= np.linalg.norm(quaternion, axis=-1, keepdims=True)
    quaternion *= np.where(quaternion[..., :1] < 0, -1.0, 1.0)
    sine = np.linalg.norm(quaternion[..., 1:], axis=-1)
    angle = 2 * np.arctan2(sine, quaternion[..., 0])
    factor = np.where(sine < 1e-9, 2.0, angle / np.where(sine < 1e-9, 1.0, sine))
    return quaternion[..., 1:] * factor[..., None]
