"""Hands with things in them: grasps and pinches around handles, tools, cups, balls, pens and cards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from handmesh.mano.prior.gestures import GRASPS
from handmesh.synthesis.appearance.grasped import sample_held_thing
from handmesh.synthesis.appearance.props import Prop
from handmesh.synthesis.generator import SampleGenerator
from handmesh.synthesis.viewpoint import View, random_turn


class GraspGenerator(SampleGenerator):
    """SampleGenerator's pictures of hands that hold something, seen from anywhere more often: who handles a thing does
    not show the hand.
    """

    pose_shares = (0.92, 0.08, 0.0)
    gestures = GRASPS
    held_share = 0.85

    def fingerprint(self) -> str:
        """What decides the samples, in one line."""
        return f"grasps, {super().fingerprint()}"

    def _view(self, rng: np.random.Generator) -> View:
        view = super()._view(rng)
        return replace(view, rotation=random_turn(rng)) if rng.random() < 0.5 else view

    def _thing(self, vertices: np.ndarray, joints: np.ndarray, palm: np.ndarray, rng: np.random.Generator) -> Prop:
        return sample_held_thing(vertices, joints, palm, rng)
