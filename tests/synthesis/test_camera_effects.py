"""What the camera does to a picture, and what it must leave alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from handmesh.synthesis.camera_effects import (
    SKIN_CHROMA,
    SKIN_HUE,
    camera_effects,
    channel_tables,
    compose,
    linear_from_lab,
    mean_color,
    motion_kernel,
    noise_bank,
    skin_balance,
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


def _lab(linear: np.ndarray) -> np.ndarray:
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
    return cv2.cvtColor(srgb.astype(np.float32)[None, None], cv2.COLOR_RGB2LAB)[0, 0]


def test_lab_and_back() -> None:
    for color in np.random.default_rng(0).uniform(0, 1, (50, 3)):
        np.testing.assert_allclose(linear_from_lab(*_lab(color).astype(float)), color, atol=5e-3)


def test_skin_comes_out_in_the_band_of_real_skin_whatever_the_lamp() -> None:
    """Pale to dark skin under candle to sky: hue and chroma of what leaves the curve stay near what was measured."""
    rng = np.random.default_rng(2)
    hue, chroma = [], []
    for tone in ([0.60, 0.42, 0.33], [0.24, 0.13, 0.08], [0.05, 0.03, 0.025]):
        for lamp in ([1.8, 1.0, 0.3], [1.0, 1.0, 1.0], [0.8, 1.0, 1.4]):
            mean = np.array(tone) * lamp
            for _ in range(30):
                curve = tone_curve(0.2 / float(mean[1]), float(rng.uniform(-0.1, 0.6)))
                gains = skin_balance(mean, curve, rng)
                assert gains.dtype == np.float32 and (gains > 0).all()
                steps = np.linspace(0, 1, len(curve)) ** 2 * 4
                shown = np.interp(mean * gains, steps, curve) / 255
                _, a, b = cv2.cvtColor(shown.astype(np.float32)[None, None], cv2.COLOR_RGB2LAB)[0, 0]
                hue.append(np.degrees(np.arctan2(b, a)))
                chroma.append(np.hypot(a, b))
    assert np.abs(np.median(hue) - SKIN_HUE[0]) < 6 and np.std(hue) < 1.5 * SKIN_HUE[1]
    assert np.abs(np.median(chroma) - SKIN_CHROMA[0]) < 4 and np.std(chroma) < 1.5 * SKIN_CHROMA[1]
