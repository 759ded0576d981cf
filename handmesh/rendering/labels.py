"""A small label at each hand: its side, how sure the network is, its track."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from handmesh.rendering.colors import Color, hand_colors
from handmesh.results import Hand

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_INK = (16.0, 16.0, 16.0)


def draw_labels(
    image: NDArray[np.uint8],
    hands: Sequence[Hand],
    ids: Sequence[int] | None = None,
    colors: Sequence[Color] | None = None,
    is_mirrored: bool = False,
) -> None:
    """Write "R 0.98 #2" above each hand, in place: side, score, track. No label covers another.

    Args:
        image: (H, W, 3) uint8 RGB.
        hands: what is in it.
        ids: the track of each; None leaves it out.
        colors: RGB 0..255 for each; default :func:`hand_colors`.
        is_mirrored: the image was mirrored after the hands were found in it; their sides stay what they are.
    """
    height, width = image.shape[:2]
    scale = float(np.clip(min(height, width) / 900, 0.4, 1.4))
    thickness = 1 if scale < 0.8 else 2
    colors = hand_colors(hands) if colors is None else colors
    taken: list[tuple[int, int, int, int]] = []
    for index, hand in enumerate(hands):
        box = np.asarray(hand.box_xyxy, np.float64)
        if not np.isfinite(box).all():
            continue
        text = f"{'R' if hand.is_right else 'L'} {hand.score:.2f}" + ("" if ids is None else f" #{ids[index]}")
        (wide, high), under = cv2.getTextSize(text, _FONT, scale, thickness)
        margin = round(6 * scale)
        wide, high = wide + 2 * margin, high + under + margin
        middle = (box[0] + box[2]) / 2
        left = int(np.clip((width - middle if is_mirrored else middle) - wide / 2, 0, max(0, width - wide)))
        top = int(np.clip(box[1] - high - margin, 0, max(0, height - high)))
        top = _free_row(left, top, wide, high, taken, height)
        taken.append((left, top, left + wide, top + high))
        cv2.rectangle(image, (left, top), (left + wide - 1, top + high - 1), colors[index], -1)
        cv2.putText(
            image, text, (left + margin, top + high - under - margin // 2), _FONT, scale, _INK, thickness, cv2.LINE_AA
        )


def _free_row(left: int, top: int, wide: int, high: int, taken: list[tuple[int, int, int, int]], height: int) -> int:
    """The row for a label, moved down past those that it would cover, or up where the picture ends."""
    for step in (1, -1):
        row = top
        while other := next((t for t in taken if _overlap((left, row, left + wide, row + high), t)), None):
            row = other[3] if step > 0 else other[1] - high
        if 0 <= row <= height - high:
            return row
    return top


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
