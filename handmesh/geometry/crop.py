"""The square crop that the network sees: image, points, rotations and intrinsics move together, and back.

A crop is a second, virtual camera at the same place: turned so that the hand lies on its axis (a perspective-correct
crop, so that a hand in the corner of the picture looks as it would in the middle), rolled so that the hand is upright,
zoomed to the box, and mirrored for a left hand. Left hands are mirrored and un-mirrored here and nowhere else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError
from handmesh.geometry.camera import centred_intrinsics, resize_matrix

FloatArray = NDArray[np.floating[Any]]
_FLIP_X = np.diag([-1.0, 1.0, 1.0])
#: Pixels of the picture for a pixel of the crop, along a side: with fewer, a larger crop shows nothing more.
LEAST_DENSITY = 0.8


@dataclass(frozen=True)
class CropSettings:
    """What the network was trained to see, from its checkpoint: size in pixels, padding, kind of crop.

    ``sizes`` are all the sizes that it was trained at; none where that is ``image_size`` alone. A hand is seen at the
    largest of them up to ``image_size`` for which the picture has the pixels (:meth:`size_for`).
    """

    image_size: int = 128
    padding: float = 1.5
    perspective: bool = True
    sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        # Also of a note in the cache, which anything may have happened to.
        if not all(1 <= size <= 1024 for size in self.all_sizes) or not 1 <= self.padding <= 4:
            raise ValueError(f"expected a crop of 1 to 1024 pixels with padding 1 to 4, got {self}")

    @property
    def all_sizes(self) -> list[int]:
        """Sides of crops that the network takes, pixels, the smallest first."""
        return sorted({self.image_size, *self.sizes})

    def at_size(self, image_size: int) -> CropSettings:
        """The same at another size that the network was trained at, pixels.

        Raises:
            HandMeshError: it was not trained at that size.
        """
        if image_size not in self.all_sizes:
            raise HandMeshError(
                f"expected a crop size that the network was trained at, {' or '.join(map(str, self.all_sizes))} "
                f"pixels, got {image_size}"
            )
        return replace(self, image_size=image_size)

    def size_for(self, source_size: float, density: float = LEAST_DENSITY, largest: int = 0) -> int:
        """Side in pixels of the crop that a hand is worth: the largest for which the picture has the pixels.

        Args:
            source_size: pixels of the picture along the crop, as of :attr:`CropTransform.source_size`.
            density: how many of them a pixel of the crop needs along a side.
            largest: the crop's side at most, pixels; 0 for ``image_size``.

        Returns:
            A size that the network was trained at; the smallest where the picture has too few pixels for any.
        """
        sizes, largest = self.all_sizes, largest or self.image_size
        return max((size for size in sizes if size <= largest and size * density <= source_size), default=sizes[0])

    def crop(
        self, box_xyxy: FloatArray, K: FloatArray, rotation_deg: float = 0.0, mirror: bool = False
    ) -> CropTransform:
        """The crop that the network gets of a hand.

        Args:
            box_xyxy: (4,) pixels of the picture, around the hand; the padding comes on top.
            K, rotation_deg, mirror: as in :meth:`CropTransform.from_box`.
        """
        crop = CropTransform.from_box(
            box_xyxy, K, self.image_size, rotation_deg, self.padding, mirror=mirror, perspective=self.perspective
        )
        size = self.size_for(crop.source_size)
        return crop if size == crop.size else crop.resized(size)


@dataclass(frozen=True, eq=False)
class CropTransform:
    """The map between a picture and a square crop of it.

    Attributes:
        K: (3, 3) intrinsics of the picture, pixels.
        rotation: (3, 3) from the camera's frame to the virtual camera's (before mirroring).
        K_crop: (3, 3) intrinsics of the crop as the network sees it, mirrored already when ``is_mirrored``.
        size: side of the crop in pixels.
        is_mirrored: whether the crop shows the picture mirrored left to right.
    """

    K: FloatArray
    rotation: FloatArray
    K_crop: FloatArray
    size: int
    is_mirrored: bool = False

    @classmethod
    def from_box(
        cls,
        box_xyxy: FloatArray,
        K: FloatArray,
        size: int,
        rotation_deg: float = 0.0,
        padding: float = 1.0,
        mirror: bool = False,
        perspective: bool = True,
    ) -> CropTransform:
        """A square crop around a box.

        Args:
            box_xyxy: (4,) pixels of the picture.
            K: (3, 3) intrinsics of the picture.
            size: side of the crop in pixels.
            rotation_deg: how far the hand is turned clockwise in the picture; the crop turns it back.
            padding: side of the crop over the longer side of the box.
            mirror: show the crop mirrored.
            perspective: turn the virtual camera to the box (True), or keep the camera's direction so that the crop is
                a plain section, resized and rolled (False: what the fixed-crop protocols do).

        Raises:
            ValueError: a box that is not four finite numbers in order.
        """
        box = np.asarray(box_xyxy, np.float64)
        K = np.asarray(K, np.float64)
        # Every frame comes by here: numbers of Python's own cost a fraction of small arrays.
        low_x, low_y, high_x, high_y = numbers = box.tolist() if box.shape == (4,) else [0.0] * 4
        if not all(map(math.isfinite, numbers)) or high_x <= low_x or high_y <= low_y:
            raise ValueError(f"expected box_xyxy as four finite numbers x0 < x1, y0 < y1, got {box.tolist()}")
        (f_x, _, c_x), (_, f_y, c_y), _ = K.tolist()
        # Box edges are pixel borders, half a pixel outside the centres of the first and last pixel within.
        x, y = ((low_x + high_x - 1) / 2 - c_x) / f_x, ((low_y + high_y - 1) / 2 - c_y) / f_y
        f_px = (f_x + f_y) / 2 * size / (padding * max(high_x - low_x, high_y - low_y))
        roll = _rotation_about_z(-math.radians(rotation_deg))
        if perspective:
            rotation = roll @ _look_at(x, y)
            # The axis ray is longer than 1, so the turned camera is as much closer to the picture plane.
            K_crop = centred_intrinsics(f_px * math.hypot(x, y, 1.0), size, size)
        else:
            rotation = roll
            # The box centre's ray after the roll must meet the crop's middle.
            ray = roll[:2, :2] @ [x, y]
            c = (size - 1) / 2 - f_px * ray
            K_crop = np.array([[f_px, 0, c[0]], [0, f_px, c[1]], [0, 0, 1]])
        if mirror:
            K_crop[0, 2] = size - 1 - K_crop[0, 2]
        return cls(K=K, rotation=rotation, K_crop=K_crop, size=size, is_mirrored=mirror)

    def turned(self, rotation_deg: float, zoom: float = 1.0) -> CropTransform:
        """A crop of the same place that shows it turned clockwise about the crop's middle, ``zoom`` times as large."""
        turn = _rotation_about_z(np.radians(rotation_deg))
        middle = (self.size - 1) / 2
        K = self.K_crop * np.array([[zoom, 1, 0], [1, zoom, 0], [0, 0, 1]])
        K[:2, 2] = middle + zoom * (turn[:2, :2] @ (self.K_crop[:2, 2] - middle))
        # To the camera behind a mirror the same turn goes the other way round.
        own = turn.T if self.is_mirrored else turn
        return CropTransform(self.K, own @ self.rotation, K, self.size, self.is_mirrored)

    @property
    def source_size(self) -> float:
        """How many pixels of the picture lie along a side of the crop, at its middle."""
        return float(self.size * self.K[0, 0] / self.K_crop[0, 0])

    def resized(self, size: int) -> CropTransform:
        """The same crop in another number of pixels a side."""
        K = resize_matrix(size / self.size, size / self.size) @ self.K_crop
        return CropTransform(self.K, self.rotation, K, size, self.is_mirrored)

    @property
    def camera_to_crop(self) -> NDArray[np.float64]:
        """(3, 3) from the camera's frame to the crop's; a reflection when mirrored."""
        return _FLIP_X @ self.rotation if self.is_mirrored else np.asarray(self.rotation, np.float64)

    @cached_property
    def homography(self) -> NDArray[np.float64]:
        """(3, 3) from picture pixels to crop pixels."""
        return np.asarray(self.K_crop @ self.camera_to_crop @ _inverse_intrinsics(self.K))

    @cached_property
    def inverse_homography(self) -> NDArray[np.float64]:
        """(3, 3) from crop pixels to picture pixels."""
        return np.asarray(self.K @ self.camera_to_crop.T @ _inverse_intrinsics(self.K_crop))

    def apply_image(
        self, image: NDArray[np.uint8], interpolation: int | None = None, border: int = cv2.BORDER_CONSTANT
    ) -> NDArray[np.uint8]:
        """The crop of an image. One much smaller than its source is averaged down first: plain sampling would alias.

        Args:
            image: (H, W, 3) uint8.
            interpolation: one of cv2's; None for bilinear after that averaging, anything else samples without it.
            border: cv2's rule for what lies outside the picture; black as it is.

        Returns:
            (size, size, 3) uint8.
        """
        homography = self.homography
        # Source pixels a crop pixel spans, at the crop's middle.
        shrink = self.K[0, 0] / self.K_crop[0, 0] if interpolation is None else 1.0
        if shrink >= 2.0 and border in (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE):
            # The other rules may fill in what lies anywhere in the picture.
            image, homography = self._part(image, shrink)
        height, width = image.shape[:2]
        while shrink >= 2.0 and min(height, width) >= 4:
            image = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
            scale_x, scale_y = width / (width // 2), height / (height // 2)
            homography = homography @ resize_matrix(scale_x, scale_y)
            height, width = image.shape[:2]
            shrink /= 2
        flags = cv2.INTER_LINEAR if interpolation is None else interpolation
        side = (self.size, self.size)
        return cv2.warpPerspective(image, homography, side, flags=flags, borderMode=border)  # type: ignore[return-value]

    def _part(self, image: NDArray[np.uint8], shrink: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """The part of an image that the crop samples, and the map from its pixels to the crop's.

        It begins and ends at multiples of what is averaged into a pixel, or at the image's own edge, so that the
        averages are those of the whole image. A crop that looks past the horizon of the picture's plane gets all of it.
        """
        height, width = image.shape[:2]
        block = 1 << int(math.log2(shrink))
        rows, ends = self.inverse_homography.tolist(), (-0.5, self.size - 0.5)
        u, v, w = ([a * x + b * y + c for x in ends for y in ends] for a, b, c in rows)
        if min(w) * max(w) <= 0 or height % block or width % block:
            return image, self.homography
        left, right = _blocks([a / b for a, b in zip(u, w)], block, width)
        top, bottom = _blocks([a / b for a, b in zip(v, w)], block, height)
        if right - left < 4 or bottom - top < 4:
            return image, self.homography
        homography = self.homography.copy()
        homography[:, 2] += homography[:, 0] * left + homography[:, 1] * top
        return image[top:bottom, left:right], homography

    def apply_points_2d(self, points: FloatArray) -> NDArray[np.float64]:
        """Crop pixels of picture pixels (..., 2)."""
        return _map_2d(self.homography, points)

    def invert_points_2d(self, points: FloatArray) -> NDArray[np.float64]:
        """Picture pixels of crop pixels (..., 2)."""
        return _map_2d(self.inverse_homography, points)

    def apply_points_3d(self, points: FloatArray) -> NDArray[np.float64]:
        """Points (..., 3) of the camera's frame in the crop's frame, metres."""
        return np.asarray(points, np.float64) @ self.camera_to_crop.T

    def invert_points_3d(self, points: FloatArray) -> NDArray[np.float64]:
        """Points (..., 3) of the crop's frame in the camera's frame, metres."""
        return np.asarray(points, np.float64) @ self.camera_to_crop

    def apply_rotation(self, rotation: FloatArray) -> NDArray[np.float64]:
        """A hand's global_orient (..., 3, 3) in the camera's frame, as it is in the crop's.

        For a mirrored crop the rotation is that of the mirrored hand: F R F with F = diag(-1, 1, 1) on both sides,
        which in axis-angle is (x, -y, -z).
        """
        turned = self.rotation @ np.asarray(rotation, np.float64)
        return np.asarray(_FLIP_X @ turned @ _FLIP_X if self.is_mirrored else turned)

    def invert_rotation(self, rotation: FloatArray) -> NDArray[np.float64]:
        """The inverse of :meth:`apply_rotation`."""
        matrix = np.asarray(rotation, np.float64)
        return np.asarray(self.rotation.T @ (_FLIP_X @ matrix @ _FLIP_X if self.is_mirrored else matrix))


def mirror_pose(hand_pose: FloatArray) -> NDArray[np.float64]:
    """Finger rotations (..., 3, 3) of a hand as those of its mirror image: axis-angle (x, -y, -z). Its own inverse."""
    return np.asarray(_FLIP_X @ np.asarray(hand_pose, np.float64) @ _FLIP_X)


def sides_to_see(is_right: bool | None) -> tuple[bool, ...]:
    """As which hands a crop is made of one: both, a right one first, where nobody knows its side (None)."""
    return (True, False) if is_right is None else (is_right,)


def box_around(points: FloatArray, padding: float = 1.0, rotation_deg: float = 0.0) -> NDArray[np.float64]:
    """The square box around points.

    Args:
        points: (N, 2) pixels.
        padding: side of the box over the longer side of the points' extent.
        rotation_deg: extent and middle are measured along the axes of the crop that turns the picture back by so much:
            the box to give to :meth:`CropTransform.from_box` with the same rotation.

    Returns:
        box_xyxy (4,) in pixels.
    """
    turn = _rotation_about_z(-math.radians(rotation_deg))[:2, :2]
    turned = np.asarray(points, np.float64) @ turn.T
    (low_x, low_y), (high_x, high_y) = turned.min(axis=0).tolist(), turned.max(axis=0).tolist()
    half = max(high_x - low_x, high_y - low_y, 1.0) * padding / 2
    x, y = ([(low_x + high_x) / 2, (low_y + high_y) / 2] @ turn + 0.5).tolist()
    return np.array([x - half, y - half, x + half, y + half])


def roll_of(keypoints_2d: FloatArray) -> float:
    """Degrees by which a hand's direction wrist to middle knuckle is turned clockwise from up, from (21, 2) pixels."""
    (x, y), (knuckle_x, knuckle_y) = keypoints_2d[0].tolist(), keypoints_2d[9].tolist()
    return math.degrees(math.atan2(knuckle_x - x, y - knuckle_y))


def _map_2d(homography: FloatArray, points: FloatArray) -> NDArray[np.float64]:
    points = np.asarray(points, np.float64)
    uvw = points @ homography[:, :2].T + homography[:, 2]
    return np.asarray(uvw[..., :2] / uvw[..., 2:])


def _rotation_about_z(angle: float) -> NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _look_at(x: float, y: float) -> NDArray[np.float64]:
    """The smallest rotation that takes the direction (x, y, 1) onto the z axis."""
    length = math.hypot(x, y, 1.0)
    x, y, z = x / length, y / length, 1.0 / length
    # The axis of that turn is (x, y, z) x (0, 0, 1) = (y, -x, 0).
    part = 1 / (1 + z)
    return np.array([[1 - x * x * part, -x * y * part, -x], [-x * y * part, 1 - y * y * part, -y], [x, y, z]])


def _inverse_intrinsics(K: FloatArray) -> NDArray[np.float64]:
    """The inverse (3, 3) of intrinsics without skew; of any other matrix too."""
    (f_x, skew, c_x), (a, f_y, c_y), (b, c, one) = np.asarray(K, np.float64).tolist()
    if skew or a or b or c or one != 1.0:
        return np.asarray(np.linalg.inv(K))
    return np.array([[1 / f_x, 0.0, -c_x / f_x], [0.0, 1 / f_y, -c_y / f_y], [0.0, 0.0, 1.0]])


def _blocks(places: list[float], block: int, size: int) -> tuple[int, int]:
    """From where to where, in blocks of pixels of an edge of ``size``, places and two averaged pixels more lie."""
    count = size // block
    # Two more on each side: sampling is bilinear.
    first, last = math.floor(min(places) / block) - 2, math.ceil(max(places) / block) + 3
    return min(max(first, 0), count - 1) * block, min(max(last, 1), count) * block
