"""Our own hand detector: one FastViT for the whole picture says where hands are, which side, how they are rolled.

It also says which pixels are hand. The other detector is MediaPipe's pair of models (detection/hand_detector.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handmesh.detection.grid_decoding import INSIDE, OVERLAP, detections
from handmesh.detection.nms import containment_matrix, drop_repeats, iou_matrix
from handmesh.detection.tiling import Window
from handmesh.errors import HandMeshError
from handmesh.geometry.letterbox import MULTIPLE, Letterbox
from handmesh.inference.engines.detector_engine import DetectorEngine
from handmesh.models.checkpoint_path import SHIPPED_DETECTOR, shipped_file
from handmesh.results import Detection, Hand

#: Longer side of what the network sees of a picture, pixels; pictures larger than the third are seen at the second too.
SIDE, FINE_SIDE, LARGE = 256, 512, 400
#: The picture's edges cut windows off at will, and each shape that the network sees takes 30 MB: seven are enough.
_WINDOW_MULTIPLE = 64
#: Score from which a place shows a hand, and from which one that was followed still does.
THRESHOLD, KEEP_THRESHOLD = 0.45, 0.3
#: A place is looked at with so much around it, in sides of its square.
_SURROUNDINGS = 2.2
#: Overlap from which the hand seen there is the one that the place is about.
_ABOUT_THE_SAME = 0.25
#: Probability from which a pixel is hand.
MASK_THRESHOLD = 0.5
#: A hand's mask lies in its box grown by this: the box is that of the joints, and fingers have flesh.
MASK_PADDING = 1.35


class FastVitDetector:
    """Finds hands and segments them. Any number of threads may share one."""

    def __init__(
        self, checkpoint: str | Path = SHIPPED_DETECTOR, engine: str = "openvino", threads: int = 0,
        threshold: float = THRESHOLD,
    ) -> None:  # fmt: skip
        """The network is loaded when first asked for a picture.

        Args:
            checkpoint: a detector's.
            engine: what runs it: "openvino", "openvino-float32" (never bfloat16), "torch" or "onnx".
            threads: 0 = the runtime's own choice.
            threshold: least score of a hand.

        Raises:
            HandMeshError: no such checkpoint or engine.
        """
        if str(checkpoint) == SHIPPED_DETECTOR and not is_shipped():
            raise HandMeshError(
                "expected weights of our own detector, got none: the package comes without them; train some with "
                "handmesh train configs/detector.yaml and give their folder (--detector RUN/best, detector=...)"
            )
        self.engine, self.threshold = DetectorEngine(checkpoint, engine, threads), threshold

    def load(self) -> DetectorEngine:
        """Load the network now."""
        self.engine.hands(np.zeros((SIDE * 3 // 4, SIDE, 3), np.uint8))
        return self.engine

    def detect(self, image: NDArray[np.uint8], max_hands: int | None = None) -> list[Detection]:
        """Hands in a still, best first: of the whole picture, seen at two sizes where it is large."""
        found = self._look(image, SIDE, self.threshold)
        if max(image.shape[:2]) > LARGE:
            found += self._look(image, FINE_SIDE, self.threshold)
        return drop_repeats(sorted(found, key=lambda hand: -hand.score), is_same_place)[:max_hands]

    def detect_quick(
        self,
        image: NDArray[np.uint8],
        windows: Sequence[Window],
        is_wanted: Callable[[Detection], bool] = lambda place: True,
    ) -> list[Detection]:
        """Hands in a few windows of a frame, one pass a window.

        Args:
            image: (H, W, 3) uint8 RGB.
            windows: the parts of it that are searched.
            is_wanted: asked about each hand.

        Returns:
            At most three, best first.
        """
        found = [hand for window in windows for hand in self._look_at(image, window, self.threshold)]
        found = drop_repeats(sorted(found, key=lambda hand: -hand.score), is_same_place)
        return [hand for hand in found if is_wanted(hand)][:3]

    def confirm(self, image: NDArray[np.uint8], place: Detection) -> Detection | None:
        """The hand that is now at a place where one was; None for no hand."""
        seen = self._near(image, place)
        return max(seen, key=lambda hand: hand.score, default=None)

    def study(self, image: NDArray[np.uint8], place: Detection) -> Detection:
        """A place that a caller named, with the roll and, where it is not known, the side that is seen there.

        Where no hand is seen the place comes back as it was.
        """
        best = self.confirm(image, place)
        if best is None:
            return place
        side = best.is_right if place.is_right is None else place.is_right
        return replace(place, is_right=side, rotation_deg=best.rotation_deg, box_xyxy=best.box_xyxy)

    def segment(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The probability that each pixel is hand, (H, W), of a picture (H, W, 3) uint8 RGB."""
        height, width = image.shape[:2]
        box = Letterbox.fit(width, height, SIDE if max(width, height) <= LARGE else FINE_SIDE)
        mask = self.engine.mask(box.apply(image))
        scale = box.scale / 4
        # Both count from their first pixel's centre.
        warp = np.array([[scale, 0, 0.5 * scale - 0.5], [0, scale, 0.5 * scale - 0.5]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        full = cv2.warpAffine(mask, warp, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(full, np.float32)

    def _near(self, image: NDArray[np.uint8], place: Detection) -> list[Detection]:
        """The hands around a place that are about where and as large as it."""
        low, high = np.asarray(place.box_xyxy[:2], np.float64), np.asarray(place.box_xyxy[2:], np.float64)
        side = int(np.ceil(_SURROUNDINGS * float((high - low).max())))
        corner = np.floor((low + high - side) / 2).astype(int)
        found = self._look_at(image, Window(int(corner[0]), int(corner[1]), max(side, 8)), KEEP_THRESHOLD)
        box = np.concatenate([low, high])[None]
        return [hand for hand in found if iou_matrix(hand.box_xyxy[None], box)[0, 0] > _ABOUT_THE_SAME]

    def _look_at(self, image: NDArray[np.uint8], window: Window, threshold: float) -> list[Detection]:
        """Hands in the part of a picture that a window covers, in the whole picture's pixels."""
        height, width = image.shape[:2]
        x0, y0 = max(0, window.x), max(0, window.y)
        x1, y1 = min(width, window.x + window.side), min(height, window.y + window.side)
        if x1 - x0 < 8 or y1 - y0 < 8:
            return []
        part = np.ascontiguousarray(image[y0:y1, x0:x1])
        return self._look(part, SIDE, threshold, (x0, y0), _WINDOW_MULTIPLE)

    def _look(
        self, image: NDArray[np.uint8], side: int, threshold: float, corner: tuple[int, int] = (0, 0),
        multiple: int = MULTIPLE,
    ) -> list[Detection]:
        box = Letterbox.fit(image.shape[1], image.shape[0], side, multiple)
        return detections(self.engine.hands(box.apply(image)), box, threshold, corner)


def is_shipped() -> bool:
    """Whether the package has weights of our own detector."""
    return shipped_file(SHIPPED_DETECTOR).is_file()


def is_same_place(hand: Detection, other: Detection) -> bool:
    """Whether two detections are of one hand."""
    one, two = hand.box_xyxy[None].astype(np.float64), other.box_xyxy[None].astype(np.float64)
    return bool(iou_matrix(one, two)[0, 0] > OVERLAP or containment_matrix(one, two)[0, 0] > INSIDE)


def with_masks(hands: Sequence[Hand], probability: NDArray[np.floating]) -> list[Hand]:
    """Hands with the pixels that are theirs: hand pixels in a hand's box; where boxes overlap, of the nearest hand.

    Args:
        hands: of one picture.
        probability: (H, W) of FastVitDetector.segment.
    """
    if not hands:
        return []
    is_hand = np.asarray(probability >= MASK_THRESHOLD)
    rows, columns = np.nonzero(is_hand)
    pixels = np.stack([columns, rows], 1).astype(np.float32)
    distance = np.full((len(hands), len(pixels)), np.inf, np.float32)
    for number, hand in enumerate(hands):
        points = hand.joints_2d
        middle, half = (points.min(0) + points.max(0)) / 2, MASK_PADDING * float(np.ptp(points, 0).max()) / 2
        near = (np.abs(pixels - middle) <= half).all(1)
        apart = pixels[near][:, None] - points
        distance[number, near] = (apart * apart).sum(-1).min(1)
    owner = np.where(np.isfinite(distance.min(0)), distance.argmin(0), -1) if len(pixels) else np.zeros(0, int)
    found = []
    for number, hand in enumerate(hands):
        mask = np.zeros(is_hand.shape, bool)
        mask[rows[owner == number], columns[owner == number]] = True
        found.append(replace(hand, mask=mask))
    return found
