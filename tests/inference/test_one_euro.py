"""Laws of the filters: still stays still, frame rate does not matter, jitter goes, lag is small, rotations stay."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.geometry.rotation import axis_angle_to_matrix_np, matrix_to_axis_angle_np
from handmesh.inference.tracking.one_euro import MAX_GAP_S, OneEuroFilter, OneEuroSettings, RotationFilter, ShapeLock


def rotations(count: int, seed: int = 0) -> np.ndarray:
    return axis_angle_to_matrix_np(np.random.default_rng(seed).normal(0, 1, (count, 3)))


def test_a_constant_passes_through() -> None:
    values, filtered = np.random.default_rng(0).normal(size=(5, 3)), OneEuroFilter(OneEuroSettings())
    turned, turn = rotations(16), RotationFilter(OneEuroSettings())
    for step in range(20):
        assert np.allclose(filtered(values, step / 30), values)
        assert np.allclose(turn(turned, step / 30), turned)


def test_jitter_is_reduced_and_the_mean_kept() -> None:
    rng = np.random.default_rng(1)
    noisy = 5 + rng.normal(0, 0.01, (400, 1, 3))
    filtered = OneEuroFilter(OneEuroSettings(min_cutoff_hz=1.0, beta=1.0))
    out = np.array([filtered(value, i / 60) for i, value in enumerate(noisy)])[50:]
    assert out.std() < 0.4 * noisy.std() and abs(out.mean() - 5) < 0.003


def test_a_ramp_is_followed_with_a_lag_that_falls_with_beta() -> None:
    lags = []
    for beta in (0.0, 1.0, 10.0):
        filtered = OneEuroFilter(OneEuroSettings(min_cutoff_hz=1.0, beta=beta))
        speed = 2.0
        for i in range(240):
            value = filtered(np.array([speed * i / 60]), i / 60)
        lags.append((speed * 239 / 60 - float(value[0])) / speed)
    assert lags[0] > lags[1] > lags[2] > 0 and lags[2] < 0.015


def test_a_lead_follows_a_ramp_with_less_lag_and_hardly_overruns_its_end() -> None:
    lags, overruns = [], []
    for lead in (0.0, 0.5, 0.7, 1.0):
        settings = OneEuroSettings(min_cutoff_hz=1.5, beta=1.0, derivative_cutoff_hz=1.5, lead=lead)
        filtered = OneEuroFilter(settings)
        # Two seconds at a speed of one, then rest.
        values = np.array([float(filtered(np.array([min(i / 30, 2.0)]), i / 30)[0]) for i in range(150)])
        lags.append(2.0 - values[60])
        overruns.append(values.max() - 2.0)
        assert abs(values[-1] - 2.0) < 0.01
    assert lags == sorted(lags, reverse=True) and abs(lags[-1]) < 0.005
    assert overruns == sorted(overruns) and overruns[0] <= 0 and overruns[2] < 0.025


@pytest.mark.parametrize("lead", [0.0, 0.7])
def test_noise_is_not_amplified_by_a_lead(lead: float) -> None:
    noisy = np.random.default_rng(4).normal(0, 0.01, (600, 1, 3))
    filtered = OneEuroFilter(OneEuroSettings(min_cutoff_hz=1.5, beta=1.0, derivative_cutoff_hz=1.5, lead=lead))
    out = np.array([filtered(value, i / 30) for i, value in enumerate(noisy)])[60:]
    assert np.diff(out, 2, axis=0).std() < 0.5 * np.diff(noisy[60:], 2, axis=0).std() and out.std() < 0.6 * noisy.std()


def test_the_answer_hardly_depends_on_the_frame_rate() -> None:
    ends = []
    for rate in (30, 60, 120):
        filtered = OneEuroFilter(OneEuroSettings(min_cutoff_hz=2.0, beta=0.0))
        for i in range(rate + 1):
            t = i / rate
            value = filtered(np.array([1.0 if t >= 0.5 else 0.0]), t)
        ends.append(float(value[0]))
    assert max(ends) - min(ends) < 0.01


def test_rotations_stay_rotations_and_agree_with_plain_numbers_about_one_axis() -> None:
    settings = OneEuroSettings(min_cutoff_hz=1.5, beta=0.7, lead=0.6)
    turn, number = RotationFilter(settings), OneEuroFilter(settings)
    angles = np.cumsum(np.random.default_rng(2).normal(0.02, 0.05, 100))
    for i, angle in enumerate(angles):
        axis = np.array([[0.0, 0.0, angle]])
        matrix = turn(axis_angle_to_matrix_np(axis), i / 45)
        assert np.allclose(matrix @ np.swapaxes(matrix, -1, -2), np.eye(3), atol=1e-9)
        assert np.allclose(matrix_to_axis_angle_np(matrix), number(axis, i / 45), atol=1e-6)


def test_turning_the_input_turns_the_output() -> None:
    base = rotations(1, 5)[0]
    plain, turned = RotationFilter(OneEuroSettings(lead=0.7)), RotationFilter(OneEuroSettings(lead=0.7))
    for i in range(10):
        now = rotations(16, i)
        assert np.allclose(base @ plain(now, i / 30), turned(base @ now, i / 30), atol=1e-6)


def test_gaps_and_repeated_timestamps() -> None:
    filtered = OneEuroFilter(OneEuroSettings(min_cutoff_hz=0.1, beta=0))
    first = filtered(np.zeros(2), 0.0)
    assert np.allclose(filtered(np.ones(2), 0.0), first)
    assert np.allclose(filtered(np.ones(2), 2 * MAX_GAP_S), 1.0)
    filtered.reset()
    assert np.allclose(filtered(np.full(2, 7.0), 0.0), 7.0)


def test_shape_is_averaged_then_held() -> None:
    rng, lock = np.random.default_rng(3), ShapeLock(agreement_s=1.0)
    truth = rng.normal(size=10)
    for i in range(90):
        betas = lock(truth + rng.normal(0, 0.1, 10), i / 30)
    assert lock.is_locked and np.abs(betas - truth).max() < 0.1
    assert np.array_equal(lock(truth + 100, 4.0), betas)


@pytest.mark.parametrize("drift", [1.0])
def test_a_shape_that_keeps_changing_is_not_locked(drift: float) -> None:
    lock = ShapeLock(agreement_s=1.0)
    for i in range(60):
        lock(np.full(10, drift * i), i / 30)
    assert not lock.is_locked
