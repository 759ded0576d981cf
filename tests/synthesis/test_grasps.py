"""Hands around things: what is held fits between the fingers and touches them, and most pictures have it."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.mano.layers.numpy_layer import NumpyManoLayer
from handmesh.mano.prior.gestures import GRASPS
from handmesh.mano.prior.pose_prior import PosePrior
from handmesh.synthesis import write_dataset
from handmesh.synthesis.appearance.grasped import _SOFT_M, _THINNEST_M, _ball, _handle, sample_held_thing, widest_place
from handmesh.synthesis.appearance.props import _SOLIDS
from handmesh.synthesis.generator import SampleGenerator
from handmesh.synthesis.grasps import GraspGenerator


@pytest.fixture(scope="module")
def hands(open_mano) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Vertices and joints of some grasps; the palm looks along +z or -z as in the model's rest."""
    prior, layer = PosePrior(open_mano), NumpyManoLayer(open_mano)
    names = ("cylinder, wide", "cylinder", "cylinder, narrow", "sphere, wide", "sphere", "fist")
    return {name: layer.pose(np.eye(3), prior.gesture(name), np.zeros(10)) for name in names}


@pytest.fixture(scope="module")
def palm(open_mano) -> np.ndarray:
    return SampleGenerator(open_mano).renderer.surface.palm_normal


def test_the_widest_place_is_a_tubes_axis() -> None:
    angle, along = np.meshgrid(np.linspace(0, 2 * np.pi, 60), np.linspace(-0.05, 0.05, 11))
    tube = np.stack([0.03 * np.cos(angle), 0.03 * np.sin(angle), along], -1).reshape(-1, 3)
    middle, room = widest_place(tube, np.array([0.008, -0.006, 0.0]), np.eye(3)[:2], 0.03, 0.05)
    assert np.linalg.norm(middle[:2]) < 0.002 and room == pytest.approx(0.03, abs=0.002)
    ball = np.random.default_rng(0).normal(size=(2000, 3))
    ball = 0.02 * ball / np.linalg.norm(ball, axis=1)[:, None] + 0.1
    middle, room = widest_place(ball, np.full(3, 0.104), np.eye(3), 0.03, 0.05)
    assert np.abs(middle - 0.1).max() < 0.002 and room == pytest.approx(0.02, abs=0.002)


def test_handles_fill_the_fingers_and_do_not_cut_them(hands, palm) -> None:
    count = len(_SOLIDS["can"][0])
    radii = {}
    for name, (vertices, joints) in hands.items():
        made = []
        for seed in range(12):
            can = _handle(vertices, joints, palm, np.random.default_rng(seed)).vertices[:count]
            axis = can[-1] - can[0]
            axis /= np.linalg.norm(axis)

            def off_axis(points: np.ndarray, start: np.ndarray = can[0], axis: np.ndarray = axis) -> np.ndarray:
                return np.linalg.norm(np.cross(points - start, axis), axis=1)

            radius, skin = float(off_axis(can).max()), float(off_axis(vertices).min())
            assert radius <= max(skin + _SOFT_M, _THINNEST_M) + 1e-6
            if "cylinder" in name:
                assert skin - radius < 0.012  # it touches, or nearly
            made.append(radius)
        radii[name] = np.mean(made)
    assert radii["cylinder, wide"] > radii["cylinder"] > radii["cylinder, narrow"] > _THINNEST_M


def test_balls_fill_the_hollow(hands, palm) -> None:
    radii = {}
    for name in ("sphere, wide", "sphere", "fist"):
        vertices, joints = hands[name]
        made = [_ball(vertices, joints, palm, np.random.default_rng(seed)).vertices for seed in range(12)]
        for ball in made:
            middle = ball.mean(0)
            room = np.linalg.norm(vertices - middle, axis=1).min()
            # Corners of a block of 0.75 reach 1.3 radii; no other point lies beyond one and a twentieth.
            assert np.linalg.norm(ball - middle, axis=1).max() <= 1.35 * (room + _SOFT_M + _THINNEST_M)
        radii[name] = np.mean([np.ptp(ball, axis=0).mean() for ball in made])
    assert radii["sphere, wide"] > radii["sphere"] > radii["fist"]


def test_held_things_move_with_the_hand(hands, palm) -> None:
    vertices, joints = hands["cylinder"]
    for seed in range(12):
        here = sample_held_thing(vertices, joints, palm, np.random.default_rng(seed))
        there = sample_held_thing(vertices + 0.5, joints + 0.5, palm, np.random.default_rng(seed))
        np.testing.assert_allclose(there.vertices - 0.5, here.vertices, atol=1e-5)
        assert here.faces.max() < len(here.vertices) == len(here.albedo)
        assert np.linalg.norm(here.vertices[:, None] - vertices[::6], axis=-1).min() < 0.02


def test_poses_come_from_the_gestures_asked_for(open_mano) -> None:
    prior = PosePrior(open_mano)
    assert set(GRASPS) <= set(prior.names)
    fists = prior.sample_angles(np.random.default_rng(0), 200, (1.0, 0.0, 0.0), True, ("fist",))
    assert np.degrees(fists[:, 1:12:3, 0]).min() > 50  # every finger's second joint


def test_most_pictures_have_a_thing_that_hides_parts_of_the_hand(open_mano, tmp_path) -> None:
    grasps, full = GraspGenerator(open_mano, 3, 64), SampleGenerator(open_mano, 3, 64)
    assert grasps.fingerprint() != full.fingerprint()
    labels = grasps.sample(0)
    np.testing.assert_array_equal(GraspGenerator(open_mano, 3, 64).sample(0)["image"], labels["image"])
    rng = np.random.default_rng(0)
    hand = labels["vertices"], labels["joints"], labels["global_orient"]
    held = [sum(g._held_thing(rng, *hand) is not None for _ in range(200)) for g in (grasps, full)]
    assert 150 < held[0] < 190 and 10 < held[1] < 50
    shown = [np.mean([g.sample(i)["visibility"].mean() for i in range(60)]) for g in (grasps, full)]
    assert shown[0] < shown[1] - 0.04
    root = write_dataset(tmp_path / "set", 4, 0, 5, 64, workers=1, progress=False, pictures="grasps")
    assert '"pictures": "grasps"' in (root / "synth.json").read_text()
