"""The words about camera and hand: the same in every command, checked, and never silent about a focal length."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import pytest

from handmesh.cli.options import CameraOptions, add_camera_options, camera_options
from handmesh.errors import CommandParser, HandMeshError

K = np.array([[500.0, 0, 325], [0, 505, 236], [0, 0, 1]])


@pytest.fixture
def calibration_file(tmp_path: Path) -> Path:
    storage = cv2.FileStorage(str(tmp_path / "c.yaml"), cv2.FILE_STORAGE_WRITE)
    storage.write("image_width", 640)
    storage.write("image_height", 480)
    storage.write("camera_matrix", K)
    storage.release()
    return tmp_path / "c.yaml"


def parse(*words: str) -> CameraOptions:
    parser = CommandParser()
    add_camera_options(parser)
    args: argparse.Namespace = parser.parse_args(words)
    return camera_options(args)


def test_what_is_said_arrives_in_metres_and_degrees(calibration_file: Path) -> None:
    assert parse().tracker_words() == {"fov_deg": None, "camera": None, "hand_length_m": None}
    assert parse("--fov", "70", "--hand-length", "18.5").tracker_words() == {
        "fov_deg": 70.0, "camera": None, "hand_length_m": pytest.approx(0.185),
    }  # fmt: skip
    calibration = parse("--camera", str(calibration_file)).calibration
    assert calibration is not None and np.allclose(calibration.K, K)


def test_the_focal_length_is_always_said(calibration_file: Path) -> None:
    assert "taken to be 60 degrees" in parse().describe()
    assert "70 degrees" in parse("--fov", "70").describe()
    assert "500 x 505 px at 640 x 480" in parse("--camera", str(calibration_file)).describe()


@pytest.mark.parametrize(
    "words",
    [
        ["--fov", "3"],
        ["--fov", "171"],
        ["--fov", "nan"],
        ["--hand-length", "1.85"],
        ["--hand-length", "185"],
        ["--camera", "missing.yaml"],
        ["--fov", "60", "--camera", "missing.yaml"],
    ],
)
def test_bad_words_are_one_clear_error(words: list[str]) -> None:
    with pytest.raises(HandMeshError, match="expected"):
        parse(*words)
