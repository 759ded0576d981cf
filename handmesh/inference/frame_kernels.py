"""Compiled twins of small functions that every frame calls for every hand: in numpy the calls cost more than the work.

:func:`fit_translation` is geometry/camera.py's, :func:`filter_rotations` one step of a One-Euro filter in the rotation
group with the maps of geometry/rotation_numpy.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.io.runtime.kernels import njit

Array = NDArray[np.float64]
FloatArray = NDArray[np.floating[Any]]


def fit_translation(points: FloatArray, keypoints_2d: FloatArray, K: FloatArray, weights: FloatArray) -> Array:
    """The translation that puts points where they project onto pixels: geometry.camera.fit_translation, compiled.

    Args:
        points: (N, 3) in the camera's axes, any origin; metres or another unit.
        keypoints_2d: (N, 2) pixels.
        K: (3, 3) intrinsics, pixels.
        weights: (N,) non-negative.

    Returns:
        (3,) in the camera's frame, in the points' unit; not finite where there is none.
    """
    return _fit(_f64(points), _f64(keypoints_2d), _f64(K), _f64(weights))


def _f64(values: FloatArray) -> Array:
    return np.ascontiguousarray(values, np.float64)


@njit(cache=True, nogil=True, error_model="numpy")
def _fit(points: Array, keypoints: Array, K: Array, weights: Array) -> Array:
    found = np.zeros(3)
    for turn in range(2):
        total = wa = wb = wr = right_x = right_y = right_z = 0.0
        for n in range(len(points)):
            depth = points[n, 2] + found[2] if turn else 1.0
            w = weights[n] / max(depth, 1e-3) ** 2
            a, b = (keypoints[n, 0] - K[0, 2]) / K[0, 0], (keypoints[n, 1] - K[1, 2]) / K[1, 1]
            x, y = a * points[n, 2] - points[n, 0], b * points[n, 2] - points[n, 1]
            total += w
            wa += w * a
            wb += w * b
            wr += w * (a * a + b * b)
            right_x += w * x
            right_y += w * y
            right_z -= w * (a * x + b * y)
        # The first two rows give tx and ty by tz, the third then tz; the hair of damping is the numpy function's.
        own = total + 1e-12 * total
        found[2] = (right_z + (wa * right_x + wb * right_y) / own) / (wr + 1e-12 * total - (wa * wa + wb * wb) / own)
        found[0] = (right_x + wa * found[2]) / own
        found[1] = (right_y + wb * found[2]) / own
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def filter_rotations(
    rotations: Array, speeds: Array, targets: Array, step_s: float, min_cutoff_hz: float, beta: float,
    derivative_cutoff_hz: float, lead: float,
) -> None:  # fmt: skip
    """One step of One-Euro along the geodesics from filtered rotations to the newest ones, in place.

    Args:
        rotations: (N, 3, 3) filtered, changed.
        speeds: (N, 3) radians a second in the tangent space at the filtered rotation, changed.
        targets: (N, 3, 3) the newest.
        step_s: since the last ones, seconds, above 0.
        min_cutoff_hz, beta, derivative_cutoff_hz, lead: as of OneEuroSettings.
    """
    change, ahead, turn, old = np.empty(3), np.empty(3), np.empty((3, 3)), np.empty((3, 3))
    r = 2 * math.pi * derivative_cutoff_hz * step_s
    alpha_speed = r / (r + 1)
    for n in range(len(rotations)):
        for a in range(3):
            for b in range(3):
                old[a, b] = rotations[n, a, b]
        for a in range(3):
            for b in range(3):
                turn[a, b] = (
                    old[0, a] * targets[n, 0, b] + old[1, a] * targets[n, 1, b] + old[2, a] * targets[n, 2, b]
                )
        _logarithm(turn, change)
        square = 0.0
        for a in range(3):
            speeds[n, a] += alpha_speed * (change[a] / step_s - speeds[n, a])
            square += speeds[n, a] * speeds[n, a]
        r = 2 * math.pi * (min_cutoff_hz + beta * math.sqrt(square)) * step_s
        alpha = r / (r + 1)
        for a in range(3):
            ahead[a] = speeds[n, a] * (lead * step_s)
            change[a] = ahead[a] + alpha * (change[a] - ahead[a])
        exponential(change, turn)
        for a in range(3):
            for b in range(3):
                rotations[n, a, b] = old[a, 0] * turn[0, b] + old[a, 1] * turn[1, b] + old[a, 2] * turn[2, b]


@njit(cache=True, nogil=True, error_model="numpy")
def _logarithm(m: Array, out: Array) -> None:
    """Axis-angle (3,) of a rotation (3, 3), exact near 0 and pi: by the quaternion's best-conditioned form."""
    trace = m[0, 0] + m[1, 1] + m[2, 2]
    w2, x2 = 1 + trace, 1 + m[0, 0] - m[1, 1] - m[2, 2]
    y2, z2 = 1 - m[0, 0] + m[1, 1] - m[2, 2], 1 - m[0, 0] - m[1, 1] + m[2, 2]
    if w2 >= x2 and w2 >= y2 and w2 >= z2:
        w, x, y, z = w2, m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
    elif x2 >= y2 and x2 >= z2:
        w, x, y, z = m[2, 1] - m[1, 2], x2, m[1, 0] + m[0, 1], m[0, 2] + m[2, 0]
    elif y2 >= z2:
        w, x, y, z = m[0, 2] - m[2, 0], m[1, 0] + m[0, 1], y2, m[2, 1] + m[1, 2]
    else:
        w, x, y, z = m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[2, 1] + m[1, 2], z2
    scale = 1 / math.sqrt(w * w + x * x + y * y + z * z)
    if w < 0:
        scale = -scale
    w, x, y, z = w * scale, x * scale, y * scale, z * scale
    sine = math.sqrt(x * x + y * y + z * z)
    factor = 2.0 if sine < 1e-9 else 2 * math.atan2(sine, w) / sine
    out[0], out[1], out[2] = x * factor, y * factor, z * factor


@njit(cache=True, nogil=True, error_model="numpy")
def exponential(vector: Array, out: Array) -> None:
    """The rotation (3, 3) of an axis-angle (3,), Rodrigues' formula."""
    x, y, z = vector[0], vector[1], vector[2]
    square = x * x + y * y + z * z
    angle = math.sqrt(square)
    if angle < 1e-4:
        s, c = 1 - square / 6, 0.5 - square / 24
    else:
        s, c = math.sin(angle) / angle, (1 - math.cos(angle)) / square
    out[0, 0], out[1, 1], out[2, 2] = 1 - c * (y * y + z * z), 1 - c * (x * x + z * z), 1 - c * (x * x + y * y)
    out[0, 1], out[1, 0] = c * x * y - s * z, c * x * y + s * z
    out[0, 2], out[2, 0] = c * x * z + s * y, c * x * z - s * y
    out[1, 2], out[2, 1] = c * y * z - s * x, c * y * z + s * x
