"""The hands of a frame from the side: how far they are from the camera, which the picture itself cannot show."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from handmesh.geometry.camera import centred_intrinsics
from handmesh.rendering.colors import Color
from handmesh.rendering.overlay import draw_hands
from handmesh.results import Hand

#: The panel's side over the picture's height, and the picture's part that it may take at most.
_PANEL_SHARE, _LARGEST_SHARE = 0.42, 0.5
#: Extent of space that is shown, metres; more where hands reach farther.
_EXTENT_M = 0.3
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_GRID, _TEXT = (62.0, 66.0, 72.0), (215.0, 215.0, 215.0)


def draw_side_view(image: NDArray[np.uint8], hands: Sequence[Hand], colors: Sequence[Color] | None = None) -> None:
    """Draw a panel into the upper right corner of image, in place: the hands seen from the camera's right.

    The camera is off to the left; a line of the grid every 10 cm.

    Args:
        image: (H, W, 3) uint8 RGB.
        hands: as :func:`draw_hands` takes them; may be empty.
        colors: RGB 0..255 for each hand.
    """
    height, width = image.shape[:2]
    side = int(min(_PANEL_SHARE * height, _LARGEST_SHARE * width))
    if side < 48:
        return
    panel = np.full((side, side, 3), 28, np.uint8)
    points = [np.asarray(hand.vertices, np.float64) for hand in hands]
    points = [each for each in points if np.isfinite(each).all()]
    extent_m, centre = _EXTENT_M, np.array([0.0, 0.0, 0.5])
    if points:
        cloud = np.concatenate(points)
        low, high = cloud.min(axis=0), cloud.max(axis=0)
        centre, extent_m = (low + high) / 2, max(_EXTENT_M, 1.15 * float((high - low)[1:].max()))
    px_per_m = side / extent_m
    _draw_grid(panel, centre, px_per_m)
    seen = [_from_side(hand, centre, side, px_per_m) for hand in hands if np.isfinite(hand.vertices).all()]
    kept = None if colors is None else [c for c, hand in zip(colors, hands) if np.isfinite(hand.vertices).all()]
    panel = draw_hands(panel, seen, alpha=1.0, colors=kept, fade=False)
    scale = float(np.clip(side / 620, 0.25, 0.9))
    text = f"from the side, {centre[2] * 100:.0f} cm away" if points else "from the side: no hand"
    cv2.putText(panel, text, (round(14 * scale), side - round(14 * scale)), _FONT, scale, _TEXT, 1, cv2.LINE_AA)
    cv2.rectangle(panel, (0, 0), (side - 1, side - 1), _GRID, 1)
    image[:side, width - side :] = panel


def _draw_grid(panel: NDArray[np.uint8], centre: NDArray[np.float64], px_per_m: float) -> None:
    """Lines every 10 cm of depth (upright) and of height (level)."""
    side = len(panel)
    for axis in (2, 1):
        first = np.ceil((centre[axis] - side / 2 / px_per_m) * 10)
        for step in range(int(side / px_per_m * 10) + 1):
            at = round(side / 2 + ((first + step) / 10 - centre[axis]) * px_per_m)
            ends = ((at, 0), (at, side)) if axis == 2 else ((0, at), (side, at))
            cv2.line(panel, ends[0], ends[1], _GRID, 1)


def _from_side(hand: Hand, centre: NDArray[np.float64], side: int, px_per_m: float) -> Hand:
    """The hand turned by a quarter about the upright axis through ``centre``, before a distant camera.

    Depth becomes the picture's x; what is to the camera's right is nearest.
    """
    distance_m = 20.0
    offset = np.asarray(hand.vertices, np.float64) - centre
    turned = np.stack([offset[:, 2], offset[:, 1], distance_m - offset[:, 0]], axis=1)
    f_px = px_per_m * distance_m
    K = centred_intrinsics(f_px, side, side)
    return dataclasses.replace(hand, vertices=turned, K=K)
