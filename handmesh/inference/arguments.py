"""What callers of the predictor give besides the picture: boxes, sides and the camera, checked and in one form.

Every function raises HandMeshError for what it cannot take.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError
from handmesh.geometry.camera import DEFAULT_FOV_DEG, intrinsics_from_fov
from handmesh.results import Detection

FloatArray = NDArray[np.floating[Any]]

#: Shorter side of a caller's box in pixels: below, it is more likely a share of the picture than a hand.
MIN_BOX_PX = 4.0
#: Longer side of a caller's box over the picture's longer side.
MAX_BOX_SIDES = 10.0


def for_each(values: Any, count: int, name: str) -> Sequence[Any]:
    """An argument of a call with several pictures, one entry a picture.

    Args:
        values: as the caller gave it: None or a bool for all, or a sequence.
        count: how many pictures.
        name: of the argument, for the message.

    Raises:
        HandMeshError: a sequence of another length.
    """
    if values is None or isinstance(values, bool):
        return [values] * count
    if len(values) != count:
        raise HandMeshError(f"expected {name} as a list of one entry a picture, {count} of them, got {len(values)}")
    return list(values)


def one_side(is_right: Sequence[bool | None] | bool | None) -> bool | None:
    """The side of every hand in a picture whose hands are looked for; a list of sides needs boxes to belong to."""
    if is_right is None or isinstance(is_right, bool | np.bool_):
        return None if is_right is None else bool(is_right)
    raise HandMeshError(
        f"expected is_right as one bool for every hand where no boxes are given, got {is_right!r}; give boxes too"
    )


def box_places(
    boxes: Sequence[FloatArray] | FloatArray, is_right: Sequence[bool | None] | bool | None, shape: tuple[int, ...]
) -> list[Detection]:
    """The boxes of a call as detections, each with its side.

    Args:
        boxes: (N, 4) or (4,) pixels, x0 < x1 and y0 < y1.
        is_right: one a box, or one for all.
        shape: of the picture, (height, width, ...).
    """
    array = as_numbers(boxes)
    if array.size == 0:
        return []
    array = array[None] if array.shape == (4,) else array
    if array.ndim != 2 or array.shape[1] != 4 or not np.isfinite(array).all() or (array[:, :2] >= array[:, 2:]).any():
        raise HandMeshError(f"expected boxes as (N, 4) finite numbers x0 < x1, y0 < y1 in pixels, got {_brief(boxes)}")
    if np.abs(array).max() <= 1:
        raise HandMeshError(
            f"expected boxes in pixels, got shares of one: {_brief(boxes)}; multiply them by width and height"
        )
    height, width = shape[:2]
    for box in array:
        side = (box[2:] - box[:2]).min()
        is_in_view = box[0] < width and box[1] < height and box[2] > 0 and box[3] > 0
        if side < MIN_BOX_PX or (box[2:] - box[:2]).max() > MAX_BOX_SIDES * max(width, height) or not is_in_view:
            raise HandMeshError(
                f"expected boxes (x0, y0, x1, y1) in pixels around hands in a picture of {width} x {height}, got "
                f"({', '.join(f'{value:g}' for value in box)}); give sides of {MIN_BOX_PX:g} pixels or more, in view"
            )
    if is_right is None or isinstance(is_right, bool | np.bool_):
        is_right = [None if is_right is None else bool(is_right)] * len(array)
    if len(is_right) != len(array):
        raise HandMeshError(f"expected is_right for each of {len(array)} boxes, got {len(is_right)}")
    return [
        Detection(box, None if side is None else bool(side), 1.0) for box, side in zip(array, is_right, strict=True)
    ]


def camera_matrix(
    image: NDArray[np.uint8], K: FloatArray | None = None, fov_deg: float | None = None
) -> NDArray[np.float64]:
    """The camera's intrinsics.

    Args:
        image: (H, W, 3); its size places the principal point where only a field of view is known.
        K: (3, 3) pixels, taken as it is.
        fov_deg: field of view over the longer side, where there is no K; None for DEFAULT_FOV_DEG.

    Returns:
        K (3, 3) in pixels.

    Raises:
        HandMeshError: a K that is no such matrix, or a field of view outside 0..180 degrees.
    """
    if K is None:
        fov_deg = DEFAULT_FOV_DEG if fov_deg is None else fov_deg
        if not 0 < fov_deg < 180:
            raise HandMeshError(
                f"expected fov_deg, the field of view over the longer side, between 0 and 180 degrees, got {fov_deg}"
            )
        return intrinsics_from_fov(image.shape[1], image.shape[0], fov_deg)
    matrix = as_numbers(K)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise HandMeshError(f"expected K as a (3, 3) matrix with positive focal lengths in pixels, got {K!r}")
    return matrix


def as_numbers(values: Any) -> NDArray[np.float64]:
    """An array of what should be numbers."""
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise HandMeshError(f"expected numbers, got {_brief(values)}; see the call's documentation") from None


def _brief(values: Any) -> str:
    return " ".join(repr(values).split())[:80]
