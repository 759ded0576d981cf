"""Is it a hand, which one, and where exactly: MediaPipe's landmark model on the places the palm detector proposes.

The palm detector, asked about small windows, also fires on elbows, leaves and brass. The landmark model
(hand_landmark_full.tflite) was made to say whether its crop shows a hand, left or right, and its 21 points give a box
and a roll of the kind the mesh network is trained on. It runs when a hand is found, not on every frame.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from handmesh.detection.landmark_model import LandmarkModel, Landmarks
from handmesh.detection.nms import containment_matrix, drop_repeats, points_apart
from handmesh.geometry.crop import box_around, roll_of
from handmesh.results import Detection

#: Side of the model's crop over the side of the hand's box.
CROP_PADDING = 1.5
#: What presence, and palm score times presence, must reach.
MIN_PRESENCE = 0.5
MIN_SCORE = 0.5
#: A palm of this score that fails the first check is checked again at other rolls: its own roll may be wrong.
SECOND_CHANCE_SCORE = 0.7
SECOND_CHANCE_ROLLS = (90.0, 180.0, 270.0)
#: Detections whose points lie on average this near, in sides of the larger box, are of one hand.
SAME_HAND_DISTANCE = 0.25


class HandVerifier:
    """Keeps proposals that show a hand, and makes them exact. One instance holds one compiled model."""

    def __init__(self, path: str | Path | None = None, *, threads: int = 0) -> None:
        """Load the model (fetching it when `path` is None and the cache lacks it); `threads` 0 = OpenVINO's choice."""
        self._model = LandmarkModel(path, threads=threads)

    def landmarks(self, image: np.ndarray, detection: Detection, padding: float = CROP_PADDING) -> Landmarks:
        """The landmarks of one place (about 8 ms on two cores).

        Args:
            image: (H, W, 3) uint8 RGB.
            detection: the place, with its roll.
            padding: side of the crop over the side of the box.
        """
        return self._model.landmarks(image, detection.box_xyxy, detection.rotation_deg, padding)

    def confirm(self, image: np.ndarray, place: Detection) -> Detection | None:
        """The hand at a place, box, roll and side as one check gives them, score = presence; None for no hand."""
        found = self.landmarks(image, place)
        return _from_landmarks(found, 1.0) if found.presence >= MIN_PRESENCE else None

    def keep_hands(self, image: np.ndarray, proposals: list[Detection], *, thorough: bool = True) -> list[Detection]:
        """The proposals that show a hand, best first, each hand once.

        Args:
            image: (H, W, 3) uint8 RGB.
            proposals: of the palm detector.
            thorough: check again with the crop that the first check suggests, and give confident palms that fail
                another chance at other rolls (for stills); otherwise one check each.

        Returns:
            Detections with is_right, the box of the 21 points (square, without margin), the roll of the points, and
            score = palm score x presence.
        """
        hands = []
        for proposal in proposals:
            found = self._check(image, proposal, thorough)
            if found is not None:
                hands.append(found)
        return drop_repeats(sorted(hands, key=lambda hand: -hand.score), is_same_hand)

    def _check(self, image: np.ndarray, proposal: Detection, thorough: bool) -> Detection | None:
        found = self.landmarks(image, proposal)
        if thorough and found.presence < MIN_PRESENCE and proposal.score >= SECOND_CHANCE_SCORE:
            views = (self.landmarks(image, view) for view in _other_views(proposal))
            found = max(views, key=lambda view: view.presence)
        score = proposal.score * found.presence
        if found.presence < MIN_PRESENCE or score < MIN_SCORE:
            return None
        exact = _from_landmarks(found, proposal.score)
        if thorough:
            found = self.landmarks(image, exact)
            exact = _from_landmarks(found, proposal.score)
        return exact if found.presence >= MIN_PRESENCE else None


def is_same_hand(hand: Detection, other: Detection) -> bool:
    """Whether the points of one lie on the other's, or one is a small part inside the other."""
    boxes = np.stack([hand.box_xyxy, other.box_xyxy]).astype(np.float64)
    sides = boxes[:, 2] - boxes[:, 0]
    have_points = hand.keypoints_2d is not None and other.keypoints_2d is not None
    if have_points and points_apart(hand.keypoints_2d, other.keypoints_2d, float(np.max(sides))) < SAME_HAND_DISTANCE:
        return True
    # A finger taken for a hand: well inside the hand it belongs to.
    return bool(containment_matrix(boxes[:1], boxes[1:])[0, 0] > 0.8 and np.min(sides) < 0.6 * np.max(sides))


def _from_landmarks(found: Landmarks, palm_score: float) -> Detection:
    roll = roll_of(found.points)
    return Detection(
        box_around(found.points, rotation_deg=roll).astype(np.float32), found.right >= 0.5, palm_score * found.presence,
        roll, found.points.astype(np.float32),
    )  # fmt: skip


def _other_views(proposal: Detection) -> list[Detection]:
    """The palm seen from other rolls: centred on its keypoints, since where the fingers are is then unknown too."""
    assert proposal.keypoints_2d is not None
    centre = np.asarray(proposal.keypoints_2d, np.float64).mean(axis=0) + 0.5
    half = 0.75 * (proposal.box_xyxy[2] - proposal.box_xyxy[0])
    box = np.concatenate([centre - half, centre + half])
    return [replace(proposal, box_xyxy=box, rotation_deg=proposal.rotation_deg + r) for r in SECOND_CHANCE_ROLLS]
