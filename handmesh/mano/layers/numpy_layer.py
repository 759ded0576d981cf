"""Pose a hand with NumPy alone: the float32 twin of layer.py for callers without torch (renderer, data
checks).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from handmesh.mano.arrays import ManoArrays
from handmesh.skeleton import FINGERTIP_VERTICES, MANO21_TO_OPENPOSE, NUM_VERTICES


def joint_regressor_21(arrays: ManoArrays, fingertips: str = "freihand") -> np.ndarray:
    """(21, 778) float64: posed vertices to the 21 joints in OpenPose order, fingertips as one-hot rows.

    FreiHAND's joints are the regressor applied to the POSED vertices plus five surface vertices, not the
    kinematic joints.
    """
    tips = np.zeros((5, NUM_VERTICES))
    tips[np.arange(5), list(FINGERTIP_VERTICES[fingertips])] = 1.0
    return np.concatenate([arrays.J_regressor, tips])[list(MANO21_TO_OPENPOSE)]


class NumpyManoLayer:
    """The float32 constants of one hand model, ready to be posed many times."""

    def __init__(self, arrays: ManoArrays) -> None:
        def f32(array: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(array, dtype=np.float32)

        self.template = f32(arrays.v_template.reshape(-1))
        self.shape_basis = f32(arrays.shapedirs.reshape(-1, 10).T)
        self.pose_basis = f32(arrays.posedirs.reshape(-1, 135).T)
        self.weights = f32(arrays.weights)
        self.rest_joints = f32((arrays.J_regressor @ arrays.v_template).reshape(-1))
        joint_basis = np.einsum("jv,vck->jck", arrays.J_regressor, arrays.shapedirs)
        self.joint_basis = f32(joint_basis.reshape(48, 10).T)
        self.regressor_21 = f32(joint_regressor_21(arrays))

    def pose(
        self, global_orient: np.ndarray, hand_pose: np.ndarray, betas: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Posed right hands, in float32.

        Args:
            global_orient: (..., 3, 3) rotation about the rest wrist joint.
            hand_pose: (..., 15, 3, 3) rotations of the finger joints, MANO order.
            betas: (..., 10) shape.

        Returns:
            vertices: (..., 778, 3) metres, MANO frame, no translation.
            joints: (..., 21, 3) the same, FreiHAND's order.
        """
        lead = np.shape(betas)[:-1]
        betas = np.asarray(betas, np.float32).reshape(-1, 10)
        rotations = np.asarray(hand_pose, np.float32).reshape(-1, 15, 3, 3)
        root = np.asarray(global_orient, np.float32).reshape(-1, 1, 3, 3)
        batch = len(betas)
        pose_feature = (rotations - np.eye(3, dtype=np.float32)).reshape(batch, 135)
        rest = self.template + betas @ self.shape_basis + pose_feature @ self.pose_basis
        joints = (self.rest_joints + betas @ self.joint_basis).reshape(batch, 16, 3)
        transforms = _chain(root, rotations.reshape(batch, 5, 3, 3, 3), joints)
        blended = (self.weights @ transforms.reshape(batch, 16, 12)).reshape(batch, NUM_VERTICES, 3, 4)
        rest = rest.reshape(batch, NUM_VERTICES, 3)
        vertices = np.einsum("bvij,bvj->bvi", blended[..., :3], rest) + blended[..., 3]
        return vertices.reshape(*lead, NUM_VERTICES, 3), (self.regressor_21 @ vertices).reshape(*lead, 21, 3)


    def joint_places(self, global_orient: np.ndarray, hand_pose: np.ndarray, betas: np.ndarray) -> np.ndarray:
        """Posed positions of the kinematic joints of one right hand.

        Args:
            global_orient: (3, 3) rotation about the rest wrist joint.
            hand_pose: (15, 3, 3) rotations of the finger joints, MANO order.
            betas: (10,) shape.

        Returns:
            (16, 3) metres, MANO frame and order.
        """
        joints = (self.rest_joints + np.asarray(betas, np.float32) @ self.joint_basis).reshape(1, 16, 3)
        fingers = np.asarray(hand_pose, np.float32).reshape(1, 5, 3, 3, 3)
        transforms = _chain(np.asarray(global_orient, np.float32)[None, None], fingers, joints)[0]
        return np.einsum("jab,jb->ja", transforms[..., :3], joints[0]) + transforms[..., 3]


def _chain(root: np.ndarray, fingers: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """World transforms relative to rest, (B, 16, 3, 4): five chains of three joints hang on the wrist.

    root (B, 1, 3, 3), fingers (B, 5, 3, 3, 3) in MANO's order, joints (B, 16, 3) rest positions.
    """
    wrist = joints[:, :1, :, None]
    chains = joints[:, 1:].reshape(-1, 5, 3, 3, 1)
    rotation, position, rest = root, wrist, wrist
    transforms = np.empty((len(joints), 16, 3, 4), np.float32)
    transforms[:, :1, :, :3], transforms[:, :1, :, 3] = root, (wrist - root @ wrist)[..., 0]
    for level in range(3):
        position = position + rotation @ (chains[:, :, level] - rest)
        rotation = rotation @ fingers[:, :, level]
        rest = chains[:, :, level]
        transforms[:, 1 + level :: 3, :, :3] = rotation
        transforms[:, 1 + level :: 3, :, 3] = (position - rotation @ rest)[..., 0]
    return transforms


@lru_cache(maxsize=4)
def numpy_hand(arrays: ManoArrays) -> NumpyManoLayer:
    """The NumpyManoLayer of these arrays, prepared once (ManoArrays compare by identity)."""
    return NumpyManoLayer(arrays)


def pose_vertices(
    arrays: ManoArrays, global_orient: np.ndarray, hand_pose: np.ndarray, betas: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """:meth:`NumpyManoLayer.pose` of a hand model.

    Args:
        arrays: the hand model.
        global_orient, hand_pose, betas: (..., 3, 3), (..., 15, 3, 3) and (..., 10).

    Returns:
        vertices: (..., 778, 3) float32, metres, MANO frame.
        joints: (..., 21, 3) the same, FreiHAND's order.
    """
    return numpy_hand(arrays).pose(global_orient, hand_pose, betas)
