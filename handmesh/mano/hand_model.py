"""One hand model for both hands: MANO arrays, and their mirror image for the left.

The left hand is the right one with x negated: its parameters (x, -y, -z in axis-angle) are those of the mirrored model,
so that for either side vertices = model(global_orient, hand_pose, betas) + translation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.geometry.crop import mirror_pose
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.layers.numpy_layer import NumpyManoLayer
from handmesh.mano.layers.posing import HandPoser

FloatArray = NDArray[np.floating[Any]]
_FLIP_X = np.array([-1.0, 1.0, 1.0], np.float32)


class HandModel:
    """Poses right and left hands of one set of MANO arrays."""

    def __init__(self, arrays: ManoArrays) -> None:
        self.arrays = arrays
        self._hand, self._poser = NumpyManoLayer(arrays), HandPoser(arrays)
        faces = np.asarray(arrays.faces, np.int32)
        self._faces = {True: faces, False: np.ascontiguousarray(faces[:, [0, 2, 1]])}

    def faces(self, is_right: bool) -> NDArray[np.int32]:
        """Triangles (1538, 3), outward for that hand."""
        return self._faces[bool(is_right)]

    def pose(
        self, is_right: bool, global_orient: FloatArray, hand_pose: FloatArray, betas: FloatArray
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """One posed hand, or many (..., of each), in the model's frame, turned about the rest wrist; no translation.

        Args:
            is_right: False poses the mirrored model.
            global_orient: (3, 3) rotation of the wrist.
            hand_pose: (15, 3, 3) rotations of the finger joints, MANO order.
            betas: (10,) shape.

        Returns:
            vertices: (778, 3) metres.
            joints: (21, 3) metres, FreiHAND's order.
        """
        if np.ndim(betas) == 1:
            return self._poser(global_orient, hand_pose, betas, is_right)
        if is_right:
            return self._hand.pose(global_orient, hand_pose, betas)
        vertices, joints = self._hand.pose(mirror_pose(global_orient), mirror_pose(hand_pose), betas)
        return vertices * _FLIP_X, joints * _FLIP_X

    def length(self, betas: FloatArray) -> float:
        """Length of the flat hand of that shape, metres: from the wrist joint to the farthest fingertip."""
        shape = np.asarray(betas, np.float32)
        vertices = (self._hand.template + shape @ self._hand.shape_basis).reshape(-1, 3)
        return float(np.sqrt(((vertices - self.rest_wrist(True, betas)) ** 2).sum(axis=1).max()))

    def rest_joints(self, is_right: bool, betas: FloatArray) -> NDArray[np.float64]:
        """Joints (16, 3) of the flat hand of that shape, MANO order, metres, in the model's frame."""
        return self._rest(is_right, betas, 16)

    def rest_wrist(self, is_right: bool, betas: FloatArray) -> NDArray[np.float64]:
        """The point (3,) that global_orient turns about, metres: the rest wrist of that shape."""
        return self._rest(is_right, betas, 1)[0]

    def _rest(self, is_right: bool, betas: FloatArray, count: int) -> NDArray[np.float64]:
        """The first joints (count, 3) at rest: every frame asks for the wrist alone."""
        end = 3 * count
        flat = self._hand.rest_joints[:end] + np.asarray(betas, np.float32) @ self._hand.joint_basis[:, :end]
        joints = flat.reshape(count, 3)
        return np.asarray(joints if is_right else joints * _FLIP_X, np.float64)
