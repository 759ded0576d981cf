"""Things in the hand: closed, outward, near the fingers, and never part of the hand's mask."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.synthesis.appearance.props import _SOLIDS, sample_prop
from handmesh.synthesis.generator import SampleGenerator


@pytest.mark.parametrize("name", sorted(_SOLIDS))
def test_solids_are_outward_and_hold_their_volume(name: str) -> None:
    vertices, faces = _SOLIDS[name]
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    volume = float(np.einsum("fc,fc->f", a, np.cross(b, c)).sum() / 6)
    wanted = {"ball": 4 / 3 * np.pi, "can": 2 * np.pi, "slab": 8.0}[name]
    assert volume == pytest.approx(wanted, rel=0.07)
    assert np.abs(vertices).max() <= 1 + 1e-9


def test_props_are_near_the_hand_and_turn_with_it(open_mano) -> None:
    generator = SampleGenerator(open_mano, seed=2)
    for index in range(20):
        joints = generator._labels(np.random.default_rng(index), index)["joints"]
        palm = np.array([0.0, 0.0, -1.0])
        one = sample_prop(joints, palm, np.random.default_rng(index))
        assert np.isfinite(one.vertices).all() and one.albedo.shape == (len(one.vertices), 4)
        assert np.linalg.norm(one.vertices - joints.mean(0), axis=1).min() < 0.12
        moved = sample_prop(joints + np.float32(0.5), palm, np.random.default_rng(index))
        np.testing.assert_allclose(moved.vertices - 0.5, one.vertices, atol=1e-5)
