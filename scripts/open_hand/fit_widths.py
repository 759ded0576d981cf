"""The retargeted hand brought to the published breadths and thicknesses, on the surface that is finally measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handmesh.mano.prior.joint_limits import joint_axes
from scripts.open_hand.measures import (
    FINGER_MM,
    FINGER_ORDER,
    ROOT_OF,
    Measurable,
    joint_of,
    measure_mm,
    targets_mm,
)
from scripts.open_hand.reference_mesh import ReferenceHand, clip_wrist, loop_subdivide
from scripts.open_hand.retarget import RIM_X, Retargeted, retarget

Array = NDArray[np.float64]
LEVELS = 2  # of subdivision: the surface that is measured and remeshed


class Widths:
    """Scales to find: palm (along, thickness, breadth), wrist (thickness, breadth), fingers (5, joint,
    breadth/thickness), reach of the tips (5).
    """

    def __init__(self) -> None:
        self.palm = np.array([0.965, 0.92, 1.02])
        self.wrist = np.array([1.1, 1.1])
        self.fingers = np.ones((5, 2, 2))
        self.reach = np.ones(5)


def fit_hand(reference: ReferenceHand, rounds: int = 8) -> tuple[Retargeted, tuple[Array, NDArray[np.int64], Array]]:
    """The fitted hand, and its surface before subdivision: vertices, faces, weights, clipped at the rim."""
    widths, targets = Widths(), targets_mm()
    for _ in range(rounds):
        target, base = _build(reference, widths)
        dense = loop_subdivide(*base, levels=LEVELS)
        read = measure_mm(Measurable(*dense, target.joints, target.tips))
        _correct(widths, {key: targets[key] / read[key] for key in targets})
    return _build(reference, widths)


# A coarse mesh measures wider at its corners than the surface it stands for; found on the finished hand.
_CORNERS = 0.978


def _correct(widths: Widths, ratio: dict[str, float]) -> None:
    widths.palm[2] *= ratio["hand breadth"]
    widths.palm[1] *= ratio["palm thickness"]
    widths.palm[0] *= 1 + 1.6 * (ratio["hand length"] - 1)  # only the palm gives way: the segments are given
    widths.wrist *= [ratio["wrist thickness"] / ratio["palm thickness"], ratio["wrist breadth"] / ratio["hand breadth"]]
    for row, name in enumerate(FINGER_ORDER):
        widths.reach[row] *= ratio[f"{name} segment 3"]
        for k in range(len(FINGER_MM[name])):
            joint = joint_of(name, k)
            widths.fingers[row, k] *= [_CORNERS * ratio[f"{name} breadth at joint {joint}"],
                                       _CORNERS * ratio[f"{name} thickness at joint {joint}"]]
    widths.fingers[0, 1] = widths.fingers[0, 0]


def _build(reference: ReferenceHand, widths: Widths) -> tuple[Retargeted, tuple[Array, NDArray[np.int64], Array]]:
    plain = retarget(reference, widths.palm, widths.reach)
    vertices = plain.vertices + _wrist(plain, reference.weights, widths.wrist)
    vertices = vertices + _fingers(plain, reference.weights, widths.fingers)
    target = Retargeted(vertices, plain.joints, plain.tips)
    return target, clip_wrist(vertices, reference.faces, reference.weights, RIM_X)


def _wrist(hand: Retargeted, weights: Array, scale: Array) -> Array:
    """Displacement that scales the wrist, fading out over the heel of the hand."""
    offset = hand.vertices - hand.joints[0]
    near = 1.0 / (1.0 + np.exp(-(offset[:, 0] + 0.024) / 0.007))
    stub = offset[near * weights[:, 0] > 0.9]
    # It thickens on the palm's side: the back of the hand runs straight on into the forearm.
    centre = np.array([0.0, 0.9 * stub[:, 1].max(), stub[:, 2].mean()])
    grow = np.array([0.0, scale[0] - 1, scale[1] - 1])
    return (near * weights[:, 0])[:, None] * (offset - centre) * grow


def _fingers(hand: Retargeted, weights: Array, scale: Array) -> Array:
    """Displacement that scales each finger across its bones: by one pair of numbers at each measured joint."""
    axes = joint_axes(hand.joints, hand.tips)
    moved = np.zeros_like(hand.vertices)
    for row, name in enumerate(FINGER_ORDER):
        root = ROOT_OF[name]
        chain = np.array([*hand.joints[root:root + 3], hand.tips[row]])
        bones = np.diff(chain, axis=0)
        lengths = np.linalg.norm(bones, axis=1)
        stations = np.concatenate([[0.0], np.cumsum(lengths)])
        for k in range(3):
            offset = hand.vertices - chain[k]
            place = stations[k] + offset @ (bones[k] / lengths[k])
            for axis in (0, 1):
                if name == "thumb":  # the metacarpal is palm: scaling sets in along the proximal phalanx
                    grow = np.interp(place, [stations[1], stations[2]], [0.25, 1.0]) * (scale[row, 0, axis] - 1)
                else:
                    grow = np.interp(place, [0.25 * stations[1], stations[1], stations[2]],
                                     [0.6 * (scale[row, 0, axis] - 1), *(scale[row, :, axis] - 1)])
                direction = axes[root + k - 1, axis]
                moved += (weights[:, root + k] * grow * (offset @ direction))[:, None] * direction
    return moved
