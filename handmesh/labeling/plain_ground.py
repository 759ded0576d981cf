"""The pixels of a hand before ground of one colour: what has another colour. No network has a part in it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from handmesh.labeling.outline_fit import beyond_the_wrist

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: CIELAB, lightness at half weight: plain ground differs from its own colour by less than the first in nine pixels of
#: ten, and the hand's colour lies at least the second away from it.
PLAIN, APART = 9.0, 12.0
#: Pixels so near to the ground's colour are ground, even where all of it is of the very same.
_SAME = 1.0
#: Of the labelled joints, the share that the outline must hold.
LEAST_INSIDE = 0.95


def hand_before_plain_ground(image: NDArray[np.uint8], points: Array, seen: Mask) -> Mask | None:
    """The pixels that are not ground, in one piece around the hand.

    Args:
        image: (S, S, 3) uint8 RGB.
        points: (21, 2) labelled joints, pixels.
        seen: (S, S) where the photo reaches.

    Returns:
        (S, S) bool; None where the ground is not plain or the outline misses the joints.
    """
    size = len(image)
    lab = cv2.cvtColor(cv2.GaussianBlur(image, (0, 0), 1.0), cv2.COLOR_RGB2LAB).astype(np.float32)
    lab[..., 0] *= 0.5
    near = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(near, cv2.convexHull(np.rint(points).astype(np.int32)), 1)
    reach = int(0.16 * np.ptp(points, axis=0).max())
    around = cv2.dilate(near, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)))
    ground = np.asarray(around == 0) & ~beyond_the_wrist(points, size) & seen
    if ground.mean() < 0.05:
        return None
    distance = np.linalg.norm(lab - smooth_ground(lab, ground), axis=2)
    if np.quantile(distance[ground], 0.9) > PLAIN:
        return None
    inner = tuple(np.rint(points[[0, 5, 9, 13, 17]].mean(0)).astype(int))
    palm = distance[max(inner[1] - 4, 0) : inner[1] + 5, max(inner[0] - 4, 0) : inner[0] + 5]
    if not palm.size or np.median(palm) < APART:
        return None
    # Half way between the ground's own spread and the palm.
    threshold = max(0.5 * float(np.median(palm)), float(np.quantile(distance[ground], 0.97)))
    _, pieces = cv2.connectedComponents(((distance > threshold) & seen).astype(np.uint8))
    number = pieces[np.clip(inner[1], 0, size - 1), np.clip(inner[0], 0, size - 1)]
    if number == 0:
        return None
    hand = np.asarray(pieces == number)
    whole = _filled(hand)
    at = np.clip(np.rint(points), 0, size - 1).astype(int)
    # Fingertips are points of the surface.
    grown = cv2.dilate(whole.astype(np.uint8), np.ones((5, 5), np.uint8))
    return whole if grown[at[:, 1], at[:, 0]].mean() >= LEAST_INSIDE else None


def smooth_ground(lab: NDArray[np.float32], ground: Mask) -> NDArray[np.float32]:
    """The ground's colour everywhere: a wall's light falls off, so it is a quadratic in the pixel's place.

    Args:
        lab: (S, S, 3).
        ground: (S, S) the pixels that are ground, but for a few.
    """
    size = len(lab)
    rows, columns = np.mgrid[:size, :size].reshape(2, -1) * (2.0 / size) - 1
    terms = np.stack([np.ones_like(rows), rows, columns, rows * columns, rows**2, columns**2], 1)
    colours, chosen = lab.reshape(-1, 3), ground.reshape(-1)
    fitted = np.empty_like(colours)
    for _ in range(3):
        solution = np.linalg.lstsq(terms[chosen], colours[chosen], rcond=None)[0]
        fitted = (terms @ solution).astype(np.float32)
        apart = np.linalg.norm(colours - fitted, axis=1)
        # What the hand's shadow or a cable covers is not the wall's colour.
        chosen = ground.reshape(-1) & (apart < max(3 * float(np.median(apart[chosen])), _SAME))
    return fitted.reshape(lab.shape)


def _filled(hand: Mask) -> Mask:
    """Without holes smaller than a fingertip: lights on the skin."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats((~hand).astype(np.uint8), connectivity=4)
    small = [i for i in range(1, len(stats)) if stats[i, cv2.CC_STAT_AREA] < 0.002 * hand.size]
    return hand | np.isin(pieces, small)
