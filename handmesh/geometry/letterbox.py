"""A whole picture as a network sees it that takes pictures of any proportions: resized, and filled up at two edges."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

#: Sides of what the network sees are multiples of its coarsest stride.
MULTIPLE = 32


class Letterbox(NamedTuple):
    """The map between a picture and what the network sees of it, whose top-left corners are the same.

    Attributes:
        scale: pixels of the input over pixels of the picture.
        width, height: of the input, pixels.
    """

    scale: float
    width: int
    height: int

    @classmethod
    def fit(cls, width: int, height: int, side: int, multiple: int = MULTIPLE) -> Letterbox:
        """The input for a picture.

        Args:
            width, height: of the picture, pixels.
            side: the input's longer side, a multiple of 32.
            multiple: what the shorter side is rounded up to, itself a multiple of 32 that divides ``side``. A network
                is compiled for each shape: a larger one wastes pixels and spares compiled forms.
        """
        scale = side / max(width, height)
        sides = (max(multiple, -(-round(length * scale) // multiple) * multiple) for length in (width, height))
        return cls(scale, *sides)

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The input (height, width, 3) of the picture (H, W, 3); black where the picture has ended."""
        size = (round(image.shape[1] * self.scale), round(image.shape[0] * self.scale))
        size = (min(max(size[0], 1), self.width), min(max(size[1], 1), self.height))
        method = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_LINEAR
        target = np.zeros((self.height, self.width, 3), np.uint8)
        target[: size[1], : size[0]] = cv2.resize(image, size, interpolation=method)
        return target

    def to_picture(self, boxes: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Boxes or other lengths counted from the corner, input to picture."""
        return np.asarray(boxes, np.float64) / self.scale
