"""Text over a running picture: readable on anything, a fraction of a millisecond, drawn in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE, _ACCENT, _DIM = (245.0, 245.0, 245.0), (255.0, 214.0, 110.0), (150.0, 150.0, 150.0)


class KeyHint(NamedTuple):
    """A key, what it does, and for a switch whether that is on."""

    key: str
    word: str
    is_on: bool | None = None


def draw_hud(image: NDArray[np.uint8], lines: Sequence[str], keys: Sequence[KeyHint] = ()) -> None:
    """Write lines into the top left corner of image and hints for keys along its lower edge, in place.

    Text grows with the picture; what lies under it is darkened. Switches that are on are set off, those that are off
    are dim.

    Args:
        image: (H, W, 3) uint8 RGB.
        lines: the first is set off.
        keys: in as many rows as the width needs.
    """
    height, width = image.shape[:2]
    scale = float(np.clip(min(height, width) / 960, 0.35, 1.6))
    step, margin = round(36 * scale), round(12 * scale)
    if lines:
        _darken(image, 0, 0, max(_wide(line, scale) for line in lines) + 2 * margin, step * len(lines) + margin)
    for row, line in enumerate(lines):
        _write(image, line, margin, step * (row + 1) - margin // 3, scale, _WHITE if row else _ACCENT)
    rows = _rows(keys, width - 2 * margin, scale, 2 * margin)
    if rows:
        _darken(image, 0, height - step * len(rows) - margin // 2, width, height)
    for number, row_keys in enumerate(rows):
        x, y = margin, height - margin - step * (len(rows) - 1 - number)
        for hint in row_keys:
            color = _WHITE if hint.is_on is None else _ACCENT if hint.is_on else _DIM
            _write(image, _text(hint), x, y, scale, color)
            x += _wide(_text(hint), scale) + 2 * margin


def _text(hint: KeyHint) -> str:
    state = {None: "", True: " on", False: " off"}[hint.is_on]
    return f"{hint.key} {hint.word}{state}"


def _rows(keys: Sequence[KeyHint], width: int, scale: float, gap: int) -> list[list[KeyHint]]:
    rows: list[list[KeyHint]] = []
    room = 0
    for hint in keys:
        wide = _wide(_text(hint), scale) + gap
        if not rows or wide > room:
            rows.append([])
            room = width + gap
        rows[-1].append(hint)
        room -= wide
    return rows


def _wide(text: str, scale: float) -> int:
    return int(cv2.getTextSize(text, _FONT, scale, 1 if scale < 0.8 else 2)[0][0])


def _darken(image: NDArray[np.uint8], left: int, top: int, right: int, bottom: int) -> None:
    part = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    np.right_shift(part, 1, out=part)


def _write(image: NDArray[np.uint8], text: str, x: int, y: int, scale: float, color: tuple[float, ...]) -> None:
    cv2.putText(image, text, (x, y), _FONT, scale, color, 1 if scale < 0.8 else 2, cv2.LINE_AA)
