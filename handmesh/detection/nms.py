"""Several answers for one hand become one: suppression of palm boxes, and the loop and the distance for whole hands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def iou_matrix(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (N, 4) and others (M, 4), both xyxy -> (N, M)."""
    intersection = _intersection(boxes, others)
    union = _area(boxes)[:, None] + _area(others)[None] - intersection
    return intersection / np.maximum(union, 1e-9)


def containment_matrix(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over the smaller box's area, (N, M): 1 when one box lies inside the other."""
    smaller = np.minimum(_area(boxes)[:, None], _area(others)[None])
    return _intersection(boxes, others) / np.maximum(smaller, 1e-9)


def weighted_suppression(
    boxes: np.ndarray, keypoints: np.ndarray, scores: np.ndarray, threshold: float = 0.3
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Replace each cluster of overlapping boxes by its score-weighted mean (BlazeFace, Bazarevsky et al. 2019, 3.4).

    Args:
        boxes: (N, 4) xyxy.
        keypoints: (N, k, 2) in the boxes' unit.
        scores: (N,).
        threshold: IoU with the best box of a cluster from which a box belongs to it.

    Returns:
        The same three arrays, one row a cluster, best score first; a cluster keeps its best score.
    """
    left = np.argsort(-scores, kind="stable")
    kept: list[tuple[np.ndarray, np.ndarray, float]] = []
    while left.size:
        best = left[0]
        near = iou_matrix(boxes[best][None], boxes[left])[0] > threshold
        near[0] = True
        cluster = left[near]
        weights = scores[cluster] / scores[cluster].sum()
        kept.append((weights @ boxes[cluster], np.tensordot(weights, keypoints[cluster], 1), float(scores[best])))
        left = left[~near]
    if not kept:
        return boxes[:0], keypoints[:0], scores[:0]
    return np.stack([k[0] for k in kept]), np.stack([k[1] for k in kept]), np.array([k[2] for k in kept])


def keep_best(boxes: np.ndarray, scores: np.ndarray, threshold: float = 0.3, inside: float = 0.6) -> list[int]:
    """Which boxes stay: one goes if it overlaps a better one or lies mostly inside it.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        threshold: largest IoU with a better box.
        inside: largest share of a box that lies inside a better one.

    Returns:
        Indices into the boxes, best first.
    """
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        box = boxes[index][None]
        if kept and (
            iou_matrix(box, boxes[kept]).max() > threshold or containment_matrix(box, boxes[kept]).max() > inside
        ):
            continue
        kept.append(int(index))
    return kept


def drop_repeats(items: Sequence[T], is_same: Callable[[T, T], bool]) -> list[T]:
    """The items that are not the same as one kept before them, in their order: the ones to keep come first."""
    kept: list[T] = []
    for item in items:
        if not any(is_same(item, other) for other in kept):
            kept.append(item)
    return kept


def points_apart(points: Any, others: Any, side: float) -> float:
    """Mean distance of corresponding points.

    Args:
        points, others: (N, 2) pixels.
        side: of a hand's box, pixels.

    Returns:
        In sides of the box.
    """
    return float(np.linalg.norm(np.subtract(points, others), axis=-1).mean() / max(side, 1e-9))


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)


def _intersection(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.prod(np.maximum(high - low, 0), axis=-1)
