"""Pictures without hands as samples: repeatable, inside the picture, croppable beside hands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from handmesh.config import AugmentConfig
from handmesh.data.crops import random_crop
from handmesh.data.negatives import NegativePictures
from handmesh.errors import HandMeshError
from handmesh.io.images import write_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        picture = np.random.default_rng(number).integers(0, 255, (60 + number, 90, 3), dtype=np.uint8)
        write_image(tmp_path / f"{number}.png", picture)
    (tmp_path / "index.jsonl").touch()
    return tmp_path


def test_squares_lie_in_the_picture_and_are_the_same_each_time(folder: Path) -> None:
    source = NegativePictures(folder, seed=3)
    assert len(source) % 3 == 0
    boxes = []
    for index in range(len(source)):
        sample, again = source.sample(index), source.sample(index)
        np.testing.assert_array_equal(sample["box_xyxy"], again["box_xyxy"])
        height, width = sample["image"].shape[:2]
        x0, y0, x1, y1 = sample["box_xyxy"]
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height and not sample["presence"]
        boxes.append(sample["box_xyxy"])
    assert len(np.unique(np.round(boxes, 6), axis=0)) == len(source)
    with pytest.raises(IndexError):
        source.sample(len(source))


def test_a_training_crop_of_one_says_that_nothing_is_there(folder: Path) -> None:
    crop = random_crop(NegativePictures(folder).sample(1), np.random.default_rng(0), AugmentConfig(), 64, 1.4)
    assert crop["image"].shape == (64, 64, 3) and np.isfinite(crop["joints"]).all()
    assert not crop["presence"] and not crop["has_3d"] and not crop["has_mano"]


def test_no_picture_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HandMeshError, match="without hands"):
        NegativePictures(tmp_path / "none")
