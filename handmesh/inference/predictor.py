"""A picture in, the hands in it out: detect, crop, network, un-mirror, place before the camera. Keeps no state.

Left hands are mirrored and un-mirrored by CropTransform alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from handmesh.detection.interface import Detector
from handmesh.detection.nms import drop_repeats
from handmesh.errors import HandMeshError
from handmesh.geometry.crop import CropSettings, sides_to_see
from handmesh.inference.alignment.placement import Estimate, check_hand_length, resize_hand
from handmesh.inference.arguments import box_places, camera_matrix, for_each, one_side
from handmesh.inference.detectors.by_name import loaders_of, make_detector, segmenter_of
from handmesh.inference.detectors.fastvit import FastVitDetector, with_masks
from handmesh.inference.engines.warm_start import may_start_quickly, remember, start_quickly
from handmesh.inference.estimator import HandEstimator, is_plausible, place_after, place_of
from handmesh.inference.same_hand import is_same_hand
from handmesh.inference.stage_clock import StageClock
from handmesh.inference.start_up import beside, load_kernels
from handmesh.inference.views import STILL_VIEWS, Views
from handmesh.io.images import ImageLike, image_array
from handmesh.io.runtime.fork import is_forked
from handmesh.mano.arrays import ManoArrays, load_mano
from handmesh.models.checkpoint_path import hand_fingerprint_of
from handmesh.results import Detection, Hand

if TYPE_CHECKING:
    from handmesh.inference.engines.base import Engine
    from handmesh.mano.hand_model import HandModel
    from handmesh.mano.transfer import HandModelTransfer

FloatArray = NDArray[np.floating[Any]]

def results_model(predictor: HandMeshPredictor) -> HandModel:
    """The hand model of a predictor's results, which may be another one than its network's."""
    return predictor.model if predictor.transfer is None else predictor.transfer.model


class HandMeshPredictor(HandEstimator):
    """``hands = predictor(image)``. Stateless: the same picture gives the same hands.

    ``predictor.views`` are the turns and zooms in which it sees each hand of a picture, for a mean of several answers
    (views.py): STILL_VIEWS, or () for one look, which is the fastest.

    Any number of threads may share one. A forked child may use its parent's, which loads its models anew there (on the
    CPU; a GPU does not survive a fork, which is reported); one made by :meth:`from_pretrained` can be pickled, as
    spawned processes need, and is loaded again where it is unpickled.
    """

    def __init__(
        self,
        engine: Engine,
        mano: ManoArrays,
        crop: CropSettings,
        detector: Detector | None = None,
        presence_threshold: float = 0.5,
        transfer: HandModelTransfer | None = None,
        align: bool = True,
    ) -> None:
        """Compose a predictor; :meth:`from_pretrained` is the usual way.

        Args:
            engine: runs the network.
            mano: the hand model inside it.
            crop: what the network was trained to see.
            detector: None for our own, a :class:`FastVitDetector`.
            presence_threshold: the network's probability from which a place shows a hand.
            transfer: to the hand model of the results, where that is another one.
            align: move each mesh onto the network's keypoints (keypoint_alignment.py); it may be changed at any time.
        """
        super().__init__(engine, mano, crop, align)
        self.presence_threshold = presence_threshold
        self.detector: Detector = detector or FastVitDetector()
        self.segmenter = segmenter_of(self.detector)
        self.transfer = transfer
        self.views = STILL_VIEWS if align else ()
        self._origin: dict[str, Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self._origin is None:
            raise TypeError("expected a predictor of HandMeshPredictor.from_pretrained to pickle, got a composed one")
        return _load, (type(self), self._origin), {"presence_threshold": self.presence_threshold, "views": self.views}

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | Path = "default",
        device: str = "auto",
        engine: str = "auto",
        mano: str | Path = "open",
        threads: int = 0,
        trust_engine_file: bool = False,
        detector: str = "auto",
        crop_size: int = 0,
    ) -> HandMeshPredictor:
        """A predictor from a checkpoint and a hand model.

        Args:
            checkpoint: "default" for the weights in the package, a .safetensors file, or a run's folder.
            device: "auto", "cpu", "cuda" or "mps".
            engine: what runs the network: "auto", "openvino", "openvino-float32", "onnx", "torch", "torch-half",
                "torch-compile", or a file of ``handmesh export``.
            mano: the hand model of the results: "open" for the one in the package, or a MANO file (.pkl, .npz). Where
                the checkpoint was trained with the open hand, its results are transferred to the file's model.
            threads: of the network and of the detector; 0 = their own choice, within the CPU quota.
            trust_engine_file: run an exported TorchScript file (.pt), which is a program. ONNX and OpenVINO are not.
            detector: what finds the hands: "fastvit" (our own network, in the package), "mediapipe" (its palm and
                landmark models), "both" (what either finds), "auto" (both where MediaPipe's have been fetched, which
                set-up does, else ours), or the file or the run's folder of a network of ours.
            crop_size: side in pixels of the largest crops in which hands are seen once, one of the sizes that the
                network was trained at: smaller is faster, larger nearer to hands of many pixels. 0 for the checkpoint's
                own. The views of a still have all sizes, whatever is said here.

        Raises:
            HandMeshError: a missing or damaged file, weights of another hand model, an engine that cannot run, a size
                at which the network was not trained or that an exported file does not take.
        """
        from handmesh.inference.engines.factory import refuse_programs

        refuse_programs(engine, trust_engine_file)
        words = {
            "checkpoint": checkpoint, "device": device, "engine": engine, "mano": mano, "threads": threads,
            "trust_engine_file": trust_engine_file, "detector": detector, "crop_size": crop_size,
        }  # fmt: skip
        finder = make_detector(detector, engine, threads)
        arrays, transfer = load_mano(mano), None
        is_open = str(mano) == "open"
        if not is_open:
            open_hand = load_mano("open")
            own = open_hand.fingerprint()
            is_open = arrays.fingerprint() == own
            if not is_open and hand_fingerprint_of(checkpoint) == own:
                from handmesh.mano.transfer import HandModelTransfer

                transfer = HandModelTransfer(open_hand, arrays)
            if is_open or transfer:
                arrays = open_hand
        # A licensed hand stays out of every file we write; the open one may be copied, whatever its file is called.
        with beside(lambda: load_kernels(arrays), *loaders_of(finder)):
            predictor = cls._load(
                checkpoint, device, engine, arrays, threads, is_open or bool(transfer), trust_engine_file, crop_size
            )
        predictor.transfer, predictor._origin = transfer, words
        predictor.detector = finder
        predictor.segmenter = segmenter_of(finder)
        return predictor

    def finished(self, hand: Hand, hand_length_m: float | None) -> Hand:
        """A hand of the network as results have it: at its measured length (None: as it is), of the results' model."""
        sized = resize_hand(hand, hand_length_m, self.model)
        return sized if self.transfer is None else self.transfer(sized)

    @classmethod
    def _load(
        cls, checkpoint: str | Path, device: str, engine: str, arrays: ManoArrays, threads: int, keep: bool,
        trust_engine_file: bool = False, crop_size: int = 0,
    ) -> HandMeshPredictor:  # fmt: skip
        """``keep``: the converted network may stay in the cache: a licensed hand stays out of every file we write."""
        is_quick = keep and may_start_quickly(engine, device)
        if is_quick:
            started = start_quickly(checkpoint, arrays, threads, engine, crop_size)
            if started is not None:
                return cls(started[0], arrays, _sized(started[1], crop_size, started[0]))
        if is_forked():
            from handmesh.inference.engines.pytorch_engine import settle_after_fork

            settle_after_fork()
        from handmesh.inference.engines.factory import make_engine
        from handmesh.models.checkpoint import config_of, load_checkpoint

        net, description = load_checkpoint(checkpoint, arrays)
        crop = config_of(description).crop
        runner = make_engine(net, engine, device, threads=threads, keep=keep, trust_engine_file=trust_engine_file)
        if is_quick:
            remember(checkpoint, arrays, net, crop)
        return cls(runner, arrays, _sized(crop, crop_size, runner))

    @overload
    def __call__(
        self, image: ImageLike, boxes: Sequence[FloatArray] | FloatArray | None = None,
        is_right: Sequence[bool | None] | bool | None = None, K: FloatArray | None = None,
        fov_deg: float | None = None, hand_length_m: float | None = None, clock: StageClock | None = None,
        masks: bool = False,
    ) -> list[Hand]: ...  # fmt: skip

    @overload
    def __call__(
        self, image: list[ImageLike] | tuple[ImageLike, ...], boxes: Sequence[Any] | None = None,
        is_right: Sequence[Any] | bool | None = None, K: FloatArray | None = None, fov_deg: float | None = None,
        hand_length_m: float | None = None, clock: StageClock | None = None, masks: bool = False,
    ) -> list[list[Hand]]: ...  # fmt: skip

    def __call__(
        self,
        image: ImageLike | list[ImageLike] | tuple[ImageLike, ...],
        boxes: Any = None,
        is_right: Any = None,
        K: FloatArray | None = None,
        fov_deg: float | None = None,
        hand_length_m: float | None = None,
        clock: StageClock | None = None,
        masks: bool = False,
    ) -> list[Hand] | list[list[Hand]]:
        """The hands in a picture, or in each of a list of pictures.

        Args:
            image: (H, W, 3) uint8 RGB, a file's path, or a Pillow image; a list of these gives a list of lists, each as
                its picture alone would give. With a list, ``boxes`` is a list of one entry a picture, and so is
                ``is_right`` where it is none for all; the rest describes the one camera of all of them.
            boxes: (N, 4) or one (4,), xyxy pixels around whole hands, where the caller knows; None looks for hands.
            is_right: for each box, or one for all; None (the list or an entry) lets the landmark model decide, or else
                the network. Without boxes, one for every hand in the picture.
            K: (3, 3) intrinsics in pixels; None makes them from ``fov_deg``. Every Hand carries the K it was placed
                with. A calibrated camera's is ``camera.matrix(width, height)`` of a CameraCalibration, for
                ``camera.undistort(image)``.
            fov_deg: field of view over the longer side, degrees; None for DEFAULT_FOV_DEG.
            hand_length_m: wrist crease to middle fingertip, measured: sizes and distances are then true to it.
            clock: gets the milliseconds of each stage (detect, crop, network, place; segment).
            masks: also say which pixels show each hand (``hand.mask``), which our own detector's network sees.

        Returns:
            Without boxes, the hands found, best first, [] when there is none. With boxes, one Hand a box, in their
            order, whatever its score.

        Raises:
            HandMeshError: an argument that is not as above, or a file that cannot be read.
        """
        rest = (K, fov_deg, hand_length_m, clock, masks)
        if isinstance(image, list | tuple):
            count = len(image)
            return [
                self(picture, box, side, *rest)
                for picture, box, side in zip(
                    image, for_each(boxes, count, "boxes"), for_each(is_right, count, "is_right"), strict=True
                )
            ]
        array = image_array(image)
        clock = clock or StageClock()
        found = self._understand(array, boxes, is_right, K, fov_deg, hand_length_m, clock)
        if masks:
            with clock("segment"):
                self.segmenter = self.segmenter or FastVitDetector()
                found = with_masks(found, self.segmenter.segment(array))
        return found

    def _understand(
        self, image: NDArray[np.uint8], boxes: Sequence[FloatArray] | FloatArray | None,
        is_right: Sequence[bool | None] | bool | None, K: FloatArray | None, fov_deg: float | None,
        hand_length_m: float | None, clock: StageClock,
    ) -> list[Hand]:  # fmt: skip
        check_hand_length(hand_length_m)
        K = camera_matrix(image, K, fov_deg)
        if boxes is not None:
            with clock("detect"):
                given = box_places(boxes, is_right, image.shape)
                places = [self.detector.study(image, place) for place in given]
            looked = self._look(image, K, places, clock, [place.is_right is not None for place in given])
            return [self.finished(estimate.hand, hand_length_m) for estimate in looked]
        side = one_side(is_right)
        with clock("detect"):
            places = self.detector.detect(image)
        if side is not None:
            places = [replace(place, is_right=side) for place in places]
        estimates = self._look(image, K, places, clock, [side is not None] * len(places))
        # A hand is one for both, the detector and the network.
        hands = [
            replace(estimate.hand, score=min(estimate.presence, place.score))
            for estimate, place in zip(estimates, places, strict=True)
            if estimate.presence >= self.presence_threshold
        ]
        best = drop_repeats(sorted(hands, key=lambda hand: -hand.score), is_same_hand)
        return [self.finished(hand, hand_length_m) for hand in best]

    def predict_places(
        self,
        image: NDArray[np.uint8],
        K: FloatArray,
        places: Sequence[Detection],
        clock: StageClock | None = None,
        mesh: bool = True,
        views: Views = (),
    ) -> list[Estimate]:
        """Hands at known places, all crops in one batch.

        Args:
            image: (H, W, 3) uint8 RGB.
            K: (3, 3) intrinsics, pixels.
            places: one whose side is not known (is_right None) is cropped both ways, and the likelier one is kept.
            clock: gets the milliseconds of each stage.
            mesh: False leaves the vertices out, as of lift_hand.
            views: as of :meth:`estimate`.

        Returns:
            One a place, in their order.
        """
        clock = clock or StageClock()
        return self._predict(image, K, places, clock, mesh, views) if places else []

    def _look(
        self, image: NDArray[np.uint8], K: FloatArray, places: Sequence[Detection], clock: StageClock, told: list[bool]
    ) -> list[Estimate]:
        """Hands at places of a still, in all views; one without points is found first, and a detector's side mended."""
        unsure = [i for i, place in enumerate(places) if place.keypoints_2d is None]
        first = dict(zip(unsure, self.predict_places(image, K, [places[i] for i in unsure], clock), strict=True))
        again = [i for i, estimate in first.items() if is_plausible(estimate.hand, places[i])]
        guessed = [place.is_right is not None and not known for place, known in zip(places, told, strict=True)]
        after = {i: place_after(first[i]) if guessed[i] else place_of(first[i].hand) for i in again}
        near = [after.get(i, place) for i, place in enumerate(places)]
        # A place that is none after all is not looked at again.
        looked = [i for i in range(len(places)) if i not in first or i in again]
        found = dict(
            zip(looked, self.predict_places(image, K, [near[i] for i in looked], clock, views=self.views), strict=True)
        )
        return [found[i] if i in found else first[i] for i in range(len(places))]

    def _predict(
        self, image: NDArray[np.uint8], K: FloatArray, places: Sequence[Detection], clock: StageClock, mesh: bool,
        views: Views,
    ) -> list[Estimate]:  # fmt: skip
        with clock("crop"):
            crops = [
                [self.make_crop(replace(place, is_right=side), K) for side in sides_to_see(place.is_right)]
                for place in places
            ]
        return self.estimate_either([image] * len(crops), crops, clock, mesh, views)


def _sized(crop: CropSettings, crop_size: int, engine: Engine) -> CropSettings:
    """Crops of the size asked for, which network and engine must take; 0 asks for none."""
    if crop_size in (0, crop.image_size):
        return crop
    sized = crop.at_size(crop_size)
    if not engine.any_size:
        raise HandMeshError(f"expected crops of {crop.image_size} pixels, as {engine.name} takes them, got {crop_size}")
    return sized


def _load(kind: type[HandMeshPredictor], words: dict[str, Any]) -> HandMeshPredictor:
    return kind.from_pretrained(**words)
