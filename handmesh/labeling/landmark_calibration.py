"""How the landmark model's points differ from a hand's joints, measured on rendered hands whose joints are known.

The landmark model is asked about rendered pictures as it is asked about photos. From its answers come two kinds of
linear maps (landmark_correction.py): what its points are in terms of the joints, for measuring against it, and the
likeliest joints behind its points, for labels to train on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.data.sample import Sample
from handmesh.detection.landmark_model import LandmarkModel
from handmesh.errors import HandMeshError
from handmesh.geometry.alignment import point_errors, similarity_align
from handmesh.geometry.crop import box_around, roll_of
from handmesh.labeling.landmark_correction import HandFrame, LandmarkCorrection, features, middle_and_size
from handmesh.labeling.landmark_label import LandmarkLabel, label_hand
from handmesh.labeling.photo_sets import FIRST_PADDING, MAX_DISAGREEMENT
from handmesh.skeleton import NUM_JOINTS
from handmesh.synthesis.generator import project_joints

Array = NDArray[np.float64]
#: A sample (a picture and its truth) -> the landmark model's label, None where it sees no hand.
Ask = Callable[[Sample], "LandmarkLabel | None"]

#: A hand counts if this share of its joints can be seen, and the landmark model knows which hand it is.
MIN_VISIBLE = 0.6
#: Every fourth hand only measures.
HELD_OUT_EVERY = 4
MIN_PAIRS = 400
_RIDGE_MIXTURE = 1e-6  # metres squared a hand: of coordinates whose spread is some 3e-2
_RIDGE_CORRECTION = 0.1  # of coordinates of size 0.2, summed over hands
_ROUNDS = 6


@dataclass(frozen=True)
class Pairs:
    """N hands: points and keypoints as the landmark model sees them, joints and pixels as they are.

    points, joints (N, 21, 3) metres, camera axes; keypoints, pixels (N, 21, 2).
    """

    points: Array
    keypoints: Array
    joints: Array
    pixels: Array

    def __getitem__(self, rows: NDArray[np.bool_]) -> Pairs:
        return Pairs(self.points[rows], self.keypoints[rows], self.joints[rows], self.pixels[rows])

    def __add__(self, other: Pairs) -> Pairs:
        return Pairs(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in _NAMES))


_NAMES = ("points", "keypoints", "joints", "pixels")


def ask_with(model: LandmarkModel) -> Ask:
    """Five views of the hand of a sample, whose place is known."""

    def ask(sample: Sample) -> LandmarkLabel | None:
        pixels = project_joints(sample)
        return label_hand(sample["image"], model, box_around(pixels), roll_of(pixels), FIRST_PADDING)

    return ask


def right_hand(sample: Sample, ask: Ask) -> LandmarkLabel | None:
    """The landmark model's label of a sample whose hand can be seen, if it sees a right one; None of any other."""
    if not sample["presence"] or sample["visibility"].mean() < MIN_VISIBLE:
        return None
    label = ask(sample)
    return label if label is not None and label.is_right else None


def gather(samples: Iterable[Sample], ask: Ask) -> Pairs:
    """Right hands that can be seen and on which the views agree as well as on a photo that is trained on."""
    kept: list[tuple[Array, ...]] = []
    for sample in samples:
        label = right_hand(sample, ask)
        if label is not None and label.disagreement <= MAX_DISAGREEMENT:
            joints = np.asarray(sample["joints"], np.float64)
            kept.append((label.joints, label.keypoints_2d, joints, project_joints(sample).astype(np.float64)))
    columns = zip(*kept, strict=True) if kept else [()] * len(_NAMES)
    return Pairs(*(np.reshape(column, (-1, NUM_JOINTS, axes)) for column, axes in zip(columns, (3, 2, 3, 2))))


def solve(pairs: Pairs, hand: str) -> LandmarkCorrection:
    """The maps that fit the pairs best, by ridge regression."""
    space = _mixture(pairs.joints, pairs.points)
    size = np.ptp(pairs.pixels, axis=1).max(-1)[:, None, None] / 0.15  # pixels a metre, nearly
    picture = _mixture(pairs.pixels / size, pairs.keypoints / size, moves=False)
    frame = HandFrame.of(pairs.points, pairs.keypoints)
    rows = features(frame, pairs.points, pairs.keypoints)
    upright = _unit(pairs.joints @ frame.turn), frame.from_picture(pairs.pixels)
    truth = np.concatenate([part.reshape(len(rows), -1) for part in upright], axis=1)
    square = rows.T @ rows + _RIDGE_CORRECTION * np.eye(rows.shape[1])
    return LandmarkCorrection(hand, space, picture, np.linalg.solve(square, rows.T @ truth))


def _mixture(joints: Array, points: Array, moves: bool = True) -> Array:
    """(21, 21) rows that sum to 1, with points about mixture @ joints.

    moves: the points may be in other axes and of another size, so they are aligned between the rounds.
    """
    mixture = np.eye(NUM_JOINTS)
    for _ in range(_ROUNDS if moves else 1):
        goal = similarity_align(points, mixture @ joints, allow_reflection=False)[0] if moves else points
        mixture = np.stack([_row(joints, goal[:, k], k) for k in range(NUM_JOINTS)])
    return mixture


def _row(joints: Array, goal: Array, k: int) -> Array:
    """How joint k and the ways from it to the others make the goal (N, 3), or (N, 2) of (N, 21, 2) joints."""
    others = np.delete(np.arange(NUM_JOINTS), k)
    ways = (joints[:, others] - joints[:, k : k + 1]).swapaxes(1, 2).reshape(-1, len(others))
    square = ways.T @ ways + _RIDGE_MIXTURE * len(joints) * np.eye(len(others))
    weights = np.linalg.solve(square, ways.T @ (goal - joints[:, k]).reshape(-1))
    row = np.zeros(NUM_JOINTS)
    row[others], row[k] = weights, 1 - weights.sum()
    return row


def _unit(points: Array) -> Array:
    """(N, 21, 3) about their middle, at size one."""
    middle, size = middle_and_size(points)
    return (points - middle) / size


def report(correction: LandmarkCorrection, pairs: Pairs) -> dict[str, float]:
    """Errors on hands that the maps were not made from: PA in mm and share of the box's side, as named.

    Keys: pa_raw, pa_points_of (both from the joints to the landmark model's points), pa_truth_raw, pa_joints_of (from
    the landmark model to the joints), and the same four of the picture as px_*.
    """
    joints, pixels = correction.joints_of(pairs.points, pairs.keypoints)
    side = np.ptp(pairs.pixels, axis=1).max(-1)[:, None]

    def pa(source: Array, goal: Array) -> float:
        return 1000 * float(point_errors(similarity_align(source, goal, allow_reflection=False)[0], goal).mean())

    def flat(source: Array, goal: Array) -> float:
        return float((np.linalg.norm(source - goal, axis=-1) / side).mean())

    return {
        "pa_raw": pa(pairs.joints, pairs.points), "pa_points_of": pa(correction.points_of(pairs.joints), pairs.points),
        "pa_truth_raw": pa(pairs.points, pairs.joints), "pa_joints_of": pa(joints, pairs.joints),
        "px_raw": flat(pairs.pixels, pairs.keypoints),
        "px_points_of": flat(correction.keypoints_of(pairs.pixels), pairs.keypoints),
        "px_truth_raw": flat(pairs.keypoints, pairs.pixels), "px_joints_of": flat(pixels, pairs.pixels),
    }  # fmt: skip


def calibrate(pairs: Pairs, hand: str) -> tuple[LandmarkCorrection, dict[str, Any]]:
    """The maps from all pairs, and how far maps from three of four are from the fourth.

    Raises:
        HandMeshError: too few pairs to fit and measure the maps.
    """
    if len(pairs.points) < MIN_PAIRS:
        raise HandMeshError(
            f"expected {MIN_PAIRS} hands that the views agree on, got {len(pairs.points)}; render more"
        )
    held_out = np.arange(len(pairs.points)) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
    return solve(pairs, hand), {"hands": len(held_out), **report(solve(pairs[~held_out], hand), pairs[held_out])}
