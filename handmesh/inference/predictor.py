"""A picture in, the hands in it out: detect, crop, network, un-mirror, place before the camera. Keeps no state.

Knows the order of those steps and whose numbers mean what in which frame. Does not know time (tracker.py), drawing or
training. Left hands are mirrored and un-mirrored by CropTransform alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from handmesh.detection import HandDetector
from handmesh.geometry.camera import DEFAULT_FOV_DEG, intrinsics_from_fov
from handmesh.geometry.crop import CropTransform, box_around, roll_of
from handmesh.inference.engines.warm_start import may_start_quickly, remember, start_quickly
from handmesh.inference.keypoint_alignment import KeypointAligner
from handmesh.inference.placement import Estimate, lift_hand, resize_hand
from handmesh.inference.stage_clock import StageClock
from handmesh.mano.arrays import ManoArrays, load_mano
from handmesh.mano.hand_model import HandModel
from handmesh.results import Detection, Hand

if TYPE_CHECKING:
    from handmesh.inference.engines.base import Engine

FloatArray = NDArray[np.floating[Any]]
#: A hand whose 21 points lie on average this near to a better hand's, in sides of its box, is the same hand.
DUPLICATE_DISTANCE = 0.2


@dataclass(frozen=True)
class CropSettings:
    """What the network was trained to see, from its checkpoint: size in pixels, padding, kind of crop."""

    image_size: int = 128
    padding: float = 1.5
    perspective: bool = True


class HandMeshPredictor:
    """``hands = predictor(image)``. Stateless: the same picture gives the same hands."""

    def __init__(
        self,
        engine: Engine,
        mano: ManoArrays,
        crop: CropSettings,
        detector: HandDetector | None = None,
        presence_threshold: float = 0.5,
        align: bool = True,
    ) -> None:
        """Compose a predictor; :meth:`from_pretrained` is the usual way.

        align: move each mesh onto the network's keypoints (inference/keypoint_alignment.py); False leaves it as the
        network has it. It may be changed at any time.
        """
        self.engine, self.crop, self.presence_threshold = engine, crop, presence_threshold
        self.model = HandModel(mano)
        self.align, self._aligner = align, KeypointAligner(mano)
        self.detector = detector or HandDetector()

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | Path = "default",
        device: str = "auto",
        engine: str = "auto",
        mano: str | Path = "open",
        threads: int = 0,
    ) -> HandMeshPredictor:
        """A predictor from a checkpoint ("default" = the shipped one, or a path) and a hand model ("open" or a path).

        Raises:
            HandMeshError: a missing or damaged file, weights of another hand model, an engine that cannot run.
        """
        arrays = load_mano(mano)
        # A licensed hand stays out of every file we write; the open one may be copied.
        keep = str(mano) == "open"
        is_quick = keep and may_start_quickly(engine, device)
        if is_quick:
            started = start_quickly(checkpoint, arrays, threads)
            if started is not None:
                return cls(started[0], arrays, CropSettings(*started[1]), HandDetector(threads=threads))
        from handmesh.inference.engines.factory import make_engine
        from handmesh.models.checkpoint import load_checkpoint

        net, description = load_checkpoint(checkpoint, arrays)
        data = description["config"]["data"]
        crop = CropSettings(net.config.image_size, float(data["crop_padding"]), bool(data["perspective"]))
        runner = make_engine(net, engine, device, threads=threads, keep=keep)
        if is_quick:
            remember(checkpoint, arrays, net, (crop.image_size, crop.padding, crop.perspective))
        return cls(runner, arrays, crop, HandDetector(threads=threads))

    def __call__(
        self,
        image: NDArray[np.uint8],
        boxes: Sequence[FloatArray] | FloatArray | None = None,
        is_right: Sequence[bool | None] | None = None,
        K: FloatArray | None = None,
        fov_deg: float | None = None,
        hand_length_m: float | None = None,
        clock: StageClock | None = None,
    ) -> list[Hand]:
        """The hands in a picture.

        Args:
            image: (H, W, 3) uint8 RGB.
            boxes: (N, 4) xyxy pixels around whole hands, when the caller knows where; None looks for hands.
            is_right: for each box; None (the list or an entry) lets the landmark model decide, or else the network.
            K: (3, 3) intrinsics in pixels; None makes them from ``fov_deg``, over the longer side, and that is
                DEFAULT_FOV_DEG when None too. Every Hand carries the K it was placed with. A calibrated camera's is
                ``camera.matrix(width, height)`` of a CameraCalibration, for ``camera.undistort(image)``.
            hand_length_m: wrist crease to middle fingertip, measured: sizes and distances are then true to it.
            clock: gets the milliseconds of each stage (detect, crop, network, place).

        Returns:
            Without boxes, the hands found, best first, [] when there is none. With boxes, one Hand a box, in their
            order, whatever its score.
        """
        _check_image(image)
        clock = clock or StageClock()
        K = camera_matrix(image, K, fov_deg)
        if boxes is not None:
            with clock("detect"):
                places = [self.detector.study(image, place) for place in _places(boxes, is_right)]
            estimates = self.predict_places(image, K, places, clock)
            seen = self._look_again(image, K, places, estimates, clock)
            return [resize_hand(estimate.hand, hand_length_m, self.model) for estimate in seen]
        with clock("detect"):
            places = self.detector.detect(image)
        # A hand is one when both say so, the detector and the network.
        hands = [
            replace(estimate.hand, score=min(estimate.presence, place.score))
            for estimate, place in zip(self.predict_places(image, K, places, clock), places, strict=True)
            if estimate.presence >= self.presence_threshold
        ]
        best = drop_duplicates(sorted(hands, key=lambda hand: -hand.score))
        return [resize_hand(hand, hand_length_m, self.model) for hand in best]

    def predict_places(
        self,
        image: NDArray[np.uint8],
        K: FloatArray,
        places: Sequence[Detection],
        clock: StageClock | None = None,
    ) -> list[Estimate]:
        """One Estimate a place, in their order, all crops in one batch.

        A place whose side is not known (is_right None) is seen both ways, and the likelier one is kept.
        """
        clock = clock or StageClock()
        return self._predict(image, K, places, clock) if places else []

    def _look_again(
        self,
        image: NDArray[np.uint8],
        K: FloatArray,
        places: Sequence[Detection],
        estimates: list[Estimate],
        clock: StageClock,
    ) -> list[Estimate]:
        """A second estimate for places of unknown roll (no points seen there), cropped around the first's joints."""
        unsure = [
            i
            for i, (place, estimate) in enumerate(zip(places, estimates, strict=True))
            if place.keypoints_2d is None and _is_plausible(estimate.hand, place)
        ]
        again = self.predict_places(image, K, [place_of(estimates[i].hand) for i in unsure], clock)
        return [dict(zip(unsure, again, strict=True)).get(i, estimate) for i, estimate in enumerate(estimates)]

    def _predict(
        self, image: NDArray[np.uint8], K: FloatArray, places: Sequence[Detection], clock: StageClock
    ) -> list[Estimate]:
        views = [
            replace(place, is_right=side)
            for place in places
            for side in ((True, False) if place.is_right is None else (place.is_right,))
        ]
        with clock("crop"):
            crops = [self.make_crop(view, K) for view in views]
            pictures = np.stack([crop.apply_image(image) for crop in crops])
        with clock("network"):
            output = self.engine(pictures)
        with clock("place"):
            aligner = self._aligner if self.align else None
            found = iter([lift_hand(output, index, crop, self.model, aligner) for index, crop in enumerate(crops)])
            return [
                next(found) if place.is_right is not None else _likelier(next(found), next(found)) for place in places
            ]

    def make_crop(self, place: Detection, K: FloatArray) -> CropTransform:
        """The crop the network gets for a place; a left hand's is mirrored."""
        return CropTransform.from_box(
            place.box_xyxy, K, self.crop.image_size, place.rotation_deg, self.crop.padding,
            mirror=not place.is_right, perspective=self.crop.perspective,
        )  # fmt: skip


def camera_matrix(
    image: NDArray[np.uint8], K: FloatArray | None = None, fov_deg: float | None = None
) -> NDArray[np.float64]:
    """K (3, 3): the one given, or one of that field of view over the longer side, or of DEFAULT_FOV_DEG."""
    if K is None:
        return intrinsics_from_fov(image.shape[1], image.shape[0], DEFAULT_FOV_DEG if fov_deg is None else fov_deg)
    matrix = np.asarray(K, np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise ValueError(f"expected K as a (3, 3) matrix with positive focal lengths in pixels, got {K!r}")
    return matrix


def place_of(hand: Hand) -> Detection:
    """Where to crop to see this hand again: the square around its points, turned upright."""
    roll = roll_of(hand.keypoints_2d)
    return Detection(box_around(hand.keypoints_2d, rotation_deg=roll), hand.is_right, hand.score, roll)


def drop_duplicates(hands: list[Hand], distance: float = DUPLICATE_DISTANCE) -> list[Hand]:
    """Leave out hands whose points lie on those of one earlier in the list."""
    kept: list[Hand] = []
    for hand in hands:
        if not any(points_apart(hand, other) < distance for other in kept):
            kept.append(hand)
    return kept


def points_apart(hand: Hand, other: Hand) -> float:
    """Mean distance of corresponding points of two hands, in sides of the larger box."""
    side = max(hand.box_xyxy[2] - hand.box_xyxy[0], other.box_xyxy[2] - other.box_xyxy[0], 1.0)
    return float(np.linalg.norm(hand.keypoints_2d - other.keypoints_2d, axis=-1).mean() / side)


def _likelier(right: Estimate, left: Estimate) -> Estimate:
    """Of the same place seen as a right and (mirrored) as a left hand, the one both answers together favour."""
    return right if right.right + left.right >= 1.0 else left


def _is_plausible(hand: Hand, place: Detection) -> bool:
    """Whether a second look should follow the first one's joints: still about the same place and size."""
    side = float(max(place.box_xyxy[2] - place.box_xyxy[0], place.box_xyxy[3] - place.box_xyxy[1]))
    new_side = float(hand.box_xyxy[2] - hand.box_xyxy[0])
    moved = np.abs(hand.box_xyxy[:2] + hand.box_xyxy[2:] - place.box_xyxy[:2] - place.box_xyxy[2:]).max() / 2
    return bool(np.isfinite(hand.keypoints_2d).all() and 0.4 * side < new_side < 1.8 * side and moved < 0.5 * side)


def _places(boxes: Sequence[FloatArray] | FloatArray, is_right: Sequence[bool | None] | None) -> list[Detection]:
    array = np.asarray(boxes, np.float64)
    if array.size == 0:
        return []
    if array.ndim != 2 or array.shape[1] != 4 or not np.isfinite(array).all() or (array[:, :2] >= array[:, 2:]).any():
        raise ValueError(f"expected boxes as (N, 4) numbers x0 < x1, y0 < y1 in pixels, got {np.shape(boxes)}")
    sides: Sequence[bool | None] = [None] * len(array) if is_right is None else is_right
    if len(sides) != len(array):
        raise ValueError(f"expected is_right for each of {len(array)} boxes, got {len(sides)}")
    return [Detection(box, side, 1.0) for box, side in zip(array, sides, strict=True)]


def _check_image(image: NDArray[np.uint8]) -> None:
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        got = f"{getattr(image, 'shape', type(image).__name__)} {getattr(image, 'dtype', '')}"
        raise ValueError(f"expected an RGB image (H, W, 3) uint8, got {got}; handmesh.read_image gives one")
