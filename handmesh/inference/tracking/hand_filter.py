"""A track's hand filtered in time: rotations, points, depth and shape filtered, and the mesh posed anew from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from handmesh.inference.frame_kernels import fit_translation
from handmesh.inference.tracking.one_euro import OneEuroFilter, OneEuroSettings, RotationFilter, ShapeLock
from handmesh.mano.hand_model import HandModel
from handmesh.results import Hand


@dataclass(frozen=True)
class SteadyingSettings:
    """One-Euro settings of each quantity. Speeds: radians a second, box sides a second, nepers (log metres) a second.

    Depth is filtered hardest: it comes from apparent size, and jitters ten times as much as x and y. Chosen by
    ``scripts/experiments/smoothing.py`` (the demo scene through the shipped weights, with noise): jitter is more than
    halved for less than 15 ms of lag. Without lead, no cutoffs do both.
    """

    rotations: OneEuroSettings = OneEuroSettings(min_cutoff_hz=1.5, beta=0.5, derivative_cutoff_hz=1.5, lead=0.7)
    points: OneEuroSettings = OneEuroSettings(min_cutoff_hz=1.5, beta=1.0, derivative_cutoff_hz=1.5, lead=0.7)
    log_depth: OneEuroSettings = OneEuroSettings(min_cutoff_hz=1.0, beta=2.0, derivative_cutoff_hz=1.0, lead=0.5)


class HandFilter:
    """Filters the successive estimates of one hand. A new hand, or another side, needs a new one."""

    def __init__(self, model: HandModel, settings: SteadyingSettings | None = None) -> None:
        settings = settings or SteadyingSettings()
        self._model = model
        self._rotations = RotationFilter(settings.rotations)
        self._points, self._log_depth = OneEuroFilter(settings.points), OneEuroFilter(settings.log_depth)
        self._shape = ShapeLock()
        self._side_px = 0.0

    def __call__(self, hand: Hand, timestamp_s: float) -> Hand:
        """The filtered hand; it differs from ``hand`` in everything but side, score, K, confidence and box."""
        if not self._side_px:
            # Points are filtered in sides of the box, so that near and far hands are filtered alike.
            self._side_px = max(float(hand.box_xyxy[2] - hand.box_xyxy[0]), 1.0)
        # The wrist and the finger joints each at their own speed, in one go.
        rotations = self._rotations(np.concatenate([hand.global_orient[None], hand.hand_pose]), timestamp_s)
        root, pose = rotations[0], rotations[1:]
        betas = self._shape(hand.betas, timestamp_s, hand.score)
        keypoints = self._points(hand.keypoints_2d / self._side_px, timestamp_s) * self._side_px
        vertices, joints = self._model.pose(hand.is_right, root, pose, betas)
        translation = self._translation(joints, keypoints, hand, timestamp_s)
        return replace(
            hand,
            vertices=(vertices + translation).astype(np.float32),
            joints=(joints + translation).astype(np.float32),
            keypoints_2d=keypoints.astype(np.float32),
            global_orient=root.astype(np.float32),
            hand_pose=pose.astype(np.float32),
            betas=betas.astype(np.float32),
            translation=translation.astype(np.float32),
        )

    def _translation(self, joints: np.ndarray, keypoints: np.ndarray, hand: Hand, timestamp_s: float) -> np.ndarray:
        """Where the filtered mesh stands: on the filtered points, at a depth filtered on its own."""
        translation = fit_translation(joints, keypoints, hand.K, np.maximum(hand.confidence, 0.01))
        own = joints.mean(axis=0, dtype=np.float64)
        centre = own + translation
        if not (np.isfinite(centre).all() and centre[2] > 0):
            # The estimate's own place is the one that the predictor has checked.
            centre = hand.joints.mean(axis=0, dtype=np.float64)
        seen = math.log(centre[2])
        # Moved along its ray, the hand stays where it is seen.
        return np.asarray(centre * math.exp(self._log_depth(np.array([seen]), timestamp_s)[0] - seen) - own)
