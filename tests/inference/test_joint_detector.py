"""Two detectors as one: what either finds, once, the first one's word where both see a hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from handmesh.inference.detectors.joint import JointDetector
from handmesh.results import Detection

IMAGE = np.zeros((100, 100, 3), np.uint8)


def at(x: float, score: float, roll: float = 0.0) -> Detection:
    return Detection(np.array([x, 10.0, x + 20, 30.0]), True, score, roll)


class Fake:
    """Finds what it was told."""

    def __init__(self, *hands: Detection) -> None:
        self.hands, self.is_loaded = list(hands), False

    def load(self) -> None:
        self.is_loaded = True

    def detect(self, image: np.ndarray, max_hands: int | None = None) -> list[Detection]:
        return self.hands

    def detect_quick(
        self, image: np.ndarray, windows: list[object], is_wanted: Callable[[Detection], bool] = lambda place: True
    ) -> list[Detection]:
        return [hand for hand in self.hands if is_wanted(hand)]

    def confirm(self, image: np.ndarray, place: Detection) -> Detection | None:
        return self.hands[0] if self.hands else None

    def study(self, image: np.ndarray, place: Detection) -> Detection:
        return self.hands[0] if self.hands else place


@pytest.fixture
def both() -> JointDetector:
    return JointDetector(Fake(at(10, 0.6, 5.0), at(50, 0.9)), Fake(at(11, 0.95, 99.0), at(75, 0.7)))  # type: ignore[arg-type]


def test_each_hand_once_and_the_first_ones_word(both: JointDetector) -> None:
    for found in (both.detect(IMAGE), both.detect_quick(IMAGE, [])):
        assert [(hand.box_xyxy[0], hand.score, hand.rotation_deg) for hand in found] == [
            (50, 0.9, 0), (75, 0.7, 0), (10, 0.6, 5.0)
        ]  # fmt: skip
    assert len(both.detect(IMAGE, 1)) == 1
    assert [hand.box_xyxy[0] for hand in both.detect_quick(IMAGE, [], lambda place: place.score < 0.65)] == [10]
    both.load()
    assert both.first.is_loaded and both.second.is_loaded  # type: ignore[attr-defined]


def test_the_second_is_asked_where_the_first_sees_nothing(both: JointDetector) -> None:
    place = at(12, 1.0)
    assert both.confirm(IMAGE, place) is both.first.hands[0]  # type: ignore[attr-defined]
    both.first.hands = []  # type: ignore[attr-defined]
    assert both.confirm(IMAGE, place) is both.study(IMAGE, place) is both.second.hands[0]  # type: ignore[attr-defined]
    both.second.hands = []  # type: ignore[attr-defined]
    assert both.confirm(IMAGE, place) is None and both.study(IMAGE, place) is place
