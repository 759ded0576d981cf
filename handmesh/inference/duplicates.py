"""Whether two results are the same hand, and the one way in which doubles are left out."""

from __future__ import annotations

import numpy as np

from handmesh.results import Hand

#: A hand whose 21 points lie on average this near to a better hand's, in sides of its box, is the same hand.
DUPLICATE_DISTANCE = 0.2


def drop_duplicates(hands: list[Hand], distance: float = DUPLICATE_DISTANCE) -> list[Hand]:
    """Leave out hands whose points lie on those of one earlier in the list."""
    kept: list[Hand] = []
    for hand in hands:
        if not any(points_apart(hand, other) < distance for other in kept):
            kept.append(hand)
    return kept


def points_apart(hand: Hand, other: Hand) -> float:
    """Mean distance of corresponding points of two hands, in sides of the larger box."""
    side = max(hand.box_xyxy[2] - hand.box_xyxy[0], other.box_xyxy[2] - other.box_xyxy[0], 1.0)
    return float(np.linalg.norm(hand.keypoints_2d - other.keypoints_2d, axis=-1).mean() / side)
