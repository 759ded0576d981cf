"""From the detector network's maps to detections: cells above a threshold, each hand once.

A cell of the map says: probability that a hand's middle is near, where that middle is, the side of the square around
the hand, right or left, the roll, whether the hand is cut off. Squares are those of geometry/crop.py: around the 21
points, measured along the upright crop's axes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handmesh.detection.nms import keep_best
from handmesh.geometry.letterbox import Letterbox
from handmesh.results import Detection

#: Channels of the map, in order; offsets in cells from the cell's middle, the side in pixels of the input.
CHANNELS = ("score", "x", "y", "side", "right", "sin", "cos", "cut_off")
#: Pixels of the input to a cell's side.
STRIDE = 8
#: Two squares that overlap more are of one hand, and so are two of which one lies in the other by such a share.
OVERLAP, INSIDE = 0.45, 0.75
#: Cells that are looked at: more hands than any picture has.
_MOST_CELLS = 300
#: A side is known from this probability on; between it and its complement both are tried.
SURE_SIDE = 0.75


def decode_cells(grid: NDArray[np.floating], threshold: float) -> NDArray[np.float64]:
    """Hands of one picture, each once, best first.

    Args:
        grid: (8, h, w) as CHANNELS says.
        threshold: least score.

    Returns:
        (N, 8): score, middle x and y and side in pixels of the input counted from its corner, right, sin and cos of the
        roll, cut off.
    """
    flat = np.asarray(grid, np.float64).reshape(len(CHANNELS), -1)
    chosen = np.flatnonzero(flat[0] >= threshold)
    chosen = chosen[np.argsort(-flat[0, chosen], kind="stable")][:_MOST_CELLS]
    rows = flat[:, chosen].T.copy()
    rows[:, 1] = (rows[:, 1] + chosen % grid.shape[2] + 0.5) * STRIDE
    rows[:, 2] = (rows[:, 2] + chosen // grid.shape[2] + 0.5) * STRIDE
    return rows[keep_best(squares(rows), rows[:, 0], OVERLAP, INSIDE)]


def squares(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Boxes xyxy (N, 4) of the rows (N, 8) of :func:`decode_cells`."""
    middle, half = np.asarray(rows[:, 1:3], np.float64), np.asarray(rows[:, 3:4], np.float64) / 2
    return np.concatenate([middle - half, middle + half], axis=1)


def detections(
    grid: NDArray[np.floating], box: Letterbox, threshold: float, corner: tuple[float, float] = (0.0, 0.0)
) -> list[Detection]:
    """Hands of one picture as detections in the picture's pixels, best first.

    Args:
        grid: (8, h, w) of its letterboxed input.
        box: how the picture was resized.
        threshold: least score.
        corner: where the part that was looked at begins in the picture, pixels.
    """
    rows = decode_cells(grid, threshold)
    boxes = box.to_picture(squares(rows)) + np.tile(np.asarray(corner, np.float64), 2)
    found = []
    for row, xyxy in zip(rows, boxes, strict=True):
        right = float(row[4])
        is_right = None if 1 - SURE_SIDE < right < SURE_SIDE else right >= 0.5
        roll = float(np.degrees(np.arctan2(row[5], row[6])))
        found.append(Detection(xyxy.astype(np.float32), is_right, min(1.0, float(row[0])), roll))
    return found
