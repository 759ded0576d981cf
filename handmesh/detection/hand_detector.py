"""From a picture to the hands in it: the palm detector proposes, the hand check disposes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from handmesh.detection.palm_detector import PalmDetector
from handmesh.detection.tiling import Window
from handmesh.detection.verifier import HandVerifier
from handmesh.errors import HandMeshError
from handmesh.io.runtime.fork import renew_after_fork
from handmesh.results import Detection

_ROLLS = (0.0, 90.0, 180.0, 270.0)


class HandDetector:
    """Finds hands: box of the 21 joints, roll, left or right, score. Models load when first asked for a picture.

    Any number of threads may share one.
    """

    def __init__(self, *, threads: int = 0) -> None:
        """`threads` for the two models; 0 = OpenVINO's choice."""
        self._threads = threads
        self._parts: tuple[PalmDetector, HandVerifier] | None = None
        self._lock = threading.Lock()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """A thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    def load(self) -> tuple[PalmDetector, HandVerifier]:
        """Fetch and load both models now rather than at the first picture (HandMeshError when they cannot be had)."""
        with self._lock:
            if self._parts is None:
                self._parts = PalmDetector(threads=self._threads), HandVerifier(threads=self._threads)
            return self._parts

    def detect(self, image: np.ndarray, max_hands: int | None = None) -> list[Detection]:
        """Hands in a still, RGB (H, W, 3) uint8, best first, after a thorough search (0.2 to 0.7 s on two cores)."""
        palms, check = self.load()
        return check.keep_hands(image, palms.detect(image), thorough=True)[:max_hands]

    def detect_quick(
        self,
        image: np.ndarray,
        windows: Sequence[Window],
        is_wanted: Callable[[Detection], bool] = lambda place: True,
    ) -> list[Detection]:
        """Hands in a few windows of a frame: one pass a window (6 ms) and one check a proposal (8 ms).

        Args:
            image: (H, W, 3) uint8 RGB.
            windows: the parts of it that are searched.
            is_wanted: asked about each proposal before it costs a check, and about the hand found there.

        Returns:
            At most three, best first, with box, roll, side and score.
        """
        palms, check = self.load()
        proposals = [place for place in palms.detect(image, windows) if is_wanted(place)]
        # Three checks at most: a frame has other work to do, and the search comes round again.
        return [hand for hand in check.keep_hands(image, proposals[:3], thorough=False) if is_wanted(hand)]

    def confirm(self, image: np.ndarray, place: Detection) -> Detection | None:
        """Check a place where a hand was (8 ms): the hand that is there now, or None for no hand."""
        return self.load()[1].confirm(image, place)

    def study(self, image: np.ndarray, place: Detection) -> Detection:
        """A place that a caller named, with the roll and the side that the landmark model sees there (30 ms).

        The caller's word on the side stands. Where no hand is seen at any roll, or the models cannot be had, the place
        comes back as it was.
        """
        try:
            check = self.load()[1]
        except HandMeshError:
            return place
        checked = [check.confirm(image, replace(place, rotation_deg=place.rotation_deg + roll)) for roll in _ROLLS]
        seen = [hand for hand in checked if hand is not None and _is_about_the_same(hand, place)]
        if not seen:
            return place
        best = max(seen, key=lambda hand: hand.score)
        return replace(best, is_right=best.is_right if place.is_right is None else place.is_right, score=place.score)


def _is_about_the_same(hand: Detection, place: Detection) -> bool:
    """Whether the hand seen is the one the box is around, not a neighbour's or a part of it."""
    side = float((place.box_xyxy[2:] - place.box_xyxy[:2]).max())
    apart = np.abs(hand.box_xyxy[:2] + hand.box_xyxy[2:] - place.box_xyxy[:2] - place.box_xyxy[2:]).max() / 2
    return bool(apart < 0.35 * side and 0.45 * side < hand.box_xyxy[2] - hand.box_xyxy[0] < 1.5 * side)
