"""A labelled hand on other backgrounds: the hand stays, the scene goes; a wrong outline is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from handmesh.labeling.compositing import cut_out, on_backgrounds
from handmesh.mano.arrays import ManoArrays
from handmesh.rendering.rasterizer import rasterize
from handmesh.synthesis.backgrounds.pool import Backgrounds
from handmesh.synthesis.generator import SampleGenerator


@pytest.fixture(scope="module")
def sample(open_mano: ManoArrays) -> dict[str, Any]:
    """An open hand of one colour before a plain wall of another, both with a little noise."""
    labels = SampleGenerator(open_mano, seed=3).sample(1)
    mesh = rasterize(labels["vertices"], open_mano.faces, labels["K"], 224, 224).face_index >= 0
    picture = np.where(mesh[..., None], [190.0, 140, 115], [120.0, 135, 150])
    picture += np.random.default_rng(0).normal(0, 4, picture.shape)
    return {**labels, "image": picture.clip(0, 255).astype(np.uint8), "shape": mesh}


def test_the_outline_is_the_hands(open_mano: ManoArrays, sample: dict[str, Any]) -> None:
    alpha = cut_out(sample["image"], sample["vertices"], open_mano.faces, sample["K"])
    assert alpha is not None and 0 <= alpha.min() and alpha.max() <= 1
    hand = sample["shape"]
    assert (alpha[hand] > 0.5).mean() > 0.9
    assert (alpha[~hand] > 0.5).mean() < 0.02


def test_copies_keep_labels_and_hand_and_change_the_scene(open_mano: ManoArrays, sample: dict[str, Any]) -> None:
    alpha = cut_out(sample["image"], sample["vertices"], open_mano.faces, sample["K"])
    assert alpha is not None
    copies = list(on_backgrounds(sample, alpha, Backgrounds(0), 2, np.random.default_rng(1)))
    again = list(on_backgrounds(sample, alpha, Backgrounds(0), 2, np.random.default_rng(1)))
    assert len(copies) == 2
    for copy, repeated in zip(copies, again):
        assert copy["joints"] is sample["joints"] and copy["K"] is sample["K"]
        np.testing.assert_array_equal(copy["image"], repeated["image"])
        ratio = copy["image"][alpha == 1].mean(0) / sample["image"][alpha == 1].mean(0)
        # One exposure and tint for the whole hand, no more.
        assert (0.5 < ratio).all() and (ratio < 1.5).all()
        off = copy["image"][alpha == 0].astype(float) - sample["image"][alpha == 0]
        assert np.abs(off).mean() > 10


def test_a_mesh_that_is_not_where_the_hand_is_gives_no_copies(open_mano: ManoArrays, sample: dict[str, Any]) -> None:
    elsewhere = sample["vertices"] + np.float32([1.0, 0, 0])
    flat = np.full_like(sample["image"], 120)
    assert cut_out(sample["image"], elsewhere, open_mano.faces, sample["K"]) is None
    assert cut_out(flat, sample["vertices"], open_mano.faces, sample["K"]) is None
    assert not list(on_backgrounds(sample, None, Backgrounds(0), 2, np.random.default_rng(1)))
