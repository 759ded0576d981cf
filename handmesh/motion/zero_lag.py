"""Smoothing without lag, for what is known from beginning to end: a penalized least-squares fit by timestamps.

The fit x of values y minimizes  sum w (x - y)^2 dt + sum lambda x''^2 dt  (Whittaker 1923, here on uneven times), a
low-pass whose gain falls to one half where (2 pi f)^4 lambda is one, with the same delay for every frequency: none.
Like the One-Euro filter's, its cutoff opens with speed; unlike there, the speed is known from both sides of now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded
from scipy.ndimage import maximum_filter1d

from handmesh.geometry.quaternion import continuous_signs

FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ZeroLagSettings:
    """How much is smoothed away.

    Attributes:
        min_cutoff_hz: cutoff at rest.
        beta: Hz of cutoff gained per unit of speed (unit of the value a second).
        speed_cutoff_hz: cutoff of the fit that the speed is read from.
        reach_s: the highest speed this far to either side counts, so that the cutoff is open when a motion begins.
        outlier: residuals beyond so many standard deviations pull less.
    """

    min_cutoff_hz: float
    beta: float
    speed_cutoff_hz: float = 3.0
    reach_s: float = 0.05
    outlier: float = 3.0


def fit_smooth(
    values: FloatArray, timestamp_s: FloatArray, weights: FloatArray, cutoff_hz: FloatArray
) -> NDArray[np.float64]:
    """Penalized least squares.

    Args:
        values: (T, C).
        timestamp_s: (T,) rising.
        weights: (T,) positive; 1 is an ordinary sample, a hundredth hardly counts.
        cutoff_hz: (T,) positive.

    Returns:
        (T, C).
    """
    values = np.asarray(values, np.float64)
    count = len(values)
    if count < 3:
        return values.copy()
    step = np.diff(np.asarray(timestamp_s, np.float64))
    before, after = step[:-1], step[1:]
    # The second derivative at each inner sample, as its weights on the three samples around it.
    a, c = 2 / (before * (before + after)), 2 / (after * (before + after))
    b = -a - c
    penalty = (2 * np.pi * np.asarray(cutoff_hz, np.float64)[1:-1]) ** -4.0 * (before + after) / 2
    banded = np.zeros((3, count))
    span = np.gradient(np.asarray(timestamp_s, np.float64))
    data = np.asarray(weights, np.float64) * span
    banded[2] = data
    banded[2, :-2] += penalty * a * a
    banded[2, 1:-1] += penalty * b * b
    banded[2, 2:] += penalty * c * c
    banded[1, 1:-1] += penalty * a * b
    banded[1, 2:] += penalty * b * c
    banded[0, 2:] += penalty * a * c
    return np.asarray(solveh_banded(banded, data[:, None] * values))


def smooth_vectors(
    values: FloatArray, timestamp_s: FloatArray, weights: FloatArray, settings: ZeroLagSettings
) -> NDArray[np.float64]:
    """Groups of numbers, each at the cutoff that its own speed asks for.

    Args:
        values: (T, G, d): G independent groups (a keypoint, say) of d numbers.
        timestamp_s: (T,) rising.
        weights: (T, G) or (T, 1) positive.
        settings: the amount.

    Returns:
        (T, G, d).
    """
    values = np.asarray(values, np.float64)
    weights = np.broadcast_to(weights, values.shape[:2])
    if len(values) < 3:
        return values.copy()
    time = np.asarray(timestamp_s, np.float64)
    fixed = np.full(len(time), settings.speed_cutoff_hz)
    reach = 1 + 2 * int(round(settings.reach_s / max(float(np.median(np.diff(time))), 1e-3)))
    fitted = np.empty_like(values)
    for group in range(values.shape[1]):
        raw, weight = values[:, group], weights[:, group]
        first = fit_smooth(raw, time, weight, fixed)
        residual = np.linalg.norm(raw - first, axis=-1)
        spread = float(np.sqrt(np.average(residual**2, weights=weight))) + 1e-12
        weight = weight / np.maximum(1.0, residual / (settings.outlier * spread)) ** 2
        speed = np.linalg.norm(np.gradient(first, time, axis=0), axis=-1)
        cutoff = settings.min_cutoff_hz + settings.beta * maximum_filter1d(speed, reach)
        fitted[:, group] = fit_smooth(raw, time, weight, cutoff)
    return np.asarray(fitted, np.float64)


def smooth_rotations(
    quaternions: FloatArray, timestamp_s: FloatArray, weights: FloatArray, settings: ZeroLagSettings
) -> NDArray[np.float64]:
    """Rotations, each group of them at the cutoff that its own angular speed (radians a second) asks for.

    The fit of the quaternions as vectors, brought back to length one. That is the rotation group's own smoothing: a
    change of frame on either side turns the quaternions' space rigidly, so it goes through the fit; and a turn at
    constant speed is kept, since both its sine and its cosine are damped by the same factor.

    Args:
        quaternions: (T, G, 4) of length one.
        timestamp_s: (T,) rising.
        weights: (T, G) or (T, 1) positive.
        settings: the amount.

    Returns:
        (T, G, 4) of length one, the sign continuous.
    """
    continuous = continuous_signs(quaternions)
    # A quaternion moves at half the angular speed.
    fitted = 0.5 * smooth_vectors(2 * continuous, timestamp_s, weights, settings)
    return np.asarray(fitted / np.linalg.norm(fitted, axis=-1, keepdims=True))
