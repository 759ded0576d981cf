"""A second opinion on sides: what the network sees otherwise goes, the rest stays; folders with landmarks are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from handmesh.geometry.crop import CropSettings
from handmesh.inference.engines.base import EngineOutput
from handmesh.io.images import write_image
from handmesh.labeling import agreement
from handmesh.labeling.agreement import agreed, photos_of
from handmesh.labeling.photo_sets import LabelledPhoto, crop_for

SIZE = 64
CROP = CropSettings(SIZE, 1.4)


def photo(folder: Path, name: str) -> LabelledPhoto:
    write_image(folder / name, np.random.default_rng(0).integers(0, 255, (100, 100, 3), dtype=np.uint8))
    keypoints = np.random.default_rng(1).uniform(25, 75, (21, 2))
    return LabelledPhoto(folder / name, "maker", False, keypoints, None, True)


@pytest.mark.parametrize(
    ("own", "other", "right", "is_kept"),
    [(0.0, 8.0, 0.9, True), (0.0, 8.0, 0.2, False), (6.0, 0.0, 0.9, False), (0.3, 0.0, 0.9, True)],
)
def test_a_side_is_agreed_on_by_points_and_by_name(
    tmp_path: Path, own: float, other: float, right: float, is_kept: bool
) -> None:
    one = photo(tmp_path, "1.png")
    label = crop_for(one, 100, 100, CROP).apply_points_2d(one.keypoints_2d)

    def engine(crops: np.ndarray) -> EngineOutput:
        np.testing.assert_array_equal(crops[1], crops[0][:, ::-1])
        mirrored = (label + other) * [-1, 1] + [SIZE - 1, 0]
        points = np.stack([label + own, mirrored]).astype(np.float32)
        return EngineOutput(*[np.zeros(1, np.float32)] * 5, points, *[np.zeros(1, np.float32)] * 2, np.full(2, right))

    assert agreed(engine, [one], CROP, progress=False) == ([one] if is_kept else [])


def test_a_folder_without_landmarks_is_labelled_by_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = photo(tmp_path, "1.png")
    monkeypatch.setattr(agreement, "photos_with_landmarks", lambda root: [one])
    assert photos_of(tmp_path) == ([one], False)
    (tmp_path / "labels.jsonl").touch()
    monkeypatch.setattr(agreement, "read_landmark_photos", lambda root, held_out: [one, one])
    assert photos_of(tmp_path) == ([one, one], True)
