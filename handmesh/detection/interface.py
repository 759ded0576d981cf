"""What predictor and tracker ask of whatever finds hands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from handmesh.detection.tiling import Window
from handmesh.results import Detection


class Detector(Protocol):
    """Finds hands in pictures (H, W, 3) uint8 RGB. Models load when first asked for a picture."""

    def load(self) -> Any:
        """Load the models now (HandMeshError when they cannot be had)."""
        ...

    def detect(self, image: np.ndarray, max_hands: int | None = None) -> list[Detection]:
        """Hands in a still, best first, after a thorough search."""
        ...

    def detect_quick(
        self, image: np.ndarray, windows: Sequence[Window], is_wanted: Callable[[Detection], bool] = lambda place: True
    ) -> list[Detection]:
        """Hands in a few windows of a frame, best first.

        Args:
            image: (H, W, 3) uint8 RGB.
            windows: the parts of it that are searched.
            is_wanted: asked about each hand.
        """
        ...

    def confirm(self, image: np.ndarray, place: Detection) -> Detection | None:
        """The hand that is now at a place where one was; None for no hand."""
        ...

    def study(self, image: np.ndarray, place: Detection) -> Detection:
        """A place that a caller named, with the roll and, where it is not known, the side seen there."""
        ...
