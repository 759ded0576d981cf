"""The result type: what it writes can be read back, and its mesh faces the right way."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.geometry.quaternion import to_matrix
from handmesh.geometry.rotation import axis_angle_to_matrix_np
from handmesh.results import Detection, Hand
from handmesh.skeleton import (
    BONES,
    FINGERS,
    FINGERTIP_VERTICES,
    FINGERTIPS,
    JOINT_NAMES,
    MANO21_TO_OPENPOSE,
    MANO_JOINT_NAMES,
    MANO_PARENTS,
    PARENTS,
)


def tetrahedron_hand() -> Hand:
    vertices = np.array([[0, 0, 1], [0.1, 0, 1], [0, 0.1, 1], [0, 0, 1.1]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    rng = np.random.default_rng(0)
    return Hand(
        vertices=vertices, joints=rng.normal(size=(21, 3)), keypoints_2d=rng.normal(size=(21, 2)), is_right=True,
        score=0.9, faces=faces, global_orient=axis_angle_to_matrix_np(np.array([0.1, 0.2, 0.3])),
        hand_pose=axis_angle_to_matrix_np(rng.normal(size=(15, 3)) * 0.3), betas=np.zeros(10),
        translation=np.array([0, 0, 1.0]), K=np.eye(3), box_xyxy=np.array([0, 0, 10, 10.0]),
    )  # fmt: skip


def test_dictionary_survives_json_and_keeps_the_numbers() -> None:
    hand = tetrahedron_hand()
    values = json.loads(json.dumps(hand.to_dict()))
    for key in ("global_orient", "hand_pose"):
        np.testing.assert_allclose(to_matrix(np.array(values[key])), getattr(hand, key), atol=5e-6)
    for key in ("vertices", "joints", "keypoints_2d", "betas", "translation", "K", "box_xyxy"):
        np.testing.assert_allclose(values[key], getattr(hand, key), atol=1e-6)


def test_a_hand_comes_back_from_its_dictionary() -> None:
    hand = tetrahedron_hand()
    copy = Hand.from_dict(json.loads(json.dumps(hand.to_dict())))
    assert (copy.track_id, copy.is_predicted) == (hand.track_id, hand.is_predicted)
    for item in fields(Hand):
        if item.name not in ("track_id", "is_predicted", "mask"):
            values, known = getattr(copy, item.name), getattr(hand, item.name)
            np.testing.assert_allclose(values, known, atol=5e-6, err_msg=item.name)
    # From then on nothing changes any more.
    assert Hand.from_dict(copy.to_dict()).to_dict() == copy.to_dict()
    assert copy.side == "right" and copy.to_dict()["side"] == "right"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("vertices", [[0, 0]]), ("joints", None), ("joints", "all"), ("betas", [1, "a"]), ("K", [[1, 2], [3]]),
        ("faces", [[0, 1, 9]]), ("faces", [[0, 1, -1]]), ("is_right", 1), ("score", float("nan")), ("scale", [1]),
        ("translation", [0, 0, float("inf")]),
    ],
)  # fmt: skip
def test_a_wrong_dictionary_is_named(key: str, value: object) -> None:
    values = {**tetrahedron_hand().to_dict(), key: value}
    with pytest.raises(HandMeshError, match=key):
        Hand.from_dict(values)
    del values[key]
    with pytest.raises(HandMeshError, match=key):
        Hand.from_dict(values)


def test_hands_compare_pickle_and_print_in_one_line() -> None:
    hand, other = tetrahedron_hand(), tetrahedron_hand()
    assert hand == hand and hand != other and other not in [hand] and len({hand, other}) == 2
    assert pickle.loads(pickle.dumps(hand)).to_dict() == hand.to_dict()
    assert repr(hand).startswith("Hand(right, score=0.90, wrist=(") and len(repr(hand)) < 120
    place = Detection(np.zeros(4), None, 0.5)
    assert place == place and place != Detection(np.zeros(4), None, 0.5)


def test_the_meshs_joints_in_the_picture() -> None:
    hand = replace(tetrahedron_hand(), joints=np.tile([0.1, -0.2, 2.0], (21, 1)), K=np.diag([100.0, 100, 1]))
    np.testing.assert_allclose(hand.joints_2d, np.tile([5, -10], (21, 1)), atol=1e-6)
def test_a_hand_of_doubtful_joints_is_said_to_fit_less() -> None:
    hand = tetrahedron_hand()
    scores = [replace(hand, confidence=np.full(21, confidence)).fit_score for confidence in (0.0, 0.2, 0.6, 0.95, 1.0)]
    assert 0 < scores[0] < 0.01 and scores[-1] > 0.9 and scores == sorted(scores)
    # One lost joint of 21 is a doubt and not a verdict.
    one_lost = np.full(21, 0.97)
    one_lost[8] = 0.05
    assert scores[1] < replace(hand, confidence=one_lost).fit_score < scores[-1]
    assert hand.to_dict()["fit_score"] == round(hand.fit_score, 6)


def test_mesh_for_viewers_keeps_volume_and_outward_faces() -> None:
    mesh = tetrahedron_hand().to_trimesh()
    assert mesh.is_watertight
    # A positive volume says that the faces still look outward after the change of axes.
    np.testing.assert_allclose(mesh.volume, 0.1**3 / 6, rtol=1e-4)
    assert mesh.vertices[:, 2].max() < 0


@pytest.mark.parametrize("is_right", [True, False])
def test_an_exported_mesh_has_a_name_a_colour_and_normals(tmp_path: Path, is_right: bool) -> None:
    hand = replace(tetrahedron_hand(), is_right=is_right)
    data = hand.to_trimesh().export(file_type="glb")
    header = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    assert "NORMAL" in header["meshes"][0]["primitives"][0]["attributes"]
    assert header["meshes"][0]["name"] == f"{hand.side}_hand"
    red, _, blue, _ = header["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"]
    assert (red < blue) == is_right


def test_joint_orders_tell_one_story() -> None:
    appended = [*MANO_JOINT_NAMES, "thumb_tip", "index_tip", "middle_tip", "ring_tip", "little_tip"]
    renumbered = [appended[index] for index in MANO21_TO_OPENPOSE]
    assert sorted(MANO21_TO_OPENPOSE) == list(range(21))
    for name, official in zip(renumbered, JOINT_NAMES, strict=True):
        assert name.split("_")[0] == official.split("_")[0]
    # The two trees agree: a joint's parent in one order is its parent in the other.
    for place, mano in enumerate(MANO21_TO_OPENPOSE):
        if 0 < mano < 16:
            assert MANO21_TO_OPENPOSE[PARENTS[place]] == MANO_PARENTS[mano]
    assert len(BONES) == 20 and all(parent < child for parent, child in BONES)
    assert tuple(finger[-1] for finger in FINGERS.values()) == FINGERTIPS
    assert all(len(set(table)) == 5 for table in FINGERTIP_VERTICES.values())
