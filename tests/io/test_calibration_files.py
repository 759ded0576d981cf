"""Calibrations of several programs give the same numbers, and a file that contradicts itself never reaches OpenCV."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.io.calibration import CameraCalibration
from handmesh.io.calibration_files import read_calibration

K = np.array([[500.0, 0, 325], [0, 505, 236], [0, 0, 1]])
BARREL = [-0.25, 0.06, 0.001, -0.002, 0.01]
FISHEYE = [-0.05, 0.01, 0.002, -0.001]

OPENCV_YAML = """%YAML:1.0
---
calibration_time: "Mon 01 Jan 2026 10:00:00"
image_width: 640
image_height: 480
flags: 0
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 500., 0., 325., 0., 505., 236., 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ -2.5e-01, 6.0000000000000000e-02, 1.e-03, -2.e-03,
       1.e-02 ]
avg_reprojection_error: 2.1e-01
"""
ROS_FILE = """image_width: 640
image_height: 480
camera_name: head_camera
camera_matrix:
  rows: 3
  cols: 3
  data: [500, 0, 325, 0, 505, 236, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.25, 0.06, 0.001, -0.002, 0.01]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]
"""
ROS_MESSAGE = """header:
  frame_id: camera
height: 480
width: 640
distortion_model: 'plumb_bob'
D: [-0.25, 0.06, 0.001, -0.002, 0.01]
K: [500.0, 0.0, 325.0, 0.0, 505.0, 236.0, 0.0, 0.0, 1.0]
R: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
binning_x: 0
---
"""
BY_NAME = {"w": 640, "h": 480, "fl_x": 500, "fl_y": 505, "cx": 325, "cy": 236} | dict(
    zip(("k1", "k2", "p1", "p2", "k3"), BARREL, strict=True)
)


@pytest.mark.parametrize("text", [OPENCV_YAML, ROS_FILE, ROS_MESSAGE.replace("---\n", ""), json.dumps(BY_NAME)])
def test_calibrations_of_several_programs_are_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "camera.txt").write_text(text)
    found = read_calibration(tmp_path / "camera.txt")
    np.testing.assert_allclose(found.K, K)
    np.testing.assert_allclose(found.distortion, BARREL)
    assert found.size == (640, 480) and not found.is_fisheye


@pytest.mark.parametrize(
    "content",
    [
        {"model": "fisheye", "camera_matrix": K.tolist()} | dict(zip(("k1", "k2", "k3", "k4"), FISHEYE, strict=True)),
        {"model": "fisheye", "fx": 500, "fy": 505, "cx": 325, "cy": 236, "distortion_coefficients": FISHEYE},
        {"distortion_model": "equidistant", "K": K.ravel().tolist(), "D": FISHEYE},
        {"camera_model": "OPENCV_FISHEYE", "intrinsics": [500, 505, 325, 236], "d": FISHEYE},
        {"fisheye_model": 1, "camera_matrix": K.tolist(), "dist_coeffs": [[value] for value in FISHEYE]},
    ],
)
def test_a_fisheye_lens_by_any_name(tmp_path: Path, content: dict[str, object]) -> None:
    (tmp_path / "camera.json").write_text(json.dumps({"image_size": [640, 480], **content}))
    camera = CameraCalibration.load(tmp_path / "camera.json")
    np.testing.assert_allclose(camera.K, K)
    np.testing.assert_allclose(camera.distortion, FISHEYE)
    assert camera.is_fisheye and camera.size == (640, 480)


def test_a_lens_of_another_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "camera.json").write_text(json.dumps({**BY_NAME, "model": "omnidirectional"}))
    with pytest.raises(HandMeshError, match="omnidirectional.*lens that is not known"):
        read_calibration(tmp_path / "camera.json")


def replaced(old: str, new: str) -> str:
    assert old in OPENCV_YAML
    return OPENCV_YAML.replace(old, new)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (replaced("   cols: 3", "   cous: 3"), "rows or cols is missing"),
        (replaced("   rows: 3", "   rows: 300"), "9 numbers, not 900"),
        (replaced("   rows: 3", "   rows: -3"), "whole number"),
        (replaced("   rows: 3", "   rows: 99999999999999999999"), "whole number"),
        (replaced("   dt: d", "   dt: u"), "of type 'u'"),
        (replaced("   dt: d", "   dt: 9d"), "of type '9d'"),
        (replaced("[ 500.,", "[ 500., 0.,"), "10 numbers, not 9"),
        (replaced("[ 500.,", "[ hello,"), "no number"),
        (replaced("[ 500.,", "[ .Inf,"), "camera_matrix"),
        (replaced("[ 500.,", "[ 1e9,"), "focal length"),
        (replaced("[ 500.,", "[ [500.],"), "no number"),
        (replaced("image_width: 640", "image_width: .Inf"), "image_width"),
        (replaced("image_width: 640", "image_size: [.Inf, 480]"), "image_size"),
        (replaced("image_width: 640", "image_width: 1e9"), "image_width"),
        (replaced("image_width: 640", "image_width: 640.5"), "image_width"),
        (replaced("-2.5e-01", "1e300"), "middle of the picture"),
        (replaced("-2.5e-01", "-1e10"), "middle of the picture"),
        (replaced("-2.5e-01", ".nan"), "distortion"),
        ("%YAML:1.0\n---\na: " + "[" * 50_000, "no YAML in line 2"),
        ("a: " + "[" * 50, "lists within lists"),
        ("a: &a [1, 2]\nb: [*a, *a]\n", "alias"),
        ('{"camera_matrix": ' + "[" * 50_000, "lists within lists"),
        ('{"camera_matrix": [[1, 2], [3]]}', "different lengths"),
        ('{"camera_matrix": 5}', "1 numbers"),
        ('{"camera_matrix": {"rows": 3, "cols": 3, "data": "0 0 0"}}', "list of data"),
        ('{"camera_matrix": true}', "no number"),
        ("[1, 2]", "no names with values"),
        ("5", "no names with values"),
        ('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "declarations"),
        ("<opencv_storage><camera_matrix>1 2 3</camera_matrix></opencv_storage>", "3 numbers"),
        ("<opencv_storage>" + "<a>" * 50_000, "neither"),
        ("", "no names with values"),
        ("\x00\x01", "neither YAML"),
        ("{", "no JSON"),
        ("a: {b", "no YAML in line"),
    ],
)
def test_a_file_that_contradicts_itself_is_one_line(
    tmp_path: Path, text: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "FileStorage", None)
    (tmp_path / "camera.yaml").write_text(text)
    with pytest.raises(HandMeshError, match=word) as caught:
        CameraCalibration.load(tmp_path / "camera.yaml")
    line = str(caught.value)
    assert "\n" not in line and "camera.yaml" in line and '"distortion_coefficients": [k1' in line and len(line) < 700


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "long.yaml").write_bytes(b"a: 1\n" * 500_000)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xfd")
    for name, word in (("long.yaml", "more than 2 MB"), ("bytes.yaml", "neither"), ("none.yaml", "no such file")):
        with pytest.raises(HandMeshError, match=word):
            CameraCalibration.load(tmp_path / name)
