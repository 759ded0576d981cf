"""The joints of a hand in anatomical terms: axes of flexion, abduction and twist, ranges, angles to rotations.

Angles are radians, per joint (flexion, abduction, twist).  Flexion is positive towards the palm, abduction positive
towards the thumb's side (for the thumb: away from the palm), twist positive by the right hand about the bone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handmesh.geometry.rotation_numpy import axis_angle_to_matrix_np

Array = NDArray[np.float64]

# The way the thumb's nail looks in the rest pose, before it is made square to the thumb's bones.  Measured on the
# reference surface as the thin direction of the distal section; a thumb's nail looks backward, up and outward.
_THUMB_DORSAL = np.array([0.58, 0.36, 0.73])
_BACK_OF_HAND = np.array([0.0, 1.0, 0.0])

_FINGER = ((-30, 90, -20, 20, -8, 8), (-5, 110, -3, 3, -4, 4), (-10, 80, -3, 3, -3, 3))
_LITTLE = ((-30, 95, -28, 18, -12, 12), (-5, 110, -3, 3, -4, 4), (-10, 80, -3, 3, -3, 3))
_RING = ((-30, 92, -20, 15, -10, 10), (-5, 112, -3, 3, -4, 4), (-10, 80, -3, 3, -3, 3))
_THUMB = ((-25, 50, -30, 45, -20, 45), (-10, 60, -12, 12, -10, 15), (-15, 80, -3, 3, -4, 4))
# Ranges in degrees (flexion, abduction, twist), MANO's order: index, middle, little, ring, thumb.
_RANGES = np.radians(np.array([*_FINGER, *_FINGER, *_LITTLE, *_RING, *_THUMB], float)).reshape(15, 3, 2)


def pose_limits() -> tuple[Array, Array]:
    """pose_min, pose_max (15,3): the range of each joint's flexion, abduction and twist, radians."""
    return _RANGES[..., 0].copy(), _RANGES[..., 1].copy()


def joint_axes(joints: Array, tips: Array) -> Array:
    """(15,3,3): rows flexion, abduction and twist axis of each joint, unit vectors in the rest frame.

    joints: (16,3) rest joints in MANO's order; tips: (5,3) fingertips, thumb first.
    """
    axes = np.zeros((15, 3, 3))
    for root, tip in zip((13, 1, 4, 10, 7), tips):
        chain = [*joints[root:root + 3], tip]
        for k in range(3):
            bone = chain[k + 1] - chain[k]
            bone = bone / np.linalg.norm(bone)
            dorsal = _THUMB_DORSAL if root == 13 else _BACK_OF_HAND
            flexion = np.cross(dorsal, bone)
            flexion /= np.linalg.norm(flexion)
            axes[root + k - 1] = flexion, np.cross(bone, flexion), bone
    return axes


def angles_to_rotations(angles: Array, axes: Array) -> Array:
    """angles (...,15,3) flexion, abduction, twist -> rotations (...,15,3,3): abduction after flexion after twist."""
    flexion, abduction, twist = (axis_angle_to_matrix_np(angles[..., k, None] * axes[:, k]) for k in range(3))
    return abduction @ flexion @ twist


def clamp(angles: Array) -> Array:
    """Angles (...,15,3) put inside the joints' ranges."""
    low, high = pose_limits()
    return np.clip(angles, low, high)
