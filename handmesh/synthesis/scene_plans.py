"""Where the hands of a rendered scene are to be: at people's arms, before whoever wears the camera, or anywhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

MOST_HANDS = 4
#: How many hands a picture has, from none on.
_COUNTS = np.array([0.12, 0.40, 0.32, 0.10, 0.06])
#: Hands of fewer pixels on the canvas than the first are specks, of more canvases than the second fill all of it.
_SMALLEST_PX, _LARGEST = 15.0, 1.05
#: The number of the person who wears the camera.
WEARER = 5
#: How often two hands of one person touch, and how often a hand from an edge meets another there.
_OWN_TOUCH, _OTHERS_TOUCH = 0.4, 0.15


@dataclass(frozen=True, eq=False)
class HandPlan:
    """Where a hand is to be: its middle (2,) and size in pixels of the canvas, from where its arm comes (2,), its side,
    whose it is (hands of one person look alike), whether its back is to be seen, and whether it touches another hand.
    """

    middle: np.ndarray
    size_px: float
    anchor: np.ndarray
    is_right: bool
    person: int
    shows_back: bool = False
    touches: bool = False


class ScenePlanner:
    """Plans the hands of scenes on a square canvas of ``size`` pixels."""

    def __init__(self, size: int) -> None:
        self.size = size

    def plans(
        self, rng: np.random.Generator, heads: list[tuple[float, float, float]], corner: tuple[int, int],
        shape: tuple[int, int],
    ) -> list[HandPlan]:  # fmt: skip
        """The hands of one scene, none to :data:`MOST_HANDS`.

        Args:
            rng: draws them.
            heads: of the people in it: middle and height (x, y, height), pixels of the canvas.
            corner, shape: (x, y) and (width, height) of the part of the canvas that is the picture, pixels.
        """
        count = int(rng.choice(MOST_HANDS + 1, p=_COUNTS))
        is_worn = not heads and rng.random() < 0.35
        plans: list[HandPlan] = []
        while len(plans) < count:
            if heads and rng.random() < 0.8:
                person = int(rng.integers(len(heads)))
                plans += self._of_person(rng, heads[person], person, min(2, count - len(plans)))
            elif is_worn:
                plans += self._of_wearer(rng, corner, shape, min(2, count - len(plans)))
            else:
                plans.append(self._from_edge(rng, corner, shape, 10 + len(plans)))
                if len(plans) < count and rng.random() < _OTHERS_TOUCH:
                    other = self._from_edge(rng, corner, shape, 10 + len(plans))
                    plans[-1:] = self._touching(rng, plans[-1], other)
        # A hand is a little inside of the picture at least.
        low, high = np.array(corner, float), np.array(corner, float) + shape
        return [replace(plan, middle=plan.middle.clip(low - 0.15 * plan.size_px, high + 0.15 * plan.size_px))
                for plan in plans]  # fmt: skip

    def _of_person(
        self, rng: np.random.Generator, head: tuple[float, float, float], person: int, most: int
    ) -> list[HandPlan]:
        """One or both hands of somebody who faces the camera: the right one is on the picture's left."""
        x, y, height = head
        sides = [True, False] if most == 2 and rng.random() < 0.6 else [bool(rng.random() < 0.5)]
        plans = []
        for is_right in sides:
            outward = -1.0 if is_right else 1.0
            shoulder = np.array([x + 0.85 * outward * height, y + 1.1 * height])
            reach = np.array([outward * rng.normal(0.35, 0.75), rng.normal(0.35, 0.8)]) * height
            # Held out towards the camera a hand looks larger than the face it belongs to.
            size = 0.8 * height * float(np.exp(abs(rng.normal(0, 0.35))))
            plans.append(self._plan(rng, shoulder + reach, size, shoulder, is_right, person, 0.3))
        return self._touching(rng, *plans) if len(plans) == 2 and rng.random() < _OWN_TOUCH else plans

    def _touching(self, rng: np.random.Generator, hand: HandPlan, other: HandPlan) -> list[HandPlan]:
        """Both, the other one brought to the first: as far from the camera, and so near that they cover one another."""
        size = hand.size_px * float(np.exp(rng.normal(0, 0.04)))
        # Hands of one body meet from the sides.
        angle = rng.normal(0, 0.6) + (np.pi if other.middle[0] < hand.middle[0] else 0.0)
        apart = rng.uniform(0.05, 0.6) * size * np.array([np.cos(angle), np.sin(angle)])
        near = self._plan(rng, hand.middle + apart, size, other.anchor, other.is_right, other.person, 0.4)
        return [replace(hand, touches=True), replace(near, touches=True)]

    def _of_wearer(
        self, rng: np.random.Generator, corner: tuple[int, int], shape: tuple[int, int], most: int
    ) -> list[HandPlan]:
        """Hands of whoever wears the camera: from below, mostly seen from the back."""
        low, extent = np.array(corner, float), np.array(shape, float)
        sides = [True, False] if most == 2 and rng.random() < 0.7 else [bool(rng.random() < 0.5)]
        plans = []
        for is_right in sides:
            outward = 1.0 if is_right else -1.0
            middle = low + extent * [0.5 + outward * rng.normal(0.17, 0.13), rng.uniform(0.35, 0.9)]
            anchor = low + extent * [0.5 + outward * rng.uniform(0.1, 0.6), 1.6]
            size = float(rng.uniform(0.2, 0.6)) * float(extent.min())
            plans.append(self._plan(rng, middle, size, anchor, is_right, WEARER, 0.8))
        return self._touching(rng, *plans) if len(plans) == 2 and rng.random() < _OWN_TOUCH else plans

    def _from_edge(
        self, rng: np.random.Generator, corner: tuple[int, int], shape: tuple[int, int], person: int
    ) -> HandPlan:
        """A hand anywhere, of any size, whose arm leaves the picture somewhere, mostly below."""
        low, extent = np.array(corner, float), np.array(shape, float)
        size = float(np.exp(rng.uniform(np.log(_SMALLEST_PX), np.log(_LARGEST * self.size))))
        middle = low + extent * rng.uniform(0.02, 0.98, 2)
        angle = rng.normal(np.pi / 2, 0.7) if rng.random() < 0.7 else rng.uniform(0, 2 * np.pi)
        anchor = low + extent / 2 + 1.2 * self.size * np.array([np.cos(angle), np.sin(angle)])
        return self._plan(rng, middle, size, anchor, bool(rng.random() < 0.5), person, 0.35)

    def _plan(
        self, rng: np.random.Generator, middle: np.ndarray, size_px: float, anchor: np.ndarray, is_right: bool,
        person: int, backs: float,
    ) -> HandPlan:  # fmt: skip
        size_px = float(np.clip(size_px, _SMALLEST_PX, _LARGEST * self.size))
        return HandPlan(np.asarray(middle), size_px, np.asarray(anchor), is_right, person, bool(rng.random() < backs))
