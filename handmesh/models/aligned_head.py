"""The image-aligned head: heatmaps, one token a joint, rotations read off a lifted skeleton and its tokens.

Steps, all differentiable and without data-dependent control flow, so that the whole exports:
1. an up-sampling path brings the backbone's maps together at stride 8 (or 4);
2. 21 heatmaps give keypoints by soft-argmax (Sun et al., "Integral Human Pose Regression", ECCV 2018), a depth map
   per joint gives its root-relative z there, and the expectation of the features under a joint's heatmap is its token
   (a plain matrix product where others sample bilinearly at the keypoint);
3. keypoints, depths and a scale are a rough 3D skeleton; its palm gives the hand's frame in closed form, and the
   skeleton seen in that frame, free of the viewpoint, goes into the tokens;
4. tokens exchange messages (attention biased towards neighbours in the kinematic tree), then give per-joint 6D
   residuals, betas, and offsets to the keypoints.
"""

from __future__ import annotations

import torch
from timm.layers import ConvNormAct
from torch import Tensor, nn
from torch.nn import functional

from handmesh.geometry.rotation import matrix_to_rotation_6d, rotation_6d_to_matrix
from handmesh.models.outputs import HeadDetails, HeadOutput
from handmesh.models.pooled_head import START_SCALE, small_start
from handmesh.skeleton import BONES, MANO21_TO_OPENPOSE, NUM_JOINTS, ROOT_JOINT, WRIST

#: Lengths inside the head are in units of 0.1 m, about a palm, so that its numbers are near one.
UNIT = 0.1
INDEX_BASE, LITTLE_BASE = 5, 17
#: For each MANO joint, itself among the 21 joints, and the next one towards the tip, which its rotation moves.
OWN = tuple(MANO21_TO_OPENPOSE.index(joint) for joint in range(16))
CHILD = (ROOT_JOINT, *(joint + 1 for joint in OWN[1:]))


class Double(nn.Module):
    """Twice the height and width, by repeating pixels."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 2 H, 2 W)."""
        return functional.interpolate(x, scale_factor=2.0, mode="nearest")


class UpPath(nn.Module):
    """The maps of a pyramid brought together at the finest stride asked for."""

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        """channels: of the maps to use, finest first."""
        super().__init__()
        self.lateral = nn.ModuleList(ConvNormAct(c, width, 1, apply_act=False) for c in channels)
        self.enlarge = Double()
        self.mix = nn.ModuleList(
            nn.Sequential(
                ConvNormAct(width, width, 3, groups=width, apply_act=False),
                ConvNormAct(width, width, 1, act_layer=nn.GELU),
            )
            for _ in channels[:-1]
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps (B, C_i, H / 2^i, W / 2^i), finest first -> (B, width, H, W)."""
        x = self.lateral[-1](maps[-1])
        for level in range(len(maps) - 2, -1, -1):
            x = self.enlarge(x) + self.lateral[level](maps[level])
            x = x + self.mix[level](x)
        return x


class TokenBlock(nn.Module):
    """Attention among the 21 tokens with a learned bias that starts on the kinematic tree, then an MLP."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        near = torch.eye(NUM_JOINTS)
        for a, b in BONES:
            near[a, b] = near[b, a] = 1.0
        self.bias = nn.Parameter(2.0 * near.repeat(heads, 1, 1))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, 21, width) -> (B, 21, width)."""
        q, k, v = self.qkv(self.norm_1(tokens)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + self.bias).softmax(dim=-1)
        tokens = tokens + self.out((weights @ v).transpose(1, 2).flatten(2))
        return tokens + self.mlp(self.norm_2(tokens))


class JointLinear(nn.Module):
    """A linear layer of its own for each joint."""

    def __init__(self, joints: int, inputs: int, outputs: int) -> None:
        """Small random weights, biases zero.

        Args:
            joints: how many layers.
            inputs, outputs: features of each.
        """
        super().__init__()
        self.weight = nn.Parameter(torch.randn(joints, inputs, outputs) * 0.01)
        self.bias = nn.Parameter(torch.zeros(joints, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, joints, inputs) -> (B, joints, outputs)."""
        return torch.einsum("bji,jio->bjo", x, self.weight) + self.bias


class AlignedHead(nn.Module):
    """See the module's description."""

    mean_6d: Tensor
    rest_frame: Tensor

    def __init__(
        self,
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        mean_pose: Tensor,
        rest_joints: Tensor,
        width: int = 128,
        heatmap_stride: int = 8,
        blocks: int = 2,
    ) -> None:
        """A head that begins near the mean pose.

        Args:
            channels, strides: of the backbone's maps, finest first.
            mean_pose: (15, 3, 3).
            rest_joints: (21, 3) of the mean hand at identity orientation, metres.
            width: channels of the joined map and of the tokens.
            heatmap_stride: one of ``strides``.
            blocks: rounds of message passing; 0 for none.
        """
        super().__init__()
        self.first = strides.index(heatmap_stride)
        mean = torch.cat([torch.eye(3)[None], mean_pose.float()])
        self.register_buffer("mean_6d", matrix_to_rotation_6d(mean), persistent=False)
        self.register_buffer("rest_frame", palm_frame(rest_joints.float()[None])[0], persistent=False)
        self.up = UpPath(channels[self.first :], width)
        self.maps_out = nn.Linear(width, 2 * NUM_JOINTS)
        last = channels[-1]
        self.overall = nn.Sequential(nn.Linear(last, width), nn.GELU())
        self.is_hand = nn.Linear(last, 2)
        self.scale = nn.Linear(width, 1)
        self.from_feature = nn.Linear(width, width)
        self.from_place = JointLinear(NUM_JOINTS, 8, width)
        self.from_skeleton = nn.Sequential(nn.Linear(3 * NUM_JOINTS, width), nn.GELU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(TokenBlock(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.rotation_hidden = nn.Sequential(nn.Linear(2 * width, width), nn.GELU())
        self.rotation_out = JointLinear(16, width, 6)
        self.betas_out = nn.Linear(2 * width, 10)
        self.keypoint_out = nn.Linear(width, 3)
        nn.init.normal_(self.maps_out.weight, std=0.01)
        nn.init.zeros_(self.maps_out.bias)
        nn.init.normal_(self.from_place.weight, std=0.2)
        small_start(self.is_hand, self.scale, self.betas_out, self.keypoint_out)

    def forward(self, maps: list[Tensor], pooled: Tensor, *of_the_hand: Tensor) -> HeadOutput:
        """The head's prediction.

        Args:
            maps: the backbone's (B, channels, H, W) each, finest first.
            pooled: (B, channels of the last).
            of_the_hand: mean_6d (16, 6) and rest_frame (3, 3), where they are not to be the head's own.
        """
        mean_6d, rest_frame = of_the_hand or (self.mean_6d, self.rest_frame)
        square = self.up(maps[self.first :])
        joined = square.flatten(2)
        features = joined.transpose(1, 2)
        # The linear layer from the left: its outputs are wanted as maps, and so nothing is transposed.
        channels = self.maps_out.weight @ joined + self.maps_out.bias.unsqueeze(1)
        logits, depths = channels.float().split(NUM_JOINTS, dim=1)
        heat = logits.softmax(dim=-1)
        points = heat @ cell_centres(square)
        z = (heat * depths).sum(-1, keepdim=True)
        overall = self.overall(pooled)
        scale = START_SCALE * torch.exp(self.scale(overall).float()).unsqueeze(-1)
        lifted = self._lift(points, z, scale)
        tokens, frame = self._tokens(features, heat, points, lifted, overall)
        rotations, betas, offsets = self._decode(tokens, frame @ rest_frame.transpose(0, 1), mean_6d, overall)
        presence, is_right = self.is_hand(pooled).float().unbind(-1)
        # Soft-argmax cannot leave the picture; the offset can, and mends the rest.
        keypoints = points + 0.1 * offsets[..., :2]
        details = HeadDetails(logits, points, lifted * UNIT, tokens)
        return HeadOutput(rotations, betas, None, keypoints, offsets[..., 2], presence, is_right, details)

    @staticmethod
    def _lift(points: Tensor, z: Tensor, scale: Tensor) -> Tensor:
        """Keypoints (B, 21, 2), depths (B, 21, 1), scale (B, 1, 1) -> root-relative (B, 21, 3), units of 0.1 m."""
        skeleton = torch.cat([points / (scale * UNIT), z], dim=-1)
        return skeleton - skeleton[:, ROOT_JOINT : ROOT_JOINT + 1]

    def _tokens(
        self, features: Tensor, heat: Tensor, points: Tensor, lifted: Tensor, overall: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, 21, width) after message passing, and the palm's frame (B, 3, 3).

        The skeleton enters without gradient: it has losses of its own, and through a frame built on a skeleton that
        is still wrong the gradients would be wild.
        """
        sampled = heat.to(features.dtype) @ features
        lifted, points = lifted.detach(), points.detach()
        frame = palm_frame(lifted)
        local = lifted @ frame  # rows are points: R^T x for each
        peak = heat.detach().amax(dim=-1, keepdim=True)
        place = torch.cat([local, lifted[..., 2:], points, peak, torch.ones_like(peak)], dim=-1)
        tokens = self.from_feature(sampled) + self.from_place(place)
        tokens = tokens + (overall + self.from_skeleton(local.flatten(1))).unsqueeze(1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens), frame

    def _decode(
        self, tokens: Tensor, palm: Tensor, mean_6d: Tensor, overall: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rotations (B, 16, 3, 3), betas (B, 10), and each keypoint's offset and confidence (B, 21, 3).

        palm (B, 3, 3): how the palm is turned from its rest. mean_6d (16, 6): the pose that residuals are added to.
        """
        pairs = torch.cat([tokens[:, list(OWN)], tokens[:, list(CHILD)]], dim=-1)
        d6 = self.rotation_out(self.rotation_hidden(pairs)).float()
        turns = rotation_6d_to_matrix(mean_6d + d6)
        orient = palm @ turns[:, :1].squeeze(1)
        rotations = torch.cat([orient.unsqueeze(1), turns[:, 1:]], dim=1)
        betas = self.betas_out(torch.cat([tokens.mean(1), overall], dim=-1)).float()
        return rotations, betas, self.keypoint_out(tokens).float()


def palm_frame(joints: Tensor) -> Tensor:
    """The palm's orientation (B, 3, 3) in 21 joints (B, 21, 3): columns along the palm, across it, and their normal."""
    along = joints[:, ROOT_JOINT] - joints[:, WRIST]
    across = joints[:, LITTLE_BASE] - joints[:, INDEX_BASE]
    return rotation_6d_to_matrix(torch.cat([along, across], dim=-1))


def cell_centres(features: Tensor) -> Tensor:
    """Centres (S * S, 2) of the cells of a map (B, channels, S, S), row by row, in -1..1 over the crop (x, y), float32.

    Of the map at hand, so that one network, and each graph that it is exported to, takes crops of any size.
    """
    side = features.shape[-1]
    line = (torch.arange(side, dtype=torch.float32, device=features.device) + 0.5) * (2.0 / side) - 1.0
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=-1)
