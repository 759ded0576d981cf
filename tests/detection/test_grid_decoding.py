"""From maps to detections: a hand written into cells is the hand read, once, in the picture's pixels."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.detection.grid_decoding import STRIDE, decode_cells, detections
from handmesh.geometry.letterbox import Letterbox


def write_hand(grid: np.ndarray, x: float, y: float, side: float, right: float, roll_deg: float, score: float) -> None:
    """Say a hand in the four cells around its middle, the nearest one loudest."""
    for column in (int(x // STRIDE), int(x // STRIDE) + 1):
        for row in (int(y // STRIDE), int(y // STRIDE) + 1):
            near = column == int(x // STRIDE) and row == int(y // STRIDE)
            offset = (x / STRIDE - column - 0.5, y / STRIDE - row - 0.5)
            roll = np.radians(roll_deg)
            grid[:, row, column] = [score if near else 0.9 * score, *offset, side, right, np.sin(roll), np.cos(roll), 0]


@pytest.fixture
def grid() -> np.ndarray:
    grid = np.zeros((8, 24, 32))
    grid[3] = 10.0
    write_hand(grid, 60.0, 50.0, 40.0, 0.95, 30.0, 0.8)
    write_hand(grid, 180.5, 100.25, 90.0, 0.1, -170.0, 0.9)
    return grid


def test_each_hand_once_best_first(grid: np.ndarray) -> None:
    rows = decode_cells(grid, 0.3)
    np.testing.assert_allclose(rows[:, 0], [0.9, 0.8])
    np.testing.assert_allclose(rows[:, 1:4], [[180.5, 100.25, 90], [60, 50, 40]])
    assert len(decode_cells(grid, 0.85)) == 1 and len(decode_cells(grid, 0.95)) == 0


def test_detections_are_in_the_pictures_pixels(grid: np.ndarray) -> None:
    found = detections(grid, Letterbox.fit(640, 480, 256), 0.3, corner=(100.0, 50.0))
    box = np.array([180.5 - 45, 100.25 - 45, 180.5 + 45, 100.25 + 45]) * 2.5 + [100, 50, 100, 50]
    np.testing.assert_allclose(found[0].box_xyxy, box, rtol=1e-6)
    assert found[0].is_right is False and found[1].is_right is True
    assert found[0].rotation_deg == pytest.approx(-170) and found[1].rotation_deg == pytest.approx(30)


def test_a_side_that_is_not_sure_is_not_told(grid: np.ndarray) -> None:
    grid[4] = 0.6
    assert [found.is_right for found in detections(grid, Letterbox.fit(256, 192, 256), 0.3)] == [None, None]


def test_hands_beside_one_another_are_two() -> None:
    grid = np.zeros((8, 24, 32))
    write_hand(grid, 60.0, 50.0, 40.0, 0.9, 0.0, 0.8)
    write_hand(grid, 90.0, 50.0, 40.0, 0.9, 0.0, 0.7)
    assert len(decode_cells(grid, 0.3)) == 2
