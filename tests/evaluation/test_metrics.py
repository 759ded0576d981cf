"""The metrics against a plain sample-by-sample reference, hand-worked values, and the laws they must keep."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from handmesh.errors import HandMeshError
from handmesh.evaluation.metrics import Scores, auc, f_scores, measure, pa_mpjpe, pck_curve, summarize


def reference_align(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """One sample, the rule as it is described, with scipy's Procrustes."""
    true_mean, predicted_mean = true.mean(0), predicted.mean(0)
    a, b = true - true_mean, predicted - predicted_mean
    norm_a, norm_b = np.linalg.norm(a) + 1e-8, np.linalg.norm(b) + 1e-8
    rotation, scale = orthogonal_procrustes(a / norm_a, b / norm_b)
    return (b / norm_b) @ rotation.T * scale * norm_a + true_mean


def reference_f(true: np.ndarray, predicted: np.ndarray, threshold: float) -> float:
    distances = cdist(predicted, true)
    precision, recall = (distances.min(1) < threshold).mean(), (distances.min(0) < threshold).mean()
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def reference_auc(errors: np.ndarray) -> float:
    thresholds = np.linspace(0.0, 0.05, 100)
    areas = []
    for column in errors.T:
        curve = np.array([np.mean(column <= t) for t in thresholds])
        areas.append(np.trapezoid(curve, thresholds) / np.trapezoid(np.ones_like(curve), thresholds))
    return float(np.mean(areas))


def random_hands(count: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """joints, vertices, true_joints, true_vertices with errors of about a centimetre, turned and scaled."""
    rng = np.random.default_rng(seed)
    true_vertices = rng.normal(0, 0.04, (count, 778, 3)) + [0, 0, 0.7]
    true_joints = rng.normal(0, 0.04, (count, 21, 3)) + [0, 0, 0.7]
    turn = Rotation.random(count, random_state=seed).as_matrix()
    vertices = true_vertices @ turn * 1.1 + rng.normal(0, 0.006, true_vertices.shape)
    joints = true_joints @ turn * 1.1 + rng.normal(0, 0.006, true_joints.shape)
    return joints, vertices, true_joints, true_vertices


def test_agrees_with_the_plain_reference_to_the_digit():
    joints, vertices, true_joints, true_vertices = random_hands(6)
    joints[4:] = true_joints[4:] + 0.004  # some predictions near the truth, so raw figures are not all zero
    vertices[4:] = true_vertices[4:] + 0.002
    measured = measure(joints, vertices, true_joints, true_vertices)
    scores = summarize(measured)
    aligned_joints = np.stack([reference_align(t, p) for t, p in zip(true_joints, joints, strict=True)])
    aligned = np.stack([reference_align(t, p) for t, p in zip(true_vertices, vertices, strict=True)])
    pa_joint_errors = np.linalg.norm(aligned_joints - true_joints, axis=2)
    pa_vertex_errors = np.linalg.norm(aligned - true_vertices, axis=2)
    raw_errors = np.linalg.norm(joints - true_joints, axis=2)
    assert scores.pa_mpjpe == pytest.approx(pa_joint_errors.mean(0).mean() * 1000, abs=1e-9)
    assert scores.pa_mpvpe == pytest.approx(pa_vertex_errors.mean(0).mean() * 1000, abs=1e-9)
    assert scores.mpjpe == pytest.approx(raw_errors.mean() * 1000, abs=1e-9)
    assert scores.auc_joints == pytest.approx(reference_auc(pa_joint_errors), abs=1e-12)
    assert scores.auc_vertices == pytest.approx(reference_auc(pa_vertex_errors), abs=1e-12)
    assert scores.raw_auc_joints == pytest.approx(reference_auc(raw_errors), abs=1e-12)
    for name, predicted, threshold in (
        ("f5", aligned, 0.005),
        ("f15", aligned, 0.015),
        ("raw_f5", vertices, 0.005),
        ("raw_f15", vertices, 0.015),
    ):
        expected = np.mean([reference_f(t, p, threshold) for t, p in zip(true_vertices, predicted, strict=True)])
        assert getattr(scores, name) == pytest.approx(expected, abs=1e-12), name


def test_hand_worked_values():
    true = np.array([[[0.0, 0, 0], [1, 0, 0]]])
    predicted = np.array([[[0.003, 0, 0], [1, 0.004, 0]]])
    errors = np.linalg.norm(predicted - true, axis=2)
    np.testing.assert_allclose(pck_curve(errors, np.array([0.0, 0.003, 0.0035, 0.05])), [[0, 1, 1, 1], [0, 0, 0, 1]])
    # The first point's curve is 1 from its error on; with two thresholds the trapezoid sees half of that.
    assert auc(np.array([[0.0]]), np.array([0.0, 1.0])) == 1.0
    assert auc(np.array([[1.0]]), np.array([0.0, 1.0])) == 0.5
    assert auc(np.array([[2.0]]), np.array([0.0, 1.0])) == 0.0
    # Two of three predicted points are near; both true points are: precision 2/3, recall 1, F 0.8.
    f = f_scores(np.array([[0, 0, 0], [0.1, 0, 0.004], [1, 1, 1]]), np.array([[0.0, 0, 0], [0.1, 0, 0]]))
    np.testing.assert_allclose(f, [0.8, 0.8])


def test_thresholds_pck_includes_and_f_excludes_equality():
    assert pck_curve(np.array([[0.25]]), np.array([0.0, 0.25, 0.5])).tolist() == [[0, 1, 1]]
    assert f_scores(np.zeros((1, 3)), np.array([[0.25, 0, 0]]), (0.25, 0.26)).tolist() == [0, 1]


def test_a_perfect_prediction_and_any_similarity_of_it_score_perfectly_when_aligned():
    _, _, true_joints, true_vertices = random_hands(4)
    turn = Rotation.random(random_state=5).as_matrix()
    for scale, shift in ((1.0, 0.0), (1.7, 0.3)):
        moved = [scale * points @ turn.T + shift for points in (true_joints, true_vertices)]
        scores = summarize(measure(*moved, true_joints, true_vertices))
        assert scores.pa_mpjpe < 1e-4 and scores.pa_mpvpe < 1e-4 and scores.reflected == 0
        assert scores.f5 == scores.f15 == 1 and scores.auc_joints > 0.994


def test_a_mirrored_hand_scores_zero_officially_and_is_counted():
    _, _, true_joints, true_vertices = random_hands(3)
    mirrored = [points * [-1, 1, 1] for points in (true_joints, true_vertices)]
    official = summarize(measure(*mirrored, true_joints, true_vertices))
    assert official.pa_mpjpe < 1e-4 and official.reflected == official.reflected_vertices == 3
    proper = summarize(measure(*mirrored, true_joints, true_vertices, allow_reflection=False))
    assert proper.pa_mpjpe > 20 and proper.reflected == 3


def test_reflection_rule_does_not_matter_for_ordinary_predictions():
    hands = random_hands(4, seed=3)
    assert measure(*hands).is_reflected.sum() == 0
    assert summarize(measure(*hands)) == summarize(measure(*hands, allow_reflection=False))


def test_root_errors_ignore_translation_and_raw_errors_do_not():
    _, _, true_joints, true_vertices = random_hands(2)
    scores = summarize(measure(true_joints + 0.1, true_vertices + 0.1, true_joints, true_vertices))
    assert scores.root_mpjpe < 1e-9 and scores.root_mpvpe < 1e-9
    assert scores.mpjpe == pytest.approx(100 * np.sqrt(3))


def test_zero_predictions_are_legal_and_aligned_to_the_mean():
    _, _, true_joints, true_vertices = random_hands(2)
    scores = summarize(measure(0 * true_joints, 0 * true_vertices, true_joints, true_vertices))
    spread = np.linalg.norm(true_joints - true_joints.mean(1, keepdims=True), axis=2).mean() * 1000
    assert scores.pa_mpjpe == pytest.approx(spread, rel=1e-6)
    assert scores.raw_f15 == 0


def test_pa_mpjpe_shortcut_is_the_same_figure():
    joints, vertices, true_joints, true_vertices = random_hands(5)
    scores = summarize(measure(joints, vertices, true_joints, true_vertices))
    assert pa_mpjpe(joints, true_joints) == pytest.approx(scores.pa_mpjpe, abs=1e-9)


def test_wrong_predictions_are_refused():
    joints, vertices, true_joints, true_vertices = random_hands(3)
    with pytest.raises(HandMeshError, match="shape"):
        measure(joints[:2], vertices[:2], true_joints, true_vertices)
    joints[1, 0, 0] = np.nan
    with pytest.raises(HandMeshError, match=r"samples \[1\]"):
        measure(joints, vertices, true_joints, true_vertices)
    with pytest.raises(HandMeshError, match="at least one"):
        measure(joints[:0], vertices[:0], true_joints[:0], true_vertices[:0])


def test_speed_of_the_whole_evaluation_set():
    hands = random_hands(100)
    start = time.process_time()
    scores = summarize(measure(*hands))
    assert isinstance(scores, Scores)
    assert (time.process_time() - start) / 100 * 3960 < 60
