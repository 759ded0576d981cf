"""The letterbox: whole pictures of any proportions fit, and boxes come back to where they were."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.geometry.letterbox import Letterbox


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (1920, 1080), (100, 100), (30, 4), (255, 257)])
def test_the_picture_fits_into_sides_of_32(width: int, height: int) -> None:
    box = Letterbox.fit(width, height, 256)
    assert max(box.width, box.height) == 256 and box.width % 32 == box.height % 32 == 0
    assert width * box.scale <= box.width + 0.5 and height * box.scale <= box.height + 0.5
    image = np.full((height, width, 3), 200, np.uint8)
    shown = box.apply(image)
    assert shown.shape == (box.height, box.width, 3)
    assert (shown[: max(1, int(height * box.scale)), : int(width * box.scale)] == 200).all()


def test_a_box_comes_back() -> None:
    box = Letterbox.fit(640, 480, 256)
    image = np.zeros((480, 640, 3), np.uint8)
    image[100:200, 300:420] = 255
    rows, columns = np.nonzero(box.apply(image)[..., 0] > 127)
    corners = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    np.testing.assert_allclose(box.to_picture(corners), [300, 100, 420, 200], atol=2.5)
