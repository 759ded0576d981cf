"""Smoothing without lag: what is smooth stays, noise goes, and a change of frame goes through."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handmesh.motion.zero_lag import ZeroLagSettings, fit_smooth, smooth_rotations, smooth_vectors

SETTINGS = ZeroLagSettings(min_cutoff_hz=1.5, beta=0.5)


@pytest.fixture
def times() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.cumsum(rng.uniform(0.01, 0.06, 120))


def test_straight_lines_stay_and_so_does_their_time(times: np.ndarray) -> None:
    line = np.stack([3 * times - 1, -times], axis=1)
    fitted = fit_smooth(line, times, np.ones(len(times)), np.full(len(times), 1.0))
    np.testing.assert_allclose(fitted, line, atol=1e-9)


def test_the_gain_is_one_half_at_the_cutoff_and_the_delay_zero() -> None:
    times = np.arange(3000) / 100
    for frequency, gain in ((0.2, 0.998), (2.0, 0.5), (8.0, 0.004)):
        wave = np.sin(2 * np.pi * frequency * times)[:, None]
        fitted = fit_smooth(wave, times, np.ones(len(times)), np.full(len(times), 2.0))[500:-500, 0]
        inner, other = wave[500:-500, 0], np.cos(2 * np.pi * frequency * times[500:-500])
        assert fitted @ inner / (inner @ inner) == pytest.approx(gain, abs=0.01)
        assert abs(fitted @ other / (other @ other)) < 1e-3


def test_noise_goes_and_reversed_time_gives_the_reversed_result(times: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    truth = np.stack([np.sin(2 * times), np.cos(times)], axis=1)[:, None]
    noisy = truth + rng.normal(0, 0.03, truth.shape)
    weights = np.ones((len(times), 1))
    fitted = smooth_vectors(noisy, times, weights, SETTINGS)
    assert np.abs(fitted - truth).mean() < 0.5 * np.abs(noisy - truth).mean()
    backward = smooth_vectors(noisy[::-1], -times[::-1], weights, SETTINGS)[::-1]
    np.testing.assert_allclose(backward, fitted, atol=1e-6)
    np.testing.assert_array_equal(smooth_vectors(noisy[:2], times[:2], weights[:2], SETTINGS), noisy[:2])


def test_a_wild_value_pulls_little(times: np.ndarray) -> None:
    values = np.zeros((len(times), 1, 1))
    values[60] = 1.0
    assert smooth_vectors(values, times, np.ones((len(times), 1)), SETTINGS).max() < 0.1


def test_rotations_follow_a_change_of_frame_on_either_side(times: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    turn = Rotation.from_rotvec(np.stack([times, 0.5 * np.sin(3 * times), 0 * times], 1))
    noisy = turn * Rotation.from_rotvec(rng.normal(0, 0.05, (len(times), 3)))
    weights = np.ones((len(times), 1))

    def smooth(rotations: Rotation) -> Rotation:
        return Rotation.from_quat(smooth_rotations(rotations.as_quat()[:, None], times, weights, SETTINGS)[:, 0])

    before, after = Rotation.from_rotvec([1.0, 2.0, -0.5]), Rotation.from_rotvec([0.2, -1.0, 3.0])
    direct = smooth(before * noisy * after)
    assert (direct.inv() * (before * smooth(noisy) * after)).magnitude().max() < 1e-6
    errors = [(turn.inv() * each).magnitude().mean() for each in (noisy, smooth(noisy))]
    assert errors[1] < 0.6 * errors[0]


def test_a_turn_at_constant_speed_is_kept() -> None:
    times = np.arange(200) / 30
    turn = Rotation.from_rotvec(np.stack([0 * times, 3 * times, 0 * times], 1))
    quaternions = turn.as_quat(canonical=True)[:, None]  # their sign jumps at every half turn
    fitted = smooth_rotations(quaternions, times, np.ones((200, 1)), SETTINGS)[:, 0]
    assert ((fitted[1:] * fitted[:-1]).sum(1) > 0.9).all()
    assert (turn.inv() * Rotation.from_quat(fitted)).magnitude()[30:-30].max() < 1e-3
