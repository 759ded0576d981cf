"""Joint angles: they go back to the rotations they came from, and their signs are those of anatomy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handmesh.geometry.joint_angles import (
    ANGLE_NAMES,
    angles_to_pose,
    joint_frames,
    named_angles,
    pose_of_names,
    pose_to_angles,
)
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.hand_model import HandModel
from handmesh.mano.prior.joint_limits import joint_axes
from handmesh.skeleton import FINGERTIP_VERTICES, JOINT_NAMES


@pytest.mark.parametrize("is_right", [True, False])
def test_round_trips(is_right: bool) -> None:
    rng = np.random.default_rng(0)
    pose = Rotation.random(15 * 20, random_state=1).as_matrix().reshape(20, 15, 3, 3)
    np.testing.assert_allclose(angles_to_pose(pose_to_angles(pose, is_right), is_right), pose, atol=1e-9)
    angles = rng.uniform([-170, -80, -170], [170, 80, 170], (20, 15, 3))
    np.testing.assert_allclose(pose_to_angles(angles_to_pose(angles, is_right), is_right), angles, atol=1e-6)
    assert pose_of_names(named_angles(pose[0], is_right), is_right) == pytest.approx(pose[0], abs=1e-9)


def test_the_flat_hand_is_zero_and_both_hands_have_the_same_signs() -> None:
    flat = np.tile(np.eye(3), (15, 1, 1))
    assert np.abs(pose_to_angles(flat, True)).max() < 1e-9
    angles = {"index_mcp": (30.0, 5.0, 1.0), "thumb_cmc": (10.0, 20.0, 0.0)}
    for is_right in (True, False):
        back = named_angles(pose_of_names(angles, is_right), is_right)
        assert back["index_mcp"] == pytest.approx((30, 5, 1)) and back["middle_pip"] == pytest.approx((0, 0, 0))
    assert ANGLE_NAMES[:3] == ("index_mcp", "index_pip", "index_dip") and ANGLE_NAMES[12] == "thumb_cmc"


@pytest.mark.parametrize("is_right", [True, False])
def test_signs_are_anatomys(open_mano: ManoArrays, is_right: bool) -> None:
    model = HandModel(open_mano)

    def joint(name: str, **angles: tuple[float, float, float]) -> np.ndarray:
        _, joints = model.pose(is_right, np.eye(3), pose_of_names(angles, is_right), np.zeros(10))
        return joints[JOINT_NAMES.index(name)]

    side = 1 if is_right else -1
    # The palm looks along -y, the thumb's side is +z, fingers point along -x (of a left hand +x).
    for finger in ("index", "middle", "ring", "little"):
        bent = joint(f"{finger}_tip", **{f"{finger}_mcp": (60.0, 0.0, 0.0)})
        assert bent[1] < joint(f"{finger}_tip")[1] - 0.03
        spread = joint(f"{finger}_tip", **{f"{finger}_mcp": (0.0, 15.0, 0.0)})
        assert spread[2] > joint(f"{finger}_tip")[2] + 0.01
        curled = joint(f"{finger}_tip", **{f"{finger}_mcp": (90.0, 0, 0), f"{finger}_pip": (100.0, 0, 0)})
        assert side * curled[0] > side * joint(f"{finger}_tip")[0] + 0.05
    # The thumb flexes across the palm, towards the little finger; abducted, it leaves the palm's plane.
    assert joint("thumb_tip", thumb_mcp=(40.0, 0.0, 0.0))[2] < joint("thumb_tip")[2] - 0.01


def test_axes_are_those_of_the_pose_limits(open_mano: ManoArrays) -> None:
    joints = open_mano.J_regressor @ open_mano.v_template
    tips = open_mano.v_template[list(FINGERTIP_VERTICES["freihand"])]
    axes = np.swapaxes(joint_axes(joints, tips), 1, 2)
    assert np.degrees(Rotation.from_matrix(np.swapaxes(axes, 1, 2) @ joint_frames()).magnitude()).max() < 0.5
