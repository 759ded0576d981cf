"""The compiled part of keypoint_alignment.py: a hand's joints, their derivatives, and damped least-squares steps.

One call a hand: as numpy functions the calls cost more than the work. A joint in the picture depends on the few angles
above it, so most of the derivatives are zero, and products skip them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handmesh.inference.frame_kernels import exponential, fit
from handmesh.io.runtime.kernels import njit
from handmesh.mano.layers.posing import add_shapes, place_bones

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

NUM_ANGLES = 48
NUM_BETAS = 10
#: Of the pose and the shape; the translation's three come behind them.
NUM_POSE = NUM_ANGLES + NUM_BETAS
#: Nothing nearer to the camera is a hand, metres.
LEAST_DEPTH_M = 0.05
#: A step that makes the hand less likely is tried again half as long, so often.
_TRIES = 3


class JointArrays(NamedTuple):
    """A hand model's joints as sums over pairs (P) of a joint and a bone that carries a part of it.

    Attributes:
        points: (P * 3,) what each bone carries at rest, metres; basis: (145, P * 3) by betas and pose corrections.
        rest: (16 * 3,) the bones' places at rest; rest_basis: (10, 16 * 3) by betas.
        joint, bone: (P,) of each pair; mass: (P,) the bone's share of the joint.
        axes: (15, 3, 3) of each joint's flexion, abduction and twist.
        parents: (16,) of the bones, -1 of the root.
    """

    points: Array
    basis: Array
    rest: Array
    rest_basis: Array
    joint: IntArray
    bone: IntArray
    mass: Array
    axes: Array
    parents: NDArray[np.int32]


class Posed(NamedTuple):
    """Room for a posed hand: joints (21, 3), what each pair's bone carries (P, 3), the bones' rotations (16, 3, 3)
    and places (16, 3), in metres and the crop's frame less its translation.
    """

    joints: Array
    carried: Array
    world: Array
    place: Array


@njit(cache=True, nogil=True, error_model="numpy")
def empty_pose(pairs: int) -> Any:
    """Empty arrays for a hand of so many pairs."""
    return Posed(np.empty((21, 3)), np.empty((pairs, 3)), np.empty((16, 3, 3)), np.empty((16, 3)))


@njit(cache=True, nogil=True, error_model="numpy")
def turned(rotations: Array, change: Array, axes: Array) -> Array:
    """Rotations turned from the left.

    Args:
        rotations: (16, 3, 3) of root and joints.
        change: (48,) radians: of the root an axis-angle vector in the camera's axes, of each joint angles about its
            axes.
        axes: (15, 3, 3) of the joints.

    Returns:
        (16, 3, 3).
    """
    result, vector, turn = np.empty((16, 3, 3)), np.empty(3), np.empty((3, 3))
    for k in range(16):
        for c in range(3):
            vector[c] = change[c]
            if k > 0:
                vector[c] = 0.0
                for a in range(3):
                    vector[c] += change[3 * k + a] * axes[k - 1, a, c]
        exponential(vector, turn)
        for a in range(3):
            for c in range(3):
                result[k, a, c] = 0.0
                for d in range(3):
                    result[k, a, c] += turn[a, d] * rotations[k, d, c]
    return result


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def pose_joints(rotations: Array, betas: Array, hand: JointArrays, posed: Posed) -> None:
    """Pose a hand's joints.

    Args:
        rotations: (16, 3, 3) absolute for the root, relative for the joints.
        betas: (10,) shape.
        hand: the hand model's joints.
        posed: filled.
    """
    points, rest = hand.points.copy(), hand.rest.copy()
    joints, carried, world, place = posed.joints, posed.carried, posed.world, posed.place
    add_shapes(rotations, betas, 1.0, hand.basis, hand.rest_basis, points, rest)
    place_bones(rotations, rest, hand.parents, world, place)
    joints[:] = 0.0
    for n in range(len(hand.joint)):
        k = hand.bone[n]
        for a in range(3):
            total = hand.mass[n] * place[k, a]
            for c in range(3):
                total += world[k, a, c] * (points[3 * n + c] - hand.mass[n] * rest[3 * k + c])
            carried[n, a] = total
            joints[hand.joint[n], a] += total


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz"})
def joint_derivatives(posed: Posed, hand: JointArrays, result: Array) -> None:
    """The derivatives of the joints, without what a turn does to the surface's small corrections.

    Args:
        posed: the hand, of :func:`pose_joints`.
        hand: the hand model's joints.
        result: (21, 3, 58), filled: by turns of the root about the camera's axes, the joints' angles, and betas.
    """
    carried, world, place = posed.carried, posed.world, posed.place
    result[:] = 0.0
    shift = np.zeros((16, NUM_BETAS, 3))
    for k in range(16):
        p = hand.parents[k]
        for b in range(NUM_BETAS):
            for a in range(3):
                if p < 0:
                    shift[k, b, a] = hand.rest_basis[b, 3 * k + a]
                    continue
                shift[k, b, a] = shift[p, b, a]
                for c in range(3):
                    shift[k, b, a] += world[p, a, c] * (hand.rest_basis[b, 3 * k + c] - hand.rest_basis[b, 3 * p + c])
    lever = np.zeros((16, 21, 3))
    for n in range(len(hand.joint)):
        k, j, mass = hand.bone[n], hand.joint[n], hand.mass[n]
        for b in range(NUM_BETAS):
            for a in range(3):
                total = mass * shift[k, b, a]
                for c in range(3):
                    total += world[k, a, c] * (hand.basis[b, 3 * n + c] - mass * hand.rest_basis[b, 3 * k + c])
                result[j, a, NUM_ANGLES + b] += total
        while k >= 0:
            for a in range(3):
                lever[k, j, a] += carried[n, a] - mass * place[k, a]
            k = hand.parents[k]
    axis = np.zeros(3)
    for k in range(16):
        for a in range(3):
            for c in range(3):
                if k == 0:
                    axis[c] = 1.0 if a == c else 0.0
                    continue
                axis[c] = 0.0
                for d in range(3):
                    axis[c] += world[hand.parents[k], c, d] * hand.axes[k - 1, a, d]
            for j in range(21):
                x, y, z = lever[k, j, 0], lever[k, j, 1], lever[k, j, 2]
                result[j, 0, 3 * k + a] = axis[1] * z - axis[2] * y
                result[j, 1, 3 * k + a] = axis[2] * x - axis[0] * z
                result[j, 2, 3 * k + a] = axis[0] * y - axis[1] * x


@njit(cache=True, nogil=True, error_model="numpy")
def _residuals(
    joints: Array, translation: Array, keypoints: Array, K: Array, root_weights: Array, residuals: Array
) -> float:
    """Fill the weighted residuals (21, 2) and return their squares' sum; inf where a joint is behind the camera."""
    cost = 0.0
    for j in range(21):
        depth = joints[j, 2] + translation[2]
        if not depth > LEAST_DEPTH_M:
            return math.inf
        for a in range(2):
            pixel = (joints[j, a] + translation[a]) / depth * K[a, a] + K[a, 2]
            residuals[j, a] = (keypoints[j, a] - pixel) * root_weights[j]
            cost += residuals[j, a] * residuals[j, a]
    return cost


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def _step(
    joints: Array, by_pose: Array, translation: Array, K: Array, root_weights: Array, residuals: Array, total: Array,
    precision: Array, change: Array,
) -> bool:  # fmt: skip
    """Fill the Gauss-Newton step (61,) of pose, shape and translation; False where there is none.

    Args:
        joints, by_pose: (21, 3) and their derivatives (21, 3, 58).
        translation, K, root_weights, residuals: as of :func:`_residuals`.
        total: (58,) by how much the pose has been changed already.
        precision: (58,) of the pose's prior.
        change: what is filled.
    """
    size = NUM_POSE + 3
    normal, row, places = np.zeros((size, size)), np.empty(size), np.empty(size, np.int64)
    for i in range(NUM_POSE):
        normal[i, i] = precision[i]
        change[i] = -precision[i] * total[i]
    change[NUM_POSE:] = 0.0
    for j in range(21):
        depth = joints[j, 2] + translation[2]
        for a in range(2):
            zoom = root_weights[j] * K[a, a] / depth
            slope = (joints[j, a] + translation[a]) / depth
            count = 0
            for i in range(NUM_POSE):
                value = zoom * (by_pose[j, a, i] - slope * by_pose[j, 2, i])
                if value != 0.0:
                    row[count], places[count] = value, i
                    count += 1
            row[count], places[count] = zoom, NUM_POSE + a
            row[count + 1], places[count + 1] = -zoom * slope, NUM_POSE + 2
            count += 2
            for m in range(count):
                own = normal[places[m]]
                change[places[m]] += row[m] * residuals[j, a]
                for n in range(m + 1):
                    own[places[n]] += row[m] * row[n]
    return _solve(normal, change)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def _solve(matrix: Array, vector: Array) -> bool:
    """Solve a symmetric system in place by Cholesky's method; False where the matrix is not positive definite.

    Args:
        matrix: (N, N), of which the lower half is read and overwritten.
        vector: (N,) the right side, then the solution.
    """
    size = len(vector)
    for i in range(size):
        matrix[i, i] *= 1 + 1e-9
        for k in range(i + 1):
            value = matrix[i, k]
            for m in range(k):
                value -= matrix[i, m] * matrix[k, m]
            if k < i:
                matrix[i, k] = value / matrix[k, k]
                continue
            if not 0.0 < value < math.inf:
                return False
            matrix[i, i] = math.sqrt(value)
    for i in range(size):
        value = vector[i]
        for m in range(i):
            value -= matrix[i, m] * vector[m]
        vector[i] = value / matrix[i, i]
    for i in range(size - 1, -1, -1):
        vector[i] /= matrix[i, i]
        for m in range(i):
            vector[m] -= matrix[i, m] * vector[i]
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def align(
    rotations: Array, betas: Array, translation: Array, is_sought: bool, joints: Array, keypoints: Array,
    confidence: Array, K: Array, sigma: float, sigma_unsure: float, precision: Array, steps: int, hand: JointArrays,
) -> None:  # fmt: skip
    """Move a hand onto keypoints, in place: rotations (16, 3, 3), betas (10,) and translation (3,).

    Args:
        rotations, betas, translation: of the hand, changed where a step makes it likelier.
        is_sought: begin where the keypoints see the hand, and not at ``translation``.
        joints: (21, 3) of the hand, filled.
        keypoints, confidence: (21, 2) pixels and (21,) 0..1.
        K: (3, 3) intrinsics.
        sigma, sigma_unsure: a keypoint's standard deviation is sigma - sigma_unsure * ln(confidence), pixels.
        precision: (58,) of the pose's and the shape's prior.
        steps: at most so many.
        hand: the hand model's joints.
    """
    posed, trial = empty_pose(len(hand.joint)), empty_pose(len(hand.joint))
    residuals, by_pose = np.empty((21, 2)), np.empty((21, 3, NUM_POSE))
    total, moved, change = np.zeros(NUM_POSE), np.empty(NUM_POSE), np.empty(NUM_POSE + 3)
    weights, root_weights = np.empty(21), np.empty(21)
    for j in range(21):
        weights[j] = max(confidence[j], 0.01)
        root_weights[j] = 1 / (sigma - sigma_unsure * math.log(min(weights[j], 1.0)))
    pose_joints(rotations, betas, hand, posed)
    if is_sought:
        translation[:] = fit(posed.joints, keypoints, K, weights)
    cost = _residuals(posed.joints, translation, keypoints, K, root_weights, residuals)
    for _ in range(steps):
        if not cost < math.inf:
            break
        joint_derivatives(posed, hand, by_pose)
        if not _step(posed.joints, by_pose, translation, K, root_weights, residuals, total, precision, change):
            break
        if not np.isfinite(change.sum()):
            break
        is_better = False
        for _ in range(_TRIES):
            turns = turned(rotations, change[:NUM_ANGLES], hand.axes)
            shape, place = betas + change[NUM_ANGLES:NUM_POSE], translation + change[NUM_POSE:]
            pose_joints(turns, shape, hand, trial)
            trial_cost = _residuals(trial.joints, place, keypoints, K, root_weights, residuals)
            for i in range(NUM_POSE):
                moved[i] = total[i] + change[i]
                trial_cost += precision[i] * moved[i] * moved[i]
            if trial_cost < cost:
                is_better = True
                break
            change *= 0.5
        if not is_better:
            break
        rotations[:], betas[:], translation[:], total[:] = turns, shape, place, moved
        cost = trial_cost
        posed, trial = trial, posed
    joints[:] = posed.joints
