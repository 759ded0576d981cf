"""Outlines in the fit: a hand comes to be as broad as its pixels, and what is no outline of it does no harm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from handmesh.geometry.camera import project_points
from handmesh.geometry.rotation import axis_angle_to_matrix_np
from handmesh.labeling.outline_fit import Drawn, PlacedHands, SeenHands, beyond_the_wrist, fit_to_outlines, overlap
from handmesh.mano.arrays import ManoArrays, load_mano
from handmesh.mano.layers.numpy_layer import pose_vertices

SIZE = 160
K = np.array([[400.0, 0, 79.5], [0, 400.0, 79.5], [0, 0, 1]])


@pytest.fixture(scope="module")
def arrays() -> ManoArrays:
    return load_mano("open")


@pytest.fixture(scope="module")
def truth(arrays: ManoArrays) -> PlacedHands:
    """Three hands of other shapes, fingers up, slightly spread and turned."""
    rng = np.random.default_rng(4)
    mean = np.asarray(arrays.hands_mean).reshape(15, 3)
    pose = axis_angle_to_matrix_np(mean * 0.3 + rng.normal(0, 0.06, (3, 15, 3)))
    upright = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    orient = axis_angle_to_matrix_np(rng.normal(0, 0.2, (3, 3))) @ upright
    betas = rng.normal(0, 1.6, (3, 10))
    joints = pose_vertices(arrays, orient, pose, betas)[1]
    return PlacedHands(orient, pose, betas, np.array([0.0, 0, 0.6]) - joints[:, 9])


def posed(arrays: ManoArrays, hands: PlacedHands) -> tuple[np.ndarray, np.ndarray]:
    vertices, joints = pose_vertices(arrays, hands.global_orient, hands.hand_pose, hands.betas)
    return vertices + hands.translation[:, None], joints + hands.translation[:, None]


def masks(arrays: ManoArrays, hands: PlacedHands) -> np.ndarray:
    return np.stack([Drawn.of(vertices, arrays, K, SIZE).mask for vertices in posed(arrays, hands)[0]])


@pytest.fixture(scope="module")
def seen(arrays: ManoArrays, truth: PlacedHands) -> SeenHands:
    joints = posed(arrays, truth)[1].astype(np.float64)
    keypoints = np.stack([project_points(each, K) for each in joints])
    counts = np.stack([~beyond_the_wrist(points, SIZE) for points in keypoints])
    return SeenHands(np.stack([K] * 3), keypoints, joints, masks(arrays, truth), counts, np.ones(3))


@pytest.fixture(scope="module")
def start(truth: PlacedHands) -> PlacedHands:
    """The same hands of the mean shape, their joints bent otherwise."""
    rng = np.random.default_rng(5)
    bent = truth.hand_pose @ axis_angle_to_matrix_np(rng.normal(0, 0.08, (3, 15, 3)))
    return replace(truth, hand_pose=bent, betas=np.zeros((3, 10)))


def overlaps(arrays: ManoArrays, hands: PlacedHands, seen: SeenHands) -> np.ndarray:
    return np.array([
        overlap(ours & counts, mask & counts)
        for ours, mask, counts in zip(masks(arrays, hands), seen.mask, seen.counts, strict=True)
    ])  # fmt: skip


def test_the_mesh_covers_the_pixels_and_its_joints_their_landmarks(arrays, start, seen) -> None:
    found = fit_to_outlines(arrays, start, seen)
    before, after = overlaps(arrays, start, seen), overlaps(arrays, found, seen)
    assert (after > before).all() and after.min() > 0.9
    pixels = np.stack([project_points(joints, K) for joints in posed(arrays, found)[1].astype(np.float64)])
    assert np.linalg.norm(pixels - seen.keypoints_2d, axis=-1).mean() < 1.0
    # Better than by its landmarks alone.
    alone = fit_to_outlines(arrays, start, replace(seen, mask=np.zeros_like(seen.mask)))
    assert after.mean() > overlaps(arrays, alone, seen).mean() + 0.005


def test_an_outline_that_is_trusted_more_outweighs_landmarks_that_contradict_it(arrays, start, seen) -> None:
    rng = np.random.default_rng(6)
    wrong = replace(seen, keypoints_2d=seen.keypoints_2d + rng.normal(0, 3.0, seen.keypoints_2d.shape))
    little, much = (
        overlaps(arrays, fit_to_outlines(arrays, start, replace(wrong, trust=np.full(3, trust))), seen).mean()
        for trust in (0.5, 3.0)
    )
    assert much > little + 0.005


def test_masks_of_something_else_and_masks_that_do_not_count_change_nothing(arrays, start, seen) -> None:
    alone = fit_to_outlines(arrays, start, replace(seen, mask=np.zeros_like(seen.mask)))
    elsewhere = np.zeros_like(seen.mask)
    elsewhere[:, :40, :40] = True
    for other in (replace(seen, mask=elsewhere), replace(seen, counts=np.zeros_like(seen.counts))):
        found = fit_to_outlines(arrays, start, other)
        np.testing.assert_array_equal(found.betas, alone.betas)
        np.testing.assert_array_equal(found.translation, alone.translation)


def test_a_hand_is_fitted_alike_whoever_is_fitted_beside_it(arrays, start, seen) -> None:
    together = fit_to_outlines(arrays, start, seen)
    one = PlacedHands(start.global_orient[1:2], start.hand_pose[1:2], start.betas[1:2], start.translation[1:2])
    its = SeenHands(
        seen.K[1:2], seen.keypoints_2d[1:2], seen.joints[1:2], seen.mask[1:2], seen.counts[1:2], seen.trust[1:2]
    )
    alone = fit_to_outlines(arrays, one, its)
    np.testing.assert_allclose(alone.betas[0], together.betas[1], atol=2e-2)
    np.testing.assert_allclose(posed(arrays, alone)[1][0], posed(arrays, together)[1][1], atol=2e-4)


def test_the_arm_lies_beyond_the_wrist_and_the_fingers_do_not() -> None:
    points = np.full((21, 2), np.nan)
    points[0], points[9] = [50, 80], [50, 40]
    arm = beyond_the_wrist(points, 100)
    assert arm[81:].all() and not arm[:81].any()
