"""Joints in the orders of other programs, made from this project's 21: names, and how each joint is mixed from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError
from handmesh.skeleton import FINGERS, JOINT_NAMES, MANO21_TO_OPENPOSE, MANO_JOINT_NAMES

FloatArray = NDArray[np.floating[Any]]

#: How far from the wrist to the base of its finger a metacarpal bone begins: the carpal bones lie before it. OpenXR has
#: joints there that the hand model has not; the model's palm does not bend, so they move with it.
METACARPAL_START = 0.27


@dataclass(frozen=True)
class JointOrder:
    """An order of joints.

    Attributes:
        name: "mano16", "openpose21", "mediapipe21" or "openxr26".
        joint_names: (N) as their owners write them.
        mixing: (N, 21) shares of the 21 joints in each; rows sum to 1.
    """

    name: str
    joint_names: tuple[str, ...]
    mixing: FloatArray

    def apply(self, joints: FloatArray) -> NDArray[np.float64]:
        """Positions (..., N, d) from those of the 21 joints (..., 21, d); metres or pixels, frame unchanged."""
        return np.asarray(self.mixing @ np.asarray(joints, np.float64))


def joint_order(name: str) -> JointOrder:
    """The order of that name.

    Raises:
        HandMeshError: there is none.
    """
    if name not in JOINT_ORDERS:
        raise HandMeshError(f"expected one of {', '.join(JOINT_ORDERS)}, got the joint order {name}")
    return JOINT_ORDERS[name]


def _picked(name: str, joint_names: tuple[str, ...], places: list[int]) -> JointOrder:
    return JointOrder(name, joint_names, np.eye(21)[places])


def _mediapipe() -> JointOrder:
    """The same 21 in the same order, under Google's names (little is "pinky", the thumb's joints keep theirs)."""
    names = [name.upper().replace("LITTLE", "PINKY") for name in JOINT_NAMES]
    named = [name.replace("_", "_FINGER_", 1) if name[:3] in ("IND", "MID", "RIN") else name for name in names]
    return _picked("mediapipe21", tuple(named), list(range(21)))


def _openxr() -> JointOrder:
    """XR_HAND_JOINT_*_EXT of OpenXR's XR_EXT_hand_tracking: palm, wrist, four joints of the thumb, five a finger."""
    names, rows = ["PALM", "WRIST"], []
    unit = np.eye(21)

    def metacarpal(base: int) -> FloatArray:
        return (1 - METACARPAL_START) * unit[0] + METACARPAL_START * unit[base]

    middle = FINGERS["middle"][0]
    # The palm is the middle of the middle finger's metacarpal bone.
    rows += [0.5 * (metacarpal(middle) + unit[middle]), unit[0]]
    for finger, places in FINGERS.items():
        parts = ["METACARPAL", "PROXIMAL", "DISTAL", "TIP"]
        if finger != "thumb":
            parts.insert(2, "INTERMEDIATE")
            rows.append(metacarpal(places[0]))
        rows += [unit[place] for place in places]
        names += [f"{finger.upper()}_{part}" for part in parts]
    return JointOrder("openxr26", tuple(names), np.stack(rows))


JOINT_ORDERS: dict[str, JointOrder] = {
    order.name: order
    for order in (
        _picked("mano16", MANO_JOINT_NAMES, [MANO21_TO_OPENPOSE.index(joint) for joint in range(16)]),
        _picked("openpose21", JOINT_NAMES, list(range(21))),
        _mediapipe(),
        _openxr(),
    )
}
