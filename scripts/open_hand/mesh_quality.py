"""Is a surface fit to be used: the shape of its triangles, and whether it runs through itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Faces = NDArray[np.int64]


def triangle_quality(vertices: Array, faces: Faces) -> tuple[Array, Array]:
    """Smallest angle in degrees (F,) and aspect (F,): longest side over the shortest height, 1.15 when equilateral."""
    corners = vertices[faces]
    sides = np.stack([np.linalg.norm(corners[:, (k + 1) % 3] - corners[:, (k + 2) % 3], axis=1) for k in range(3)], 1)
    squares = sides**2
    cosine = [(squares[:, (k + 1) % 3] + squares[:, (k + 2) % 3] - squares[:, k])
              / (2 * sides[:, (k + 1) % 3] * sides[:, (k + 2) % 3]) for k in range(3)]
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    longest = sides.max(axis=1)
    return np.degrees(np.arccos(np.clip(np.max(cosine, axis=0), -1, 1))), longest**2 / (2 * area)


def self_intersections(vertices: Array, faces: Faces) -> NDArray[np.int64]:
    """(N,2) pairs of faces without a shared vertex that cut one another: an edge of one passes through the other."""
    low, high = vertices[faces].min(axis=1), vertices[faces].max(axis=1)
    pairs = []
    for i in range(len(faces) - 1):
        near = np.flatnonzero(((low[i + 1:] <= high[i]) & (high[i + 1:] >= low[i])).all(axis=1)) + i + 1
        near = near[~(faces[near][:, :, None] == faces[i]).any(axis=(1, 2))]
        pairs.append(np.stack([np.full(len(near), i), near], axis=1))
    candidates = np.concatenate(pairs)
    hit = np.zeros(len(candidates), bool)
    for a, b in ((0, 1), (1, 0)):
        triangle, other = vertices[faces[candidates[:, a]]], vertices[faces[candidates[:, b]]]
        for k in range(3):
            hit |= _pierces(other[:, k], other[:, (k + 1) % 3], triangle)
    return candidates[hit]


def _pierces(start: Array, end: Array, triangle: Array) -> NDArray[np.bool_]:
    """Whether segments start-end (N,3) pass through triangles (N,3,3) (Moeller and Trumbore 1997)."""
    u, v = triangle[:, 1] - triangle[:, 0], triangle[:, 2] - triangle[:, 0]
    direction = end - start
    p = np.cross(direction, v)
    determinant = (u * p).sum(1)
    safe = np.where(np.abs(determinant) < 1e-18, 1e-18, determinant)
    t = start - triangle[:, 0]
    a = (t * p).sum(1) / safe
    q = np.cross(t, u)
    b = (direction * q).sum(1) / safe
    along = (v * q).sum(1) / safe
    return (a >= 0) & (b >= 0) & (a + b <= 1) & (along >= 0) & (along <= 1) & (np.abs(determinant) > 1e-18)
