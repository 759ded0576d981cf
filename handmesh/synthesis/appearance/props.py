"""Things in the hand: balls, mugs and bottles, pens, phones, boxes, placed where the fingers would hold them.

They need not be held well: what matters is that something hides parts of the palm and fingers, and that fingers hide
parts of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from handmesh.skeleton import FINGERTIPS
from handmesh.synthesis.appearance.skin import cloth_albedo


class Prop(NamedTuple):
    """vertices (V, 3) float32 metres in the frame of the joints; faces (F, 3) int32, outward; albedo (V, 4): linear
    RGB and gloss of each vertex.
    """

    vertices: np.ndarray
    faces: np.ndarray
    albedo: np.ndarray


def _tube(profile: np.ndarray, around: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """A solid of revolution about z: profile (P, 2) of radius and z, from -z to +z, closed where its radius is 0."""
    angle = np.arange(around) * 2 * np.pi / around
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    flat = profile[:, None, :1] * ring
    height = np.broadcast_to(profile[:, None, 1:], (len(profile), around, 1))
    vertices = np.concatenate([flat, height], -1)
    a = np.arange(around)
    b = (a + 1) % around
    faces = []
    for level in range(len(profile) - 1):
        low, high = level * around, (level + 1) * around
        faces += [np.stack([low + a, low + b, high + b], 1), np.stack([low + a, high + b, high + a], 1)]
    return vertices.reshape(-1, 3), np.concatenate(faces)


def _ball() -> tuple[np.ndarray, np.ndarray]:
    t = np.linspace(-np.pi / 2, np.pi / 2, 13)
    return _tube(np.stack([np.cos(t), np.sin(t)], 1))


def _can() -> tuple[np.ndarray, np.ndarray]:
    """Radius 1, from z = -1 to 1; edges are doubled so that their normals stay sharp."""
    side = [[1.0, z] for z in np.linspace(-1, 1, 9)]
    return _tube(np.array([[0, -1], [0.98, -1], *side, [0.98, 1], [0, 1]]))


def _slab() -> tuple[np.ndarray, np.ndarray]:
    """The cube from -1 to 1, each side a grid of its own."""
    grid = np.linspace(-1, 1, 5)
    x, y = (g.ravel() for g in np.meshgrid(grid, grid, indexing="ij"))
    a = (np.arange(4)[:, None] * 5 + np.arange(4)).ravel()
    quad = np.concatenate([np.stack([a, a + 5, a + 6], 1), np.stack([a, a + 6, a + 1], 1)])
    vertices: list[np.ndarray] = []
    faces: list[np.ndarray] = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            point = np.empty((25, 3))
            point[:, (axis + 1) % 3], point[:, (axis + 2) % 3], point[:, axis] = x, y, sign
            faces.append((quad if sign > 0 else quad[:, ::-1]) + 25 * len(vertices))
            vertices.append(point)
    return np.concatenate(vertices), np.concatenate(faces)


_SOLIDS = {"ball": _ball(), "can": _can(), "slab": _slab()}


class Solid(NamedTuple):
    """vertices (V, 3) metres in the frame of the joints; faces (F, 3), outward; unit (V, 3): the vertices' places on
    solids from -1 to 1, by which they are painted.
    """

    vertices: np.ndarray
    faces: np.ndarray
    unit: np.ndarray


def solid(kind: str, extent: ArrayLike, turn: np.ndarray, centre: np.ndarray) -> Solid:
    """A ball, can or slab in its place.

    Args:
        kind: "ball", "can" (its axis is z) or "slab".
        extent: (3,) half its sides, metres.
        turn: (3, 3) rotation from its frame to the joints'.
        centre: (3,) metres.
    """
    unit, faces = _SOLIDS[kind]
    return Solid((unit * np.asarray(extent)) @ turn.T + centre, faces, unit)


def joined(first: Solid, second: Solid) -> Solid:
    """Both as one."""
    faces = np.concatenate([first.faces, second.faces + len(first.vertices)])
    vertices, unit = (np.concatenate(pair) for pair in ((first[0], second[0]), (first[2], second[2])))
    return Solid(vertices, faces, unit)


def painted(shape: Solid, rng: np.random.Generator) -> Prop:
    """The solid in one colour, with a band of another, or with patches."""
    vertices, faces = shape.vertices.astype(np.float32), shape.faces.astype(np.int32)
    return Prop(vertices, faces, _paint(shape.unit, rng))


def frame_along(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(3, 3) rotation whose third column is along z, rolled at random."""
    z = z / (np.linalg.norm(z) + 1e-9)
    x = np.cross(z, rng.normal(size=3))
    x /= np.linalg.norm(x) + 1e-9
    return np.stack([x, np.cross(z, x), z], 1)


def sample_prop(joints: np.ndarray, palm: np.ndarray, rng: np.random.Generator) -> Prop:
    """Something for a hand to hold.

    Args:
        joints: (21, 3) of the hand, metres.
        palm: (3,) unit normal out of its palm.
        rng: draws kind, size and place.
    """
    knuckles = joints[[5, 9, 13, 17]]
    tips = joints[list(FINGERTIPS)]
    across = joints[17] - joints[5]
    hollow = 0.5 * (knuckles.mean(0) + tips[1:].mean(0))
    room = float(np.linalg.norm(tips[1:].mean(0) - knuckles.mean(0)))
    kind = rng.choice(5, p=[0.2, 0.3, 0.25, 0.15, 0.1])
    if kind == 0:
        radius = np.clip(0.5 * room * rng.uniform(0.6, 1.1), 0.012, 0.05)
        shape, extent, turn = "ball", np.full(3, radius), frame_along(rng.normal(size=3), rng)
        centre = hollow + palm * radius * 0.5
    elif kind == 1:  # mug, bottle, handle
        radius = np.clip(0.45 * room * rng.uniform(0.6, 1.1), 0.010, 0.042)
        shape, extent = "can", np.array([radius, radius, rng.uniform(0.04, 0.13)])
        turn = frame_along(across + rng.normal(0, 0.015, 3), rng)
        centre = hollow + palm * radius * 0.6 + turn[:, 2] * rng.normal(0, 0.02)
    elif kind == 2:  # pen, brush, stick
        radius = rng.uniform(0.003, 0.009)
        shape, extent = "can", np.array([radius, radius, rng.uniform(0.05, 0.12)])
        pinch = 0.5 * (tips[0] + tips[1])
        turn = frame_along(pinch - joints[5] + rng.normal(0, 0.05, 3), rng)
        centre = pinch + turn[:, 2] * rng.normal(0, 0.03)
    elif kind == 3:  # phone, book, cup of paper
        shape, extent = "slab", np.array([0.035, 0.07, 0.0045]) * rng.uniform(0.7, 1.3, 3)
        turn = frame_along(palm + rng.normal(0, 0.25, 3), rng)
        centre = knuckles.mean(0) + palm * 0.025 + rng.normal(0, 0.012, 3)
    else:
        shape, extent = "slab", rng.uniform(0.01, 0.035, 3)
        turn, centre = frame_along(rng.normal(size=3), rng), hollow + palm * 0.01
    return painted(solid(shape, extent, turn, centre), rng)


def _paint(unit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    albedo = np.empty((len(unit), 4), np.float32)
    albedo[:, :3], albedo[:, 3] = cloth_albedo(rng), rng.gamma(1.0, 1.0)
    kind = rng.integers(3)
    if kind == 1:  # a band of another colour
        low = rng.uniform(-0.8, 0.6)
        albedo[(unit[:, 2] > low) & (unit[:, 2] < low + rng.uniform(0.2, 0.9)), :3] = cloth_albedo(rng)
    elif kind == 2:  # patches
        field = np.sin(unit @ rng.normal(0, 4, 3)) + np.sin(unit @ rng.normal(0, 4, 3))
        albedo[field > 0, :3] = cloth_albedo(rng)
    return albedo
