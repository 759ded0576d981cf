"""Causes are read from labels and pixels as a person would say them, and every photo is in one class a cause."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handmesh.evaluation.breakdown import by_cause, fingers_of, format_causes, traits_of, view_of
from handmesh.evaluation.real_photos import RealResult
from handmesh.geometry.camera import project_points
from handmesh.geometry.rotation import axis_angle_to_matrix_np
from handmesh.io.images import write_image
from handmesh.labeling.photo_sets import LabelledPhoto
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.layers.numpy_layer import pose_vertices
from handmesh.synthesis.renderer import hand_renderer

FLAT = np.tile(np.eye(3), (15, 1, 1))
MIRROR = np.array([-1.0, 1, 1])
#: Joints, keypoints and longer side of a result whose errors alone matter here.
PREDICTED = (np.zeros((21, 3)), np.zeros((21, 2)), 64)


def turned(arrays: ManoArrays, axis_angle: list[float], pose: np.ndarray = FLAT) -> np.ndarray:
    """Joints (21, 3) of the right hand with fingers up and palm to the camera, turned by degrees about an axis."""
    turn = axis_angle_to_matrix_np(np.radians(axis_angle))
    return pose_vertices(arrays, turn @ hand_renderer(arrays).upright, pose, np.zeros(10))[1].astype(np.float64)


@pytest.mark.parametrize(
    ("axis_angle", "view"),
    [
        ([0, 0, 0], "palm"), ([0, 0, 130], "palm"), ([0, 35, 0], "palm"), ([0, 180, 0], "back"), ([0, 150, 0], "back"),
        ([0, 90, 0], "side"), ([0, -90, 0], "side"), ([80, 0, 0], "end-on"), ([-80, 0, 0], "end-on"),
    ],
)  # fmt: skip
def test_viewpoints_of_both_hands(open_mano: ManoArrays, axis_angle: list[float], view: str) -> None:
    joints = turned(open_mano, axis_angle)
    assert view_of(joints, True) == view
    assert view_of(joints * MIRROR, False) == view


def test_fingers(open_mano: ManoArrays) -> None:
    assert fingers_of(turned(open_mano, [0, 20, 0])) == "open"
    # About the axis across the palm, joint by joint: a fist, and a fist with the index finger out.
    bend = axis_angle_to_matrix_np(np.radians([0.0, 0, -75]))
    best = max((np.tile(bend, (15, 1, 1)), np.tile(bend.T, (15, 1, 1))), key=lambda p: _reach(open_mano, p))
    fist = best.copy()
    assert fingers_of(turned(open_mano, [0, 0, 0], fist)) == "curled"
    fist[:3] = np.eye(3)
    assert fingers_of(turned(open_mano, [0, 0, 0], fist)) == "some"


def _reach(arrays: ManoArrays, pose: np.ndarray) -> float:
    """How far the middle fingertip lies on the palm's side."""
    return -float(turned(arrays, [0, 0, 0], pose)[12, 2])


@pytest.fixture
def photo(open_mano: ManoArrays, tmp_path: Path) -> LabelledPhoto:
    """A brown hand of 60 x 60 pixels, as far as its box goes, on a white picture."""
    joints = turned(open_mano, [0, 0, 0]) + [0, 0, 0.6]
    points = project_points(joints, np.array([[400.0, 0, 0], [0, 400, 0], [0, 0, 1]]))
    points = points - points.min(0) + [30, 20]
    image = np.full((180, 200, 3), 255, np.uint8)
    low, high = points.min(0).astype(int), points.max(0).astype(int)
    image[low[1] : high[1], low[0] : high[0]] = (90, 60, 40)
    write_image(tmp_path / "hand.png", image)
    return LabelledPhoto(tmp_path / "hand.png", "sign-digits", False, points, joints, True)


def test_traits_of_a_picture(photo: LabelledPhoto) -> None:
    from handmesh.io.images import read_image

    image = read_image(photo.path)
    traits = traits_of(photo, image)
    assert (traits.side, traits.view, traits.fingers, traits.outside) == ("right", "palm", "open", 0)
    assert 20 < traits.skin < 35 and traits.light == pytest.approx(100, abs=0.5)
    assert traits.box_px == pytest.approx(np.ptp(photo.keypoints_2d, axis=0).max())
    # Moved half out of the picture, the points there are counted.
    moved = replace(photo, keypoints_2d=photo.keypoints_2d - [np.median(photo.keypoints_2d[:, 0]), 0])
    assert 5 <= traits_of(moved, image).outside <= 16


def test_every_photo_is_in_one_class_a_cause(photo: LabelledPhoto) -> None:
    results = []
    for i in range(9):
        each = replace(photo, is_held_out=i % 3 == 0, is_right=i < 4, keypoints_2d=photo.keypoints_2d * (0.5 + 0.2 * i))
        results.append(RealResult(each, 5.0 + i, 0.01 * i, np.zeros(21), 1.0, *PREDICTED))
    other = RealResult(replace(photo, group="annotated/x"), 99.0, 9.0, np.zeros(21), 1.0, *PREDICTED)
    flat = RealResult(replace(photo, joints=None), np.nan, 9.0, None, 1.0, *PREDICTED)
    rows = by_cause([*results, other, flat])
    for cause in ("side", "viewpoint", "pose", "skin", "light", "box", "cut off"):
        mine = [row for row in rows if row["cause"] == cause]
        assert sum(row["samples"] for row in mine) == 9 and sum(row["held_out_samples"] for row in mine) == 3
        assert sum(row["samples"] * row["pa_mm"] for row in mine) == pytest.approx(9 * 9.0)
        held = sum(row["held_out_samples"] * (row["held_out_error_2d"] or 0) for row in mine)
        assert held == pytest.approx(0.09)
    (left,) = [row for row in rows if row["class"] == "left"]
    assert left["samples"] == 5 and left["pa_mm"] == pytest.approx(np.mean([9, 10, 11, 12, 13]))
    text = format_causes(rows)
    assert "viewpoint" in text and "fingers open" in text and len(text.splitlines()) == len(rows) + 1


def test_nothing_to_say_without_labels_in_space() -> None:
    assert by_cause([]) == []
