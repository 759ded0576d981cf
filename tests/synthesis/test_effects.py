"""What the camera does to a picture, and what it must leave alone."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.synthesis.effects import (
    camera_effects,
    channel_tables,
    compose,
    mean_color,
    motion_kernel,
    noise_bank,
    tone_curve,
)


def test_compose_leaves_uncovered_pixels_and_covers_the_rest() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    alpha = np.zeros((20, 30), np.float32)
    alpha[5:15, 5:15] = 1.0
    alpha[5, 5:15] = 0.5
    color = np.full((20, 30, 3), 0.3, np.float32) * alpha[..., None]
    before = picture.copy()
    curve = tone_curve(1.0, 0.0)
    compose(color, alpha, curve, np.ones(3, np.float32), picture)
    np.testing.assert_array_equal(picture[alpha == 0], before[alpha == 0])
    inside = picture[6:15, 5:15].reshape(-1, 3)
    assert np.ptp(inside, axis=0).max() <= 1
    edge = 0.5 * before[5, 5:15].astype(float) + 0.5 * inside[0]
    np.testing.assert_allclose(picture[5, 5:15], edge, atol=1.5)
    np.testing.assert_allclose(mean_color(color, alpha), 0.3, rtol=1e-4)


@pytest.mark.parametrize("contrast", [-0.3, 0.0, 0.8])
def test_tone_curve_rises(contrast: float) -> None:
    for exposure in (0.1, 1.0, 5.0):
        curve = tone_curve(exposure, contrast)
        assert curve[0] == 0 and curve[-1] <= 255 and (np.diff(curve) >= -1e-3).all()


def test_tables_rise_and_neutral_ones_change_nothing() -> None:
    np.testing.assert_array_equal(channel_tables(np.ones(3), 1.0, 0.0)[:, 0, 1], np.arange(256))
    table = channel_tables(np.array([1.1, 1.0, 0.9]), 1.2, 0.05)[:, 0].astype(int)
    assert (np.diff(table, axis=0) >= 0).all() and (table[128, 0] > table[128, 2])


@pytest.mark.parametrize("length", [1.5, 4.0, 21.0])
def test_motion_keeps_the_light(length: float) -> None:
    for angle in np.linspace(0, np.pi, 7):
        kernel = motion_kernel(length, float(angle))
        assert kernel.sum() == pytest.approx(1, abs=1e-5) and kernel.shape[0] % 2 == 1
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=0.51 * kernel.max())


def test_effects_keep_shape_and_are_repeatable() -> None:
    bank = noise_bank(0)
    picture = np.random.default_rng(1).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    for seed in range(12):
        one, two = (camera_effects(picture.copy(), np.random.default_rng(seed), bank) for _ in range(2))
        assert one.shape == picture.shape and one.dtype == np.uint8
        np.testing.assert_array_equal(one, two)
