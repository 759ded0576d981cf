"""Laws of a calibration: read as OpenCV wrote it, scaled with the picture, distortion undone, bad files named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.geometry.camera import project_points
from handmesh.io.calibration import CameraCalibration

K = np.array([[500.0, 0, 325], [0, 505, 236], [0, 0, 1]])
BARREL = np.array([-0.25, 0.06, 0.001, -0.002, 0.0])


def write(path: Path, **values: Any) -> Path:
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for name, value in values.items():
        storage.write(name, value)
    storage.release()
    return path


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".xml", ".json"])
def test_what_opencv_writes_is_read(tmp_path: Path, suffix: str) -> None:
    file = write(
        tmp_path / f"calib{suffix}", image_width=640, image_height=480, camera_matrix=K,
        distortion_coefficients=BARREL[:, None],
    )  # fmt: skip
    camera = CameraCalibration.load(file)
    np.testing.assert_allclose(camera.K, K)
    np.testing.assert_allclose(camera.distortion, BARREL)
    assert camera.size == (640, 480) and camera.has_distortion and not camera.is_fisheye
    assert file.name in camera.describe() and "distortion undone" in camera.describe()


def test_the_matrix_scales_with_the_picture() -> None:
    camera = CameraCalibration(K, size=(640, 480))
    np.testing.assert_allclose(camera.matrix(640, 480), K)
    point = np.array([[0.1, -0.07, 0.6]])
    # The same point of the scene, seen in the picture and in one of twice its size: distances from the edge double.
    once, twice = project_points(point, camera.matrix(640, 480)), project_points(point, camera.matrix(1280, 960))
    np.testing.assert_allclose(twice + 0.5, 2 * (once + 0.5))
    with pytest.raises(HandMeshError, match="640 x 480, got 1280 x 720"):
        camera.matrix(1280, 720)


def test_without_a_size_the_picture_is_taken_to_be_the_calibrations() -> None:
    camera = CameraCalibration(K)
    np.testing.assert_allclose(camera.matrix(640, 480), K)
    with pytest.raises(HandMeshError, match="names no size"):
        camera.matrix(320, 240)


@pytest.mark.parametrize("is_fisheye", [False, True])
@pytest.mark.parametrize("zoom", [1, 2])
def test_undistorted_points_lie_where_a_pinhole_sees_them(is_fisheye: bool, zoom: int) -> None:
    camera = CameraCalibration(K, np.array([-0.05, 0.01, 0, 0]) if is_fisheye else BARREL, (640, 480), is_fisheye)
    width, height = 640 * zoom, 480 * zoom
    matrix = camera.matrix(width, height)
    for point in ([0.12, 0.08, 0.5], [-0.2, 0.1, 0.5], [0.0, 0.0, 0.5]):
        xyz = np.array([[point]])
        if is_fisheye:
            seen = cv2.fisheye.projectPoints(xyz, np.zeros(3), np.zeros(3), matrix, camera.distortion)[0].ravel()
        else:
            seen = cv2.projectPoints(xyz, np.zeros(3), np.zeros(3), matrix, camera.distortion)[0].ravel()
        image = np.zeros((height, width, 3), np.uint8)
        cv2.circle(image, (round(16 * seen[0]), round(16 * seen[1])), 16 * 4, (255, 255, 255), -1, cv2.LINE_AA, 4)
        straight = camera.undistort(image)[..., 0].astype(float)
        v, u = np.indices(straight.shape)
        middle = [(u * straight).sum() / straight.sum(), (v * straight).sum() / straight.sum()]
        np.testing.assert_allclose(middle, project_points(np.array(point), matrix), atol=0.3)


def test_a_lens_without_fault_leaves_the_picture_alone() -> None:
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    camera = CameraCalibration(K * [[0.1], [0.1], [1]], np.zeros(5), (64, 48))
    assert camera.undistort(image) is image and not camera.has_distortion and "no distortion" in camera.describe()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "camera_matrix: [500, 0, 320]",
        "\x00\x01\x02",
        "%YAML:1.0\n---\nsomething: 1\n",
        "%YAML:1.0\n---\ncamera_matrix: [1, 2, 3]\n",
        "%YAML:1.0\n---\ncamera_matrix: !!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n   data: [ 1., 2., 3. ]\n",
    ],
)
def test_another_kind_of_file_is_one_clear_error(tmp_path: Path, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(HandMeshError, match="bad.yaml.*calibration sample"):
        CameraCalibration.load(tmp_path / "bad.yaml")
    assert capfd.readouterr().err == ""


def test_numbers_that_describe_no_camera(tmp_path: Path) -> None:
    with pytest.raises(HandMeshError, match="no such file"):
        CameraCalibration.load(tmp_path / "missing.yaml")
    for matrix, distortion, match in (
        (np.eye(3) * 0, BARREL, "focal lengths"),
        (K, BARREL[:3], "3 distortion"),
        (K * [[1], [np.nan], [1]], BARREL, "focal lengths"),
        (K + [[0, 0, 900], [0, 0, 0], [0, 0, 0]], BARREL, "principal point"),
    ):
        file = write(
            tmp_path / "c.yml", image_width=640, image_height=480, camera_matrix=matrix,
            distortion_coefficients=distortion,
        )  # fmt: skip
        with pytest.raises(HandMeshError, match=match):
            CameraCalibration.load(file)
