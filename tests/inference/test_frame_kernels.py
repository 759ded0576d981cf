"""The compiled twins compute what the functions they stand for compute."""

from __future__ import annotations

import numpy as np

from handmesh.geometry import camera
from handmesh.geometry.rotation_numpy import axis_angle_to_matrix_np, matrix_to_axis_angle_np
from handmesh.inference.frame_kernels import filter_rotations, fit_translation
from handmesh.inference.tracking.one_euro import OneEuroSettings, smoothing_factor

K = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])


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
