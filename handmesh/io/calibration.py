"""A calibrated camera: its matrix at any picture size, its distortion undone.

Distortion is undone on frames, not on points: crop, overlay, mesh and K then agree without exception, for about a
millisecond a frame, and only where the lens has distortion. Files are read by calibration_files.py.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError
from handmesh.geometry.camera import resize_intrinsics
from handmesh.io.calibration_files import HOW_TO_WRITE, read_calibration
from handmesh.io.files import user_path

FloatArray = NDArray[np.floating[Any]]

#: Sides of a picture may differ from the calibration's in proportion by so much (a rounded size); more is another cut.
ASPECT_TOLERANCE = 0.01
#: Focal length over the picture's longer side: from beyond any fisheye lens to a telescope.
FOCAL_RANGE = (0.01, 1000.0)
#: A lens bends the middle of its picture least: points this far from it, as a share of the picture, stay in view.
_MIDDLE = 0.1


@dataclass(frozen=True, eq=False)
class CameraCalibration:
    """The calibration of one camera.

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
        focal = K[[0, 1], [0, 1]] / max(width, height)
        if not ((focal >= FOCAL_RANGE[0]) & (focal <= FOCAL_RANGE[1])).all() or abs(K[0, 1]) > K[0, 0]:
            raise self._error(f"the focal length {K[0, 0]:g} x {K[1, 1]:g} px is none of {width:g} x {height:g} pixels")
        if self.has_distortion and not self._keeps_its_middle(float(width), float(height)):
            raise self._error("its distortion moves the middle of the picture out of view")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CameraCalibration:
        """Read a calibration: OpenCV's (.yaml, .yml, .xml, .json), ROS camera_info, or JSON with fx, fy, cx, cy.

        Wanted: ``camera_matrix``, ``image_width`` and ``image_height``; used when there: ``distortion_coefficients`` or
        ``k1``, ``k2``, ..., ``fisheye_model`` or ``model``.

        Raises:
            HandMeshError: no such file, another format, no matrix, numbers that describe no camera.
        """
        file = user_path(path)
        return cls(*read_calibration(file), file.name)

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
        return resize_intrinsics(self.K, scale_x, scale_y)

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
            maps[size] = make(K, self._coefficients(), np.eye(3), K, size, cv2.CV_16SC2)
        straight: Any = cv2.remap(image, maps[size][0], maps[size][1], cv2.INTER_LINEAR)
        return np.asarray(straight)

    def _keeps_its_middle(self, width: float, height: float) -> bool:
        steps = np.linspace(-_MIDDLE, _MIDDLE, 5)
        x, y = np.meshgrid(steps * width / self.K[0, 0], steps * height / self.K[1, 1])
        rays = np.stack([x, y], axis=-1).reshape(-1, 1, 2)
        with np.errstate(all="ignore"):
            if self.is_fisheye:
                seen: Any = cv2.fisheye.distortPoints(rays, self.K, self._coefficients())
            else:
                points = np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1)
                seen = cv2.projectPoints(points, np.zeros(3), np.zeros(3), self.K, self._coefficients())[0]
        pixels = np.asarray(seen).reshape(-1, 2)
        return bool(np.isfinite(pixels).all() and (pixels > -1).all() and (pixels < (width + 1, height + 1)).all())

    def _coefficients(self) -> NDArray[np.float64]:
        return np.asarray(self.distortion if len(self.distortion) else np.zeros(4), np.float64)

    def describe(self) -> str:
        """One line for people: whose numbers, which focal length, what is done about distortion."""
        size = f" at {self.size[0]} x {self.size[1]}" if self.size else ""
        lens = "distortion undone in every frame" if self.has_distortion else "no distortion"
        return f"camera as {self.name} has it: focal length {self.K[0, 0]:.0f} x {self.K[1, 1]:.0f} px{size}, {lens}"

    def _error(self, reason: str) -> HandMeshError:
        return HandMeshError(
            f"expected a camera calibration, got {self.name}: {reason}; {HOW_TO_WRITE}"
        )
