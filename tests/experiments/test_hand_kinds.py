"""Kinds of hands: palm, back and side of either hand; fists; light in thirds."""

from __future__ import annotations

import numpy as np

from handmesh.geometry.rotation import axis_angle_to_matrix_np
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.layers.numpy_layer import pose_vertices
from scripts.experiments.hand_kinds import is_fist, light_of, thirds, view_of

FINGERS_UP = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])


def joints_of(arrays: ManoArrays, turn_deg: float, bend_rad: float = 0.0) -> np.ndarray:
    """A right hand with its fingers up, turned about the upright axis; its fingers bent at every joint."""
    turn = axis_angle_to_matrix_np(np.array([0, np.radians(turn_deg), 0]))
    pose = np.tile(axis_angle_to_matrix_np(np.array([0.0, 0, bend_rad])), (15, 1, 1))
    return np.asarray(pose_vertices(arrays, turn @ FINGERS_UP, pose, np.zeros(10))[1], np.float64)


def test_a_hand_turned_about_shows_palm_side_and_back(open_mano: ManoArrays) -> None:
    seen = [view_of(joints_of(open_mano, turn), True) for turn in (0, 90, 180, 270)]
    assert sorted(seen) == ["back", "palm", "side", "side"] and seen[1] == seen[3] == "side"
    # The mirrored picture shows the other hand from the same side.
    mirrored = [view_of(joints_of(open_mano, turn) * [-1, 1, 1], False) for turn in (0, 90, 180, 270)]
    assert mirrored == seen


def test_a_palm_has_its_thumb_on_the_side_where_a_right_hand_has_it(open_mano: ManoArrays) -> None:
    for turn in (0, 180):
        joints = joints_of(open_mano, turn)
        thumb_is_right_of_the_little_finger = joints[4, 0] > joints[20, 0]
        assert view_of(joints, True) == ("palm" if thumb_is_right_of_the_little_finger else "back")


def test_a_fist_is_bent_in_all_fingers(open_mano: ManoArrays) -> None:
    assert not is_fist(joints_of(open_mano, 0))
    assert any(is_fist(joints_of(open_mano, 0, bend)) for bend in (-1.4, 1.4))


def test_light_is_of_the_palm_and_of_the_picture_and_thirds_share_it_out() -> None:
    image = np.full((60, 60, 3), 200, np.uint8)
    image[20:50, 20:50] = 80
    points = np.tile([35.0, 35.0], (21, 1))
    points[[0, 1, 5, 9, 13, 17]] = [[35, 45], [25, 40], [25, 25], [32, 25], [38, 25], [45, 30]]
    palm, whole = light_of(image, points)
    assert palm == 80 and whole == image.mean()
    masks = thirds(np.arange(30.0))
    assert [mask.sum() for mask in masks] == [10, 10, 10] and masks[0][0] and masks[2][-1]
