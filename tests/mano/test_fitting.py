"""Fitting finds the hand whose joints it is given, inside anatomical ranges, each hand for itself."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.geometry.rotation import axis_angle_to_matrix_np
from handmesh.mano.arrays import ManoArrays, load_mano
from handmesh.mano.fitting import FittedHands, fit_hands
from handmesh.mano.layers.numpy_layer import pose_vertices
from handmesh.mano.prior.joint_limits import angles_to_rotations, clamp, joint_axes, pose_limits
from handmesh.skeleton import FINGERTIP_VERTICES


@pytest.fixture(scope="module")
def arrays() -> ManoArrays:
    return load_mano("open")


@pytest.fixture(scope="module")
def truth(arrays: ManoArrays) -> tuple[np.ndarray, np.ndarray]:
    """Joints (6, 21, 3) and pixels (6, 21, 2) of posed hands in any orientation."""
    rng = np.random.default_rng(0)
    rest = arrays.J_regressor @ arrays.v_template
    axes = joint_axes(rest, arrays.v_template[list(FINGERTIP_VERTICES["freihand"])])
    low, high = pose_limits()
    joints = []
    for _ in range(6):
        angles = clamp(low + (high - low) * rng.uniform(0.25, 0.7, (15, 3)))
        orient = axis_angle_to_matrix_np(rng.normal(size=3))
        hand_pose = angles_to_rotations(angles, axes)
        joints.append(pose_vertices(arrays, orient, hand_pose, rng.normal(size=10) * 0.3)[1])
    stacked = np.stack(joints).astype(np.float64)
    return stacked, stacked[..., :2] * 700 + [80, 60]


@pytest.fixture(scope="module")
def fits(arrays: ManoArrays, truth: tuple[np.ndarray, np.ndarray]) -> FittedHands:
    return fit_hands(arrays, *truth, steps=150)


def test_joints_are_found_again(fits: FittedHands) -> None:
    assert np.median(fits.error_mm) < 2.0 and fits.error_mm.max() < 5.0
    assert fits.error_2d.max() < 0.03


def test_parameters_and_joints_are_one_hand(arrays: ManoArrays, fits: FittedHands) -> None:
    for i in range(len(fits.joints)):
        _, joints = pose_vertices(arrays, fits.global_orient[i], fits.hand_pose[i], fits.betas[i])
        np.testing.assert_allclose(joints, fits.joints[i], atol=1e-5)


def test_size_place_and_company_do_not_matter(arrays: ManoArrays, truth, fits: FittedHands) -> None:
    joints, pixels = truth
    alone = fit_hands(arrays, joints[2:3] * 1.7 + [0.1, 0.2, 3], pixels[2:3] * 0.5 - 40, steps=150)
    np.testing.assert_allclose(alone.hand_pose[0], fits.hand_pose[2], atol=0.02)
    np.testing.assert_allclose(alone.global_orient[0], fits.global_orient[2], atol=0.02)


def test_impossible_points_give_a_possible_hand_and_say_so(arrays: ManoArrays, truth) -> None:
    joints, pixels = truth
    mirrored = fit_hands(arrays, joints * [-1, 1, 1], pixels * [-1, 1], steps=60)
    # A left hand is no pose of a right one: the error tells.
    assert np.median(mirrored.error_mm) > 5.0
    angles = np.arccos(np.clip((np.trace(mirrored.hand_pose, axis1=-2, axis2=-1) - 1) / 2, -1, 1))
    assert np.degrees(angles.max()) < 125
