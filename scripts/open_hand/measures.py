"""What a hand measures: segment lengths, breadths and thicknesses, as an anthropometrist's calliper would read them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handmesh.mano.prior.joint_limits import joint_axes

Array = NDArray[np.float64]
Faces = NDArray[np.int64]

FINGER_ORDER = ("thumb", "index", "middle", "ring", "little")
ROOT_OF = {"thumb": 13, "index": 1, "middle": 4, "ring": 10, "little": 7}

# Buryanov and Kotiuk 2010, Proportions of hand segments, Int. J. Morphol. 28(3): mean lengths of adult bones by X-ray,
# proximal, middle, distal phalanx (thumb: metacarpal, proximal, distal), and the soft tissue beyond the last bone, mm.
SEGMENT_MM = {"thumb": (46.2, 31.6, 21.7), "index": (39.8, 22.4, 15.8), "middle": (44.6, 26.3, 17.4),
              "ring": (41.4, 25.7, 17.3), "little": (32.7, 18.1, 16.0)}
SOFT_TISSUE_MM = {"thumb": 5.67, "index": 3.84, "middle": 3.95, "ring": 3.95, "little": 3.73}

# Means of men's and women's means.  Hand length 189 / 172, breadth at the metacarpals 88 / 78, palm thickness 28, wrist
# 60 x 40; finger breadth 17-20 at the middle joint and 14-17 at the distal one, thumb 20-23.  Within those ranges the
# fingers keep the usual order of size (middle, index, ring, little), thickness about nine tenths of breadth.
HAND_MM = {"hand length": 180.5, "hand breadth": 83.0, "palm thickness": 28.0, "wrist breadth": 60.0,
           "wrist thickness": 40.0}
# Breadth and thickness at the middle joint, then at the distal joint (thumb: its one interphalangeal joint), mm.
FINGER_MM = {"thumb": ((21.5, 18.5),), "index": ((18.8, 17.0), (16.0, 14.0)), "middle": ((19.0, 17.4), (16.3, 14.3)),
             "ring": ((18.0, 16.4), (15.4, 13.5)), "little": ((15.8, 14.4), (13.8, 12.0))}


@dataclass(frozen=True)
class Measurable:
    """A surface to measure: vertices (V,3), faces (F,3), weights (V,16), joints (16,3), tips (5,3), metres."""

    vertices: Array
    faces: Faces
    weights: Array
    joints: Array
    tips: Array


def targets_mm() -> dict[str, float]:
    """Every published mean by the name that measure_mm gives it."""
    targets = dict(HAND_MM)
    for name in FINGER_ORDER:
        for k, length in enumerate(SEGMENT_MM[name]):
            targets[f"{name} segment {k + 1}"] = length + (SOFT_TISSUE_MM[name] if k == 2 else 0.0)
        for k, (breadth, thickness) in enumerate(FINGER_MM[name]):
            joint = joint_of(name, k)
            targets[f"{name} breadth at joint {joint}"] = breadth
            targets[f"{name} thickness at joint {joint}"] = thickness
    return targets


def joint_of(name: str, k: int) -> int:
    """Which of a finger's joints (1 to 3) the k-th cross-section is taken at."""
    return 3 if name == "thumb" else 2 + k


def measure_mm(hand: Measurable) -> dict[str, float]:
    """All measures of targets_mm, in millimetres, read off the surface."""
    joints, tips = hand.joints, hand.tips
    axes = joint_axes(joints, tips)
    out = {"hand length": float(joints[0, 0] - np.min(hand.vertices[:, 0])), **_palm(hand)}
    for name, tip in zip(FINGER_ORDER, tips):
        root = ROOT_OF[name]
        chain = np.array([*joints[root:root + 3], tip])
        lengths = np.linalg.norm(np.diff(chain, axis=0), axis=1)
        own = hand.weights[:, root:root + 3].sum(axis=1) > 0.5
        last = (chain[2] - chain[1]) / np.linalg.norm(chain[2] - chain[1])
        ahead = (tip - chain[2]) / np.linalg.norm(tip - chain[2]) if name == "thumb" else last
        lengths[2] = ((hand.vertices[own] - chain[2]) @ ahead).max()
        for k in range(3):
            out[f"{name} segment {k + 1}"] = float(lengths[k])
        for k in range(len(FINGER_MM[name])):
            joint = joint_of(name, k)
            breadth, thickness = cross_section(hand, own, chain[joint - 1], axes[root + joint - 2])
            out[f"{name} breadth at joint {joint}"] = breadth
            out[f"{name} thickness at joint {joint}"] = thickness
    return {key: 1000.0 * value for key, value in out.items()}


def outline(vertices: Array, faces: Faces, point: Array, normal: Array) -> Array:
    """(N,3) points where the plane through point cuts the edges of the faces."""
    side = (vertices - point) @ normal
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    a, b = pairs[(side[pairs[:, 0]] > 0) != (side[pairs[:, 1]] > 0)].T
    t = side[a] / (side[a] - side[b])
    return vertices[a] + t[:, None] * (vertices[b] - vertices[a])


def cross_section(hand: Measurable, own: NDArray[np.bool_], point: Array, axes: Array) -> tuple[float, float]:
    """Breadth (along the flexion axis) and thickness (along the abduction axis) of a finger at a point, metres."""
    points = outline(hand.vertices, hand.faces[own[hand.faces].all(axis=1)], point, axes[2])
    return float(np.ptp(points @ axes[0])), float(np.ptp(points @ axes[1]))


def _palm(hand: Measurable) -> dict[str, float]:
    """Breadth across the metacarpal heads II to V, thickness at the head of III, breadth and thickness of the wrist."""
    joints, up = hand.joints, np.array([0.0, 1.0, 0.0])
    across = (joints[1] - joints[7]) / np.linalg.norm(joints[1] - joints[7])
    normal = np.cross(across, up)
    normal /= np.linalg.norm(normal)
    no_thumb = (hand.weights[:, 13:].sum(axis=1) < 0.5)[hand.faces].all(axis=1)
    heads = outline(hand.vertices, hand.faces[no_thumb], joints[1], normal)
    third = outline(hand.vertices, hand.faces[no_thumb], joints[4], normal)
    third = third[np.abs((third - joints[4]) @ across) < 0.008]
    wrist = outline(hand.vertices, hand.faces, joints[0], np.array([1.0, 0.0, 0.0]))
    return {"hand breadth": float(np.ptp(heads @ across)), "palm thickness": float(np.ptp(third[:, 1])),
            "wrist breadth": float(np.ptp(wrist[:, 2])), "wrist thickness": float(np.ptp(wrist[:, 1]))}
