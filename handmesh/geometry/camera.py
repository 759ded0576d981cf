"""The pinhole camera: projection, intrinsics, and where a hand must stand to be seen where it is seen.

Camera frame as in OpenCV: x right, y down, z forward, metres. Pixels: the centre of the first pixel is (0, 0). A focal
length is never assumed in silence: callers pass K, or a field of view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

FloatArray = NDArray[np.floating[Any]]
#: What arithmetic alone is done to may be a tensor as well.
Points = TypeVar("Points", NDArray[np.floating[Any]], "Tensor")

#: Field of view over the longer side that stands in for an unknown camera: between laptop webcams (about 55 to 65
#: degrees across) and phones (about 65 to 70). Wrong by 10 degrees, it moves a hand's distance by about a fifth and
#: leaves its shape alone.
DEFAULT_FOV_DEG = 60.0


def project_points(points: FloatArray, K: FloatArray) -> NDArray[np.float64]:
    """Pixels (..., 2) of camera-frame points (..., 3) in metres: uv = K X / Z."""
    points = np.asarray(points, np.float64)
    if points.shape[-1] != 3:
        raise ValueError(f"expected points of shape (..., 3), got {points.shape}")
    uvw = points @ np.asarray(K, np.float64).T
    return uvw[..., :2] / uvw[..., 2:]


def intrinsics_from_fov(width: int, height: int, fov_deg: float = DEFAULT_FOV_DEG) -> NDArray[np.float64]:
    """K (3, 3) in pixels of a camera with square pixels and its axis in the picture's middle.

    Args:
        width, height: picture size in pixels.
        fov_deg: field of view over the longer side, degrees, between 0 and 180.
    """
    if not 0 < fov_deg < 180:
        raise ValueError(f"expected a field of view between 0 and 180 degrees, got {fov_deg}")
    f_px = max(width, height) / 2 / np.tan(np.radians(fov_deg) / 2)
    return centred_intrinsics(f_px, width, height)


def resize_matrix(scale_x: float, scale_y: float) -> NDArray[np.float64]:
    """(3, 3) from the pixels of a picture to those of the same picture at another size.

    What is scaled are distances from the picture's corner, half a pixel outside the first pixel's centre.
    """
    return np.array([[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2], [0, 0, 1]])


def resize_intrinsics(K: FloatArray, scale_x: float, scale_y: float | None = None) -> NDArray[np.float64]:
    """The intrinsics of a picture at another size.

    Args:
        K: (..., 3, 3) pixels.
        scale_x, scale_y: new width and height over the old; scale_y None for the same as scale_x.
    """
    return resize_matrix(scale_x, scale_x if scale_y is None else scale_y) @ np.asarray(K, np.float64)


def resize_points(points: Points, scale: float) -> Points:
    """Pixels (..., 2), an array's or a tensor's, of a picture made ``scale`` times as large; see resize_matrix."""
    return (points + 0.5) * scale - 0.5


@overload
def is_in_picture(points: FloatArray, width: int, height: int) -> NDArray[np.bool_]: ...


@overload
def is_in_picture(points: Tensor, width: int, height: int) -> Tensor: ...


def is_in_picture(points: FloatArray | Tensor, width: int, height: int) -> NDArray[np.bool_] | Tensor:
    """Which points lie within a picture: (...) bool.

    Args:
        points: (..., 2) pixels, an array or a tensor.
        width, height: of the picture, pixels.
    """
    x, y = points[..., 0], points[..., 1]
    return (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)


def centred_intrinsics(f_px: float, width: int, height: int) -> NDArray[np.float64]:
    """K (3, 3) of a camera with square pixels and its axis in the picture's middle.

    Args:
        f_px: focal length, pixels.
        width, height: of the picture, pixels.
    """
    return np.array([[f_px, 0, (width - 1) / 2], [0, f_px, (height - 1) / 2], [0, 0, 1]])


def fit_translation(
    points: FloatArray, keypoints_2d: FloatArray, K: FloatArray, weights: FloatArray | None = None
) -> NDArray[np.float64]:
    """The translation that puts points where they project onto pixels.

    Each pixel gives two equations linear in t: x + tx = a (z + tz) and y + ty = b (z + tz), with (a, b, 1) the pixel's
    ray. They are solved by weighted least squares; one more round weighs each by the depth just found, so that what is
    minimized is the error in pixels rather than in metres.

    Args:
        points: (N, 3) in the camera's axes, any origin; metres or another unit.
        keypoints_2d: (N, 2) pixels.
        K: (3, 3) intrinsics, pixels.
        weights: (N,) non-negative, or None for all equal.

    Returns:
        (3,) in the camera's frame, in the points' unit.
    """
    points = np.asarray(points, np.float64)
    rays = (np.asarray(keypoints_2d, np.float64) - np.asarray(K)[:2, 2]) / np.array([K[0, 0], K[1, 1]])
    weight = np.ones(len(points)) if weights is None else np.asarray(weights, np.float64)
    translation = np.zeros(3)
    depth = np.ones(len(points))
    for _ in range(2):
        w = weight / np.maximum(depth, 1e-3) ** 2
        sum_w = w.sum()
        a, b = rays[:, 0], rays[:, 1]
        right_x, right_y = a * points[:, 2] - points[:, 0], b * points[:, 2] - points[:, 1]
        wa, wb = (w * a).sum(), (w * b).sum()
        normal = np.array([[sum_w, 0, -wa], [0, sum_w, -wb], [-wa, -wb, (w * (a * a + b * b)).sum()]])
        right = np.array([(w * right_x).sum(), (w * right_y).sum(), -(w * (a * right_x + b * right_y)).sum()])
        # A hair of damping keeps the solve finite when every keypoint is the same.
        translation = np.linalg.solve(normal + 1e-12 * sum_w * np.eye(3), right)
        depth = points[:, 2] + translation[2]
    return translation


def fit_weak_perspective(points: FloatArray, keypoints: FloatArray) -> NDArray[np.float64]:
    """The weak-perspective camera that brings points nearest to keypoints: models.outputs.fit_camera of one hand.

    Args:
        points: (N, 3) metres.
        keypoints: (N, 2) in -1..1 over the crop.

    Returns:
        (3,): scale and shift, as of :func:`weak_perspective_to_translation`.
    """
    xy, target = np.asarray(points, np.float64)[:, :2], np.asarray(keypoints, np.float64)
    centre, middle = xy.mean(0), target.mean(0)
    moved = xy - centre
    scale = np.clip((moved * (target - middle)).sum() / ((moved * moved).sum() + 1e-8), 0.5, 100.0)
    return np.concatenate([[scale], middle / scale - centre])


def weak_perspective_to_translation(
    camera: FloatArray, K_crop: FloatArray, size: int, root_depth: float = 0.0
) -> NDArray[np.float64]:
    """Translation (3,) in metres of a weak-perspective camera (s, tx, ty) of a square crop.

    The camera says that a point (x, y, z) in metres is seen at pixel size/2 * (1 + s*(x + tx)) - 0.5 of the crop, and
    likewise for y. A pinhole with the crop's intrinsics sees the same at the depth where one metre is s*size/2 pixels.

    Args:
        camera: (3,) s in half crops per metre, tx and ty in metres.
        K_crop: (3, 3) intrinsics of the crop in its own pixels.
        size: side of the crop in pixels.
        root_depth: z of the point whose depth the scale describes, metres.
    """
    s, tx, ty = (float(value) for value in camera)
    f_px = (K_crop[0, 0] + K_crop[1, 1]) / 2
    depth = f_px / max(s * size / 2, 1e-6)
    centre = (size - 1) / 2
    return np.array(
        [
            tx + (centre - K_crop[0, 2]) * depth / K_crop[0, 0],
            ty + (centre - K_crop[1, 2]) * depth / K_crop[1, 1],
            depth - root_depth,
        ]
    )
