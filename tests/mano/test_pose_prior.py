"""Laws of the pose prior: rotations, limits, no fingers through one another, variety, the same seed the same poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from handmesh.mano.arrays import load_mano
from handmesh.mano.layers.numpy_layer import pose_vertices
from handmesh.mano.prior import pose_prior
from handmesh.mano.prior.gestures import GESTURES
from handmesh.mano.prior.joint_limits import angles_to_rotations, clamp, pose_limits
from handmesh.mano.prior.pose_prior import PosePrior


@pytest.fixture(scope="module")
def prior():
    return PosePrior(load_mano("open"))


def test_samples_are_rotations_and_repeat(prior):
    first = prior.sample(np.random.default_rng(3), 200)
    second = prior.sample(np.random.default_rng(3), 200)
    assert first.shape == (200, 15, 3, 3)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first @ first.swapaxes(-1, -2), np.broadcast_to(np.eye(3), first.shape), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(first), 1.0, atol=1e-9)


def test_angles_stay_within_the_ranges(prior):
    angles = prior.sample_angles(np.random.default_rng(0), 2000)
    low, high = pose_limits()
    assert (angles >= low - 1e-9).all() and (angles <= high + 1e-9).all()


def test_fingers_do_not_pass_through_one_another(prior):
    rotations = prior.sample(np.random.default_rng(1), 2000)
    assert prior.capsules.penetration(rotations).max() <= 0.0035 + 1e-9


def test_fingers_move_on_their_own(prior):
    angles = prior.sample_angles(np.random.default_rng(2), 4000)
    curls = angles[:, [1, 4, 10, 7], 0]
    spread = np.degrees(curls.std(axis=0))
    assert (spread > 25).all()
    correlation = np.corrcoef(curls.T)[np.triu_indices(4, 1)]
    assert (correlation < 0.8).all()


def test_flexion_goes_to_the_palm(prior):
    angles = np.zeros((1, 15, 3))
    angles[:, [0, 3, 6, 9], 0] = 1.0
    _, place = prior.capsules.frames(angles_to_rotations(angles, prior.axes))
    rest = prior.capsules.joints
    for middle in (2, 5, 8, 11):
        assert place[0, middle, 1] < rest[middle, 1] - 0.01


def test_gestures_have_names(prior):
    fist, flat = prior.gesture("fist"), prior.gesture("flat")
    assert fist.shape == (15, 3, 3)
    assert np.trace(fist[1]) < np.trace(flat[1])


def test_shown_hands_are_open_not_stretched_and_their_thumbs_go_with_the_fingers(prior):
    def open_hands(shown):
        angles = prior.sample_angles(np.random.default_rng(4), 6000, (0.0, 1.0, 0.0), shown)
        second_joints = np.degrees(angles[:, [1, 4, 7, 10], 0])
        return angles[(second_joints < 32).all(axis=1)], angles

    (any_open, any_all), (shown_open, shown_all) = open_hands(False), open_hands(True)
    assert len(any_open) > 60 and len(shown_open) > 60
    # The end joint of a thumb that meets a finger is bent; a free one's is not.
    assert np.degrees(np.median(shown_open[:, 14, 0])) < 9 < np.degrees(np.median(any_open[:, 14, 0]))
    bases = [0, 3, 6, 9]
    assert shown_open[:, bases, 0].mean() > any_open[:, bases, 0].mean() + np.radians(1.5)
    # Closed fingers are as they were.
    closed = [angles[angles[:, [1, 4, 7, 10], 0].min(axis=1) > np.radians(70), :12] for angles in (any_all, shown_all)]
    assert min(len(part) for part in closed) > 60
    np.testing.assert_allclose(closed[1].mean(axis=0), closed[0].mean(axis=0), atol=np.radians(4))


def test_shown_thumbs_lie_near_the_palm_beside_a_straight_index_finger(prior):
    def heights(shown):
        """Of thumb tips before the plane of wrist and knuckles, where the index finger is straight and the thumb is
        beside the palm; in distances from wrist to middle knuckle."""
        angles = prior.sample_angles(np.random.default_rng(6), 4000, shown=shown)
        angles = angles[np.degrees(angles[:, 1, 0]) < 25]
        turn, place = prior.capsules.frames(angles_to_rotations(angles, prior.axes))
        tip = place[:, 15] + np.einsum("nij,j->ni", turn[:, 15], prior.capsules.tips[0] - prior.capsules.joints[15])
        wrist, index, middle, little = prior.capsules.joints[[0, 1, 4, 7]]
        palm = np.cross(little - wrist, index - wrist)
        across = np.cross(middle - wrist, palm)
        units = [axis / np.linalg.norm(axis) / np.linalg.norm(middle - wrist) for axis in (palm, across)]
        height, beside = (np.abs((tip - wrist) @ unit) for unit in units)
        return height[(beside > 0.4) & (beside < 0.8)]

    anywhere, shown = heights(False), heights(True)
    assert min(len(anywhere), len(shown)) > 200
    assert np.median(shown) < 0.75 * np.median(anywhere)


@pytest.mark.parametrize(("name", "tip"), [("nine", 8), ("eight", 12), ("seven", 16), ("six", 20)])
def test_fingers_that_touch_before_a_camera_do(prior, name, tip):
    hand = load_mano("open")
    _, joints = pose_vertices(hand, np.eye(3), prior.gesture(f"{name}, near"), np.zeros(10))
    assert np.linalg.norm(joints[4] - joints[tip]) < 0.017


def test_gestures_before_a_camera_are_held_and_whole_more_often(prior, monkeypatch):
    monkeypatch.setattr(PosePrior, "_noise", lambda self, rng, n, strength: np.zeros((n, 15, 3)))
    monkeypatch.setattr(pose_prior, "_slack", lambda rng, angles: np.zeros((len(angles), 12)))

    def held(shown):
        angles = prior.sample_angles(np.random.default_rng(8), 1500, (1.0, 0.0, 0.0), shown)
        gestures = clamp(prior._gestures)
        return np.mean(np.abs(angles[:, None] - gestures[None]).max(axis=(2, 3)).min(axis=1) < np.radians(1))

    assert held(False) > 0.15 and held(True) > 1.5 * held(False)


def test_gestures_for_a_camera_leave_the_pose_space_as_it_is(prior):
    mean, components = prior.pose_space(400)
    only = PosePrior(load_mano("open"))
    only._gestures = only._gestures * np.array([name in GESTURES for name in only.names])[:, None, None]
    for one, other in zip(only.pose_space(400), (mean, components)):
        np.testing.assert_array_equal(one, other)


def test_shown_poses_keep_to_the_ranges_and_apart(prior):
    angles = prior.sample_angles(np.random.default_rng(5), 2000, shown=True)
    low, high = pose_limits()
    assert (angles >= low - 1e-9).all() and (angles <= high + 1e-9).all()
    assert prior.depth(angles).max() <= 0.0035 + 1e-9


def test_the_guide_lists_every_gesture(prior):
    guide = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    text = " ".join(guide[guide.index("Gestures, parted by semicolons: ") :].split("\n\n")[0].split())
    assert set(text.removeprefix("Gestures, parted by semicolons: ").rstrip(".").split("; ")) == set(prior.names)
