"""The palm detector: MediaPipe's palm_detection_full.tflite by OpenVINO, anchors, decoding, rotated hand boxes.

Sources: Zhang et al. 2020, "MediaPipe Hands: On-device Real-time Hand Tracking" (single-shot palm detector); Liu et al.
2016, SSD (anchors); the constants are those of the published graph that ships with the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from handmesh.detection.model_files import ensure_palm_detector
from handmesh.detection.nms import keep_best, weighted_suppression
from handmesh.detection.tiling import Window, still_windows, whole_window
from handmesh.io.runtime.openvino_loader import CompiledModel
from handmesh.results import Detection

INPUT_SIZE = 192
#: (stride in pixels, anchors a cell): 24*24*2 + 12*12*6 = 2016, the three layers of stride 16 taken together.
STRIDES_AND_ANCHORS = ((8, 2), (16, 6))
WRIST_KEYPOINT, MIDDLE_KEYPOINT = 0, 2
#: The hand box's centre lies this many palm sides from the palm box's, towards the fingers.
PALM_SHIFT = 0.5
#: Side of the whole hand's box in palm sides. The published graph takes 2.6 with margin: 2.6 / 1.5 without it.
PALM_TO_HAND = 1.75


class PalmDetector:
    """Finds hands in RGB pictures. One instance holds one compiled model, which any number of threads may share."""

    def __init__(self, path: str | Path | None = None, *, threads: int = 0, threshold: float = 0.5) -> None:
        """Load the model.

        Args:
            path: its file; None for the one in the cache, fetched where the cache lacks it.
            threads: 0 for OpenVINO's choice.
            threshold: probability from which something is a palm.

        Raises:
            HandMeshError: no such file, or it can be neither found nor fetched.
        """
        self._model = CompiledModel(path or ensure_palm_detector(), threads)
        self.threshold = threshold

    def detect(
        self, image: np.ndarray, windows: Sequence[Window] | None = None, max_hands: int | None = None
    ) -> list[Detection]:
        """Hands in a picture.

        Args:
            image: (H, W, 3) uint8 RGB.
            windows: the parts that are searched, one pass each; None searches a still thoroughly (whole, halves,
                thirds: some 30 passes). Give a few windows a frame for a clip.
            max_hands: None for all.

        Returns:
            Best first; [] when there is none. Boxes are squares around the whole hand in pixels of the full image and
            may reach past its edge; is_right is None: a palm does not tell.
        """
        height, width = image.shape[:2]
        found = [
            self._detect_window(image, window)
            for window in (still_windows(width, height) if windows is None else windows)
        ]
        if not found:
            return []
        boxes, keypoints, scores = (np.concatenate(part) for part in zip(*found, strict=True))
        kept = keep_best(boxes, scores)[:max_hands]
        return [hand_from_palm(boxes[i], keypoints[i], float(scores[i])) for i in kept]

    def detect_whole(self, image: np.ndarray, max_hands: int | None = None) -> list[Detection]:
        """Hands found by one pass over the whole picture (about 6 ms on two cores)."""
        return self.detect(image, [whole_window(image.shape[1], image.shape[0])], max_hands)

    def _detect_window(self, image: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Palm boxes (n, 4), keypoints (n, 7, 2) in image pixels and scores (n,) of one window."""
        results = self._model(_model_input(image, window)[None])
        raw, logits = results[0][0], results[1][0, :, 0]
        chosen = np.flatnonzero(logits > math.log(self.threshold / (1 - self.threshold)))
        scores = 1.0 / (1.0 + np.exp(-logits[chosen].astype(np.float64)))
        boxes, keypoints = decode(raw[chosen].astype(np.float64), ANCHORS[chosen])
        boxes, keypoints, scores = weighted_suppression(boxes, keypoints, scores)
        # The model counts from its square's corner. So do boxes; points count from the first pixel's centre.
        scale = window.side / INPUT_SIZE
        corner = np.array([window.x, window.y], np.float64)
        return boxes * scale + np.tile(corner, 2), keypoints * scale + corner - 0.5, scores


def palm_anchors() -> np.ndarray:
    """Anchor centres (2016, 2) in model pixels; every anchor's size is the whole input (fixed size 1)."""
    layers = []
    for stride, count in STRIDES_AND_ANCHORS:
        centres = (np.arange(INPUT_SIZE // stride) + 0.5) * stride
        y, x = np.meshgrid(centres, centres, indexing="ij")
        layers.append(np.repeat(np.stack([x, y], -1).reshape(-1, 2), count, axis=0))
    return np.concatenate(layers)


ANCHORS = palm_anchors()


def decode(raw: np.ndarray, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Model rows (n, 18) = dx, dy, w, h, then 7 keypoints' dx, dy -> boxes (n, 4) xyxy, keypoints (n, 7, 2).

    All in model pixels, offsets from the anchors (n, 2).
    """
    centre = raw[:, :2] + anchors
    half = raw[:, 2:4] / 2
    keypoints = raw[:, 4:].reshape(-1, 7, 2) + anchors[:, None]
    return np.concatenate([centre - half, centre + half], axis=1), keypoints


def hand_from_palm(palm: np.ndarray, keypoints: np.ndarray, score: float) -> Detection:
    """The whole hand from its palm. The box is moved from the palm along the hand's direction and grown.

    Args:
        palm: (4,) xyxy, pixels of the image.
        keypoints: (7, 2) of the palm, pixels of the image.
        score: 0..1.

    Returns:
        A detection whose roll is the direction from the wrist to the middle finger's knuckle: 0 when it points up,
        positive clockwise as seen, degrees.
    """
    direction = keypoints[MIDDLE_KEYPOINT] - keypoints[WRIST_KEYPOINT]
    roll = math.atan2(direction[0], -direction[1])
    side = float(max(palm[2] - palm[0], palm[3] - palm[1]))
    centre = (palm[:2] + palm[2:]) / 2 + PALM_SHIFT * side * np.array([math.sin(roll), -math.cos(roll)])
    half = PALM_TO_HAND * side / 2
    box = np.concatenate([centre - half, centre + half]).astype(np.float32)
    return Detection(box, None, score, math.degrees(roll), keypoints.astype(np.float32))


def _model_input(image: np.ndarray, window: Window) -> np.ndarray:
    """The window resized to the model's input, (192, 192, 3) float32 in 0..1, with zeros outside the picture."""
    target = np.zeros((INPUT_SIZE, INPUT_SIZE, 3), np.float32)
    height, width = image.shape[:2]
    x0, y0 = max(window.x, 0), max(window.y, 0)
    x1, y1 = min(window.x + window.side, width), min(window.y + window.side, height)
    scale = INPUT_SIZE / window.side
    left, top = round((x0 - window.x) * scale), round((y0 - window.y) * scale)
    right, bottom = round((x1 - window.x) * scale), round((y1 - window.y) * scale)
    if right <= left or bottom <= top:
        return target
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    part = cv2.resize(image[y0:y1, x0:x1], (right - left, bottom - top), interpolation=method)
    np.multiply(part, np.float32(1 / 255), out=target[top:bottom, left:right])
    return target
