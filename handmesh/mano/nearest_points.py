"""A hand model's rest surface as a dense set of points: for any point the nearest one that means the same.

Nearest alone is not enough where two hands differ: a point of one finger may lie nearer to the next one, and a point of
a finger's back nearer to its pad.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from handmesh.mano.arrays import ManoArrays
from handmesh.skeleton import NUM_VERTICES

Array = NDArray[np.float64]

#: Points a face's side is divided into.
_DIVISIONS = 6
#: What a wrong finger and an opposite normal cost in the search, metres.
_FINGER_M, _NORMAL_M = 0.03, 0.015


class NearestPoints(NamedTuple):
    """For each of N points the nearest one of a surface.

    Attributes:
        points: (N, 3) metres, normals: (N, 3) there.
        distance: (N,) metres, across the surface.
        is_edge: (N,) whether it lies on the open edge at the wrist.
        matrix: (N, 778) that makes the points of the surface's vertices.
    """

    points: Array
    normals: Array
    distance: Array
    is_edge: NDArray[np.bool_]
    matrix: csr_matrix


class RestSurface:
    """A model's rest surface as a dense set of points, each with its finger and its normal."""

    def __init__(self, arrays: ManoArrays) -> None:
        steps = np.arange(_DIVISIONS + 1)
        first, second = (part.ravel() for part in np.meshgrid(steps, steps, indexing="ij"))
        inside = first + second <= _DIVISIONS
        shares = np.stack([first, second, _DIVISIONS - first - second], -1)[inside] / _DIVISIONS
        faces = np.asarray(arrays.faces)
        count = len(faces) * len(shares)
        columns = np.repeat(faces, len(shares), axis=0)
        values = np.tile(shares, (len(faces), 1))
        rows = np.repeat(np.arange(count), 3)
        self._matrix = csr_matrix((values.ravel(), (rows, columns.ravel())), shape=(count, NUM_VERTICES))
        self._points = self._matrix @ arrays.v_template
        normals = self._matrix @ vertex_normals(arrays.v_template, faces)
        self._normals = normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-9)
        self._tree = cKDTree(_features(self._points, self._normals, self._matrix @ (arrays.weights @ finger_groups())))
        self._is_edge = (self._matrix @ _edge_vertices(faces).astype(float)) > 0.99

    def nearest(self, points: Array, normals: Array, fingers: Array) -> NearestPoints:
        """The nearest points that face the same way and belong to the same finger.

        Args:
            points: (N, 3) metres, in the model's rest frame.
            normals: (N, 3) unit normals there.
            fingers: (N, 6) share of the palm and of each finger (:func:`finger_groups`).
        """
        _, chosen = self._tree.query(_features(points, normals, fingers))
        places, across = self._points[chosen], self._normals[chosen]
        distance = np.abs(((points - places) * across).sum(axis=1))
        return NearestPoints(places, across, distance, self._is_edge[chosen], self._matrix[chosen])


def _features(points: Array, normals: Array, fingers: Array) -> Array:
    return np.concatenate([points, _NORMAL_M * normals, _FINGER_M * fingers], axis=1)


def vertex_normals(vertices: Array, faces: NDArray[Any]) -> Array:
    """Unit normals (V, 3) of vertices (V, 3), each face counting by its area."""
    corners = vertices[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(total, faces[:, corner], across)
    return np.asarray(total / np.linalg.norm(total, axis=1, keepdims=True).clip(1e-12))


def _edge_vertices(faces: NDArray[Any]) -> NDArray[np.bool_]:
    """Vertices (778,) on the open edge: those of edges that only one face has."""
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    is_edge = np.zeros(NUM_VERTICES, bool)
    is_edge[unique[count == 1]] = True
    return is_edge


def finger_groups() -> Array:
    """(16, 6): joints to palm and five fingers."""
    groups = np.zeros((16, 6))
    groups[np.arange(16), [0, *(1 + np.arange(15) // 3)]] = 1
    return groups
