"""Compiled twins of small functions that every frame calls for every hand: in numpy the calls cost more than the work.

:func:`fit_translation` is geometry/camera.py's, :func:`to_camera` the inverse maps of geometry/crop.py in one,
:func:`filter_rotations` one step of a One-Euro filter in the rotation group with the maps of
geometry/rotation_numpy.py, :func:`filter_groups` one of vectors.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

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
    return fit(_f64(points), _f64(keypoints_2d), _f64(K), _f64(weights))


class CameraHand(NamedTuple):
    """A crop's answer in the camera's frame, metres: joints (21, 3) and the translation (3,) that is to be added to
    them, keypoints (21, 2) in pixels of the picture and their square box (4,), global_orient (3, 3), hand_pose
    (15, 3, 3), and what the turn about the rest wrist adds to the translation of the parameters (3,).
    """

    joints: Array
    translation: Array
    keypoints: NDArray[np.float32]
    box: NDArray[np.float32]
    global_orient: NDArray[np.float32]
    hand_pose: NDArray[np.float32]
    wrist_shift: Array


def to_camera(
    joints: FloatArray, keypoints: FloatArray, confidence: FloatArray, rotations: FloatArray, wrist: FloatArray,
    turn: FloatArray, inverse_homography: FloatArray, K: FloatArray, is_mirrored: bool,
) -> CameraHand:  # fmt: skip
    """A hand of the crop's frame in the camera's: the inverse maps of a CropTransform, and fit_translation, in one.

    Args:
        joints: (21, 3) metres, in the crop's frame.
        keypoints, confidence: (21, 2) pixels of the crop, and how much each counts (21,).
        rotations: (16, 3, 3) of wrist and finger joints, of the right hand that the crop shows.
        wrist: (3,) the rest wrist of that hand.
        turn, inverse_homography, K: (3, 3) of the crop (the first is its ``rotation``).
        is_mirrored: whether the crop shows a left hand.
    """
    return CameraHand(*_to_camera(
        _f64(joints), _f64(keypoints), _f64(confidence), _f64(rotations), _f64(wrist), _f64(turn),
        _f64(inverse_homography), _f64(K), is_mirrored,
    ))  # fmt: skip


def _f64(values: FloatArray) -> Array:
    return np.ascontiguousarray(values, np.float64)


@njit(cache=True, nogil=True, error_model="numpy")
def _to_camera(
    joints: Array, keypoints: Array, confidence: Array, rotations: Array, wrist: Array, turn: Array,
    homography: Array, K: Array, is_mirrored: bool,
) -> Any:  # fmt: skip
    side = -1.0 if is_mirrored else 1.0
    points, pixels, weights = np.empty((21, 3)), np.empty((21, 2)), np.empty(21)
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    total = 0.0
    for j in range(21):
        for a in range(3):
            points[j, a] = side * joints[j, 0] * turn[0, a] + joints[j, 1] * turn[1, a] + joints[j, 2] * turn[2, a]
        x, y = keypoints[j, 0], keypoints[j, 1]
        depth = homography[2, 0] * x + homography[2, 1] * y + homography[2, 2]
        for a in range(2):
            pixels[j, a] = (homography[a, 0] * x + homography[a, 1] * y + homography[a, 2]) / depth
            low[a], high[a] = min(low[a], pixels[j, a]), max(high[a], pixels[j, a])
            total += pixels[j, a]
        weights[j] = max(confidence[j], 0.01)
    half = max(high[0] - low[0], high[1] - low[1], 1.0) / 2
    box = np.empty(4, np.float32)
    for a in range(2):
        # Comparisons step over what is not a number; the box must not.
        middle = (low[a] + high[a]) / 2 + 0.5 if np.isfinite(total) else np.nan
        box[a], box[2 + a] = middle - half, middle + half
    orient, pose = np.empty((3, 3), np.float32), np.empty((15, 3, 3), np.float32)
    shift = np.empty(3)
    for a in range(3):
        shift[a] = side * wrist[0] * turn[0, a] + wrist[1] * turn[1, a] + wrist[2] * turn[2, a]
        shift[a] -= side * wrist[0] if a == 0 else wrist[a]
        for b in range(3):
            value = 0.0
            for c in range(3):
                # Of a mirrored hand F R F, F = diag(-1, 1, 1): entries change sign where one of both indices is 0.
                value += turn[c, a] * rotations[0, c, b] * (side if (c == 0) != (b == 0) else 1.0)
            orient[a, b] = value
            for k in range(15):
                pose[k, a, b] = rotations[1 + k, a, b] * (side if (a == 0) != (b == 0) else 1.0)
    return points, fit(points, pixels, K, weights), pixels.astype(np.float32), box, orient, pose, shift


@njit(cache=True, nogil=True, error_model="numpy")
def fit(points: Array, keypoints: Array, K: Array, weights: Array) -> Array:
    """What :func:`fit_translation` is compiled of, for other compiled functions.

    Args:
        points, keypoints, K, weights: as there, float64.
    """
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
def _newest_weight(cutoff_hz: float, step_s: float) -> float:
    """Weight of the newest value in a first-order low-pass after so many seconds (Casiez et al. 2012, eq. 6)."""
    r = 2 * math.pi * cutoff_hz * step_s
    return r / (r + 1)


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
    alpha_speed = _newest_weight(derivative_cutoff_hz, step_s)
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
        alpha = _newest_weight(min_cutoff_hz + beta * math.sqrt(square), step_s)
        for a in range(3):
            ahead[a] = speeds[n, a] * (lead * step_s)
            change[a] = ahead[a] + alpha * (change[a] - ahead[a])
        exponential(change, turn)
        for a in range(3):
            for b in range(3):
                rotations[n, a, b] = old[a, 0] * turn[0, b] + old[a, 1] * turn[1, b] + old[a, 2] * turn[2, b]


@njit(cache=True, nogil=True, error_model="numpy")
def filter_groups(
    values: Array, speeds: Array, targets: Array, step_s: float, min_cutoff_hz: float, beta: float,
    derivative_cutoff_hz: float, lead: float,
) -> None:  # fmt: skip
    """One step of One-Euro on vectors, in place; the speed that opens a vector's cutoff is its length.

    Args:
        values, speeds: (N, D) filtered, and their change a second, changed.
        targets: (N, D) the newest.
        step_s: since the last ones, seconds, above 0.
        min_cutoff_hz, beta, derivative_cutoff_hz, lead: as of OneEuroSettings.
    """
    alpha_speed = _newest_weight(derivative_cutoff_hz, step_s)
    for n in range(len(values)):
        square = 0.0
        for a in range(values.shape[1]):
            speeds[n, a] += alpha_speed * ((targets[n, a] - values[n, a]) / step_s - speeds[n, a])
            square += speeds[n, a] * speeds[n, a]
        alpha = _newest_weight(min_cutoff_hz + beta * math.sqrt(square), step_s)
        for a in range(values.shape[1]):
            ahead = speeds[n, a] * (lead * step_s)
            values[n, a] += ahead + alpha * (targets[n, a] - values[n, a] - ahead)


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
