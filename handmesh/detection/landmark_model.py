"""MediaPipe's hand landmark model: 21 points, presence and handedness of the hand in a crop of a picture.

Two use it: the verifier, which asks whether a proposal shows a hand, and labeling/, which labels photos without
annotation. Its points are not part of any result of the predictor. Source: Zhang et al. 2020, "MediaPipe Hands:
On-device Real-time Hand Tracking"; the model file is Apache-2.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.detection.model_files import ensure_landmark_model
from handmesh.geometry.camera import intrinsics_from_fov
from handmesh.geometry.crop import CropTransform
from handmesh.io.runtime.openvino_loader import CompiledModel

INPUT_SIZE = 224
#: Place of the points in space among the outputs.
_SPACE = 3
#: The picture's points have depths in this share of a pixel (normalize_z in MediaPipe's hand_landmark_cpu.pbtxt).
_DEPTH_UNIT = 0.4
#: Depth is made of both heads' depths, that of the points in space and that of the points in the picture: their errors
#: are partly their own, and either is too flat. On rendered hands 11.9 mm of PA error, for 13.2 of the points in
#: space alone; both halves of the 1,626 hands give these shares (docs/results.md).
_SPACE_SHARE, _PICTURE_SHARE = 0.55, 0.75


@dataclass(frozen=True, eq=False)
class Landmarks:
    """The model's output for one crop.

    Attributes:
        points: (21, 2) pixels of the full image.
        joints: (21, 3) metres, about the hand's own middle, camera axes (x right, y down, z forward): across the
            picture as the points are, in depth by both of the model's heads. NaN of the oldest networks (before
            October 2021), which have no head in space.
        presence: 0..1, that the crop shows a hand.
        right: 0..1, that it is a right hand in the picture as it is.
    """

    points: NDArray[np.float64]
    joints: NDArray[np.float64]
    presence: float
    right: float


class LandmarkModel:
    """Runs the model by OpenVINO. One instance holds one compiled model, which any number of threads may share."""

    def __init__(self, path: str | Path | None = None, *, threads: int = 0) -> None:
        """Load the model, fetching it when ``path`` is None and the cache lacks it; ``threads`` 0: OpenVINO chooses."""
        self._model = CompiledModel(path or ensure_landmark_model(), threads)

    def landmarks(
        self, image: NDArray[np.uint8], box_xyxy: NDArray[np.floating[Any]], rotation_deg: float, padding: float,
        mirror: bool = False,
    ) -> Landmarks:
        """The landmarks of one place in a picture (about 8 ms on two cores).

        Args:
            image: (H, W, 3) uint8 RGB.
            box_xyxy: (4,) around the hand, pixels.
            rotation_deg: clockwise turn of the hand in the picture, undone by the crop.
            padding: side of the crop over the side of the box.
            mirror: show the model the mirrored crop; the answer is about the picture as it is all the same.
        """
        # A plain crop is the same for every focal length; K only gives the crop its pixels.
        K = intrinsics_from_fov(image.shape[1], image.shape[0])
        crop = CropTransform.from_box(box_xyxy, K, INPUT_SIZE, rotation_deg, padding, mirror, perspective=False)
        picture = crop.apply_image(image).astype(np.float32) / 255
        results = self._model(picture[None])
        # The model counts pixels from the picture's border; here a pixel's centre is its coordinate.
        points = results[0].reshape(21, 3).astype(np.float64)
        joints = np.full((21, 3), np.nan)
        if len(results) > _SPACE:
            space = results[_SPACE].reshape(21, 3).astype(np.float64)
            joints = crop.invert_points_3d(combine_heads(points[:, :2], points[:, 2] / _DEPTH_UNIT, space))
        right = float(results[2].ravel()[0])
        return Landmarks(
            crop.invert_points_2d(points[:, :2] - 0.5), joints,
            float(results[1].ravel()[0]), 1.0 - right if mirror else right,
        )  # fmt: skip


def combine_heads(
    points: NDArray[np.float64], depths: NDArray[np.float64], world: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The joints of :class:`Landmarks` from the outputs of both heads.

    Seen from so far away that rays are parallel, as both heads see the hand.

    Args:
        points: (21, 2) pixels of any picture.
        depths: (21,) of the head in the picture, in the same pixels (as MediaPipe gives its ``z``).
        world: (21, 3) of the head in space, metres.

    Returns:
        (21, 3) metres about their middle, camera axes.
    """
    points, depths, world = points - points.mean(0), depths - depths.mean(), world - world.mean(0)
    metres = np.linalg.norm(world[:, :2]) / max(float(np.linalg.norm(points)), 1e-9)
    depth = _SPACE_SHARE * world[:, 2] + _PICTURE_SHARE * metres * depths
    return np.concatenate([metres * points, depth[:, None]], axis=1)
