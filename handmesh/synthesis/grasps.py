"""Hands with things in them: grasps and pinches around handles, tools, cups, balls, pens and cards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from handmesh.data.sample import Sample
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

    def fingerprint(self) -> str:
        """What decides the samples, in one line."""
        return f"grasps, {super().fingerprint()}"

    def _view(self, rng: np.random.Generator) -> View:
        view = super()._view(rng)
        return replace(view, rotation=random_turn(rng)) if rng.random() < 0.5 else view

    def _held_thing(self, rng: np.random.Generator, labels: Sample) -> Prop | None:
        if rng.random() >= 0.85:
            return None
        palm = labels["global_orient"] @ self.renderer.surface.palm_normal
        return sample_held_thing(labels["vertices"], labels["joints"], palm, rng)
