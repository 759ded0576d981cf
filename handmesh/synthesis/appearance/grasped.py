"""Things that a hand holds well: as thick as the room its fingers leave, and touching them.

props.py's are put near the hand, in poses that may hold nothing; these are made to measure for poses that do.
"""

from __future__ import annotations

import numpy as np

from handmesh.skeleton import BONES, FINGERTIPS
from handmesh.synthesis.appearance.props import Prop, Solid, frame_along, joined, painted, solid

#: Flesh gives way so far, metres; and nothing that is held is thinner than the second, in radius.
_SOFT_M, _THINNEST_M = 0.0015, 0.003
_THICKEST_M = 0.042


def widest_place(
    skin: np.ndarray, start: np.ndarray, directions: np.ndarray, reach: float, most: float
) -> tuple[np.ndarray, float]:
    """Where among the fingers the thickest thing fits.

    Args:
        skin: (N, 3) points of the hand, metres.
        start: (3,) the place to look round.
        directions: (2, 3) or (3, 3) orthonormal: a cylinder's place is sought across its axis, a ball's in space.
        reach: how far from the start, metres.
        most: no radius beyond this counts, metres.

    Returns:
        (3,) the middle, and the distance from it to the nearest skin, metres.
    """
    flat = (skin - start) @ directions.T
    steps = np.stack(np.meshgrid(*[[-1, 0, 1]] * len(directions), indexing="ij"), -1).reshape(-1, len(directions))
    middle = np.zeros(len(directions))
    # Uphill, in steps shorter than a finger is thick, so that it does not leave the hand between two fingers.
    for step in (0.004, 0.0015, 0.0005):
        for _ in range(10):
            tried = middle + step * steps
            tried = tried[np.linalg.norm(tried, axis=1) <= reach]
            distance = np.sqrt(((tried[:, None] - flat) ** 2).sum(-1).min(1))
            # As much room as there is, but no further from the hollow than that takes.
            worth = np.minimum(distance, most) - 0.2 * np.linalg.norm(tried, axis=1)
            best = tried[int(worth.argmax())]
            if np.array_equal(best, middle):
                break
            middle = best
    return start + middle @ directions, float(np.sqrt(((middle - flat) ** 2).sum(-1).min()))


def sample_held_thing(vertices: np.ndarray, joints: np.ndarray, palm: np.ndarray, rng: np.random.Generator) -> Prop:
    """A handle, a tool, a cup, a ball, a pen, a spoon or a flat thing, in the fingers.

    Args:
        vertices: (778, 3) of the hand, metres.
        joints: (21, 3).
        palm: (3,) unit normal out of its palm.
        rng: draws kind, size and place.
    """
    kind = rng.choice(4, p=[0.45, 0.15, 0.25, 0.15])
    if kind == 0:
        return painted(_handle(vertices, joints, palm, rng), rng)
    if kind == 1:
        return painted(_ball(vertices, joints, palm, rng), rng)
    if kind == 2:
        return painted(_pen(joints, rng), rng)
    return painted(_flat(joints, rng), rng)


def _obstacles(vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """(N, 3): the skin, and points along the bones, without which flesh would count as room."""
    part = np.linspace(0, 1, 6)[:, None, None]
    ends = joints[np.array(BONES)]
    bones = (1 - part) * ends[:, 0] + part * ends[:, 1]
    return np.concatenate([vertices, bones.reshape(-1, 3)])


def _hollow(joints: np.ndarray, palm: np.ndarray) -> np.ndarray:
    """(3,): between the fingers' middle joints, their tips and the palm."""
    hollow: np.ndarray = 0.4 * joints[[6, 10, 14]].mean(0) + 0.3 * joints[[8, 12, 16]].mean(0)
    return hollow + 0.3 * joints[[5, 9, 13]].mean(0) + 0.012 * palm


def _handle(vertices: np.ndarray, joints: np.ndarray, palm: np.ndarray, rng: np.random.Generator) -> Solid:
    """A cylinder across the palm that fills the fingers, often with something at one end: bottles, mugs, hammers."""
    axis = joints[5] - joints[17]
    turn = frame_along(axis / np.linalg.norm(axis) + rng.normal(0, 0.15, 3), rng)
    middle, room = widest_place(_obstacles(vertices, joints), _hollow(joints, palm), turn[:, :2].T, 0.03, _THICKEST_M)
    radius = float(np.clip(room * rng.uniform(0.75, 1.0) + _SOFT_M, _THINNEST_M, _THICKEST_M))
    above, below = (float(x) for x in rng.uniform(0.03, 0.14, 2))
    handle = solid("can", [radius, radius, 0.5 * (above + below)], turn, middle + turn[:, 2] * 0.5 * (above - below))
    if rng.random() < 0.5:
        return handle
    # A head on it: a hammer's, a bulb's, a cup's.
    end, side = (above, 1.0) if rng.random() < 0.7 else (below, -1.0)
    shape = ("ball", "can", "slab")[int(rng.integers(3))]
    extent = rng.uniform([0.006, 0.006, 0.01], [0.04, 0.04, 0.045])
    head = solid(shape, extent, turn, middle + turn[:, 2] * side * (end + 0.7 * extent[2]))
    return joined(handle, head)


def _ball(vertices: np.ndarray, joints: np.ndarray, palm: np.ndarray, rng: np.random.Generator) -> Solid:
    """A ball, egg or block in the hollow of the hand."""
    middle, room = widest_place(_obstacles(vertices, joints), _hollow(joints, palm), np.eye(3), 0.03, _THICKEST_M)
    radius = float(np.clip(room * rng.uniform(0.8, 1.0) + _SOFT_M, _THINNEST_M, _THICKEST_M))
    if rng.random() < 0.3:
        return solid("slab", radius * rng.uniform(0.55, 0.75, 3), frame_along(rng.normal(size=3), rng), middle)
    return solid("ball", radius * rng.uniform(0.8, 1.05, 3), frame_along(rng.normal(size=3), rng), middle)


def _pen(joints: np.ndarray, rng: np.random.Generator) -> Solid:
    """A rod between thumb and fingertips that leans against the root of the index finger; a pen, a spoon, a brush."""
    thumb, fingers = joints[FINGERTIPS[0]], joints[[FINGERTIPS[1], FINGERTIPS[1], FINGERTIPS[2]]].mean(0)
    pinch = 0.5 * (thumb + fingers)
    radius = float(np.clip(0.3 * np.linalg.norm(thumb - fingers), _THINNEST_M, 0.010)) * float(rng.uniform(0.7, 1.0))
    rest = joints[5] if rng.random() < 0.6 else 0.5 * (joints[5] + joints[2])
    turn = frame_along(pinch - rest + rng.normal(0, 0.01, 3), rng)
    before, behind = float(rng.uniform(0.01, 0.08)), float(rng.uniform(0.05, 0.14))
    rod = solid("can", [radius, radius, 0.5 * (before + behind)], turn, pinch + turn[:, 2] * 0.5 * (before - behind))
    if rng.random() < 0.55:
        return rod
    extent = rng.uniform([0.008, 0.003, 0.012], [0.025, 0.012, 0.035])
    return joined(rod, solid("ball", extent, turn, pinch + turn[:, 2] * (before + 0.7 * extent[2])))


def _flat(joints: np.ndarray, rng: np.random.Generator) -> Solid:
    """A card, a phone or a book between the thumb and the fingers."""
    thumb, fingers = joints[FINGERTIPS[0]], joints[list(FINGERTIPS[1:4])].mean(0)
    gap = float(np.linalg.norm(thumb - fingers))
    turn = frame_along(thumb - fingers + rng.normal(0, 0.008, 3), rng)
    outward = 0.5 * (thumb + fingers) - joints[[0, 5, 17]].mean(0)
    extent = np.array([rng.uniform(0.02, 0.05), rng.uniform(0.03, 0.08), np.clip(0.5 * gap - 0.006, 0.001, 0.02)])
    # It sticks out of the hand: its middle lies in its own plane, away from the palm.
    out = outward - turn[:, 2] * (outward @ turn[:, 2])
    place = 0.5 * (thumb + fingers) + out / (np.linalg.norm(out) + 1e-9) * float(rng.uniform(0.0, 0.035))
    return solid("slab", extent, turn, place)
