"""MediaPipe's hand landmark model: 21 points, presence and handedness of the hand in a crop of a picture.

It knows the model's input and output format and how to crop for it. Two use it: the hand check, which asks whether a
proposed place shows a hand, and the teacher, which labels photos that nobody annotated. Its points are not part of any
result of the predictor.
Source: Zhang et al. 2020, "MediaPipe Hands: On-device Real-time Hand Tracking"; the model file is Apache-2.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.detection.palm_model import ensure_landmark_teacher
from handmesh.geometry.camera import intrinsics_from_fov
from handmesh.geometry.crop import CropTransform
from handmesh.openvino_loader import load_openvino

INPUT_SIZE = 224


@dataclass(frozen=True)
class Landmarks:
    """What the model says of one crop.

    Attributes:
        points: (21, 2) pixels of the full image.
        joints: (21, 3) metres, about the hand's own middle, camera axes (x right, y down, z forward).
        presence: 0..1, that the crop shows a hand.
        right: 0..1, that it is a right hand in the picture as it is.
    """

    points: NDArray[np.float64]
    joints: NDArray[np.float64]
    presence: float
    right: float


class LandmarkModel:
    """Runs the model by OpenVINO. One instance holds one compiled model; calls are not thread-safe."""

    def __init__(self, path: str | Path | None = None, *, threads: int = 0) -> None:
        """Load the model, fetching it when ``path`` is None and the cache lacks it; ``threads`` 0: OpenVINO chooses."""
        ov = load_openvino()

        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        core = ov.Core()
        model = core.compile_model(core.read_model(str(path or ensure_landmark_teacher())), "CPU", options)
        self._request = model.create_infer_request()

    def look(
        self, image: NDArray[np.uint8], box_xyxy: NDArray[np.floating[Any]], rotation_deg: float, padding: float,
        mirror: bool = False,
    ) -> Landmarks:
        """The answer about one place of an RGB image (H, W, 3) (about 8 ms on two cores).

        Args:
            box_xyxy: (4,) around the hand, pixels.
            rotation_deg: clockwise turn of the hand in the picture, undone by the crop.
            padding: side of the crop over the side of the box.
            mirror: show the model the mirrored crop; the answer is about the picture as it is all the same.
        """
        # A plain crop is the same for every focal length; K only gives the crop its pixels.
        K = intrinsics_from_fov(image.shape[1], image.shape[0])
        crop = CropTransform.from_box(box_xyxy, K, INPUT_SIZE, rotation_deg, padding, mirror, perspective=False)
        picture = crop.apply_image(image).astype(np.float32) / 255
        results = self._request.infer({0: picture[None]}, share_inputs=True, share_outputs=True)
        # The model counts pixels from the picture's border; here a pixel's centre is its coordinate.
        points = results[0].reshape(21, 3)[:, :2].astype(np.float64) - 0.5
        joints = crop.invert_points_3d(results[3].reshape(21, 3))
        right = float(results[2].ravel()[0])
        return Landmarks(
            crop.invert_points_2d(points), joints, float(results[1].ravel()[0]), 1.0 - right if mirror else right
        )
