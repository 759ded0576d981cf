"""Joint orders of other programs: each joint is where its name says."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.mano.hand_model import HandModel
from handmesh.motion.formats.joint_orders import JOINT_ORDERS, joint_order
from handmesh.skeleton import FINGERS, JOINT_NAMES, MANO_JOINT_NAMES


@pytest.fixture
def joints(model: HandModel) -> np.ndarray:
    return model.pose(True, np.eye(3), np.tile(np.eye(3), (15, 1, 1)), np.zeros(10))[1].astype(float)


def test_every_order_is_a_mixture_that_moves_with_the_hand(joints: np.ndarray) -> None:
    counts = {"mano16": 16, "openpose21": 21, "mediapipe21": 21, "openxr26": 26}
    assert {name: len(order.joint_names) for name, order in JOINT_ORDERS.items()} == counts
    for order in JOINT_ORDERS.values():
        assert order.mixing.shape == (counts[order.name], 21) and len(set(order.joint_names)) == counts[order.name]
        np.testing.assert_allclose(order.mixing.sum(1), 1)
        np.testing.assert_allclose(order.apply(joints + [1, 2, 3]), order.apply(joints) + [1, 2, 3])


def test_mano_and_mediapipe_name_the_same_places(joints: np.ndarray, model: HandModel) -> None:
    mano = joint_order("mano16").apply(joints)
    for name, place in zip(MANO_JOINT_NAMES[1:], mano[1:], strict=True):
        finger, number = name.split("_")
        np.testing.assert_array_equal(place, joints[FINGERS[finger][int(number) - 1]])
    mediapipe = joint_order("mediapipe21")
    np.testing.assert_array_equal(mediapipe.apply(joints), joints)
    wanted = {0: "WRIST", 1: "THUMB_CMC", 4: "THUMB_TIP", 5: "INDEX_FINGER_MCP", 12: "MIDDLE_FINGER_TIP",
              14: "RING_FINGER_PIP", 17: "PINKY_MCP", 20: "PINKY_TIP"}  # fmt: skip
    assert {place: mediapipe.joint_names[place] for place in wanted} == wanted


def test_openxr_has_its_extra_joints_where_the_standard_says(joints: np.ndarray) -> None:
    order = joint_order("openxr26")
    at = dict(zip(order.joint_names, order.apply(joints), strict=True))
    wanted = {0: "PALM", 1: "WRIST", 2: "THUMB_METACARPAL", 5: "THUMB_TIP", 6: "INDEX_METACARPAL", 10: "INDEX_TIP",
              15: "MIDDLE_TIP", 20: "RING_TIP", 21: "LITTLE_METACARPAL", 25: "LITTLE_TIP"}  # fmt: skip
    assert {place: order.joint_names[place] for place in wanted} == wanted
    for name, ours in (("THUMB_METACARPAL", "thumb_cmc"), ("THUMB_DISTAL", "thumb_ip"), ("INDEX_PROXIMAL", "index_mcp"),
                       ("LITTLE_INTERMEDIATE", "little_pip"), ("RING_DISTAL", "ring_dip")):  # fmt: skip
        np.testing.assert_array_equal(at[name], joints[JOINT_NAMES.index(ours)])
    np.testing.assert_allclose(at["PALM"], (at["MIDDLE_METACARPAL"] + at["MIDDLE_PROXIMAL"]) / 2)
    for finger in ("INDEX", "MIDDLE", "RING", "LITTLE"):
        wrist, start, end = at["WRIST"], at[f"{finger}_METACARPAL"], at[f"{finger}_PROXIMAL"]
        assert 0.01 < np.linalg.norm(start - wrist) < 0.04 < np.linalg.norm(end - start) < 0.09
    with pytest.raises(HandMeshError, match="openxr26"):
        joint_order("other")
