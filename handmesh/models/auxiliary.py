"""Branches that exist in training only: they teach the network and are not part of what it saves or exports.

Vertices without the hand model (after simpleHand and HandSDF's auxiliary meshes: a straight path from the features to
every vertex), and the projection of the feature maps that a teacher's maps are compared through.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from handmesh.models.aligned_head import OWN, UNIT
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.models.outputs import HeadDetails
from handmesh.models.pooled_head import small_start
from handmesh.skeleton import NUM_JOINTS, NUM_VERTICES

#: Channels of a vertex.
INNER = 64
#: Maps of the pyramid, from the coarsest, that a teacher's are compared with.
COMPARED = 2


class DirectVertices(nn.Module):
    """Joint tokens to vertices: each vertex a learned mixture of the tokens, which starts at its skinning weights."""

    def __init__(self, net: HandMeshNet) -> None:
        """net: whose tokens these are; a head without tokens gets some from its pooled feature."""
        super().__init__()
        width = net.config.width
        pooled = net.backbone.pooled_channels or net.backbone.channels[-1]
        self.spread = nn.Linear(pooled, NUM_JOINTS * width) if net.config.head == "pooled" else None
        weights = net.mano.weights.new_full((NUM_VERTICES, NUM_JOINTS), 0.01)
        weights[:, list(OWN)] += net.mano.weights.transpose(0, 1)
        self.mixture = nn.Parameter(weights.log())
        self.narrow = nn.Linear(width, INNER)
        self.place = nn.Parameter(torch.randn(NUM_VERTICES, INNER) * 0.2)
        self.hidden = nn.Sequential(nn.LayerNorm(INNER), nn.Linear(INNER, 2 * INNER), nn.GELU())
        self.out = nn.Linear(2 * INNER, 3)
        small_start(self.out)

    def forward(self, details: HeadDetails | None, pooled: Tensor) -> Tensor:
        """The head's details and pooled (B, C) -> vertices (B, 778, 3) relative to the root joint, metres."""
        if self.spread is not None:
            tokens = self.spread(pooled).unflatten(-1, (NUM_JOINTS, -1))
        else:
            assert details is not None, "the image-aligned head has tokens"
            tokens = details.tokens
        vertices = self.mixture.softmax(dim=-1) @ self.narrow(tokens) + self.place
        return UNIT * self.out(self.hidden(vertices)).float()


class FeatureProjection(nn.Module):
    """How far the coarsest maps are from a teacher's, after a learned projection to the teacher's channels."""

    def __init__(self, channels: tuple[int, ...], teacher_channels: tuple[int, ...]) -> None:
        """channels, teacher_channels: of both pyramids, finest first."""
        super().__init__()
        pairs = zip(channels[-COMPARED:], teacher_channels[-COMPARED:], strict=True)
        self.project = nn.ModuleList(nn.Conv2d(mine, theirs, 1) for mine, theirs in pairs)

    def forward(self, maps: list[Tensor], teacher_maps: list[Tensor]) -> Tensor:
        """Mean over places of 1 - correlation over channels, 0 to 2.

        maps: the network's, finest first. teacher_maps: the teacher's last ones. Grids of other sizes are averaged
        down to the coarser one: both lie over the same crop.
        """
        parts = []
        for project, mine, theirs in zip(self.project, maps[-COMPARED:], teacher_maps, strict=True):
            size = min(mine.shape[-2], theirs.shape[-2])
            ours = functional.adaptive_avg_pool2d(project(mine).float(), size)
            parts.append(1.0 - (_standard(ours) * _standard(functional.adaptive_avg_pool2d(theirs, size))).mean())
        return torch.stack(parts).mean()


def _standard(features: Tensor) -> Tensor:
    """(B, C, H, W) -> the same with mean 0 and variance 1 over the channels of each place."""
    last = features.movedim(1, -1)
    return functional.layer_norm(last, last.shape[-1:])
