"""Many pictures on one: to look at what a generator or a network makes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np


def contact_sheet(images: Sequence[np.ndarray], columns: int = 8, size: int = 224, gap: int = 2) -> np.ndarray:
    """Pictures in rows, each fitted into a square in its proportions; what is left over is dark grey.

    Args:
        images: (H, W, 3) uint8 RGB each.
        columns: pictures in a row.
        size: side of a square, pixels.
        gap: between squares, pixels.

    Returns:
        (H', W', 3) uint8 RGB.

    Raises:
        ValueError: no picture, or no column.
    """
    if not images or columns < 1:
        raise ValueError(f"expected at least one picture and one column, got {len(images)} and {columns}")
    rows = -(-len(images) // columns)
    across = min(columns, len(images))
    step = size + gap
    sheet = np.full((rows * step - gap, across * step - gap, 3), 40, np.uint8)
    for number, image in enumerate(images):
        scale = size / max(image.shape[:2])
        width, height = (max(1, round(side * scale)) for side in (image.shape[1], image.shape[0]))
        if (height, width) != image.shape[:2]:
            way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            image = cv2.resize(image, (width, height), interpolation=way)
        top, left = number // columns * step, number % columns * step
        top, left = top + (size - height) // 2, left + (size - width) // 2
        sheet[top : top + height, left : left + width] = image
    return sheet
