"""The kinds of rendered pictures of one hand, by name."""

from __future__ import annotations

from handmesh.synthesis.baseline_generators import BasicGenerator, PlainGenerator
from handmesh.synthesis.generator import SampleGenerator
from handmesh.synthesis.grasps import GraspGenerator

KINDS: dict[str, type[SampleGenerator]] = {
    "full": SampleGenerator, "plain": PlainGenerator, "basic": BasicGenerator, "grasps": GraspGenerator,
}  # fmt: skip
