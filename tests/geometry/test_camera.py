"""The pinhole camera: projection, field of view, and placing points where they are seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from handmesh.geometry.camera import (
    fit_translation,
    fit_weak_perspective,
    intrinsics_from_fov,
    project_points,
    weak_perspective_to_translation,
)
from handmesh.models.outputs import fit_camera


def test_field_of_view_spans_the_longer_side() -> None:
    for width, height in ((640, 480), (480, 640)):
        K = intrinsics_from_fov(width, height, 60.0)
        longer = max(width, height)
        axis = 0 if width > height else 1
        edge = np.zeros(3)
        edge[axis], edge[2] = np.tan(np.radians(30.0)), 1.0
        # The border of the picture is half a pixel beyond the last pixel's centre.
        assert project_points(edge, K)[axis] == pytest.approx(longer - 0.5)
    with pytest.raises(ValueError, match="field of view"):
        intrinsics_from_fov(640, 480, 180)


def test_scaling_points_does_not_move_their_pixels() -> None:
    rng = np.random.default_rng(0)
    K = intrinsics_from_fov(640, 480, 70)
    points = rng.normal(size=(10, 3)) + [0, 0, 5]
    np.testing.assert_allclose(project_points(points * 3, K), project_points(points, K))


def test_fit_translation_finds_where_points_stand() -> None:
    rng = np.random.default_rng(1)
    K = intrinsics_from_fov(640, 480, 60)
    for _ in range(20):
        points = rng.normal(size=(21, 3)) * 0.05
        truth = np.array([*rng.uniform(-0.2, 0.2, 2), rng.uniform(0.25, 2)])
        np.testing.assert_allclose(fit_translation(points, project_points(points + truth, K), K), truth, atol=1e-6)


def test_fit_translation_minimizes_pixels_and_obeys_weights() -> None:
    rng = np.random.default_rng(2)
    K = intrinsics_from_fov(640, 480, 60)
    points, truth = rng.normal(size=(21, 3)) * 0.05, np.array([0.05, -0.02, 0.5])
    noisy = project_points(points + truth, K) + rng.normal(size=(21, 2)) * 2
    found = fit_translation(points, noisy, K)

    def error(t: np.ndarray) -> float:
        return float(((project_points(points + t, K) - noisy) ** 2).sum())

    for step in np.eye(3) * 2e-3:
        assert error(found) < error(found + step) and error(found) < error(found - step)
    weights = np.ones(21)
    noisy[3] += 300
    weights[3] = 0
    np.testing.assert_allclose(fit_translation(points, noisy, K, weights), found, atol=0.01)


def test_weak_perspective_and_pinhole_see_the_same_at_the_root_depth() -> None:
    size, K = 128, np.array([[300.0, 0, 60], [0, 300.0, 70], [0, 0, 1]])
    s, tx, ty = 5.0, 0.02, -0.03
    translation = weak_perspective_to_translation(np.array([s, tx, ty]), K, size)
    flat = np.array([[0.03, -0.02, 0.0], [-0.05, 0.04, 0.0]])
    expected = size / 2 * (1 + s * (flat[:, :2] + [tx, ty])) - 0.5
    np.testing.assert_allclose(project_points(flat + translation, K), expected)


def test_a_weak_perspective_camera_is_fitted_as_the_network_does() -> None:
    rng = np.random.default_rng(5)
    points = rng.normal(0, 0.05, (21, 3))
    keypoints = 9 * (points[:, :2] + [0.01, -0.02]) + rng.normal(0, 0.02, (21, 2))
    expected = fit_camera(torch.from_numpy(points)[None], torch.from_numpy(keypoints)[None])[0]
    np.testing.assert_allclose(fit_weak_perspective(points, keypoints), expected.numpy(), atol=1e-9)
