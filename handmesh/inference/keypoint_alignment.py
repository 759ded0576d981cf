"""The network's hand moved onto the network's own keypoints: a few damped least-squares steps on the pose.

The head gives two answers about one picture. Its keypoints lie where the picture shows the joints, but are flat; its
pose is a whole hand, but a little beside the picture. Here the pose (root, 15 joints), shape and translation take the
most likely values given both: Gauss-Newton steps on

    sum_j |pi(J_j(pose, betas) + t) - keypoint_j|^2 / sigma_j^2  +  d^T P d,

where sigma_j follows from the joint's confidence and P is the inverse covariance of the pose that the network is
wrong by (d: turn of the root about the camera's axes; flexion, abduction and twist of each joint; betas). The
Jacobian is analytic: a joint is a sum over bones of the points they carry (mano/joint_layer.py), and a turn of a bone
moves what hangs on it by a cross product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.inference.frame_kernels import exponential
from handmesh.io.kernels import njit
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.joint_limits import joint_axes
from handmesh.mano.numpy_layer import joint_regressor_21
from handmesh.skeleton import FINGERTIP_VERTICES, MANO_PARENTS

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.floating[Any]]

NUM_ANGLES = 48
NUM_BETAS = 10
#: Parts of a joint that a bone moves by less than this are left out; they move it by micrometres.
_LEAST = 1e-4
_LEAST_DEPTH_M = 1e-3
#: A step that makes the hand less likely is tried again this much shorter.
_SCALES = (1.0, 0.5, 0.25)
_EYE = np.eye(3)
#: joints (21, 3), what each pair's bone carries (P, 3), the bones' world rotations (16, 3, 3) and places (16, 3).
Posed = tuple[Array, Array, Array, Array]


@dataclass(frozen=True)
class AlignmentSettings:
    """How much is believed of keypoints and pose.

    Attributes:
        root_deg, flexion_deg, abduction_deg, twist_deg: standard deviations of the pose's error.
        betas: of each shape coefficient's.
        sigma, sigma_unsure: of a keypoint, as shares of the crop's side: ``sigma - sigma_unsure * ln(confidence)``.
        steps: of Gauss-Newton.
    """

    root_deg: float = 4.0
    flexion_deg: float = 8.0
    abduction_deg: float = 5.0
    twist_deg: float = 4.0
    betas: float = 2.0
    sigma: float = 0.004
    sigma_unsure: float = 0.008
    steps: int = 1

    def deviations(self) -> Array:
        """(58,) in radians, and of the betas."""
        joint = [self.flexion_deg, self.abduction_deg, self.twist_deg]
        angles = np.radians([*[self.root_deg] * 3, *joint * 15])
        return np.concatenate([angles, np.full(NUM_BETAS, self.betas)])


class KeypointAligner:
    """Aligns hands of one hand model; right hands in the frame of their crop (a mirrored left hand is one)."""

    def __init__(self, arrays: ManoArrays, settings: AlignmentSettings | None = None) -> None:
        self.settings = settings or AlignmentSettings()
        mixture = joint_regressor_21(arrays)[:, :, None] * arrays.weights[None]
        joint, bone = np.nonzero((np.abs(mixture) > _LEAST).any(1))
        rows = mixture[joint, :, bone]
        rest = arrays.J_regressor @ arrays.v_template
        tips = arrays.v_template[list(FINGERTIP_VERTICES["freihand"])]
        # What each bone carries of each joint (P pairs), and the bones' places at rest: linear in betas and pose.
        basis = np.concatenate([arrays.shapedirs, arrays.posedirs], axis=2)
        self._points = (rows @ arrays.v_template).reshape(-1)
        self._basis = np.ascontiguousarray(np.einsum("pv,vcf->fpc", rows, basis).reshape(basis.shape[2], -1))
        self._rest = rest.reshape(-1)
        self._rest_basis = np.einsum("jv,vck->kjc", arrays.J_regressor, arrays.shapedirs).reshape(NUM_BETAS, -1)
        self._pairs = joint.astype(np.int64), bone.astype(np.int64), np.ascontiguousarray(rows.sum(1))
        self._shape = self._basis[:NUM_BETAS].reshape(NUM_BETAS, -1, 3), self._rest_basis.reshape(NUM_BETAS, 16, 3)
        self._axes = np.ascontiguousarray(joint_axes(rest, tips))
        self._parents = np.asarray(MANO_PARENTS, np.int64)
        self._precision = 1 / self.settings.deviations() ** 2

    def __call__(
        self, rotations: FloatArray, betas: FloatArray, keypoints: FloatArray, confidence: FloatArray,
        K: FloatArray, translation: FloatArray, size: int,
    ) -> tuple[Array, Array, Array]:
        """The hand that agrees best with keypoints and pose.

        Args:
            rotations: (16, 3, 3) absolute, of a right hand.
            betas: (10,) shape.
            keypoints: (21, 2) pixels of the crop.
            confidence: (21,) 0..1.
            K: (3, 3) intrinsics of the crop.
            translation: (3,) metres, where the hand lies now.
            size: side of the crop in pixels.

        Returns:
            rotations (16, 3, 3), betas (10,) and translation (3,); those given where no step makes them likelier.
        """
        chosen = self.settings
        unsure = -np.log(np.clip(np.asarray(confidence, np.float64), 0.01, 1.0))
        root_weight = 1 / (size * (chosen.sigma + chosen.sigma_unsure * unsure))
        K_crop: Array = np.asarray(K, np.float64)
        target: Array = np.asarray(keypoints, np.float64)
        best = np.array(rotations, np.float64), np.array(betas, np.float64), np.array(translation, np.float64)
        total = np.zeros(NUM_ANGLES + NUM_BETAS)
        posed = self._forward(*best[:2])
        residual, cost = _residual(posed[0], best[2], target, K_crop, root_weight)
        for _ in range(chosen.steps if np.isfinite(cost) else 0):
            rows = self._rows(posed, best[2], K_crop, root_weight)
            change = self._solve(rows, residual, total)
            if change is None:
                break
            for scale in _SCALES:
                moved = total + scale * change[:-3]
                trial = (
                    turned(best[0], scale * change[:NUM_ANGLES], self._axes),
                    best[1] + scale * change[NUM_ANGLES:-3], best[2] + scale * change[-3:],
                )  # fmt: skip
                trial_posed = self._forward(*trial[:2])
                trial_residual, trial_cost = _residual(trial_posed[0], trial[2], target, K_crop, root_weight)
                trial_cost += float(self._precision @ (moved * moved))
                if trial_cost < cost:
                    best, posed, residual, cost, total = trial, trial_posed, trial_residual, trial_cost, moved
                    break
            else:
                break
        return best

    def joints(self, rotations: FloatArray, betas: FloatArray) -> Array:
        """(21, 3) of rotations (16, 3, 3) and betas (10,), as the hand model has them."""
        return self._forward(np.asarray(rotations, np.float64), np.asarray(betas, np.float64))[0]

    def jacobian(self, rotations: FloatArray, betas: FloatArray) -> Array:
        """(21, 3, 58) of the joints by turns of the root about the camera's axes, the joints' angles, and betas
        (without what a turn does to the surface's small corrections).
        """
        _, carried, world, place = self._forward(np.asarray(rotations, np.float64), np.asarray(betas, np.float64))
        result = np.zeros((21, 3, NUM_ANGLES + NUM_BETAS))
        _jacobian(carried, world, place, *self._pairs, *self._shape, self._axes, self._parents, result)
        return result

    def _forward(self, rotations: Array, betas: Array) -> Posed:
        feature = np.empty(NUM_BETAS + 135)
        feature[:NUM_BETAS] = betas
        feature[NUM_BETAS:] = (rotations[1:] - _EYE).reshape(-1)
        points = (self._points + feature @ self._basis).reshape(-1, 3)
        rest = (self._rest + feature[:NUM_BETAS] @ self._rest_basis).reshape(16, 3)
        posed = np.zeros((21, 3)), np.empty_like(points), np.empty((16, 3, 3)), np.empty((16, 3))
        _forward(rotations, points, rest, *self._pairs, self._parents, *posed)
        return posed

    def _rows(self, posed: Posed, translation: Array, K: Array, root_weight: Array) -> Array:
        """(42, 61) weighted: the keypoints by angles, betas and translation."""
        joints, carried, world, place = posed
        by_pose = np.zeros((21, 3, NUM_ANGLES + NUM_BETAS))
        _jacobian(carried, world, place, *self._pairs, *self._shape, self._axes, self._parents, by_pose)
        points = joints + translation
        depth = points[:, 2]
        rows = np.empty((21, 2, NUM_ANGLES + NUM_BETAS + 3))
        for axis in range(2):
            zoom = (root_weight * K[axis, axis] / depth)[:, None]
            slope = (points[:, axis] / depth)[:, None]
            rows[:, axis, :-3] = zoom * (by_pose[:, axis] - slope * by_pose[:, 2])
            rows[:, axis, -3:] = 0.0
            rows[:, axis, axis - 3] = zoom[:, 0]
            rows[:, axis, -1] = (-zoom * slope)[:, 0]
        return rows.reshape(42, -1)

    def _solve(self, rows: Array, residual: Array, total: Array) -> Array | None:
        """The Gauss-Newton step (61,) from where ``total`` (58,) of the pose has been changed already."""
        normal, gradient = rows.T @ rows, rows.T @ residual
        diagonal = normal.reshape(-1)[:: len(normal) + 1]
        diagonal *= 1 + 1e-9
        diagonal[:-3] += self._precision
        gradient[:-3] -= self._precision * total
        try:
            change: Array = np.linalg.solve(normal, gradient)
        except np.linalg.LinAlgError:
            return None
        return change if np.isfinite(change).all() else None


@njit(cache=True)
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


def _residual(
    joints: Array, translation: Array, keypoints: Array, K: Array, root_weight: Array
) -> tuple[Array, float]:
    """Weighted residuals (42,) and their squares' sum; inf where a joint is behind the camera."""
    points = joints + translation
    if points[:, 2].min() <= _LEAST_DEPTH_M:
        return np.zeros(42), float("inf")
    pixels = points[:, :2] / points[:, 2:] * [K[0, 0], K[1, 1]] + K[:2, 2]
    weighted = ((keypoints - pixels) * root_weight[:, None]).reshape(-1)
    return weighted, float(weighted @ weighted)


@njit(cache=True)
def _forward(
    rotations: Array, points: Array, rest: Array, joint: IntArray, bone: IntArray, mass: Array, parents: IntArray,
    joints: Array, carried: Array, world: Array, place: Array,
) -> None:  # fmt: skip
    """Fill joints (21, 3), what each pair's bone carries (P, 3), world rotations (16, 3, 3), places (16, 3)."""
    for k in range(16):
        p = parents[k]
        for a in range(3):
            if p < 0:
                place[k, a] = rest[k, a]
                for c in range(3):
                    world[k, a, c] = rotations[k, a, c]
                continue
            place[k, a] = place[p, a]
            for c in range(3):
                place[k, a] += world[p, a, c] * (rest[k, c] - rest[p, c])
                world[k, a, c] = 0.0
                for d in range(3):
                    world[k, a, c] += world[p, a, d] * rotations[k, d, c]
    for n in range(len(joint)):
        k = bone[n]
        for a in range(3):
            total = mass[n] * place[k, a]
            for c in range(3):
                total += world[k, a, c] * (points[n, c] - mass[n] * rest[k, c])
            carried[n, a] = total
            joints[joint[n], a] += total


@njit(cache=True)
def _jacobian(
    carried: Array, world: Array, place: Array, joint: IntArray, bone: IntArray, mass: Array, shape: Array,
    rest_shape: Array, axes: Array, parents: IntArray, result: Array,
) -> None:  # fmt: skip
    """Add to ``result`` (21, 3, 58), which is 0, the joints' derivatives."""
    shift = np.zeros((16, 10, 3))
    for k in range(16):
        p = parents[k]
        for b in range(10):
            for a in range(3):
                if p < 0:
                    shift[k, b, a] = rest_shape[b, k, a]
                    continue
                shift[k, b, a] = shift[p, b, a]
                for c in range(3):
                    shift[k, b, a] += world[p, a, c] * (rest_shape[b, k, c] - rest_shape[b, p, c])
    lever = np.zeros((16, 21, 3))
    for n in range(len(joint)):
        k, j = bone[n], joint[n]
        for b in range(10):
            for a in range(3):
                total = mass[n] * shift[k, b, a]
                for c in range(3):
                    total += world[k, a, c] * (shape[b, n, c] - mass[n] * rest_shape[b, k, c])
                result[j, a, 48 + b] += total
        while k >= 0:
            for a in range(3):
                lever[k, j, a] += carried[n, a] - mass[n] * place[k, a]
            k = parents[k]
    axis = np.zeros(3)
    for k in range(16):
        for a in range(3):
            for c in range(3):
                if k == 0:
                    axis[c] = 1.0 if a == c else 0.0
                    continue
                axis[c] = 0.0
                for d in range(3):
                    axis[c] += world[parents[k], c, d] * axes[k - 1, a, d]
            for j in range(21):
                x, y, z = lever[k, j, 0], lever[k, j, 1], lever[k, j, 2]
                result[j, 0, 3 * k + a] = axis[1] * z - axis[2] * y
                result[j, 1, 3 * k + a] = axis[2] * x - axis[0] * z
                result[j, 2, 3 * k + a] = axis[0] * y - axis[1] * x
