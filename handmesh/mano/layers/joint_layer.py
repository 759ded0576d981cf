"""The joints of a posed hand without its surface, exactly those of layer.py and some ten times as fast.

A joint is a fixed mixture of posed vertices, and a posed vertex a mixture of its bones' motions; so a joint is the sum,
over the few bones that move it, of each bone's motion of one point, which is linear in shape and pose correctives.
For fitting, where nobody looks at the vertices.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from handmesh.mano.arrays import ManoArrays
from handmesh.mano.layers.layer import ManoLayer
from handmesh.mano.layers.numpy_layer import joint_regressor_21
from handmesh.skeleton import NUM_JOINTS

#: A bone that moves less than this share of a joint's vertices has no part in it.
_LEAST = 1e-9


class JointLayer(nn.Module):
    """global_orient, hand_pose, betas -> the 21 joints of :class:`handmesh.mano.layers.layer.ManoLayer`."""

    basis: Tensor
    template: Tensor
    mass: Tensor
    to_joints: Tensor
    joint_template: Tensor
    joint_basis: Tensor
    identity: Tensor

    def __init__(self, arrays: ManoArrays) -> None:
        super().__init__()
        layer = ManoLayer(arrays)
        mixture = joint_regressor_21(arrays)[:, :, None] * arrays.weights[None]  # (21, 778, 16)
        joint, bone = np.nonzero((np.abs(mixture) > _LEAST).any(1))
        rows = mixture[joint, :, bone]  # (P, 778)
        basis = np.concatenate([arrays.shapedirs, arrays.posedirs], axis=2)
        self.bone = bone.tolist()
        constants = {
            "template": (rows @ arrays.v_template).reshape(-1),
            "basis": np.einsum("pv,vcf->fpc", rows, basis).reshape(basis.shape[2], -1),
            "mass": rows.sum(1)[:, None],
            "to_joints": np.eye(NUM_JOINTS)[joint].T,
            "joint_template": layer.joint_template,
            "joint_basis": layer.joint_basis,
            "identity": np.eye(3),
        }
        for name, value in constants.items():
            self.register_buffer(name, torch.as_tensor(value).float().contiguous(), persistent=False)

    def forward(self, global_orient: Tensor, hand_pose: Tensor, betas: Tensor) -> Tensor:
        """Joints of posed right hands.

        Args:
            global_orient: (B, 3, 3) rotation of the wrist.
            hand_pose: (B, 15, 3, 3) rotations of the finger joints, MANO order.
            betas: (B, 10) shape.

        Returns:
            (B, 21, 3) metres, MANO frame, FreiHAND's order.
        """
        feature = torch.cat([betas, (hand_pose - self.identity).flatten(1)], dim=1)
        points = (self.template + feature @ self.basis).unflatten(1, (-1, 3))
        rest = (self.joint_template + betas @ self.joint_basis).unflatten(1, (16, 3))
        rotations, offsets = ManoLayer._chain(global_orient, hand_pose, rest)
        moved = (rotations[:, self.bone] @ points.unsqueeze(-1)).squeeze(-1) + self.mass * offsets[:, self.bone]
        return self.to_joints @ moved
