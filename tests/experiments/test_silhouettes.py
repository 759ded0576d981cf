"""Outlines before plain ground: found without the mesh, refused where the ground is not plain, measured to a pixel."""

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
    hand_before_plain_ground,
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


def photo(mesh: np.ndarray) -> np.ndarray:
    """The hand before a wall whose light falls off to one side, with noise."""
    wall = np.linspace(150, 215, SIZE)[None, :, None] * np.array([1.0, 1.0, 1.02])
    picture = np.where(mesh[..., None], np.array([190.0, 130, 100]), wall)
    return np.clip(picture + np.random.default_rng(0).normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def test_the_outline_is_that_of_the_hand(drawn: Drawn) -> None:
    mesh, points, _ = drawn
    everywhere = np.ones((SIZE, SIZE), bool)
    found = hand_before_plain_ground(photo(mesh), points, everywhere)
    assert found is not None and iou(found, mesh) > 0.94
    # What lies beyond the photo is no ground.
    cut = photo(mesh)
    cut[:, :40] = 0
    part = hand_before_plain_ground(cut, points, everywhere & (np.arange(SIZE) >= 40))
    assert part is not None and iou(part, mesh & (np.arange(SIZE) >= 40)) > 0.94


def test_what_is_not_plain_or_not_apart_is_refused(drawn: Drawn) -> None:
    mesh, points, _ = drawn
    everywhere = np.ones((SIZE, SIZE), bool)
    striped = photo(mesh)
    striped[:, ::8] = 20
    striped[:, 1::8] = 20
    assert hand_before_plain_ground(striped, points, everywhere) is None
    assert hand_before_plain_ground(photo(np.zeros_like(mesh)), points, everywhere) is None
    # An outline without the labelled joints is another thing's.
    assert hand_before_plain_ground(photo(mesh), points + [60, 0], everywhere) is None


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
