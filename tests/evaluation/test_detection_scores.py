"""Scores of detectors on made-up pictures, against what they are by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from handmesh.evaluation.detection_scores import Found, Truth, format_scores, mask_overlap, score_detections


def truth(*boxes: list[float], unknown: list[list[float]] | None = None, right: float = 1.0) -> Truth:
    array = np.array(boxes, float).reshape(-1, 4)
    return Truth(array, np.full(len(array), 170.0), np.full(len(array), right),
                 np.array(unknown or [], float).reshape(-1, 4), 200.0)  # fmt: skip


def found(*rows: tuple[list[float], float], right: float = 0.9) -> Found:
    boxes = np.array([box for box, _ in rows], float).reshape(-1, 4)
    return Found(boxes, np.array([score for _, score in rows]), np.full(len(rows), -170.0), np.full(len(rows), right))


A, B, C = [0.0, 0, 10, 10], [50.0, 50, 90, 90], [100.0, 0, 180, 80]


def test_all_found_is_one() -> None:
    scores = score_detections([found((A, 0.5), (B, 0.9), (C, 0.7))], [truth(A, B, C)])
    assert scores.ap == scores.recall == scores.side_accuracy == 1.0
    assert scores.roll_deg == pytest.approx(20.0) and scores.false_a_picture == 0
    assert scores.recall_by_size == {"small": 1.0, "medium": 1.0, "large": 1.0}


def test_precision_and_rate_by_hand() -> None:
    pictures = [found((A, 0.9), (C, 0.8)), found((B, 0.7), (A, 0.6))]
    truths = [truth(A), truth(B, C)]
    # In order: right, false, right, false; three hands.
    scores = score_detections(pictures, truths, rate=0.0)
    assert scores.ap == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    assert scores.recall == pytest.approx(1 / 3) and scores.threshold == 0.9
    more = score_detections(pictures, truths, rate=0.5)
    assert more.recall == pytest.approx(2 / 3) and more.false_a_picture == 0.5
    fixed = score_detections(pictures, truths, threshold=0.65)
    assert fixed.recall == pytest.approx(2 / 3) and fixed.false_a_picture == 0.5 and fixed.threshold == 0.65


def test_a_hand_found_twice_is_one_false() -> None:
    scores = score_detections([found((A, 0.9), ([0.0, 0, 9, 10], 0.8))], [truth(A)], rate=10)
    assert scores.recall == 1.0 and scores.false_a_picture == 1.0


def test_places_of_which_nothing_is_known_do_not_count() -> None:
    scores = score_detections([found((A, 0.9), (B, 0.8))], [truth(A, unknown=[[40, 40, 100, 100]])], rate=0.0)
    assert scores.ap == 1.0 and scores.recall == 1.0


def test_ties_are_not_parted() -> None:
    scores = score_detections([found((A, 0.9), (C, 0.9))], [truth(A)], rate=0.0)
    assert scores.recall == 0.0


def test_sides_that_are_not_told_are_left_out() -> None:
    scores = score_detections([found((A, 0.9), right=math.nan)], [truth(A)])
    assert math.isnan(scores.side_accuracy)
    assert score_detections([found((A, 0.9), right=0.2)], [truth(A)]).side_accuracy == 0.0


def test_hands_of_a_kind_are_told_apart_and_a_roll_that_is_not_known_is_left_out() -> None:
    known = truth(A, B, C)._replace(kinds=(("back",), ("back", "glove"), ()), rolls_deg=np.array([np.nan, 175.0, 0]))
    scores = score_detections([found((A, 0.5), (B, 0.9))], [known])
    assert scores.recall_by_kind == {"back": 1.0, "glove": 1.0} and scores.roll_deg == pytest.approx(15.0)
    missed = score_detections([found((A, 0.5))], [known])
    assert missed.recall_by_kind == {"back": 0.5, "glove": 0.0} and math.isnan(missed.roll_deg)
    assert "recall of back: ours 1.000, theirs 0.500" in format_scores({"ours": scores, "theirs": missed})


def test_nothing_found_and_nothing_there() -> None:
    nothing = score_detections([found()], [truth(A)])
    assert nothing.ap == nothing.recall == 0.0
    empty = score_detections([found((A, 0.4))], [truth()])
    assert math.isnan(empty.recall) and empty.ap == 0.0 and empty.hands == 0
    assert "AP50" in format_scores({"ours": nothing, "theirs": empty})


def test_masks() -> None:
    one, other = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    assert math.isnan(mask_overlap(one, other))
    one[0], other[:, :2] = True, True
    assert mask_overlap(one, other) == pytest.approx(2 / 6)
