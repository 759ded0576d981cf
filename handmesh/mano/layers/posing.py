"""One hand posed by one compiled loop: the float32 numbers of numpy_layer.py for the frames of a clip.

A frame poses one hand at a time. Matrix products that small cost less than their calls, and where their library starts
threads for them, they wait for those.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.io.runtime.kernels import njit
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.layers.numpy_layer import joint_regressor_21
from handmesh.skeleton import MANO_PARENTS, NUM_JOINTS, NUM_VERTICES

Float32 = NDArray[np.float32]
IntArray = NDArray[np.int32]


class HandPoser:
    """The constants of one hand model, ready to pose one hand after another. Any number of threads may share one."""

    def __init__(self, arrays: ManoArrays) -> None:
        def f32(array: np.ndarray) -> Float32:
            return np.ascontiguousarray(array, dtype=np.float32)

        # Coordinates outermost, so that a loop over the vertices reads and writes without gaps.
        basis = np.concatenate([arrays.shapedirs, arrays.posedirs], axis=2)
        self._template = f32(arrays.v_template.T.reshape(-1))
        self._basis = f32(basis.transpose(2, 1, 0).reshape(145, -1))
        self._rest = f32((arrays.J_regressor @ arrays.v_template).reshape(-1))
        self._rest_basis = f32(np.einsum("jv,vck->kjc", arrays.J_regressor, arrays.shapedirs).reshape(10, -1))
        self._bones = _sparse(arrays.weights)
        self._joints = _sparse(joint_regressor_21(arrays))
        self._parents = np.asarray(MANO_PARENTS, np.int32)

    def __call__(
        self, global_orient: np.ndarray, hand_pose: np.ndarray, betas: np.ndarray, is_right: bool = True
    ) -> tuple[Float32, Float32]:
        """A posed hand.

        Args:
            global_orient: (3, 3) rotation about the rest wrist joint.
            hand_pose: (15, 3, 3) rotations of the finger joints, MANO order.
            betas: (10,) shape.
            is_right: False poses the mirror image of the model, x negated.

        Returns:
            vertices: (778, 3) metres, no translation.
            joints: (21, 3) the same, FreiHAND's order.
        """
        rotations = np.empty((16, 3, 3), np.float32)
        rotations[0], rotations[1:] = global_orient, hand_pose
        vertices, joints = np.empty((NUM_VERTICES, 3), np.float32), np.empty((NUM_JOINTS, 3), np.float32)
        _pose(
            rotations, np.asarray(betas, np.float32), is_right, self._template, self._basis, self._rest,
            self._rest_basis, self._parents, *self._bones, *self._joints, vertices, joints,
        )  # fmt: skip
        return vertices, joints


def _sparse(matrix: np.ndarray) -> tuple[IntArray, IntArray, Float32]:
    """The entries of a matrix that are not zero: where each row begins (R + 1,), their columns, their values."""
    rows, columns = np.nonzero(matrix)
    starts = np.searchsorted(rows, np.arange(len(matrix) + 1))
    return starts.astype(np.int32), columns.astype(np.int32), np.asarray(matrix[rows, columns], np.float32)


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def add_shapes(
    rotations: NDArray[Any], betas: NDArray[Any], one: Any, basis: NDArray[Any], rest_basis: NDArray[Any],
    points: NDArray[Any], places: NDArray[Any],
) -> None:  # fmt: skip
    """Move points and bones at rest by the shape, and points by the pose's corrections, in place. Of one type each.

    Args:
        rotations: (16, 3, 3) of the bones to their parents.
        betas: (10,) shape.
        one: 1 as a number of that type.
        basis: (145, N) by betas, and by the entries of the joints' rotations less the identity.
        rest_basis: (10, 48) by betas.
        points: (N,) numbers.
        places: (48,) the bones' places, x, y, z of each.
    """
    for f in range(basis.shape[0]):
        if f < 10:
            weight = betas[f]
            for i in range(len(places)):
                places[i] += weight * rest_basis[f, i]
        else:
            k, a, b = (f - 10) // 9, (f - 10) % 9 // 3, (f - 10) % 3
            weight = rotations[1 + k, a, b]
            if a == b:
                weight -= one
        row = basis[f]
        for i in range(len(points)):
            points[i] += weight * row[i]


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def place_bones(
    rotations: NDArray[Any], places: NDArray[Any], parents: IntArray, world: NDArray[Any], at: NDArray[Any]
) -> None:
    """Walk down the kinematic chain.

    Args:
        rotations: (16, 3, 3) of the bones to their parents.
        places: (48,) the bones' places at rest.
        parents: (16,) -1 of the root.
        world: (16, 3, 3), filled: the bones' rotations in the hand's frame.
        at: (16, 3), filled: their places.
    """
    for k in range(16):
        p = parents[k]
        for a in range(3):
            if p < 0:
                at[k, a] = places[a]
                for b in range(3):
                    world[k, a, b] = rotations[k, a, b]
                continue
            at[k, a] = at[p, a]
            for b in range(3):
                at[k, a] += world[p, a, b] * (places[3 * k + b] - places[3 * p + b])
                world[k, a, b] = (
                    world[p, a, 0] * rotations[k, 0, b] + world[p, a, 1] * rotations[k, 1, b]
                    + world[p, a, 2] * rotations[k, 2, b]
                )  # fmt: skip


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _pose(
    rotations: Float32, betas: Float32, is_right: bool, template: Float32, basis: Float32, rest: Float32,
    rest_basis: Float32, parents: IntArray, bone_starts: IntArray, bones: IntArray, weights: Float32,
    joint_starts: IntArray, joint_vertices: IntArray, joint_weights: Float32, vertices: Float32, joints: Float32,
) -> None:  # fmt: skip
    """Fill vertices (778, 3) and joints (21, 3); rotations (16, 3, 3) may be changed."""
    one = np.float32(1.0)
    count = vertices.shape[0]
    if not is_right:
        for k in range(16):
            for a, b in ((0, 1), (0, 2), (1, 0), (2, 0)):
                rotations[k, a, b] = -rotations[k, a, b]
    shaped, places = template.copy(), rest.copy()
    add_shapes(rotations, betas, one, basis, rest_basis, shaped, places)
    # World rotations, and where the rest frame's origin goes.
    world, moved, at = np.empty((16, 3, 3), np.float32), np.empty((16, 3), np.float32), np.empty((16, 3), np.float32)
    place_bones(rotations, places, parents, world, at)
    for k in range(16):
        for a in range(3):
            moved[k, a] = at[k, a]
            for b in range(3):
                moved[k, a] -= world[k, a, b] * places[3 * k + b]
    side = one if is_right else -one
    for v in range(count):
        x, y, z = shaped[v], shaped[count + v], shaped[2 * count + v]
        for a in range(3):
            total = np.float32(0.0)
            for i in range(bone_starts[v], bone_starts[v + 1]):
                k = bones[i]
                total += weights[i] * (world[k, a, 0] * x + world[k, a, 1] * y + world[k, a, 2] * z + moved[k, a])
            vertices[v, a] = total * side if a == 0 else total
    for j in range(joints.shape[0]):
        for a in range(3):
            total = np.float32(0.0)
            for i in range(joint_starts[j], joint_starts[j + 1]):
                total += joint_weights[i] * vertices[joint_vertices[i], a]
            joints[j, a] = total
