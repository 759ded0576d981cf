"""Detectors side by side on the same scenes: what each finds, how fast, and how well pixels of hands are told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handmesh.data.scenes import LEAST_VISIBLE, Scene, SceneSource
from handmesh.detection.interface import Detector
from handmesh.detection.tiling import whole_window
from handmesh.evaluation.detection_scores import SIZES, Found, Truth, mask_overlap
from handmesh.inference.detectors.fastvit import MASK_THRESHOLD, FastVitDetector
from handmesh.results import Detection


class Run(NamedTuple):
    """What a detector found on a set: of each picture, with the truth and the milliseconds it took."""

    found: list[Found]
    truths: list[Truth]
    milliseconds: list[float]
    #: Intersection over union of the hands' pixels, by size of hand; empty where there are no masks.
    mask_iou: dict[str, float]


def run_detector(
    detector: Detector, source: SceneSource, is_quick: bool = False,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda numbers: numbers,
) -> Run:  # fmt: skip
    """Let a detector look at every scene of a source.

    Args:
        detector: finds hands.
        source: the scenes.
        is_quick: one pass over the whole picture, as a clip's frames get it; else the thorough search of a still.
        progress: wraps the numbers of the scenes, for a bar.
    """
    found, truths, times = [], [], []
    overlaps: dict[str, list[float]] = {name: [] for name, _, _ in SIZES}
    for number in progress(range(len(source))):
        scene = source.scene(number)
        height, width = scene.image.shape[:2]
        start = time.perf_counter()
        if is_quick:
            hands = detector.detect_quick(scene.image, [whole_window(width, height)])
        else:
            hands = detector.detect(scene.image)
        times.append(1000 * (time.perf_counter() - start))
        found.append(found_of(hands))
        truths.append(truth_of(scene))
        if isinstance(detector, FastVitDetector) and scene.hand_map is not None:
            for name, overlap in _overlaps(scene, detector.segment(scene.image) >= MASK_THRESHOLD):
                overlaps[name].append(overlap)
    means = {name: float(np.mean(values)) for name, values in overlaps.items() if values}
    return Run(found, truths, times, means)


def found_of(hands: Sequence[Detection]) -> Found:
    """Detections as scores take them: 0 or 1 for a side that is told, NaN for one that is not."""
    boxes = np.array([hand.box_xyxy for hand in hands], np.float64).reshape(-1, 4)
    right = np.array([np.nan if hand.is_right is None else float(hand.is_right) for hand in hands], np.float64)
    return Found(
        boxes, np.array([hand.score for hand in hands], np.float64),
        np.array([hand.rotation_deg for hand in hands], np.float64), right,
    )  # fmt: skip


def truth_of(scene: Scene) -> Truth:
    """A scene's hands as scores take them; those of which little is seen are places of which nothing is known."""
    height, width = scene.image.shape[:2]
    is_shown = [
        hand.visible >= LEAST_VISIBLE and hand.share_inside(width, height) >= LEAST_VISIBLE
        for hand in scene.hands
    ]
    shown = [hand for hand, is_there in zip(scene.hands, is_shown, strict=True) if is_there]
    hidden = [hand.box_xyxy for hand, is_there in zip(scene.hands, is_shown, strict=True) if not is_there]
    sides: list[Any] = [np.nan if hand.is_right is None else float(hand.is_right) for hand in shown]
    return Truth(
        np.array([hand.box_xyxy for hand in shown], np.float64).reshape(-1, 4),
        np.array([hand.roll_deg for hand in shown], np.float64), np.array(sides, np.float64),
        np.concatenate([scene.ignore, np.array(hidden, np.float64).reshape(-1, 4)]), float(max(height, width)),
        tuple(hand.kinds for hand in shown),
    )  # fmt: skip


def _overlaps(scene: Scene, predicted: NDArray[np.bool_]) -> Iterable[tuple[str, float]]:
    """Size of each hand that is shown, and how well its pixels are told inside its box."""
    assert scene.hand_map is not None
    longer = max(scene.image.shape[:2])
    is_hand = scene.hand_map > 0
    for number, hand in enumerate(scene.hands, start=1):
        own = scene.hand_map == number
        if hand.visible < LEAST_VISIBLE or not own.any():
            continue
        rows, columns = np.nonzero(own)
        part = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
        share = float((hand.box_xyxy[2:] - hand.box_xyxy[:2]).max()) / longer
        name = next(name for name, low, high in SIZES if low <= share < high or name == SIZES[-1][0])
        yield name, mask_overlap(predicted[part], is_hand[part])
