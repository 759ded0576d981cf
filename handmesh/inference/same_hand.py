"""Whether two results are the same hand."""

from __future__ import annotations

from handmesh.detection.nms import points_apart
from handmesh.results import Hand

#: Results whose 21 points lie on average this near, in sides of the larger box, are of one hand.
SAME_HAND_DISTANCE = 0.2


def is_same_hand(hand: Hand, other: Hand) -> bool:
    """Whether the points of one lie on the other's."""
    side = max(hand.box_xyxy[2] - hand.box_xyxy[0], other.box_xyxy[2] - other.box_xyxy[0], 1.0)
    return points_apart(hand.keypoints_2d, other.keypoints_2d, side) < SAME_HAND_DISTANCE
