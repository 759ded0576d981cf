"""Text over a running picture: readable on anything, a fraction of a millisecond, drawn in place.

Knows lines of text and pixels. Does not know what the lines mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE, _ACCENT = (245.0, 245.0, 245.0), (255.0, 214.0, 110.0)


def draw_hud(image: NDArray[np.uint8], lines: Sequence[str], footer: str = "") -> None:
    """Write lines into the top left corner of image (H, W, 3) uint8 RGB, in place, and a footer along the bottom.

    The first line is set off. Text grows with the picture; what lies under it is darkened, so that it can be read.
    """
    height, width = image.shape[:2]
    scale = float(np.clip(min(height, width) / 960, 0.35, 1.6))
    step, margin = round(36 * scale), round(12 * scale)
    if lines:
        sizes = [cv2.getTextSize(line, _FONT, scale, 1)[0][0] for line in lines]
        _darken(image, 0, 0, max(sizes) + 2 * margin, step * len(lines) + margin)
    for row, line in enumerate(lines):
        _write(image, line, margin, step * (row + 1) - margin // 3, scale, _WHITE if row else _ACCENT)
    if footer:
        _darken(image, 0, height - step - margin // 2, width, height)
        _write(image, footer, margin, height - margin, scale, _WHITE)


def _darken(image: NDArray[np.uint8], left: int, top: int, right: int, bottom: int) -> None:
    part = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    np.right_shift(part, 1, out=part)


def _write(image: NDArray[np.uint8], text: str, x: int, y: int, scale: float, colour: tuple[float, ...]) -> None:
    cv2.putText(image, text, (x, y), _FONT, scale, colour, 1 if scale < 0.8 else 2, cv2.LINE_AA)
