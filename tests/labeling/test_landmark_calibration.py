"""The landmark model's points and a hand's joints: maps that are found again, that turn with the hand, that help."""

from __future__ import annotations

import argparse
import contextlib
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from handmesh.data.sample import Sample
from handmesh.errors import HandMeshError
from handmesh.labeling.landmark_calibration import Pairs, calibrate, gather, report, solve
from handmesh.labeling.landmark_correction import (
    HandFrame,
    LandmarkCorrection,
    correction_file,
    correction_for,
    shipped_correction,
)
from handmesh.labeling.landmark_label import LandmarkLabel
from handmesh.mano.arrays import load_mano
from handmesh.mano.layers.numpy_layer import pose_vertices
from handmesh.mano.prior.pose_prior import PosePrior
from handmesh.synthesis.generator import project_joints
from handmesh.synthesis.viewpoint import random_turn

HANDS = 600
K = np.array([[900.0, 0, 111.5], [0, 900.0, 111.5], [0, 0, 1]])


def samples(count: int = HANDS) -> list[Sample]:
    """Hands half a metre away, as the generator gives them but for pictures."""
    rng, arrays = np.random.default_rng(3), load_mano("open")
    poses = PosePrior(arrays).sample(rng, count)
    turns = np.stack([random_turn(rng) for _ in range(count)])
    _, joints = pose_vertices(arrays, turns, poses, rng.normal(0, 1, (count, 10)))
    joints = joints - joints.mean(1, keepdims=True) + [0, 0, 0.5]
    return [{"joints": one, "K": K, "presence": True, "visibility": np.ones(21)} for one in joints]


def skewed(sample: Sample) -> LandmarkLabel:
    """A landmark model whose wrist lies half a palm nearer to the elbow, who halves depth and is unsure of nothing."""
    joints, pixels = np.array(sample["joints"], np.float64), project_joints(sample).astype(np.float64)
    for points in (joints, pixels):
        points[0] += 0.5 * (points[0] - points[9])
    joints = (joints - joints.mean(0)) * [1, 1, 0.5] * 1.3
    return LandmarkLabel(pixels, joints, True, 0.01)


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return gather(samples(), skewed)


def test_a_mixture_of_joints_is_found_again(pairs: Pairs) -> None:
    shifted = pairs.joints.copy()
    shifted[:, 0] += 0.5 * (shifted[:, 0] - shifted[:, 9])
    correction = solve(replace(pairs, points=1.3 * shifted @ random_turn(np.random.default_rng(1))), "hand")

    assert np.allclose(correction.space.sum(1), 1)
    assert report(correction, replace(pairs, points=shifted))["pa_points_of"] < 0.3
    assert report(correction, pairs)["px_points_of"] < 0.002
    assert abs(correction.picture[0, 0] - 1.5) < 0.03  # any joint of the stiff palm may stand for it


def test_depth_is_corrected_on_hands_that_were_not_measured(pairs: Pairs) -> None:
    correction, found = calibrate(pairs, "hand")

    assert found["hands"] == len(pairs.points) == HANDS and correction.hand == "hand"
    assert found["pa_truth_raw"] > 8 and found["pa_joints_of"] < 0.4 * found["pa_truth_raw"]
    assert found["px_joints_of"] < 0.7 * found["px_truth_raw"]


def test_corrected_joints_turn_scale_and_move_with_the_hand() -> None:
    rng = np.random.default_rng(0)
    points, keypoints = rng.normal(0, 0.05, (4, 21, 3)), rng.normal(100, 30, (4, 21, 2))
    c, s = np.cos(0.7), np.sin(0.7)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    joints, pixels = shipped_correction().joints_of(points, keypoints)
    moved = points @ turn.T * 1.7 + [0.3, -0.1, 0.8]
    other_joints, other_pixels = shipped_correction().joints_of(moved, keypoints @ turn[:2, :2].T * 0.4 + [50, -20])

    assert np.allclose(other_joints, joints @ turn.T * 1.7 + [0.3, -0.1, 0.8])
    assert np.allclose(other_pixels, pixels @ turn[:2, :2].T * 0.4 + [50, -20])


def test_a_frame_brings_a_hand_upright_and_back() -> None:
    rng = np.random.default_rng(5)
    points, keypoints = rng.normal(size=(3, 21, 3)), rng.normal(size=(3, 21, 2))
    frame = HandFrame.of(points, keypoints)
    upright = frame.from_picture(keypoints)
    direction = upright[:, 9] - upright[:, 0]

    assert np.allclose(direction[:, 0], 0) and (direction[:, 1] < 0).all()
    assert np.allclose(frame.to_picture(upright), keypoints)
    assert np.allclose(frame.to_space(frame.from_space(points)), points)
    assert np.allclose(np.linalg.norm(frame.from_space(points), axis=(1, 2)), 1)


def test_only_hands_that_can_be_seen_and_that_the_model_is_sure_of_count() -> None:
    def ask(sample: Sample) -> LandmarkLabel | None:
        label = skewed(sample)
        return {0: None, 1: replace(label, disagreement=0.2), 2: replace(label, is_right=False)}.get(
            sample["index"], label
        )

    hands = [{**sample, "index": i} for i, sample in enumerate(samples(6))]
    hands[3]["presence"], hands[4]["visibility"] = False, np.zeros(21)
    kept = gather(hands, ask)

    assert np.allclose(kept.joints, hands[5]["joints"])
    with pytest.raises(HandMeshError, match="expected 400 hands .* got 1"):
        calibrate(kept, "hand")
    assert len((kept + kept).points) == 2 and not len(gather([], ask).points)


def test_the_shipped_measure_is_of_the_shipped_hand_and_comes_back_from_its_file(tmp_path, monkeypatch) -> None:
    correction = shipped_correction()
    assert correction.hand == load_mano("open").fingerprint()
    for mixture in (correction.space, correction.picture):
        assert mixture.shape == (21, 21) and np.allclose(mixture.sum(1), 1, atol=1e-5)
    correction.save(tmp_path / "correction.npz")
    monkeypatch.setattr("handmesh.labeling.landmark_correction.ASSET", tmp_path / "correction.npz")
    shipped_correction.cache_clear()
    again: LandmarkCorrection = shipped_correction()
    shipped_correction.cache_clear()

    assert again.hand == correction.hand and np.array_equal(again.correction, correction.correction)


def test_another_hand_has_a_measure_of_its_own_once_it_was_made(pairs: Pairs, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HANDMESH_HOME", str(tmp_path))
    hand = "0123456789abcdef"
    assert correction_for(hand) is None and correction_for(shipped_correction().hand) is shipped_correction()
    made = solve(pairs, hand)
    made.save(correction_file(hand))
    assert np.allclose(correction_for(hand).correction, made.correction, atol=1e-4)

    replace(made, space=made.space[:20]).save(correction_file(hand))
    with pytest.raises(HandMeshError, match="calibrate_landmarks.py, or delete it"):
        correction_for(hand)
    correction_file(hand).write_bytes(b"PK no zip")
    with pytest.raises(HandMeshError, match=hand):
        correction_for(hand)


def test_the_command_writes_the_measure_and_says_what_it_is_worth(
    pairs: Pairs, tmp_path, monkeypatch, capsys, script
) -> None:
    command = script("calibrate_landmarks")
    asked = []

    def ask_some(arguments: tuple[argparse.Namespace, int, int]) -> Pairs:
        asked.append(arguments[1:])
        return pairs

    monkeypatch.setattr(command, "ask_some", ask_some)
    monkeypatch.setattr(command, "LandmarkModel", lambda **_: None)
    monkeypatch.setattr(command, "ProcessPoolExecutor", lambda _: contextlib.nullcontext(SimpleNamespace(map=map)))
    monkeypatch.setattr(sys, "argv", ["calibrate", "--count", "600", "--output", str(tmp_path / "correction.npz")])
    command.main()

    assert asked == [(0, 250), (250, 500), (500, 600)]
    said = capsys.readouterr().out
    assert f"made of {3 * HANDS} hands" in said and "corrected to them" in said and "corrected" in said
    monkeypatch.setattr(sys, "argv", ["calibrate", "--count", "0"])
    with pytest.raises(HandMeshError, match="--count and --workers of at least 1, got 0"):
        command.main()
    with np.load(tmp_path / "correction.npz") as archive:
        assert archive["hand"] == load_mano("open").fingerprint() and archive["correction"].shape == (106, 105)
