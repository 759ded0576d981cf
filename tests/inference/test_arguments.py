"""What callers may say besides the picture comes out in one form, and what makes no sense is named."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.inference.arguments import box_places, for_each, one_side


def test_boxes_and_sides_in_every_form() -> None:
    box = [10, 20, 30.5, 40]
    for boxes, sides, expected in (
        (box, True, [True]), (np.array(box), None, [None]), ([box, box], False, [False, False]),
        ([box, box], [True, None], [True, None]), (np.array([box]), [np.bool_(True)], [True]), ([], None, []),
        (np.zeros((0, 4)), [], []),
    ):  # fmt: skip
        places = box_places(boxes, sides, (64, 64, 3))  # type: ignore[arg-type]
        assert [place.is_right for place in places] == expected
        assert all(np.array_equal(place.box_xyxy, box) for place in places)


@pytest.mark.parametrize(
    "boxes", [[[1, 2, 3]], [[5, 5, 1, 9]], [[0, 0, np.nan, 5]], [["a", 0, 1, 1]], [[0.1, 0.1, 0.6, 0.9]], 5, [[[1]]]]
)
def test_boxes_that_are_none(boxes: object) -> None:
    with pytest.raises(HandMeshError, match="expected"):
        box_places(boxes, None, (64, 64, 3))  # type: ignore[arg-type]


def test_one_entry_a_picture() -> None:
    assert for_each(None, 2, "boxes") == [None, None] and for_each(True, 2, "is_right") == [True, True]
    with pytest.raises(HandMeshError, match="3 of them, got 2"):
        for_each([1, 2], 3, "boxes")
    assert one_side(None) is None and one_side(np.bool_(False)) is False  # type: ignore[arg-type]
    with pytest.raises(HandMeshError, match="give boxes"):
        one_side([True])
