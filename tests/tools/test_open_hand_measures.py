"""Laws of the open hand's body: published measures, flesh kept when bent, no surface through itself, rebuilt alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from handmesh.mano.arrays import SHAPES, load_mano
from handmesh.skeleton import FINGERTIP_VERTICES
from scripts.open_hand.measures import Measurable, measure_mm, targets_mm
from scripts.open_hand.mesh_quality import self_intersections, triangle_quality
from scripts.open_hand.regions import REGIONS
from scripts.open_hand.volumes import bent_volumes

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference-hand" / "right.glb"


@pytest.fixture(scope="module")
def hand():
    return load_mano("open")


def test_measures_are_within_five_percent_of_published_means(hand):
    tips = hand.v_template[list(FINGERTIP_VERTICES["freihand"])]
    read = measure_mm(Measurable(hand.v_template, hand.faces, hand.weights, hand.J_regressor @ hand.v_template, tips))
    off = {name: read[name] / target - 1 for name, target in targets_mm().items()}
    assert len(off) > 30
    assert {name: value for name, value in off.items() if abs(value) > 0.05} == {}


def test_measures_grow_with_the_hand(hand):
    joints = hand.J_regressor @ hand.v_template
    tips = hand.v_template[list(FINGERTIP_VERTICES["freihand"])]
    once = measure_mm(Measurable(hand.v_template, hand.faces, hand.weights, joints, tips))
    twice = measure_mm(Measurable(2 * hand.v_template, hand.faces, hand.weights, 2 * joints, 2 * tips))
    for name, value in once.items():
        if name != "palm thickness":  # read within a strip of fixed width
            assert twice[name] == pytest.approx(2 * value, rel=1e-6)


def test_bent_fingers_keep_their_flesh(hand):
    for angle in (45.0, 90.0):
        for joint, (kept, plain) in bent_volumes(hand, angle).items():
            assert abs(kept) < 0.08, joint
            assert abs(kept) < abs(plain), joint


def test_surface_does_not_run_through_itself_at_rest(hand):
    assert len(self_intersections(hand.v_template, hand.faces)) == 0


@pytest.mark.parametrize("sign", [-2.5, 2.5])
@pytest.mark.parametrize("direction", [0, 2, 9])
def test_shapes_do_not_run_through_themselves(hand, sign, direction):
    shaped = hand.v_template + sign * hand.shapedirs[..., direction]
    assert len(self_intersections(shaped, hand.faces)) == 0


def test_crossing_surfaces_are_noticed():
    flat = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0.2, 0.2, -1], [0.3, 0.2, 1], [0.2, 0.3, 1]])
    faces = np.array([[0, 1, 2], [3, 4, 5]])
    assert len(self_intersections(flat, faces)) == 1
    apart = np.concatenate([flat[:3], flat[3:] + [2.0, 0, 0]])
    assert len(self_intersections(apart, faces)) == 0


def test_triangle_quality_knows_the_equilateral():
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0.5, np.sqrt(0.75), 0]])
    angle, aspect = triangle_quality(corners, np.array([[0, 1, 2]]))
    np.testing.assert_allclose([angle[0], aspect[0]], [60.0, 2 / np.sqrt(3)])


def test_nails_are_on_the_back_of_every_fingertip(hand):
    regions, finger, place = (hand.extras[k] for k in ("vertex_regions", "vertex_finger", "finger_coordinates"))
    nails = regions == REGIONS.index("nail")
    assert set(finger[nails]) == {1, 2, 3, 4, 5}
    assert (place[nails, 0] > 2.3).all() and (place[nails, 2] > 0).all()
    assert set(regions) == set(range(len(REGIONS)))


@pytest.mark.slow
@pytest.mark.skipif(not REFERENCE.is_file(), reason="the reference surface is not part of the project")
def test_builder_rebuilds_the_shipped_arrays(hand):
    from scripts.open_hand.build import build_open_hand

    built = build_open_hand(REFERENCE)
    np.testing.assert_array_equal(built.faces, hand.faces)
    for key in SHAPES:
        if key != "hands_components":  # singular vectors of near-equal singular values may turn
            np.testing.assert_allclose(getattr(built, key), getattr(hand, key), atol=1e-5, err_msg=key)
