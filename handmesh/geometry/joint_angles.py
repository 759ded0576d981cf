"""Finger rotations as joint angles in anatomy's terms, and back: flexion, abduction and twist in degrees.

Each joint has three fixed axes in the hand model's rest pose (flat right hand, fingers towards -x, back of the hand up
y): the bone, the flexion axis across it, and the abduction axis square to both. A rotation is flexion, then abduction
about the axis that flexion has turned, then twist about the bone that both have turned (the order of the ISB's joint
coordinate systems): flexion is free between -180 and 180 degrees, abduction lies between -90 and 90.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handmesh.geometry.crop import mirror_pose
from handmesh.skeleton import JOINT_NAMES, MANO21_TO_OPENPOSE

FloatArray = NDArray[np.floating[Any]]

#: The 15 finger joints in the hand model's order, by their names among the 21.
ANGLE_NAMES: tuple[str, ...] = tuple(JOINT_NAMES[MANO21_TO_OPENPOSE.index(joint)] for joint in range(1, 16))
#: Where each joint's bone points in the rest pose of the open hand's mean shape, and which way its back looks. The axes
#: are a definition: they are the same for every hand, so that angles of two people can be compared.
_BONES = np.array(
    [
        [-0.998, 0.0, -0.058], [-0.998, 0.0, -0.058], [-0.993, 0.095, -0.065],
        [-0.994, 0.0, -0.111], [-0.994, 0.0, -0.111], [-0.987, -0.003, -0.158],
        [-0.966, 0.0, -0.259], [-0.966, 0.0, -0.259], [-0.958, -0.059, -0.282],
        [-0.975, 0.0, -0.221], [-0.975, 0.0, -0.221], [-0.972, 0.109, -0.209],
        [-0.715, -0.466, 0.521], [-0.725, -0.309, 0.615], [-0.543, -0.280, 0.792],
    ]
)  # fmt: skip
_BACK = np.array([[0.0, 1.0, 0.0]] * 12 + [[0.58, 0.36, 0.73]] * 3)


class JointAngles(NamedTuple):
    """Degrees from the flat rest pose.

    Attributes:
        flexion: positive towards the palm; negative is extension.
        abduction: positive towards the thumb's side; of the thumb, away from the palm.
        twist: about the bone, positive by the right hand's rule of a right hand (fingers point along the axis).
    """

    flexion: float
    abduction: float
    twist: float


def joint_frames() -> NDArray[np.float64]:
    """(15, 3, 3): columns flexion, abduction and twist axis of each joint in the rest pose of a right hand."""
    bones = _BONES / np.linalg.norm(_BONES, axis=1, keepdims=True)
    flexion = np.cross(_BACK, bones)
    flexion /= np.linalg.norm(flexion, axis=1, keepdims=True)
    return np.stack([flexion, np.cross(bones, flexion), bones], axis=-1)


def pose_to_angles(hand_pose: FloatArray, is_right: bool) -> NDArray[np.float64]:
    """Angles of rotations.

    Args:
        hand_pose: (..., 15, 3, 3) rotations of the finger joints, model order, as in Hand.
        is_right: right or left hand; both have the same signs.

    Returns:
        (..., 15, 3) degrees: flexion, abduction, twist.
    """
    pose = np.asarray(hand_pose, np.float64) if is_right else mirror_pose(hand_pose)
    frames = joint_frames()
    inner = np.swapaxes(frames, -1, -2) @ pose @ frames
    angles = Rotation.from_matrix(inner.reshape(-1, 3, 3)).as_euler("XYZ", degrees=True)
    return np.asarray(angles.reshape(*pose.shape[:-2], 3))


def angles_to_pose(angles: FloatArray, is_right: bool) -> NDArray[np.float64]:
    """Rotations of angles; the inverse of :func:`pose_to_angles`.

    Args:
        angles: (..., 15, 3) degrees: flexion, abduction, twist.
        is_right: right or left hand.

    Returns:
        (..., 15, 3, 3) rotations, model order.
    """
    angles = np.asarray(angles, np.float64)
    inner = Rotation.from_euler("XYZ", angles.reshape(-1, 3), degrees=True).as_matrix()
    frames = joint_frames()
    pose = frames @ inner.reshape(*angles.shape, 3) @ np.swapaxes(frames, -1, -2)
    return pose if is_right else mirror_pose(pose)


def named_angles(hand_pose: FloatArray, is_right: bool) -> dict[str, JointAngles]:
    """Angles of a hand_pose (15, 3, 3) by the names of the joints, in degrees."""
    rows = pose_to_angles(hand_pose, is_right).tolist()
    return {name: JointAngles(*row) for name, row in zip(ANGLE_NAMES, rows, strict=True)}


def pose_of_names(angles: Mapping[str, tuple[float, float, float]], is_right: bool) -> NDArray[np.float64]:
    """hand_pose (15, 3, 3) of angles by name, as :func:`named_angles` gives them; joints left out stay at rest."""
    return angles_to_pose(np.array([angles.get(name, (0.0, 0.0, 0.0)) for name in ANGLE_NAMES]), is_right)
