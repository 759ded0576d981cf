"""Both detectors together: the hands that MediaPipe's pair finds, and those that only our own network finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.detection.interface import Detector
from handmesh.detection.nms import drop_repeats
from handmesh.detection.tiling import Window
from handmesh.inference.detectors.fastvit import FastVitDetector, is_same_place
from handmesh.results import Detection


class JointDetector:
    """Asks one detector first, and takes from the other what the first has missed."""

    def __init__(self, first: Detector, second: FastVitDetector) -> None:
        """Compose the two.

        Args:
            first: whose word counts where both see a hand: MediaPipe's boxes, rolls and sides are the finer ones.
            second: adds what the first misses (backs, fists, gloves).
        """
        self.first, self.second = first, second

    def load(self) -> Any:
        """Load both now."""
        return self.first.load(), self.second.load()

    def detect(self, image: NDArray[np.uint8], max_hands: int | None = None) -> list[Detection]:
        """Hands in a still, best first."""
        return _joined(self.first.detect(image), self.second.detect(image))[:max_hands]

    def detect_quick(
        self,
        image: NDArray[np.uint8],
        windows: Sequence[Window],
        is_wanted: Callable[[Detection], bool] = lambda place: True,
    ) -> list[Detection]:
        """Hands in a few windows of a frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            windows: the parts of it that are searched.
            is_wanted: asked about each hand.

        Returns:
            At most three, best first.
        """
        found = (each.detect_quick(image, windows, is_wanted) for each in (self.first, self.second))
        return _joined(*found)[:3]

    def confirm(self, image: NDArray[np.uint8], place: Detection) -> Detection | None:
        """The hand that is now at a place where one was; None where neither sees one."""
        return self.first.confirm(image, place) or self.second.confirm(image, place)

    def study(self, image: NDArray[np.uint8], place: Detection) -> Detection:
        """A place that a caller named, with the roll and, where it is not known, the side that is seen there."""
        seen = self.first.study(image, place)
        return self.second.study(image, place) if seen is place else seen


def _joined(first: list[Detection], second: list[Detection]) -> list[Detection]:
    kept = drop_repeats([*first, *second], is_same_place)
    return sorted(kept, key=lambda hand: -hand.score)
