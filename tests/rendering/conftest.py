"""A posed hand at a place before the tests' camera."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from handmesh.geometry.camera import intrinsics_from_fov, project_points
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.layers.numpy_layer import pose_vertices
from handmesh.results import Hand

K = intrinsics_from_fov(320, 240, 60)


@pytest.fixture(scope="session")
def make_hand() -> Callable[..., Hand]:
    """make_hand(mano, x=0, z=0.5, is_right=True): an open hand, x metres beside the axis, z before the camera."""
    return _make_hand


def _make_hand(mano: ManoArrays, x: float = 0.0, z: float = 0.5, is_right: bool = True) -> Hand:
    pose = np.tile(np.eye(3), (15, 1, 1))
    vertices, joints = pose_vertices(mano, np.eye(3), pose, np.zeros(10))
    shift = np.array([x, 0, z]) - vertices.mean(0)
    vertices, joints, faces = vertices + shift, joints + shift, mano.faces
    if not is_right:
        vertices, joints, faces = vertices * [-1, 1, 1], joints * [-1, 1, 1], faces[:, ::-1]
    points = project_points(joints, K)
    box = np.concatenate([points.min(0), points.max(0)])
    return Hand(vertices, joints, points, is_right, 0.97, faces, np.eye(3), pose, np.zeros(10), shift, K, box)
