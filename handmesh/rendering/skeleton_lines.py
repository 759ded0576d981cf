"""A hand's skeleton drawn over its picture: a colour a finger, faint where the network is unsure."""

from __future__ import annotations

import cv2
import numpy as np

from handmesh.results import Hand
from handmesh.skeleton import BONES, FINGERS

#: RGB of the skeleton's fingers, thumb to little finger, and of the wrist.
FINGER_COLORS = {
    "thumb": (235, 75, 75), "index": (250, 180, 40), "middle": (75, 200, 85), "ring": (60, 150, 250),
    "little": (190, 100, 240),
}  # fmt: skip
WRIST_COLOR = (235, 235, 235)


def draw_skeleton(image: np.ndarray, hand: Hand) -> None:
    """Draw keypoints and bones into image (H, W, 3) uint8 RGB, in place; nothing where a point is not finite."""
    points = np.asarray(hand.keypoints_2d, np.float64)
    if not np.isfinite(points).all():
        return
    extent = float(np.linalg.norm(points.max(0) - points.min(0)))
    thickness = int(np.clip(extent / 110, 1, 6))
    colors = {0: WRIST_COLOR}
    for finger, members in FINGERS.items():
        colors.update(dict.fromkeys(members, FINGER_COLORS[finger]))
    # Sixteenths of a pixel: the skeleton does not jump from pixel to pixel.
    fixed = np.rint(np.clip(points, -30000, 30000) * 16).astype(int)
    confidence = np.asarray(hand.confidence)

    def shade(color: tuple[int, int, int], trust: float) -> tuple[float, ...]:
        return tuple(c * (0.35 + 0.65 * float(np.clip(trust, 0, 1))) for c in color)

    for parent, child in BONES:
        trust = min(confidence[parent], confidence[child])
        ends = (tuple(int(x) for x in fixed[parent]), tuple(int(x) for x in fixed[child]))
        cv2.line(image, *ends, shade(colors[child], trust), thickness, cv2.LINE_AA, 4)
    for joint in range(len(points)):
        centre = tuple(int(x) for x in fixed[joint])
        radius = int(16 * (thickness * 1.1 + 0.8))
        cv2.circle(image, centre, radius + 16, (20.0, 20.0, 20.0), -1, cv2.LINE_AA, 4)
        cv2.circle(image, centre, radius, shade(colors[joint], confidence[joint]), -1, cv2.LINE_AA, 4)
