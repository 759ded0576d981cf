"""Fingers for avatars: the bone messages of VMC, the protocol of VTuber programs, over OSC.

Unity's axes are left-handed: x right, y up, z forward, of an avatar that faces the camera as its person does. From the
camera's axes (x right, y down, z forward) every direction is turned round, so that a point P becomes -P. The hand
model's flat right hand lies as that of a figure in T-pose that looks along +z (fingers -x, back of the hand +y, thumb
+z), right-handed; it becomes the avatar's by a reflection of x, S = diag(-1, 1, 1). Hence, with R a finger joint's
rotation in the hand model and G the wrist's, from the hand model into the camera's axes:

    finger bone   S R S        quaternion (x, -y, -z, w)
    wrist         (-1) G S     quaternion of G times half a turn about x: (w, z, -y, -x)
    bone offset   S d          (-x, y, z)

Left hands follow the same lines: their model is the mirrored one, and so is the avatar's hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError
from handmesh.mano.hand_model import HandModel
from handmesh.motion.streams.address import DatagramSocket, StreamAddress
from handmesh.motion.streams.live import StreamMessage
from handmesh.skeleton import MANO_JOINT_NAMES, MANO_PARENTS

if TYPE_CHECKING:
    from pythonosc.osc_message import OscMessage

#: For points (x, y, z) and quaternions (x, y, z, w): the reflection S of the hand model's frame.
_REFLECT = np.array([-1.0, 1.0, 1.0])
_REFLECT_QUATERNION = np.array([1.0, -1.0, -1.0, 1.0])
_LEVELS = {"1": "Proximal", "2": "Intermediate", "3": "Distal"}
#: Of /VMC/Ext/OK: a model is loaded, it is calibrated, in the normal mode.
_LOADED, _CALIBRATED, _NORMAL_MODE = 1, 3, 0


class BonePose(NamedTuple):
    """A bone in Unity's axes.

    Attributes:
        name: of Unity's HumanBodyBones.
        position: (3,) metres.
        rotation: (4,) unit quaternion x y z w.
    """

    name: str
    position: NDArray[np.float64]
    rotation: NDArray[np.float64]


def bone_names(is_right: bool) -> list[str]:
    """(16) names that Unity's HumanBodyBones has for the hand model's joints: "RightHand", "RightIndexProximal", ..."""
    side = "Right" if is_right else "Left"
    fingers = [name.split("_") for name in MANO_JOINT_NAMES[1:]]
    return [f"{side}Hand", *(f"{side}{finger.capitalize()}{_LEVELS[level]}" for finger, level in fingers)]


def avatar_hand(hand: dict[str, Any], model: HandModel) -> list[BonePose]:
    """One hand as an avatar's.

    Args:
        hand: as in a recording's line.
        model: the hand model that it was made with.

    Returns:
        the wrist relative to the camera, then the 15 finger bones in MANO order, each relative to the bone above it.
    """
    is_right, scale = bool(hand["is_right"]), float(hand["scale"])
    rest = model.rest_joints(is_right, hand["betas"]) * scale
    names = bone_names(is_right)
    x, y, z, w = hand["global_orient"]
    poses = [BonePose(names[0], -(rest[0] + hand["translation"]), np.array([w, z, -y, -x]))]
    for joint in range(1, 16):
        offset = (rest[joint] - rest[MANO_PARENTS[joint]]) * _REFLECT
        poses.append(BonePose(names[joint], offset, hand["hand_pose"][joint - 1] * _REFLECT_QUATERNION))
    return poses


class VmcTarget:
    """Sends each frame to one address as bundles of OSC messages, each short enough for one packet of a network."""

    def __init__(self, address: StreamAddress, report: Callable[[str], None]) -> None:
        """Resolve the host. ``report`` gets lines about what cannot be sent.

        Raises:
            HandMeshError: python-osc is not installed, or no such host.
        """
        try:
            import pythonosc.osc_bundle_builder  # noqa: F401
        except ImportError as error:
            raise HandMeshError(
                f"expected the package python-osc for {address.url}, got: {error}; pip install 'handmesh[stream]'"
            ) from error
        self.url = address.url
        self._socket = DatagramSocket(address, report)

    def offer(self, message: StreamMessage) -> None:
        """Send the frame now."""
        for data in vmc_datagrams(message.record, message.model):
            self._socket.send(data)

    def close(self) -> None:
        """Let go of the socket; idempotent."""
        self._socket.close()


def vmc_datagrams(record: dict[str, Any], model: HandModel) -> list[bytes]:
    """A frame as OSC bundles: state, time and wrists in the first, then one of each side's hand that is in view.

    Args:
        record: the frame's line as an object, with ``stale``.
        model: the hand model that its hands were made with.
    """
    is_tracked = int(not record["stale"])
    first = [
        osc_message("/VMC/Ext/OK", _LOADED, _CALIBRATED, _NORMAL_MODE, is_tracked),
        osc_message("/VMC/Ext/T", float(record["timestamp_s"])),
    ]
    bundles = [first]
    for side in (False, True):
        hands = [hand for hand in record["hands"] if bool(hand["is_right"]) == side]
        if hands:
            # An avatar has one hand of a side: the one that is surest to be there.
            wrist, *bones = avatar_hand(max(hands, key=lambda hand: float(hand["score"])), model)
            first.append(_pose_message("/VMC/Ext/Tra/Pos", wrist))
            bundles.append([_pose_message("/VMC/Ext/Bone/Pos", bone) for bone in bones])
    return [_bundle(messages) for messages in bundles]


def _pose_message(address: str, pose: BonePose) -> OscMessage:
    return osc_message(address, pose.name, *pose.position.tolist(), *pose.rotation.tolist())


def osc_message(address: str, *values: str | int | float) -> OscMessage:
    """An OSC message; floats in single precision, as the protocol has them."""
    from pythonosc.osc_message_builder import OscMessageBuilder

    builder = OscMessageBuilder(address)
    for value in values:
        builder.add_arg(value)
    return builder.build()


def _bundle(messages: Sequence[OscMessage]) -> bytes:
    from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder

    builder = OscBundleBuilder(IMMEDIATELY)
    for message in messages:
        builder.add_content(message)
    return builder.build().dgram
