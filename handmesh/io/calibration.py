"""A calibrated camera: OpenCV's calibration file read, its matrix at any picture size, its distortion undone.

Knows the names OpenCV's own tools write, and that distortion is undone on frames, not on points: crop, overlay, mesh
and K then agree without exception, for about a millisecond a frame, and only where the lens has distortion. Does not
know hands.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError

FloatArray = NDArray[np.floating[Any]]

#: Names under which a matrix and the distortion are found: OpenCV's calibration sample first, then common others.
MATRIX_NAMES = ("camera_matrix", "cameraMatrix", "K", "mtx")
DISTORTION_NAMES = ("distortion_coefficients", "dist_coeffs", "dist_coeff", "distCoeffs", "D", "dist")
#: Sides of a picture may differ from the calibration's in proportion by so much (a rounded size); more is another cut.
ASPECT_TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class CameraCalibration:
    """What a calibration says of one camera.

    Attributes:
        K: (3, 3) intrinsics in pixels of a picture of ``size``.
        distortion: (n,) coefficients in OpenCV's order, k1 k2 p1 p2 k3 ...; empty for none.
        size: (width, height) that K belongs to; None where the file does not say: then pictures must be of that size.
        is_fisheye: the coefficients are those of OpenCV's fisheye model.
        name: where it comes from, for people.
    """

    K: FloatArray
    distortion: FloatArray = field(default_factory=lambda: np.zeros(0))
    size: tuple[int, int] | None = None
    is_fisheye: bool = False
    name: str = "a calibration"

    def __post_init__(self) -> None:
        K, distortion = np.asarray(self.K, np.float64), np.asarray(self.distortion, np.float64).ravel()
        object.__setattr__(self, "K", K)
        object.__setattr__(self, "distortion", distortion)
        object.__setattr__(self, "_maps", {})
        is_matrix = K.shape == (3, 3) and bool(np.isfinite(K).all()) and np.array_equal(K[2], [0, 0, 1])
        if not is_matrix or K[0, 0] <= 0 or K[1, 1] <= 0 or K[1, 0] != 0:
            raise self._error("camera_matrix is no matrix [f 0 c; 0 f c; 0 0 1] with positive focal lengths in pixels")
        counts = (0, 4) if self.is_fisheye else (0, 4, 5, 8, 12, 14)
        if len(distortion) not in counts or not np.isfinite(distortion).all():
            raise self._error(f"{len(distortion)} distortion coefficients, where OpenCV has {counts[1:]}")
        width, height = self.size or (2 * K[0, 2] + 1, 2 * K[1, 2] + 1)
        if not (0 < K[0, 2] < width and 0 < K[1, 2] < height):
            raise self._error(f"the principal point ({K[0, 2]:g}, {K[1, 2]:g}) lies outside the picture")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CameraCalibration:
        """Read a file in OpenCV's FileStorage format (.yaml, .yml, .xml, .json) as its calibration tools write it.

        Wanted: ``camera_matrix``, ``image_width`` and ``image_height``; used when there: ``distortion_coefficients``,
        ``fisheye_model``.

        Raises:
            HandMeshError: no such file, another format, no matrix, numbers that describe no camera.
        """
        file = Path(path).expanduser()
        if not file.is_file():
            raise HandMeshError(f"expected a camera calibration, got {file}: no such file; check the path")
        level = cv2.utils.logging.getLogLevel()
        # OpenCV writes lines of its own on a damaged file; the one that counts is the error below.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            storage = cv2.FileStorage(str(file), cv2.FILE_STORAGE_READ)
            try:
                if not storage.isOpened():
                    raise _unreadable(file, "it cannot be read")
                return _from_storage(storage, file)
            finally:
                storage.release()
        except (cv2.error, SystemError) as error:
            # A missing first line (%YAML:1.0) is by far the usual reason.
            raise _unreadable(file, "it is not in OpenCV's format (first line %YAML:1.0)") from error
        finally:
            cv2.utils.logging.setLogLevel(level)

    @property
    def has_distortion(self) -> bool:
        """Whether frames change when the distortion is undone."""
        return bool(np.any(self.distortion)) or self.is_fisheye

    def matrix(self, width: int, height: int) -> NDArray[np.float64]:
        """K (3, 3) in pixels of a picture of that size from this camera, undistorted.

        Raises:
            HandMeshError: a picture of other proportions: how it was cut from the sensor is not known.
        """
        if self.size is None:
            if not (self.K[0, 2] < width and self.K[1, 2] < height):
                raise self._error(f"it names no size, and its principal point lies outside {width} x {height} pixels")
            return self.K.astype(np.float64)
        scale_x, scale_y = width / self.size[0], height / self.size[1]
        if abs(scale_x / scale_y - 1) > ASPECT_TOLERANCE:
            raise HandMeshError(
                f"expected pictures in the proportions of {self.name}, {self.size[0]} x {self.size[1]}, got {width} x "
                f"{height}; calibrate the camera in the mode it is used in"
            )
        # Pixel centres are whole numbers: what scales is the distance from the picture's edge, half a pixel outside.
        scale = np.array([[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2], [0, 0, 1]])
        return np.asarray(scale @ self.K)

    def undistort(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture (H, W, 3) as a pinhole with :meth:`matrix` sees it; itself for a lens without fault."""
        if not self.has_distortion:
            return image
        maps: dict[tuple[int, int], Any] = self._maps  # type: ignore[attr-defined]
        size = (image.shape[1], image.shape[0])
        if size not in maps:
            maps.clear()
            K = self.matrix(*size)
            make: Any = cv2.fisheye.initUndistortRectifyMap if self.is_fisheye else cv2.initUndistortRectifyMap
            distortion = self.distortion if len(self.distortion) else np.zeros(4)
            maps[size] = make(K, distortion, np.eye(3), K, size, cv2.CV_16SC2)
        straight: Any = cv2.remap(image, maps[size][0], maps[size][1], cv2.INTER_LINEAR)
        return np.asarray(straight)

    def describe(self) -> str:
        """One line for people: whose numbers, which focal length, what is done about distortion."""
        size = f" at {self.size[0]} x {self.size[1]}" if self.size else ""
        lens = "distortion undone in every frame" if self.has_distortion else "no distortion"
        return f"camera as {self.name} has it: focal length {self.K[0, 0]:.0f} x {self.K[1, 1]:.0f} px{size}, {lens}"

    def _error(self, reason: str) -> HandMeshError:
        return HandMeshError(
            f"expected a camera calibration, got {self.name}: {reason}; write it with OpenCV's calibration sample"
        )


def _from_storage(storage: cv2.FileStorage, file: Path) -> CameraCalibration:
    matrix = _first_matrix(storage, MATRIX_NAMES)
    if matrix is None:
        raise _unreadable(file, f"it holds none of {', '.join(MATRIX_NAMES)}")
    distortion = _first_matrix(storage, DISTORTION_NAMES)
    width, height = (_number(storage, name) for name in ("image_width", "image_height"))
    if not (width and height):
        size_node = storage.getNode("image_size")
        parts = [size_node.at(i).real() for i in range(size_node.size())] if size_node.isSeq() else []
        width, height = parts if len(parts) == 2 else (0.0, 0.0)
    return CameraCalibration(
        matrix,
        np.zeros(0) if distortion is None else distortion,
        (round(width), round(height)) if width > 0 and height > 0 else None,
        bool(_number(storage, "fisheye_model")),
        file.name,
    )


def _first_matrix(storage: cv2.FileStorage, names: tuple[str, ...]) -> NDArray[np.float64] | None:
    for name in names:
        node = storage.getNode(name)
        if node.isMap():
            matrix = node.mat()
            if matrix is not None and matrix.size:
                return np.asarray(matrix, np.float64)
    return None


def _number(storage: cv2.FileStorage, name: str) -> float:
    node = storage.getNode(name)
    return float(node.real()) if node.isInt() or node.isReal() else 0.0


def _unreadable(file: Path, reason: str) -> HandMeshError:
    return HandMeshError(
        f"expected a camera calibration in OpenCV's format, got {file}: {reason}; write it with OpenCV's calibration "
        "sample or cv2.FileStorage"
    )
