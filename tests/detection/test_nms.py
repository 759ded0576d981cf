"""Laws of windows, anchors, suppression and the hand's box, without the models."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.detection import palm_detector
from handmesh.detection.nms import containment_matrix, drop_repeats, iou_matrix, keep_best, weighted_suppression
from handmesh.detection.palm_detector import ANCHORS, decode, hand_from_palm
from handmesh.detection.tiling import (
    MIN_SIDE,
    Window,
    search_rounds,
    still_windows,
    tile_windows,
    whole_window,
    wide_window,
)
from handmesh.detection.verifier import is_same_hand
from handmesh.results import Detection


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (1200, 200), (131, 997), (1, 1)])
@pytest.mark.parametrize("divisor", [1, 2, 3])
def test_windows_cover_the_picture_and_overlap(width: int, height: int, divisor: int) -> None:
    windows = tile_windows(width, height, divisor)
    covered = np.zeros((height, width), bool)
    for x, y, side in windows:
        covered[max(y, 0) : y + side, max(x, 0) : x + side] = True
    assert covered.all()
    side = windows[0].side
    for starts in (sorted({w.x for w in windows}), sorted({w.y for w in windows})):
        assert all(b - a <= side / 2 + 1 for a, b in zip(starts, starts[1:], strict=False))


def test_small_pictures_are_only_seen_whole_and_wide() -> None:
    assert still_windows(100, 100) == [whole_window(100, 100), wide_window(100, 100)]
    assert all(w.side >= MIN_SIDE for w in still_windows(300, 200))


def test_search_rounds_see_every_window() -> None:
    rounds = search_rounds(640, 480)
    assert {w for group in rounds for w in group} == set(still_windows(640, 480))
    assert max(len(group) for group in rounds) <= 2
    assert rounds[0] == [whole_window(640, 480)] == rounds[2]
    assert search_rounds(90, 90) == [[whole_window(90, 90)], [wide_window(90, 90)]]


def test_anchors_and_decoding() -> None:
    assert ANCHORS.shape == (2016, 2)
    assert (ANCHORS > 0).all() and (ANCHORS < palm_detector.INPUT_SIZE).all()
    # A row of zeros is an empty box and seven points on its anchor; offsets are added, sizes halved to each side.
    boxes, keypoints = decode(np.zeros((2016, 18)), ANCHORS)
    assert np.allclose(boxes, np.tile(ANCHORS, 2)) and np.allclose(keypoints, ANCHORS[:, None])
    row = np.zeros((1, 18))
    row[0, :4] = 1, 2, 10, 20
    assert np.allclose(decode(row, np.array([[50.0, 60.0]]))[0], [[46, 52, 56, 72]])


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    low = rng.uniform(0, 100, (count, 2))
    return np.concatenate([low, low + rng.uniform(5, 40, (count, 2))], axis=1)


def test_iou_is_symmetric_and_one_with_itself() -> None:
    boxes = random_boxes(np.random.default_rng(0), 20)
    iou = iou_matrix(boxes, boxes)
    assert np.allclose(iou, iou.T) and np.allclose(np.diag(iou), 1)
    assert (containment_matrix(boxes, boxes) >= iou - 1e-9).all()


def test_suppression_leaves_separate_boxes_and_is_idempotent() -> None:
    rng = np.random.default_rng(1)
    boxes, scores = random_boxes(rng, 60), rng.uniform(0.5, 1, 60)
    keypoints = rng.uniform(0, 100, (60, 7, 2))
    kept = keep_best(boxes, scores)
    assert (np.diff(scores[kept]) <= 0).all()
    iou = iou_matrix(boxes[kept], boxes[kept]) - np.eye(len(kept))
    assert iou.max() <= 0.3
    assert keep_best(boxes[kept], scores[kept]) == list(range(len(kept)))
    merged, points, best = weighted_suppression(boxes, keypoints, scores)
    assert len(merged) == len(points) == len(best) <= 60 and best[0] == scores.max()


def test_weighted_suppression_averages_one_cluster() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [2, 0, 12, 10]])
    keypoints = np.stack([np.zeros((7, 2)), np.ones((7, 2))])
    merged, points, scores = weighted_suppression(boxes, keypoints, np.array([0.9, 0.6]))
    assert np.allclose(merged, [[0.8, 0, 10.8, 10]]) and np.allclose(points, 0.4) and scores.tolist() == [0.9]
    empty = weighted_suppression(boxes[:0], keypoints[:0], np.zeros(0))
    assert [len(part) for part in empty] == [0, 0, 0]


@pytest.mark.parametrize("roll", [-170.0, -45.0, 0.0, 30.0, 90.0])
def test_roll_and_box_turn_with_the_palm(roll: float) -> None:
    c, s = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    clockwise = np.array([[c, -s], [s, c]])  # y points down: this turns clockwise as seen
    upright = np.array([[0.0, 10], [-4, 0], [0, -10], [4, 0], [5, 1], [-8, 5], [-10, 0]])
    palm = np.array([85.0, 85, 115, 115])
    still = hand_from_palm(palm, upright + 100, 0.9)
    turned = hand_from_palm(palm, upright @ clockwise.T + 100, 0.9)
    assert still.rotation_deg == pytest.approx(0)
    assert turned.rotation_deg == pytest.approx(roll)
    moved = (still.box_xyxy[:2] + still.box_xyxy[2:]) / 2 - 100
    assert np.allclose((turned.box_xyxy[:2] + turned.box_xyxy[2:]) / 2 - 100, clockwise @ moved, atol=1e-4)
    assert moved[1] < 0  # towards the fingers, which point up


def test_duplicates_go_and_neighbours_stay() -> None:
    points = np.random.default_rng(2).uniform(0, 100, (21, 2)).astype(np.float32)

    def hand(shift: float, size: float = 1.0, score: float = 0.9) -> Detection:
        box = np.array([0, 0, 100, 100], np.float32) * size + shift
        return Detection(box, True, score, 0.0, points * size + shift)

    assert len(drop_repeats([hand(0), hand(5)], is_same_hand)) == 1
    assert len(drop_repeats([hand(0), hand(60)], is_same_hand)) == 2
    assert len(drop_repeats([hand(0), hand(50, 0.3)], is_same_hand)) == 1


def test_window_input_is_letterboxed() -> None:
    image = np.full((50, 100, 3), 255, np.uint8)
    target = palm_detector._model_input(image, whole_window(100, 50))
    assert np.allclose(target[48:144], 1) and not target[:48].any() and not target[144:].any()
    assert not palm_detector._model_input(image, Window(500, 500, 10)).any()
