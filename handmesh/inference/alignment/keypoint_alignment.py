"""The network's hand moved onto the network's own keypoints: a few damped least-squares steps on the pose.

The head gives two answers about one picture. Its keypoints lie where the picture shows the joints, but are flat; its
pose is a whole hand, but a little beside the picture. Here the pose (root, 15 joints), shape and translation take the
most likely values given both: Gauss-Newton steps on

    sum_j |pi(J_j(pose, betas) + t) - keypoint_j|^2 / sigma_j^2  +  d^T P d,

where sigma_j follows from the joint's confidence and P is the inverse covariance of the pose that the network is
wrong by (d: turn of the root about the camera's axes; flexion, abduction and twist of each joint; betas). The
Jacobian is analytic: a joint is a sum over bones of the points they carry (mano/layers/joint_layer.py), and a turn of a
bone moves what hangs on it by a cross product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.inference.alignment.alignment_kernels import (
    NUM_BETAS,
    NUM_POSE,
    JointArrays,
    align,
    empty_pose,
    joint_derivatives,
    pose_joints,
)
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.layers.numpy_layer import joint_regressor_21
from handmesh.mano.prior.joint_limits import joint_axes
from handmesh.skeleton import FINGERTIP_VERTICES, MANO_PARENTS

Array = NDArray[np.float64]
FloatArray = NDArray[np.floating[Any]]

#: Parts of a joint that a bone moves by less than this are left out; they move it by micrometres.
_LEAST = 1e-4


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
    sigma: float = 0.006
    sigma_unsure: float = 0.014
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
        self._arrays = JointArrays(
            points=_f64(rows @ arrays.v_template).reshape(-1),
            basis=_f64(np.einsum("pv,vcf->fpc", rows, basis).reshape(basis.shape[2], -1)),
            rest=_f64(rest).reshape(-1),
            rest_basis=_f64(np.einsum("jv,vck->kjc", arrays.J_regressor, arrays.shapedirs).reshape(NUM_BETAS, -1)),
            joint=joint.astype(np.int64),
            bone=bone.astype(np.int64),
            mass=_f64(rows.sum(1)),
            axes=_f64(joint_axes(rest, tips)),
            parents=np.asarray(MANO_PARENTS, np.int32),
        )
        self._precision = 1 / self.settings.deviations() ** 2

    def __call__(
        self, rotations: FloatArray, betas: FloatArray, keypoints: FloatArray, confidence: FloatArray,
        K: FloatArray, translation: FloatArray | None, size: int,
    ) -> tuple[Array, Array, Array, Array]:
        """The hand that agrees best with keypoints and pose.

        Args:
            rotations: (16, 3, 3) absolute, of a right hand.
            betas: (10,) shape.
            keypoints: (21, 2) pixels of the crop.
            confidence: (21,) 0..1.
            K: (3, 3) intrinsics of the crop.
            translation: (3,) metres, where the hand lies now; None for where it is seen.
            size: side of the crop in pixels.

        Returns:
            rotations (16, 3, 3), betas (10,) and translation (3,), those given where no step makes them likelier, and
            the joints (21, 3) of both, without the translation.
        """
        chosen = self.settings
        turns, shape = np.array(rotations, np.float64, order="C"), np.array(betas, np.float64)
        place, joints = np.zeros(3) if translation is None else np.array(translation, np.float64), np.empty((21, 3))
        align(
            turns, shape, place, translation is None, joints, _f64(keypoints), _f64(confidence), _f64(K),
            size * chosen.sigma, size * chosen.sigma_unsure, self._precision, chosen.steps, self._arrays,
        )  # fmt: skip
        return turns, shape, place, joints

    def joints(self, rotations: FloatArray, betas: FloatArray) -> Array:
        """(21, 3) of rotations (16, 3, 3) and betas (10,), as the hand model has them."""
        posed = empty_pose(len(self._arrays.joint))
        pose_joints(_f64(rotations), _f64(betas), self._arrays, posed)
        joints: Array = posed.joints
        return joints

    def jacobian(self, rotations: FloatArray, betas: FloatArray) -> Array:
        """(21, 3, 58) of the joints by turns of the root about the camera's axes, the joints' angles, and betas
        (without what a turn does to the surface's small corrections).
        """
        posed, result = empty_pose(len(self._arrays.joint)), np.empty((21, 3, NUM_POSE))
        pose_joints(_f64(rotations), _f64(betas), self._arrays, posed)
        joint_derivatives(posed, self._arrays, result)
        return result


def _f64(values: FloatArray) -> Array:
    return np.ascontiguousarray(values, np.float64)
