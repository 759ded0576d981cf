"""Hands for robot programs: the 21 points in the wrist's own frame, as dex-retargeting wants them.

That frame has its origin at the wrist and turns with the hand, so that an arm's motion is not taken for the fingers':
z from the wrist to the middle finger's base; for a right hand y towards the index finger's side, for a left hand away
from it; x square to the palm.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.skeleton import FINGERS, WRIST

FloatArray = NDArray[np.floating[Any]]


def operator_points(joints: FloatArray, is_right: bool) -> NDArray[np.float64]:
    """The joints in the operator's wrist frame.

    Args:
        joints: (..., 21, 3) metres, any frame.
        is_right: right or left hand.

    Returns:
        (..., 21, 3) metres, the wrist at the origin.
    """
    points = np.asarray(joints, np.float64)
    points = points - points[..., WRIST : WRIST + 1, :]
    index, middle = points[..., FINGERS["index"][0], :], points[..., FINGERS["middle"][0], :]
    z = _unit(middle)
    across = index - middle
    y = _unit(across - (across * z).sum(-1, keepdims=True) * z) * (1.0 if is_right else -1.0)
    axes = np.stack([np.cross(y, z), y, z], axis=-1)
    return np.asarray(points @ axes)


def retargeting_input(points: FloatArray, indices: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """What a retargeting optimizer is to reach: points (21, 3), or vectors between pairs of them.

    Args:
        points: (21, 3) as of :func:`operator_points`.
        indices: (N,) of points, or (2, N) of where vectors begin and end: its ``target_link_human_indices``.

    Returns:
        (N, 3) metres.
    """
    indices = np.asarray(indices)
    return np.asarray(points[indices] if indices.ndim == 1 else points[indices[1]] - points[indices[0]])


def _unit(vectors: FloatArray) -> NDArray[np.float64]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))
