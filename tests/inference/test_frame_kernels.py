"""The compiled twins compute what the functions they stand for compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from handmesh.geometry import camera
from handmesh.geometry.crop import CropTransform, box_around, mirror_pose
from handmesh.geometry.rotation_numpy import axis_angle_to_matrix_np, matrix_to_axis_angle_np
from handmesh.inference.frame_kernels import filter_groups, filter_rotations, fit_translation, to_camera
from handmesh.inference.tracking.one_euro import OneEuroSettings

K = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])


def smoothing_factor(cutoff_hz: Any, step_s: float) -> Any:
    """Weight of the newest value in a first-order low-pass (Casiez, Roussel and Vogel 2012, eq. 6)."""
    r = 2 * np.pi * np.asarray(cutoff_hz) * step_s
    return r / (r + 1)


def test_the_translation_is_that_of_the_geometry_package() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        points = 0.05 * rng.standard_normal((21, 3))
        true = np.array([*(0.2 * rng.standard_normal(2)), rng.uniform(0.3, 2)])
        pixels = camera.project_points(points + true, K) + rng.standard_normal((21, 2))
        weights = rng.uniform(0, 1, 21)
        expected = camera.fit_translation(points, pixels, K, weights)
        np.testing.assert_allclose(fit_translation(points, pixels, K, weights), expected, rtol=1e-9)
        assert np.abs(fit_translation(points, camera.project_points(points + true, K), K, weights) - true).max() < 1e-8
    # Where all points are one pixel neither raises, and no weight at all gives no place.
    one = np.tile([[320.0, 240.0]], (21, 1))
    np.testing.assert_allclose(
        fit_translation(points, one, K, weights), camera.fit_translation(points, one, K, weights), rtol=1e-3
    )
    assert not np.isfinite(fit_translation(points, one, K, np.zeros(21))).all()


def test_a_step_of_the_filter_follows_the_geodesic() -> None:
    rng, settings, step_s = np.random.default_rng(1), OneEuroSettings(1.5, 0.5, 1.5, 0.7), 1 / 30
    # Turns by nothing, by next to nothing, by any angle, and by nearly half a turn.
    angles = np.array([0, 1e-9, 1e-5, 0.3, 1.5, 3.0, np.pi - 1e-7])
    axes = rng.standard_normal((len(angles), 3))
    change = axis_angle_to_matrix_np(angles[:, None] * axes / np.linalg.norm(axes, axis=1, keepdims=True))
    old = axis_angle_to_matrix_np(rng.standard_normal((len(angles), 3)))
    speeds = rng.standard_normal(old.shape[:-1])
    new = old @ change
    by = matrix_to_axis_angle_np(np.swapaxes(old, -1, -2) @ new)
    speed = speeds + smoothing_factor(settings.derivative_cutoff_hz, step_s) * (by / step_s - speeds)
    cutoff = settings.min_cutoff_hz + settings.beta * np.linalg.norm(speed, axis=-1, keepdims=True)
    ahead = speed * settings.lead * step_s
    expected = old @ axis_angle_to_matrix_np(ahead + smoothing_factor(cutoff, step_s) * (by - ahead))
    rotations = old.copy()
    filter_rotations(
        rotations, speeds, new, step_s, settings.min_cutoff_hz, settings.beta, settings.derivative_cutoff_hz,
        settings.lead,
    )  # fmt: skip
    np.testing.assert_allclose(rotations, expected, atol=1e-12)
    np.testing.assert_allclose(speeds, speed, atol=1e-10)


def test_a_step_of_the_filter_on_vectors() -> None:
    rng, settings, step_s = np.random.default_rng(2), OneEuroSettings(1.5, 1.0, 1.2, 0.7), 1 / 30
    old, speeds, new = (rng.standard_normal((21, 2)) for _ in range(3))
    speed = speeds + smoothing_factor(settings.derivative_cutoff_hz, step_s) * ((new - old) / step_s - speeds)
    cutoff = settings.min_cutoff_hz + settings.beta * np.linalg.norm(speed, axis=-1, keepdims=True)
    ahead = speed * settings.lead * step_s
    expected = old + ahead + smoothing_factor(cutoff, step_s) * (new - old - ahead)
    filter_groups(
        old, speeds, new, step_s, settings.min_cutoff_hz, settings.beta, settings.derivative_cutoff_hz, settings.lead
    )
    np.testing.assert_allclose(old, expected, atol=1e-12)
    np.testing.assert_allclose(speeds, speed, atol=1e-10)


@pytest.mark.parametrize("mirror", [False, True])
def test_a_hand_comes_to_the_camera_as_the_crop_maps_it(mirror: bool) -> None:
    rng = np.random.default_rng(3)
    crop = CropTransform.from_box(np.array([400.0, 300, 560, 430]), K, 96, 25.0, 1.3, mirror)
    joints, pixels = 0.05 * rng.standard_normal((21, 3)), rng.uniform(10, 80, (21, 2))
    confidence, wrist = rng.uniform(0, 1, 21), 0.05 * rng.standard_normal(3)
    rotations = axis_angle_to_matrix_np(rng.standard_normal((16, 3)))
    found = to_camera(
        joints, pixels, confidence, rotations, wrist, crop.rotation, crop.inverse_homography, K, crop.is_mirrored
    )
    np.testing.assert_allclose(found.joints, crop.invert_points_3d(joints), atol=1e-12)
    np.testing.assert_allclose(found.keypoints, crop.invert_points_2d(pixels), rtol=1e-6)
    np.testing.assert_allclose(found.box, box_around(crop.invert_points_2d(pixels)), rtol=1e-6)
    np.testing.assert_allclose(found.global_orient, crop.invert_rotation(rotations[0]), atol=1e-6)
    np.testing.assert_allclose(
        found.hand_pose, mirror_pose(rotations[1:]) if mirror else rotations[1:], atol=1e-6
    )
    place = camera.fit_translation(found.joints, crop.invert_points_2d(pixels), K, np.maximum(confidence, 0.01))
    np.testing.assert_allclose(found.translation, place, rtol=1e-6)
    own_wrist = wrist * [-1, 1, 1] if mirror else wrist
    np.testing.assert_allclose(found.wrist_shift, crop.invert_points_3d(wrist) - own_wrist, atol=1e-12)


def test_a_point_that_is_no_number_leaves_no_box() -> None:
    pixels = np.full((21, 2), 40.0)
    pixels[7, 1] = np.nan
    turns = np.tile(np.eye(3), (16, 1, 1))
    found = to_camera(np.zeros((21, 3)), pixels, np.ones(21), turns, np.zeros(3), np.eye(3), np.eye(3), K, False)
    assert np.isnan(found.box).all()
