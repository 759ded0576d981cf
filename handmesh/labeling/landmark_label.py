"""A label by vote: the landmark model sees one hand in several views, and what they disagree on is doubtful.

The views differ by what must not matter: mirroring, a turn, the crop's size. Their mean is the label; how far the
farthest view is from it tells how much the label can be trusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handmesh.detection.landmark_model import LandmarkModel, Landmarks
from handmesh.geometry.crop import box_around, roll_of

#: What each view must reach for the place to count as a hand.
MIN_PRESENCE = 0.5


class View(NamedTuple):
    """One view: degrees the crop is turned further, its side over the side of the hand's box, mirrored or not."""

    turn_deg: float
    padding: float
    mirror: bool


#: The published tracking graph's own view, mirrored, turned both ways, and tighter. Much wider than its own the model
#: is at a loss (at 2.4 every seventh hand changes sides): that would measure the model, not the hand.
VIEWS = (
    View(0.0, 2.0, False), View(0.0, 2.0, True), View(-15.0, 2.0, False), View(15.0, 2.0, True), View(0.0, 1.75, False),
)  # fmt: skip
#: How far from one half the views' mean probability of a right hand must be for the side to be known.
SURE_OF_SIDE = 0.15


@dataclass(frozen=True, eq=False)
class LandmarkLabel:
    """What the views together tell of one hand.

    Attributes:
        keypoints_2d: (21, 2) pixels of the image, the views' mean.
        joints: (21, 3) metres, about the hand's own middle, camera axes, the views' mean.
        is_right: right hand in the picture as it is, by the views' mean probability.
        disagreement: of the view farthest from the mean, its points' mean distance as a share of the hand's extent, in
            the picture or in space, whichever is larger; 1 where they do not know left from right.
    """

    keypoints_2d: NDArray[np.float64]
    joints: NDArray[np.float64]
    is_right: bool
    disagreement: float


def label_hand(
    image: NDArray[np.uint8], model: LandmarkModel, box_xyxy: NDArray[np.floating], roll_deg: float, padding: float
) -> LandmarkLabel | None:
    """The label of the hand at a place (about 50 ms on two cores).

    Args:
        image: (H, W, 3) uint8 RGB.
        model: the landmark model.
        box_xyxy: (4,) pixels, around the hand.
        roll_deg: its clockwise turn in the picture.
        padding: side of the first view's crop over the side of the box; its points place the other views.

    Returns:
        None where some view shows no hand.
    """
    first = model.landmarks(image, box_xyxy, roll_deg, padding)
    roll = roll_of(first.points)
    box = box_around(first.points, rotation_deg=roll)
    seen = [model.landmarks(image, box, roll + view.turn_deg, view.padding, view.mirror) for view in VIEWS]
    return vote(seen) if min(each.presence for each in seen) >= MIN_PRESENCE else None


def vote(views: list[Landmarks]) -> LandmarkLabel:
    """The mean of several views of one hand, and how far they are from one another."""
    points = np.stack([view.points for view in views])
    joints = np.stack([view.joints - view.joints.mean(0) for view in views])
    right = float(np.mean([view.right for view in views]))
    apart = max(_spread(points), _spread(joints)) if abs(right - 0.5) >= SURE_OF_SIDE else 1.0
    return LandmarkLabel(points.mean(0), joints.mean(0), right >= 0.5, apart)


def _spread(points: NDArray[np.float64]) -> float:
    """Of views (V, 21, D): the farthest one's mean distance from their mean, over the mean's extent."""
    mean = points.mean(0)
    distance = np.linalg.norm(points - mean, axis=-1).mean(-1)
    return float(distance.max() / np.ptp(mean, axis=0).max())
