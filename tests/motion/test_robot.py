"""Points for robot programs: the frame is theirs, and a robot finger made for this test bends as the hand's does."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handmesh.errors import HandMeshError
from handmesh.geometry.joint_angles import pose_of_names
from handmesh.mano.hand_model import HandModel
from handmesh.motion.formats.robot import operator_points
from handmesh.results import Hand


def bent_hand(model: HandModel, flexion_deg: float, is_right: bool, turn: np.ndarray) -> Hand:
    """A hand whose index finger is bent by so much in each joint."""
    bent = {f"index_{joint}": (flexion_deg, 0.0, 0.0) for joint in ("mcp", "pip", "dip")}
    pose = pose_of_names(bent, is_right)
    vertices, joints = model.pose(is_right, turn, pose, np.zeros(10))
    return Hand(vertices, joints, joints[:, :2], is_right, 1.0, model.faces(is_right), turn, pose, np.zeros(10),
                np.zeros(3), np.eye(3), np.zeros(4))  # fmt: skip


@pytest.mark.parametrize("is_right", [True, False])
def test_points_stay_the_same_however_the_hand_is_held(model: HandModel, is_right: bool) -> None:
    first = operator_points(bent_hand(model, 20, is_right, np.eye(3)).joints, is_right)
    turn = Rotation.from_rotvec([0.3, -2.0, 1.0]).as_matrix()
    np.testing.assert_allclose(
        operator_points(bent_hand(model, 20, is_right, turn).joints + 1, is_right), first, atol=1e-5
    )
    assert first[12, 2] > 0.15 and abs(first[9, :2]).max() < 1e-6 and (first[5, 1] > 0) == is_right
    # A bent finger leaves the palm's plane to the palm's side: that is +x, for either hand.
    flat = operator_points(bent_hand(model, 0, is_right, np.eye(3)).joints, is_right)
    assert first[8, 0] > flat[8, 0] + 0.03


@pytest.mark.parametrize("is_right", [True, False])
def test_the_frame_is_dex_retargetings(model: HandModel, is_right: bool) -> None:
    constants = pytest.importorskip("dex_retargeting.constants")
    turn = Rotation.from_rotvec([0.3, -2.0, 1.0]).as_matrix()
    joints = bent_hand(model, 20, is_right, turn).joints.astype(float)
    points = joints - joints[0]
    # Its documentation: x from the palm to the wrist, y the palm's normal, z from little to index finger; then its own
    # constant for the side.
    x = -points[9] / np.linalg.norm(points[9])
    z = points[5] - points[9]
    z = z - (z @ x) * x
    z /= np.linalg.norm(z)
    frame = np.stack([x, np.cross(z, x), z], axis=1)
    side = constants.HandType.right if is_right else constants.HandType.left
    np.testing.assert_allclose(
        operator_points(joints, is_right), points @ frame @ constants.OPERATOR2MANO[side], atol=1e-6
    )


def urdf(links_m: list[float], base: np.ndarray) -> str:
    """A finger of three hinges on a palm, straight along z, that bends towards +x."""
    text = '<robot name="finger"><link name="palm"/>'
    parent, offset = "palm", base
    for number, length in enumerate([*links_m, None]):
        is_tip = length is None
        name = "tip" if is_tip else f"link{number}"
        place = " ".join(f"{value:.5f}" for value in offset)
        kind = "fixed" if is_tip else "revolute"
        hinge = "" if is_tip else '<axis xyz="0 1 0"/><limit lower="-0.2" upper="1.9" effort="1" velocity="1"/>'
        text += (
            f'<link name="{name}"><inertial><mass value="0.01"/><inertia ixx="1e-5" ixy="0" ixz="0" iyy="1e-5" iyz="0" '
            f'izz="1e-5"/></inertial></link><joint name="hinge_{name}" type="{kind}"><parent link="{parent}"/>'
            f'<child link="{name}"/><origin xyz="{place}"/>{hinge}</joint>'
        )
        parent, offset = name, np.array([0, 0, length or 0.0])
    return text + "</robot>"


@pytest.fixture
def example() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "demo" / "retarget_example.py"
    spec = importlib.util.spec_from_file_location("retarget_example", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_robot_finger_bends_as_the_hand_does(model: HandModel, tmp_path: Path, example: ModuleType) -> None:
    pytest.importorskip("dex_retargeting")
    flat = operator_points(bent_hand(model, 0, True, np.eye(3)).joints, True)
    lengths = [float(np.linalg.norm(flat[place + 1] - flat[place])) for place in (5, 6, 7)]
    (tmp_path / "finger.urdf").write_text(urdf(lengths, flat[5]))
    (tmp_path / "finger.yml").write_text(
        "retargeting:\n  type: vector\n  urdf_path: finger.urdf\n  scaling_factor: 1.0\n  low_pass_alpha: 1.0\n"
        "  target_joint_names: null\n  target_origin_link_names: [palm, palm, palm]\n"
        "  target_task_link_names: [link1, link2, tip]\n  target_link_human_indices: [[0, 0, 0], [6, 7, 8]]\n"
    )
    retargeting = example.load_retargeting(tmp_path / "finger.yml")
    sums = []
    for flexion_deg in (0.0, 20.0, 40.0, 60.0):
        hand = bent_hand(model, flexion_deg, True, Rotation.from_rotvec([1.0, 0.5, 0]).as_matrix())
        for _ in range(30):  # an optimizer that starts from its last answer
            angles = example.retarget(retargeting, hand)
        assert set(angles) == {"hinge_link0", "hinge_link1", "hinge_link2"}
        sums.append(np.degrees(sum(angles.values())))
    assert np.all(np.diff(sums) > 30) and abs(sums[-1] - sums[0] - 180) < 30
    with pytest.raises(HandMeshError, match="no such file"):
        example.load_retargeting(tmp_path / "missing.yml")
    (tmp_path / "bad.yml").write_text("retargeting: {type: vector, urdf_path: none.urdf}")
    with pytest.raises(HandMeshError, match="configuration"):
        example.load_retargeting(tmp_path / "bad.yml")
