"""Laws of the open hand as shipped: MANO's counts, a disc, weights, joints amid the flesh, and one fixed numbering."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.mano.arrays import OPEN_HAND_PATH, load_mano
from handmesh.skeleton import FINGERTIP_VERTICES
from scripts.open_hand.measures import FINGER_ORDER, ROOT_OF
from scripts.open_hand.remesh import boundary_loop
from scripts.open_hand.skinning import TIP_NUMBERS


@pytest.fixture(scope="module")
def hand():
    return load_mano("open")


@pytest.fixture(scope="module")
def edges(hand):
    corners = np.concatenate([hand.faces[:, [0, 1]], hand.faces[:, [1, 2]], hand.faces[:, [2, 0]]])
    return np.unique(np.sort(corners, axis=1), axis=0, return_counts=True)


def test_topology_is_manos(hand, edges):
    pairs, uses = edges
    assert len(hand.v_template) == 778 and len(hand.faces) == 1538 and len(pairs) == 2315
    assert 778 - len(pairs) + 1538 == 1  # a disc
    assert set(uses) == {1, 2} and (uses == 1).sum() == 16
    assert len(boundary_loop(hand.faces)) == 16
    assert len(np.unique(hand.faces)) == 778


def test_every_edge_is_used_once_in_each_direction(hand):
    directed = np.concatenate([hand.faces[:, [0, 1]], hand.faces[:, [1, 2]], hand.faces[:, [2, 0]]])
    assert len(np.unique(directed, axis=0)) == len(directed)


def test_faces_look_outward(hand):
    corners = hand.v_template[hand.faces]
    volume = np.einsum("ni,ni->", corners[:, 0] - hand.v_template.mean(0), np.cross(
        corners[:, 1] - hand.v_template.mean(0), corners[:, 2] - hand.v_template.mean(0))) / 6
    assert 2.0e-4 < volume < 5.0e-4  # cubic metres: an adult hand holds about a third of a litre


def test_triangles_are_well_shaped(hand):
    corners = hand.v_template[hand.faces]
    angles = []
    for k in range(3):
        u, v = corners[:, (k + 1) % 3] - corners[:, k], corners[:, (k + 2) % 3] - corners[:, k]
        cosine = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
        angles.append(np.degrees(np.arccos(cosine)))
    assert np.min(angles) > 22.0 and np.max(angles) < 130.0


def test_weights_and_regressor_are_convex(hand):
    for rows in (hand.weights, hand.J_regressor):
        assert (rows >= 0).all()
        np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-5)
    assert ((hand.weights > 0).sum(axis=1) <= 4).all()
    assert ((hand.J_regressor > 0).sum(axis=1) < 120).all()


def test_axes_and_size_are_manos(hand):
    joints = hand.J_regressor @ hand.v_template
    tip = hand.v_template[443]
    assert 0.170 < joints[0, 0] - tip[0] < 0.190  # hand length, fingers towards -x
    assert joints[13, 2] > joints[0, 2] > joints[7, 2]  # thumb towards +z
    fingers = joints[1:13].reshape(4, 3, 3)
    assert np.abs(fingers[..., 1] - fingers[:, :1, 1]).max() < 1e-3  # flat rest pose
    assert joints[13:, 1].max() < joints[4, 1]  # the thumb stands on the palm's side, -y


@pytest.mark.parametrize("table", sorted(FINGERTIP_VERTICES))
def test_fingertip_numbers_are_fingertips(hand, table):
    joints = hand.J_regressor @ hand.v_template
    for name, vertex in zip(FINGER_ORDER, FINGERTIP_VERTICES[table]):
        root = ROOT_OF[name]
        bone = joints[root + 2] - joints[root + 1]
        own = hand.weights[:, root + 2] > 0.5
        reach = (hand.v_template - joints[root + 2]) @ (bone / np.linalg.norm(bone))
        assert hand.weights[vertex].argmax() == root + 2
        assert reach[own].max() - reach[vertex] < 0.006
    assert {n for names in TIP_NUMBERS.values() for n in names} >= set(FINGERTIP_VERTICES[table])


def test_shape_directions_start_with_size_and_keep_joints_inside(hand):
    up = hand.v_template + 2 * hand.shapedirs[..., 0]
    joints, rest = hand.J_regressor @ up, hand.J_regressor @ hand.v_template
    spread = np.linalg.norm(joints - joints[0], axis=1)[1:] / np.linalg.norm(rest - rest[0], axis=1)[1:]
    assert (spread > 1.0).all()
    sizes = np.linalg.norm(hand.shapedirs.reshape(-1, 10), axis=0)
    assert (np.diff(sizes) <= 1e-9).all() and sizes[-1] > 0
    basis = hand.shapedirs.reshape(-1, 10) / sizes
    np.testing.assert_allclose(basis.T @ basis, np.eye(10), atol=1e-4)


def test_file_is_small_and_plain():
    assert OPEN_HAND_PATH.stat().st_size < 1_500_000
    with np.load(OPEN_HAND_PATH, allow_pickle=False) as content:
        assert {"v_template", "f", "kintree_table", "pose_min", "pose_max", "joint_axes"} <= set(content.files)
