"""Hands before plain ground: found by colour alone, refused where the ground is not plain."""

from __future__ import annotations

import numpy as np

from handmesh.labeling.outline_fit import overlap
from handmesh.labeling.plain_ground import hand_before_plain_ground

SIZE = 256
Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


def photo(mesh: np.ndarray) -> np.ndarray:
    """The hand before a wall whose light falls off to one side, with noise."""
    wall = np.linspace(150, 215, SIZE)[None, :, None] * np.array([1.0, 1.0, 1.02])
    picture = np.where(mesh[..., None], np.array([190.0, 130, 100]), wall)
    return np.clip(picture + np.random.default_rng(0).normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def test_the_outline_is_that_of_the_hand(flat_hand: Drawn) -> None:
    mesh, points, _ = flat_hand
    everywhere = np.ones((SIZE, SIZE), bool)
    found = hand_before_plain_ground(photo(mesh), points, everywhere)
    assert found is not None and overlap(found, mesh) > 0.94
    # What lies beyond the photo is no ground.
    cut = photo(mesh)
    cut[:, :40] = 0
    part = hand_before_plain_ground(cut, points, everywhere & (np.arange(SIZE) >= 40))
    assert part is not None and overlap(part, mesh & (np.arange(SIZE) >= 40)) > 0.94


def test_what_is_not_plain_or_not_apart_is_refused(flat_hand: Drawn) -> None:
    mesh, points, _ = flat_hand
    everywhere = np.ones((SIZE, SIZE), bool)
    striped = photo(mesh)
    striped[:, ::8] = 20
    striped[:, 1::8] = 20
    assert hand_before_plain_ground(striped, points, everywhere) is None
    assert hand_before_plain_ground(photo(np.zeros_like(mesh)), points, everywhere) is None
    # An outline without the labelled joints is another thing's.
    assert hand_before_plain_ground(photo(mesh), points + [60, 0], everywhere) is None
