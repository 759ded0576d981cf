"""Refinement: project the current mesh's joints into the backbone's maps and regress a residual to its parameters.

After WiLoR (Potamias et al., CVPR 2025), with every map of the pyramid sampled. A sample is the mean of a map under a
small Gaussian at the point: a matrix product that exports everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from handmesh.geometry.rotation import matrix_to_rotation_6d, rotation_6d_to_matrix
from handmesh.models.aligned_head import CHILD, OWN, UNIT, JointLinear, TokenBlock, cell_centres
from handmesh.models.pooled_head import small_start
from handmesh.skeleton import NUM_JOINTS, ROOT_JOINT

#: Standard deviation of the Gaussian in cells of a map.
SPREAD = 0.6


class Refinement(nn.Module):
    """One round; it begins as no change at all."""

    identity_6d: Tensor

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        """A round for maps of known channels.

        Args:
            channels: of the backbone's maps, finest first.
            width: of the joint tokens.
        """
        super().__init__()
        self.register_buffer("identity_6d", matrix_to_rotation_6d(torch.eye(3)), persistent=False)
        self.from_maps = nn.Linear(sum(channels), width)
        self.from_place = JointLinear(NUM_JOINTS, 5, width)
        self.from_pose = nn.Linear(16 * 6 + 10, width)
        self.block = TokenBlock(width)
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Sequential(nn.Linear(2 * width, width), nn.GELU())
        self.turn_out = JointLinear(16, width, 6)
        self.betas_out = nn.Linear(width, 10)
        nn.init.normal_(self.from_place.weight, std=0.2)
        small_start(self.betas_out)

    def forward(
        self, maps: list[Tensor], rotations: Tensor, betas: Tensor, joints: Tensor, points: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Better parameters from features at the mesh's joints, which pass no gradient on.

        Args:
            maps: the backbone's (B, channels, H, W) each.
            rotations: (B, 16, 3, 3) of the mesh so far.
            betas: (B, 10) of the mesh so far.
            joints: (B, 21, 3) metres.
            points: (B, 21, 2) the same in the crop, -1..1.

        Returns:
            rotations: (B, 16, 3, 3).
            betas: (B, 10).
        """
        joints, points = joints.detach(), points.detach()
        relative = (joints - joints[:, ROOT_JOINT : ROOT_JOINT + 1]) / UNIT
        pose = torch.cat([matrix_to_rotation_6d(rotations).flatten(1), betas], dim=-1).detach()
        tokens = self.from_maps(self._sample(maps, points)) + self.from_place(torch.cat([relative, points], dim=-1))
        tokens = self.norm(self.block(tokens + self.from_pose(pose).unsqueeze(1)))
        pairs = torch.cat([tokens[:, list(OWN)], tokens[:, list(CHILD)]], dim=-1)
        turns = rotation_6d_to_matrix(self.identity_6d + self.turn_out(self.hidden(pairs)).float())
        return rotations @ turns, betas + self.betas_out(tokens.mean(1)).float()

    def _sample(self, maps: list[Tensor], points: Tensor) -> Tensor:
        """What lies under the points in every map: (B, 21, sum of channels)."""
        samples = []
        for features in maps:
            apart = (points.unsqueeze(2) - cell_centres(features)) * (features.shape[-1] / 2)
            weights = (-apart.square().sum(-1) / (2 * SPREAD**2)).softmax(dim=-1)
            samples.append(weights.to(features.dtype) @ features.flatten(2).transpose(1, 2))
        return torch.cat(samples, dim=-1)
