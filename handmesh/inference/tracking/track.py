"""One hand in view, from frame to frame: where it was, how it moves, which side the votes say, its filter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from handmesh.geometry.crop import box_around, roll_of
from handmesh.inference.alignment.placement import Estimate, with_mesh
from handmesh.inference.tracking.hand_filter import HandFilter
from handmesh.mano.hand_model import HandModel
from handmesh.results import Detection, Hand

#: The vote on left or right is a sum that forgets with this time constant and needs this much to turn. A second of
#: frames counts as much as VOTE_RATE, one check by the landmark model as VOTE_OF_LOOK.
VOTE_MEMORY_S = 2.0
VOTE_MARGIN = 2.0
VOTE_RATE = 2.0
VOTE_OF_LOOK = 2.0
#: Two hands in view are a left and a right one far more often than not: of two tracks on one side, the one with the
#: weaker vote gets so many votes a second for the other side. Two people's right hands still are two right hands.
VOTE_FOR_A_PAIR = 1.5
#: A hand whose last estimate has at least this fit_score is sure: meshes on faces and elbows have a quarter of it.
SURE_FIT = 0.8
#: What a track's next step depends on, besides its velocity and these of its last hand.
_TRACK_NUMBERS = ("number", "timestamp_s", "vote", "is_right", "misses", "doubts", "confirmed_s")
_HAND_NUMBERS = ("keypoints_2d", "box_xyxy", "is_right", "score")


class Track:
    """One hand in view: where it was, how it moves, which side the votes say, its filters."""

    def __init__(self, number: int, hand: Hand, timestamp_s: float, model: HandModel) -> None:
        """Begin with a hand's first frame.

        Args:
            number: of the track.
            hand: in that frame.
            timestamp_s: of that frame.
            model: the hand model that the filter poses.
        """
        self.number, self.hand, self.timestamp_s = number, hand, timestamp_s
        self.shown = hand
        self.velocity = np.zeros(2)
        self.vote = VOTE_MARGIN if hand.is_right else -VOTE_MARGIN
        self.is_right = hand.is_right
        self.misses = self.doubts = 0
        self.confirmed_s = timestamp_s
        self.is_sure = False
        self._model = model
        self.filter = HandFilter(model)

    def state(self) -> dict[str, Any]:
        """The track as plain numbers: of its hand, what finding it again needs."""
        plain = {name: getattr(self, name) for name in _TRACK_NUMBERS}
        of_hand = {name: np.asarray(getattr(self.hand, name), np.float64).tolist() for name in _HAND_NUMBERS}
        return {**plain, "is_sure": self.is_sure, "velocity": self.velocity.tolist(), "hand": of_hand}

    @classmethod
    def restored(cls, state: dict[str, Any], model: HandModel) -> Track:
        """The track of a :meth:`state` (KeyError, TypeError or ValueError for none); its hand has only places."""
        of_hand = state["hand"]
        points = np.array(of_hand["keypoints_2d"], np.float32).reshape(21, 2)
        box = np.array(of_hand["box_xyxy"], np.float32).reshape(4)
        unknown = np.zeros((21, 3), np.float32)
        hand = Hand(
            unknown, unknown, points, bool(of_hand["is_right"]), float(of_hand["score"]), model.faces(True),
            unknown, unknown, unknown, unknown, unknown, box,
        )  # fmt: skip
        track = cls(int(state["number"]), hand, float(state["timestamp_s"]), model)
        for name in _TRACK_NUMBERS:
            setattr(track, name, type(getattr(track, name))(state[name]))
        # Recordings begun by an older version do not have it.
        track.is_sure = bool(state.get("is_sure", False))
        track.velocity = np.array(state["velocity"], np.float64).reshape(2)
        return track

    def place(self, timestamp_s: float) -> Detection:
        """Where to crop now: the last points, moved on by their velocity; wider when the hand is fast or was missed."""
        points = self.hand.keypoints_2d
        step_s = min(max(timestamp_s - self.timestamp_s, 0.0), 0.1)
        roll = roll_of(points)
        box = box_around(points, rotation_deg=roll)
        side = float(box[2] - box[0])
        lead = self.velocity * step_s
        length = math.hypot(*lead.tolist())
        shorter = min(1.0, 0.5 * side / max(length, 1e-6))
        lead, length = lead * shorter, length * shorter
        widen = 1.0 + min(0.3, length / side) + 0.2 * self.misses
        centre, half = (box[:2] + box[2:]) / 2 + lead, side * widen / 2
        return Detection(np.concatenate([centre - half, centre + half]), self.is_right, self.hand.score, roll)

    def confirm(self, seen: Detection | None, timestamp_s: float) -> None:
        """Take in what the landmark model sees at the track's place."""
        if seen is None:
            self.doubts += 1
            return
        self.doubts, self.confirmed_s = 0, timestamp_s
        if seen.is_right is not None:
            self.vote += VOTE_OF_LOOK if seen.is_right else -VOTE_OF_LOOK

    def follow(self, estimate: Estimate, timestamp_s: float, smoothing: bool, lean: float = 0.0) -> None:
        """Take in this frame's estimate.

        Args:
            estimate: of this frame.
            timestamp_s: of this frame.
            smoothing: filter it.
            lean: votes a second for a right hand (negative: left) besides the network's.
        """
        hand, step_s = estimate.hand, timestamp_s - self.timestamp_s
        if step_s > 0:
            moved = (hand.keypoints_2d - self.hand.keypoints_2d).mean(axis=0)
            self.velocity = 0.5 * self.velocity + 0.5 * moved / step_s
            self.vote *= math.exp(-step_s / VOTE_MEMORY_S)
        # A second of frames counts the same at any frame rate.
        self.vote += ((2 * estimate.right - 1) * VOTE_RATE + lean) * min(max(step_s, 0.0), 0.1)
        self.hand, self.timestamp_s, self.misses = hand, timestamp_s, 0
        self.is_sure = hand.fit_score >= SURE_FIT
        if (self.vote > 0) != self.is_right and abs(self.vote) > VOTE_MARGIN:
            # From the next frame on it is cropped and filtered as the other hand.
            self.is_right = self.vote > 0
            self.filter = HandFilter(self._model)
            self.shown = with_mesh(hand, self._model)
            return
        self.shown = self.filter(hand, timestamp_s) if smoothing else with_mesh(hand, self._model)
