"""The mesh moved onto the keypoints: exact derivatives, nothing to do where it lies there already, and less beside."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.geometry.camera import project_points
from handmesh.geometry.rotation_numpy import axis_angle_to_matrix_np
from handmesh.inference.alignment.alignment_kernels import NUM_ANGLES, turned
from handmesh.inference.alignment.keypoint_alignment import AlignmentSettings, KeypointAligner
from handmesh.mano.arrays import load_mano
from handmesh.mano.layers.numpy_layer import pose_vertices

SIZE = 128
K = np.array([[260.0, 0, 63.5], [0, 260.0, 63.5], [0, 0, 1]])
PLACE = np.array([0.01, -0.02, 0.45])


@pytest.fixture(scope="module")
def aligner() -> KeypointAligner:
    return KeypointAligner(load_mano("open"), AlignmentSettings(steps=2))


def hand(seed: int, spread: float = 0.35) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rotations = axis_angle_to_matrix_np(spread * rng.standard_normal((16, 3)))
    rotations[0] = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]) @ rotations[0]
    return rotations, rng.standard_normal(10)


def pixels(aligner: KeypointAligner, rotations: np.ndarray, betas: np.ndarray, place: np.ndarray = PLACE) -> np.ndarray:
    return project_points(aligner.joints(rotations, betas) + place, K)


def apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b, axis=-1).mean())


def test_joints_are_the_hand_models(aligner: KeypointAligner) -> None:
    rotations, betas = hand(0)
    _, joints = pose_vertices(load_mano("open"), rotations[0], rotations[1:], betas)
    np.testing.assert_allclose(aligner.joints(rotations, betas), joints, atol=2e-6)


def test_the_jacobian_is_that_of_finite_differences(aligner: KeypointAligner) -> None:
    rotations, betas = hand(1)
    found, step = aligner.jacobian(rotations, betas), 1e-5
    for column in range(found.shape[2]):
        change = np.zeros(found.shape[2])
        change[column] = step
        ends = [
            aligner.joints(turned(rotations, way[:NUM_ANGLES], aligner._arrays.axes), betas + way[NUM_ANGLES:])
            for way in (change, -change)
        ]
        # A turn also changes the surface's pose corrections, by a twentieth of the joint's way at most.
        loose = 4e-3 if 3 <= column < NUM_ANGLES else 1e-6
        np.testing.assert_allclose(found[..., column], (ends[0] - ends[1]) / (2 * step), atol=loose)


def test_a_hand_that_lies_on_its_keypoints_stays(aligner: KeypointAligner) -> None:
    rotations, betas = hand(2)
    found = aligner(rotations, betas, pixels(aligner, rotations, betas), np.full(21, 0.9), K, PLACE, SIZE)
    for before, after in zip((rotations, betas, PLACE), found[:3], strict=True):
        np.testing.assert_allclose(after, before, atol=1e-9)


def test_a_hand_beside_its_keypoints_moves_onto_them(aligner: KeypointAligner) -> None:
    before, after, in_space = [], [], []
    for seed in range(8):
        rotations, betas = hand(seed)
        goal = pixels(aligner, rotations, betas)
        rng = np.random.default_rng(100 + seed)
        wrong = turned(rotations, np.radians(5) * rng.standard_normal(NUM_ANGLES), aligner._arrays.axes)
        found = aligner(wrong, betas, goal, np.full(21, 0.95), K, PLACE, SIZE)
        before.append(apart(pixels(aligner, wrong, betas), goal))
        after.append(apart(pixels(aligner, found[0], found[1], found[2]), goal))
        truth = aligner.joints(rotations, betas)
        in_space.append(apart(aligner.joints(*found[:2]), truth) < apart(aligner.joints(wrong, betas), truth))
    assert np.mean(after) < 0.35 * np.mean(before)
    # And the hand in space comes nearer to the true one too, of most hands.
    assert sum(in_space) >= 6


def test_what_the_network_doubts_moves_the_hand_less(aligner: KeypointAligner) -> None:
    rotations, betas = hand(3)
    goal = pixels(aligner, rotations, betas)
    goal[8] += [9, -6]
    ways = []
    for confidence in (0.95, 0.02):
        sure = np.full(21, 0.95)
        sure[8] = confidence
        found = aligner(rotations, betas, goal, sure, K, PLACE, SIZE)
        ways.append(apart(pixels(aligner, *found[:3])[8:9], pixels(aligner, rotations, betas)[8:9]))
    assert ways[1] < 0.3 * ways[0]


def test_it_does_not_matter_how_large_the_crop_is_or_where_its_middle(aligner: KeypointAligner) -> None:
    rotations, betas = hand(4)
    goal = pixels(aligner, *hand(5))
    first = aligner(rotations, betas, goal, np.full(21, 0.7), K, PLACE, SIZE)
    zoom = np.array([[2.0, 0, 7], [0, 2.0, -3], [0, 0, 1]])
    second = aligner(rotations, betas, 2 * goal + [7, -3], np.full(21, 0.7), zoom @ K, PLACE, 2 * SIZE)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-8)


@pytest.mark.parametrize("place", [[0, 0, -1.0], [np.nan, 0, 0.5]])
def test_a_place_that_cannot_be_is_left_alone(aligner: KeypointAligner, place: list[float]) -> None:
    rotations, betas = hand(6)
    found = aligner(rotations, betas, np.zeros((21, 2)), np.ones(21), K, np.array(place), SIZE)
    np.testing.assert_array_equal(found[0], rotations)


def test_keypoints_that_are_no_numbers_are_left_alone(aligner: KeypointAligner) -> None:
    rotations, betas = hand(7)
    found = aligner(rotations, betas, np.full((21, 2), np.nan), np.ones(21), K, PLACE, SIZE)
    np.testing.assert_array_equal(found[0], rotations)
