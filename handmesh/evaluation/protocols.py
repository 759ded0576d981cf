"""Score a network on a labelled set by the published rules: crops of a stated protocol, predictions, figures.

Hands come from the predictor's own step (inference/estimator.py), so that what is scored is what users get.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from handmesh.data.freihand import FreiHandDataset
from handmesh.data.loading import SampleSource
from handmesh.data.sample import Sample
from handmesh.errors import HandMeshError
from handmesh.evaluation.metrics import Measurements, Scores, measure, pa_mpjpe, summarize
from handmesh.geometry.camera import project_points
from handmesh.geometry.crop import box_around
from handmesh.inference.estimator import HandEstimator, is_plausible, place_of
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.layers.numpy_layer import pose_vertices
from handmesh.results import Detection, Hand
from handmesh.skeleton import ROOT_JOINT

#: FreiHAND's pictures are this wide; a fixed crop keeps the same share of a picture of another size.
REFERENCE_PX = 224
#: A first crop may be much wider than the hand: the next one follows a hand of such sides and shift, in its own sides.
FOLLOWED_SIDES, FOLLOWED_SHIFT = (0.15, 3.0), 1.5


@dataclass(frozen=True)
class Protocol:
    """Where the first crop comes from. A box around the true joints tells the network how large the hand is.

    fixed_px: side of a fixed central crop of a 224-pixel picture, or 0 for a square around the true joints,
    which is box_factor times their extent (0: as the network was trained).
    """

    name: str
    fixed_px: float = 0.0
    box_factor: float = 0.0
    about: str = ""

    def place(self, sample: Sample, padding: float) -> Detection:
        """Where the first crop is taken, which is ``padding`` times the place's box."""
        if self.fixed_px:
            height, width = sample["image"].shape[:2]
            half = min(height, width) * self.fixed_px / REFERENCE_PX / 2 / padding
            box = np.array([width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half])
        else:
            box = box_around(project_points(sample["joints"], sample["K"]), (self.box_factor or padding) / padding)
        return Detection(box, bool(sample["is_right"]), 1.0)


PROTOCOLS: dict[str, Protocol] = {
    p.name: p
    for p in (
        Protocol("box", about="joint box, as trained"),
        Protocol("fixed180", fixed_px=180, about="fixed 180 px"),
        Protocol("fixed130", fixed_px=130, about="fixed 130 px"),
        Protocol("box1.25", box_factor=1.25, about="joint box x1.25"),
        Protocol("box2", box_factor=2.0, about="joint box x2"),
    )
}
DEFAULT_PROTOCOLS = ("box", "fixed180")


@dataclass(frozen=True, eq=False)
class Predictions:
    """joints (N, 21, 3), vertices (N, 778, 3) metres, camera frame; keypoints_2d (N, 21, 2) pixels or
    None.
    """

    joints: np.ndarray
    vertices: np.ndarray
    keypoints_2d: np.ndarray | None = None


@dataclass(frozen=True)
class Evaluation:
    """One protocol's result: the figures, what they are made of, and how they came about."""

    protocol: str
    about: str
    scores: Scores
    measured: Measurements
    rounds: int = 1
    views: int = 1
    description: dict[str, Any] = field(default_factory=dict)


def find_protocols(names: str | Iterable[str]) -> list[Protocol]:
    """Protocols by name ("box,fixed180"); HandMeshError naming the known ones."""
    wanted = names.split(",") if isinstance(names, str) else list(names)
    unknown = [name for name in wanted if name not in PROTOCOLS]
    if unknown or not wanted:
        raise HandMeshError(f"expected protocols among {', '.join(PROTOCOLS)}, got {', '.join(unknown) or 'none'}")
    return [PROTOCOLS[name] for name in wanted]


def evaluate(
    predictions: Predictions,
    dataset: FreiHandDataset,
    protocol: str,
    about: str = "",
    allow_reflection: bool = True,
    **details: Any,
) -> Evaluation:
    """Score predictions for every sample of a set, in order.

    Args:
        predictions: joints and vertices, metres, camera frame.
        dataset: gives the truth.
        protocol: its name.
        about: a few words on its crop.
        allow_reflection: False aligns with proper rotations only (not the official rule).
        details: further fields of :class:`Evaluation`.

    Raises:
        HandMeshError: not as many predictions as samples, or one that is not finite.
    """
    hands = np.arange(len(dataset)) % dataset.unique
    true_joints, true_vertices = dataset.annotations.joints[hands], dataset.annotations.vertices[hands]
    measured = measure(predictions.joints, predictions.vertices, true_joints, true_vertices, allow_reflection)
    return Evaluation(protocol, about, summarize(measured), measured, **details)


def make_views(count: int) -> list[tuple[float, float]]:
    """Test-time views as (roll in degrees, factor of the box): the plain one first, then rolls to 30 degrees
    and scales to 15 %, spread evenly.
    """
    rolls = np.linspace(-30, 30, max(count - 1, 1))
    scales = (1.0, 0.85, 1.15)
    return [(0.0, 1.0)] + [(float(roll), scales[i % 3]) for i, roll in enumerate(rolls[: count - 1])]


def predict(
    estimator: HandEstimator,
    dataset: SampleSource,
    protocol: Protocol,
    rounds: int = 2,
    views: int = 1,
    batch_size: int = 32,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    alter: Callable[[Sample], np.ndarray] | None = None,
) -> Predictions:
    """The hands of a set, as the predictor would have them from the protocol's crops.

    Args:
        estimator: makes hands of crops.
        dataset: gives the samples.
        protocol: which box the first crop has.
        rounds: from the second on, the crop is made from the round before (around its joints, upright), as the
            program does on a picture: nothing of the truth enters.
        views: crops whose hands are averaged (test-time augmentation).
        batch_size: samples at a time.
        progress: wraps the iterable of batch starts.
        alter: changes a sample's picture, (H, W, 3) uint8 RGB, before it is cropped.

    Returns:
        joints and vertices in metres, camera frame; keypoints in pixels of the pictures.
    """
    parts: list[tuple[np.ndarray, ...]] = []
    for start in progress(range(0, len(dataset), batch_size)):
        samples = [dataset.sample(i) for i in range(start, min(start + batch_size, len(dataset)))]
        if alter is not None:
            samples = [{**sample, "image": alter(sample)} for sample in samples]
        places = [protocol.place(sample, estimator.crop.padding) for sample in samples]
        for _ in range(rounds - 1):
            places = [_next_place(*pair) for pair in zip(_hands(estimator, samples, places), places, strict=True)]
        seen = [_hands(estimator, samples, [_view(place, *view) for place in places]) for view in make_views(views)]
        parts.append(
            tuple(
                np.mean([[getattr(hand, name) for hand in hands] for hands in seen], axis=0)
                for name in ("joints", "vertices", "keypoints_2d")
            )
        )
    joints, vertices, keypoints = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Predictions(joints, vertices, keypoints)


def _hands(estimator: HandEstimator, samples: Sequence[Sample], places: Sequence[Detection]) -> list[Hand]:
    crops = [estimator.make_crop(place, sample["K"]) for place, sample in zip(places, samples, strict=True)]
    return [found.hand for found in estimator.estimate([sample["image"] for sample in samples], crops)]


def _view(place: Detection, roll_deg: float, factor: float) -> Detection:
    """The place seen rolled, and with its box so many times as large."""
    centre = (place.box_xyxy[:2] + place.box_xyxy[2:]) / 2
    half = (place.box_xyxy[2:] - place.box_xyxy[:2]) / 2 * factor
    box = np.concatenate([centre - half, centre + half])
    return replace(place, box_xyxy=box, rotation_deg=place.rotation_deg + roll_deg)


def _next_place(hand: Hand, place: Detection) -> Detection:
    """The upright place around a predicted hand, unless that is nonsense beside the place it came from."""
    return place_of(hand) if is_plausible(hand, place, FOLLOWED_SIDES, FOLLOWED_SHIFT) else place


def mean_pose_predictions(mano: ManoArrays, dataset: FreiHandDataset) -> Predictions:
    """The baseline: the mean hand, unturned, on the optical axis, three hand lengths wide in view, every
    time.

    Only its aligned figures mean anything: they are what a network that ignores the picture would score.
    """
    vertices, joints = pose_vertices(mano, np.eye(3), mano.mean_pose(), np.zeros(10))
    hand_length_m = float(np.ptp(joints, axis=0).max())
    K = dataset.annotations.K[np.arange(len(dataset)) % dataset.unique]
    depth = K[:, 0, 0] * 3 * hand_length_m / dataset.image_shape[1]
    shift = np.zeros((len(dataset), 1, 3), np.float32)
    shift[:, 0, 2] = depth
    centre = joints[ROOT_JOINT]
    return Predictions(joints - centre + shift, vertices - centre + shift)


def mean_pose_error(mano: ManoArrays, dataset: FreiHandDataset) -> float:
    """PA-MPJPE in mm of the mean-pose baseline."""
    hands = np.arange(len(dataset)) % dataset.unique
    return pa_mpjpe(mean_pose_predictions(mano, dataset).joints, dataset.annotations.joints[hands])
