"""VMC's messages: a receiver that knows only Unity's rules gets the recorded hand back, wrist, fingers and sides."""

from __future__ import annotations

import socket
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handmesh.geometry.quaternion import to_quaternion
from handmesh.mano.hand_model import HandModel
from handmesh.motion.formats.skeletal import skeletal_motions
from handmesh.motion.formats.tables import RecordingHeader
from handmesh.motion.recorder import FrameRecords
from handmesh.motion.recording import RecordedFrame, Recording
from handmesh.motion.streams.live import LiveStream
from handmesh.motion.streams.targets import open_targets
from handmesh.motion.streams.vmc import avatar_hand, bone_names, vmc_datagrams
from handmesh.skeleton import MANO_JOINT_NAMES

#: Of a network's packet, what is left for a datagram's content.
PACKET_BYTES = 1472
#: As Unity's documentation of HumanBodyBones has them, each with the bone above it in an avatar.
PARENTS = {
    f"{side}{finger}{level}": f"{side}{finger}{above}" if above else f"{side}Hand"
    for side in ("Left", "Right")
    for finger in ("Thumb", "Index", "Middle", "Ring", "Little")
    for level, above in (("Proximal", ""), ("Intermediate", "Proximal"), ("Distal", "Intermediate"))
}


def messages_of(datagrams: list[bytes]) -> list[tuple[str, list[Any]]]:
    """Addresses and arguments, in order, read by python-osc."""
    bundle = pytest.importorskip("pythonosc.osc_bundle").OscBundle
    return [(message.address, list(message.params)) for data in datagrams for message in bundle(data)]


def unity_positions(messages: list[tuple[str, list[Any]]], side: str) -> dict[str, np.ndarray]:
    """Where a program in Unity puts the bones of one side: the wrist at its tracker, each bone below the one above."""
    wrist = {values[0]: values[1:] for address, values in messages if address == "/VMC/Ext/Tra/Pos"}[f"{side}Hand"]
    bones = {values[0]: values[1:] for address, values in messages if address == "/VMC/Ext/Bone/Pos"}
    place = {f"{side}Hand": np.array(wrist[:3])}
    turn = {f"{side}Hand": Rotation.from_quat(wrist[3:])}
    for name, above in PARENTS.items():
        if name.startswith(side):
            place[name] = place[above] + turn[above].apply(bones[name][:3])
            turn[name] = turn[above] * Rotation.from_quat(bones[name][3:])
    return place


def record_of(frame: RecordedFrame, header: RecordingHeader, stale: bool = False) -> dict[str, Any]:
    return {"stale": stale, **FrameRecords(header).record(frame)}


@pytest.mark.parametrize("index", [5, 17, 39])
def test_a_receiver_in_unity_gets_every_joint_back(
    recording: Recording, frames: list[RecordedFrame], header: RecordingHeader, model: HandModel, index: int
) -> None:
    messages = messages_of(vmc_datagrams(record_of(frames[index], header), model))
    motions = skeletal_motions(recording)
    assert {motion.side for motion in motions} == {"right", "left"}
    for motion in motions:
        row = int(np.flatnonzero(motion.frame_row == index)[0])
        places = unity_positions(messages, motion.side.capitalize())
        joints = np.stack([places[name] for name in bone_names(motion.is_right)])
        # From an avatar that faces the camera back to the camera's axes: every direction turns round.
        np.testing.assert_allclose(-joints, motion.joint_positions()[row], atol=2e-6)


def test_a_hand_in_t_pose_is_the_avatars_own(model: HandModel) -> None:
    """Of a person who faces the camera, palms down: no bone is turned, and it lies where Unity's avatars have it."""
    towards_camera = Rotation.from_euler("x", 180, degrees=True).as_matrix()
    for is_right in (True, False):
        hand = {
            "is_right": is_right, "scale": 1.0, "betas": np.zeros(10), "translation": np.array([0.1, -0.2, 0.6]),
            "global_orient": to_quaternion(towards_camera), "hand_pose": np.tile([0.0, 0, 0, 1], (15, 1)),
        }  # fmt: skip
        wrist, *bones = avatar_hand(hand, model)
        for pose in (wrist, *bones):
            np.testing.assert_allclose(Rotation.from_quat(pose.rotation).magnitude(), 0, atol=1e-6)
        finger = {bone.name: bone.position for bone in bones}
        out = 1 if is_right else -1
        side = "Right" if is_right else "Left"
        # x is the avatar's right: the right hand's fingers point there. The thumb is in front (+z) of the fingers.
        assert out * finger[f"{side}MiddleProximal"][0] > 0.05 and out * finger[f"{side}IndexDistal"][0] > 0.01
        assert finger[f"{side}IndexProximal"][2] > 0.01 > -0.01 > finger[f"{side}LittleProximal"][2]
        assert finger[f"{side}ThumbProximal"][2] > 0.01
        # The back of the hand is up: bending a finger takes it down.
        vertices, _ = model.pose(is_right, np.eye(3), np.tile(np.eye(3), (15, 1, 1)), np.zeros(10))
        assert np.ptp(vertices[:, 1]) < np.ptp(vertices[:, 2])


def test_a_closing_fist_bends_towards_the_palm(model: HandModel) -> None:
    """Palms look down in T-pose: in Unity the fingertips go down and back towards the body, on both sides."""
    for is_right in (True, False):
        side, name = (1.0, "Right") if is_right else (-1.0, "Left")
        bend = np.tile([0.0, 0.0, side * 0.7], (15, 1))
        hand = {
            "is_right": is_right, "scale": 1.0, "betas": np.zeros(10), "translation": np.zeros(3),
            "global_orient": np.array([1.0, 0, 0, 0]), "hand_pose": Rotation.from_rotvec(bend).as_quat(),
        }  # fmt: skip
        wrist, *bones = avatar_hand(hand, model)
        sent = [["/VMC/Ext/Tra/Pos", wrist], *(["/VMC/Ext/Bone/Pos", bone] for bone in bones)]
        place = unity_positions([(kind, [pose.name, *pose.position, *pose.rotation]) for kind, pose in sent], name)
        for finger in ("Index", "Middle", "Ring", "Little"):
            first, second, third = (place[f"{name}{finger}{level}"] for level in ("Proximal", "Intermediate", "Distal"))
            assert third[1] < second[1] - 0.01 < first[1] - 0.02
            assert side * (second - first)[0] > side * (third - second)[0] > 0


def test_names_are_unitys_and_every_bone_is_there_once(
    frames: list[RecordedFrame], header: RecordingHeader, model: HandModel
) -> None:
    datagrams = vmc_datagrams(record_of(frames[10], header), model)
    messages = messages_of(datagrams)
    sent = [values[0] for address, values in messages if address == "/VMC/Ext/Bone/Pos"]
    assert sorted(sent) == sorted(PARENTS)
    assert bone_names(True)[MANO_JOINT_NAMES.index("thumb_2")] == "RightThumbIntermediate"
    assert len(datagrams) == 3 and max(map(len, datagrams)) <= PACKET_BYTES
    for address, values in messages:
        if address.endswith("Pos"):
            assert [type(value) for value in values] == [str, *[float] * 7]
            assert abs(np.linalg.norm(values[4:]) - 1) < 1e-5


def test_state_and_time(frames: list[RecordedFrame], header: RecordingHeader, model: HandModel) -> None:
    for stale in (False, True):
        record = record_of(frames[10], header, stale)
        (ok, state), (t, time_s), *_ = messages_of(vmc_datagrams(record, model))
        assert (ok, state, t) == ("/VMC/Ext/OK", [1, 3, 0, int(not stale)], "/VMC/Ext/T")
        assert time_s[0] == pytest.approx(frames[10].timestamp_s)
    # Without hands the state and the time go on.
    empty = messages_of(vmc_datagrams({**record_of(frames[10], header), "hands": []}, model))
    assert [address for address, _ in empty] == ["/VMC/Ext/OK", "/VMC/Ext/T"]


def test_of_two_right_hands_the_surest_one_moves_the_avatar(
    frames: list[RecordedFrame], header: RecordingHeader, model: HandModel
) -> None:
    record = record_of(frames[10], header)
    right = next(hand for hand in record["hands"] if hand["is_right"])
    other = {**right, "score": right["score"] - 0.1, "translation": right["translation"] + 0.3}
    alone = vmc_datagrams({**record, "hands": [right]}, model)
    assert vmc_datagrams({**record, "hands": [other, right]}, model) == alone


def test_what_arrives_is_what_was_made(
    frames: list[RecordedFrame], header: RecordingHeader, model: HandModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pythonosc")
    monkeypatch.setattr(LiveStream, "_fill_silences", lambda self: None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(20)
        with open_targets([f"osc://127.0.0.1:{receiver.getsockname()[1]}"], print) as targets:
            with LiveStream(targets, header, model) as stream:
                stream.send(frames[10])
        assert [receiver.recv(65536) for _ in range(3)] == vmc_datagrams(record_of(frames[10], header), model)
