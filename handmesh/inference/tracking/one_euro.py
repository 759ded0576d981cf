"""Steady hands: One-Euro filters by timestamps for numbers and rotations, and a shape that settles.

One-Euro: Casiez, Roussel and Vogel 2012, "1 Euro Filter": a low-pass whose cutoff rises with speed, so that a resting
hand does not jitter and a moving one does not lag. Time comes from the frames, never from an assumed rate.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.inference.frame_kernels import filter_groups, filter_rotations

FloatArray = NDArray[np.floating[Any]]

#: A longer gap than this many seconds starts the filter anew: what was before says nothing of what is now.
MAX_GAP_S = 0.5


@dataclass(frozen=True)
class OneEuroSettings:
    """How a One-Euro filter trades jitter for lag.

    Attributes:
        min_cutoff_hz: cutoff at rest; lower jitters less.
        beta: Hz of cutoff gained per unit of speed (unit of the value a second); higher lags less.
        derivative_cutoff_hz: cutoff of the speed estimate.
        lead: share of the filtered speed by which the value moves on before the newest one is weighed in. 0 is the
            filter as published; towards 1 a steady motion is followed with less lag at a lower cutoff, and a sudden
            stop is overrun a little.
    """

    min_cutoff_hz: float = 1.0
    beta: float = 1.0
    derivative_cutoff_hz: float = 2.0
    lead: float = 0.0


class _Filter(ABC):
    """What both filters share: when a value is passed through, when the last is repeated, when a step is due."""

    def __init__(self, settings: OneEuroSettings) -> None:
        self.settings = settings
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next value is passed through."""
        self._value: NDArray[np.float64] | None = None
        self._speed = np.zeros(0)
        self._time_s = -math.inf

    def __call__(self, value: FloatArray, timestamp_s: float) -> NDArray[np.float64]:
        """The filtered value (same shape); timestamps in seconds, rising. A repeated timestamp repeats the answer."""
        # One block, since a step changes what it becomes in place.
        newest: NDArray[np.float64] = np.array(value, np.float64, order="C")
        step_s = timestamp_s - self._time_s
        if self._value is None or self._value.shape != newest.shape or step_s > MAX_GAP_S:
            self._value, self._speed, self._time_s = newest, self._at_rest(newest), timestamp_s
        elif step_s > 0:
            self._step(self._value, self._speed, newest, step_s)
            self._time_s = timestamp_s
        return self._value.copy()

    @abstractmethod
    def _at_rest(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """The speed of a value that does not move."""

    @abstractmethod
    def _step(
        self, value: NDArray[np.float64], speed: NDArray[np.float64], newest: NDArray[np.float64], step_s: float
    ) -> None:
        """Bring filtered value and speed nearer to the newest value, in place."""


class OneEuroFilter(_Filter):
    """One-Euro on an array of independent groups: the speed that opens a group's cutoff is its vector's length.

    Values have shape (..., d): each leading index is one group (a keypoint, say) of d numbers.
    """

    def _at_rest(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.zeros(value.shape)

    def _step(
        self, value: NDArray[np.float64], speed: NDArray[np.float64], newest: NDArray[np.float64], step_s: float
    ) -> None:
        chosen, shape = self.settings, (-1, newest.shape[-1])
        filter_groups(
            value.reshape(shape), speed.reshape(shape), newest.reshape(shape), step_s,
            chosen.min_cutoff_hz, chosen.beta, chosen.derivative_cutoff_hz, chosen.lead,
        )  # fmt: skip


class RotationFilter(_Filter):
    """One-Euro in the rotation group, on (..., 3, 3): steps are taken along the geodesic from the filtered rotation.

    Speeds are angular, in radians a second, in the tangent space at the filtered rotation.
    """

    def _at_rest(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.zeros(value.shape[:-1])

    def _step(
        self, value: NDArray[np.float64], speed: NDArray[np.float64], newest: NDArray[np.float64], step_s: float
    ) -> None:
        chosen = self.settings
        filter_rotations(
            value.reshape(-1, 3, 3), speed.reshape(-1, 3), newest.reshape(-1, 3, 3), step_s,
            chosen.min_cutoff_hz, chosen.beta, chosen.derivative_cutoff_hz, chosen.lead,
        )  # fmt: skip


class ShapeLock:
    """A person's shape does not change: betas are averaged, and held once the average has stood still for a while."""

    def __init__(self, agreement_s: float = 1.0, tolerance: float = 0.15, min_samples: int = 10) -> None:
        """Nothing is locked yet.

        Args:
            agreement_s: for so long the mean must not have moved.
            tolerance: by more than this (length of the betas' vector).
            min_samples: frames before which nothing is locked.
        """
        self.agreement_s, self.tolerance, self.min_samples = agreement_s, tolerance, min_samples
        self.reset()

    def reset(self) -> None:
        """Forget the shape."""
        self.is_locked = False
        self._mean = np.zeros(10)
        self._reference = np.zeros(10)
        self._weight, self._samples, self._since_s = 0.0, 0, 0.0

    def __call__(self, betas: FloatArray, timestamp_s: float, weight: float = 1.0) -> NDArray[np.float64]:
        """Take in one frame.

        Args:
            betas: (10,) of this frame.
            timestamp_s: of this frame.
            weight: how much this frame counts.

        Returns:
            The shape (10,) to use now.
        """
        if self.is_locked:
            return self._mean.copy()
        betas = np.asarray(betas, np.float64)
        if self._samples == 0:
            self._reference, self._since_s = betas.copy(), timestamp_s
        self._samples += 1
        self._weight += max(weight, 1e-3)
        self._mean = self._mean + max(weight, 1e-3) / self._weight * (betas - self._mean)
        if np.linalg.norm(self._mean - self._reference) > self.tolerance:
            self._reference, self._since_s = self._mean.copy(), timestamp_s
        elif timestamp_s - self._since_s >= self.agreement_s and self._samples >= self.min_samples:
            self.is_locked = True
        return self._mean.copy()
