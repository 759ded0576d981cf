"""Rotation matrices and shape in, a posed hand out: linear blend skinning in torch, written to be exported."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from handmesh.mano.arrays import ManoArrays
from handmesh.mano.layers.numpy_layer import joint_regressor_21
from handmesh.skeleton import NUM_VERTICES


class ManoLayer(nn.Module):
    """A hand model as constant buffers and a differentiable forward.

    The kinematic tree is five chains of three joints on the wrist (ManoArrays.validate makes sure), so the
    forward kinematics are three batched products and no index is a tensor: torch.export and ONNX take it with
    a dynamic batch. Buffers are not saved with weights: a checkpoint names its hand by fingerprint instead.
    """

    template: Tensor
    rest_basis: Tensor
    joint_template: Tensor
    joint_basis: Tensor
    weights: Tensor
    regressor_21: Tensor
    mean_pose: Tensor
    faces: Tensor
    identity: Tensor

    def __init__(self, arrays: ManoArrays) -> None:
        super().__init__()

        def constant(name: str, value: object, dtype: torch.dtype = torch.float32) -> None:
            self.register_buffer(name, torch.as_tensor(value).to(dtype).contiguous(), persistent=False)

        arrays.validate()
        self.hand_fingerprint = arrays.fingerprint()
        joint_template = arrays.J_regressor @ arrays.v_template
        joint_basis = arrays.J_regressor @ arrays.shapedirs.reshape(NUM_VERTICES, 30)
        # Coordinates outermost, (3, 778): blending is then sums along the vertices, which engines do faster than 778
        # products of small matrices.
        basis = np.concatenate([arrays.shapedirs, arrays.posedirs], axis=2)
        constant("template", arrays.v_template.T.reshape(-1))
        constant("rest_basis", basis.transpose(1, 0, 2).reshape(-1, 145).T)
        constant("joint_template", joint_template.reshape(-1))
        constant("joint_basis", joint_basis.reshape(48, 10).T)
        constant("weights", arrays.weights.T)
        constant("regressor_21", joint_regressor_21(arrays))
        constant("mean_pose", arrays.mean_pose())
        constant("faces", arrays.faces, torch.int64)
        constant("identity", torch.eye(3))

    def forward(self, global_orient: Tensor, hand_pose: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        """Posed right hands, always in the precision of the buffers (float32): half precision would cost millimetres.

        Args:
            global_orient: (B, 3, 3) rotation about the rest wrist joint.
            hand_pose: (B, 15, 3, 3) rotations of the finger joints, MANO order.
            betas: (B, 10) shape.

        Returns:
            vertices: (B, 778, 3) metres, MANO frame, no translation.
            joints: (B, 21, 3) the same; FreiHAND's order and meaning (regressor on the posed vertices, plus fingertip
                vertices).
        """
        device = global_orient.device.type
        if torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                return self._skin(global_orient, hand_pose, betas)
        return self._skin(global_orient, hand_pose, betas)

    def _skin(self, global_orient: Tensor, hand_pose: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        dtype = self.template.dtype
        global_orient, hand_pose, betas = global_orient.to(dtype), hand_pose.to(dtype), betas.to(dtype)
        feature = torch.cat([betas, (hand_pose - self.identity).flatten(1)], dim=1)
        rest = (self.template + feature @ self.rest_basis).unflatten(1, (1, 3, NUM_VERTICES))
        rotations, offsets = self._chain(global_orient, hand_pose, self.rest_joints(betas))
        blended = torch.cat([rotations.flatten(2), offsets], dim=2).transpose(1, 2) @ self.weights
        turned = (blended[:, :9].unflatten(1, (3, 3)) * rest).sum(2)
        vertices = (turned + blended[:, 9:]).transpose(1, 2).contiguous()
        return vertices, self.regressor_21 @ vertices

    def rest_joints(self, betas: Tensor) -> Tensor:
        """betas (B, 10) -> the 16 kinematic joints of the unposed hand (B, 16, 3), MANO order, metres."""
        return (self.joint_template + betas @ self.joint_basis).unflatten(1, (16, 3))

    @staticmethod
    def _chain(global_orient: Tensor, hand_pose: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        """World rotations (B, 16, 3, 3) and offsets (B, 16, 3) that carry rest points to posed ones."""
        fingers = hand_pose.unflatten(1, (5, 3))
        chains = joints[:, 1:].unflatten(1, (5, 3)).unsqueeze(-1)
        wrist = joints[:, :1].unsqueeze(-1)
        rotation = global_orient.unsqueeze(1)
        position, rest = wrist, wrist
        root_offset = wrist - rotation @ wrist
        rotations, offsets = [], []
        for level in range(3):
            position = position + rotation @ (chains[:, :, level] - rest)
            rotation = rotation @ fingers[:, :, level]
            rest = chains[:, :, level]
            rotations.append(rotation)
            offsets.append(position - rotation @ rest)
        all_rotations = torch.cat([global_orient.unsqueeze(1), torch.stack(rotations, 2).flatten(1, 2)], 1)
        all_offsets = torch.cat([root_offset, torch.stack(offsets, 2).flatten(1, 2)], 1)
        return all_rotations, all_offsets.squeeze(-1)
