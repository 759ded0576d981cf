"""Outlines of meshes against hands: measured to a pixel, summed up by maker."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.geometry.camera import intrinsics_from_fov, project_points
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.hand_model import HandModel
from handmesh.rendering.rasterizer import rasterize
from scripts.experiments.silhouettes import (
    Outline,
    finger_widths,
    iou,
    summarize,
    width_across,
)

SIZE = 256
Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def drawn(open_mano: ManoArrays) -> Drawn:
    """A flat hand seen square: its pixels (S, S) bool, its joints in pixels and in space."""
    turn = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # fingers up, palm to the camera
    model = HandModel(open_mano)
    vertices, joints = model.pose(True, turn, np.tile(np.eye(3), (15, 1, 1)), np.zeros(10))
    move = np.array([0, 0, 0.5]) - joints.mean(0)
    K = intrinsics_from_fov(SIZE, SIZE, 32.0)
    mesh = rasterize(vertices + move, model.faces(True), K, SIZE, SIZE, cull=False).face_index >= 0
    return mesh, project_points(joints + move, K), joints


def test_widths_are_those_of_the_fingers(drawn: Drawn) -> None:
    mesh, points, joints = drawn
    bar = np.zeros((SIZE, SIZE), bool)
    bar[:, 100:121] = True
    assert width_across(bar, np.array([110.0, 50]), np.array([1.0, 0])) == pytest.approx(21, abs=0.6)
    assert width_across(bar, np.array([10.0, 50]), np.array([1.0, 0])) == 0
    widths = finger_widths(mesh, mesh, points, joints)
    assert len(widths) >= 6 and all(ours == theirs > 5 for ours, theirs in widths)


def test_groups_and_all() -> None:
    rows = [Outline("a", 0.8, 1.0, [(11.0, 10.0)], 0.5), Outline("b", 0.9, 1.2, [], 0.7)]
    table = summarize(rows)
    assert table["a"]["finger"] == pytest.approx(1.1) and np.isnan(table["b"]["finger"])
    assert table["all"]["iou"] == pytest.approx(0.85) and table["all"]["photos"] == 2
    assert table["all"]["mask"] == pytest.approx(0.6)
    assert iou(np.eye(2) > 0, np.ones((2, 2), bool)) == 0.5 and iou(*np.zeros((2, 2, 2), bool)) == 1
