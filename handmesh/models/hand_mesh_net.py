"""Pictures of hands in, MANO hands out: backbone, head and hand model put together.

Input is uint8 RGB; its normalisation is a buffer of the network. ``forward`` is maths on tensors.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import ConvNormAct
from torch import Tensor, nn

from handmesh.config import ModelConfig
from handmesh.errors import HandMeshError
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.layer import ManoLayer
from handmesh.models.aligned_head import AlignedHead
from handmesh.models.backbone import Backbone, fold_conv_norm
from handmesh.models.pooled_head import HeadOutput, PooledHead
from handmesh.models.refinement import Refinement


class HandMeshOutput(NamedTuple):
    """One hand a picture, in the crop's own (virtual) camera, translation 0. Metres and crop pixels."""

    vertices: Tensor  # (B, 778, 3)
    joints: Tensor  # (B, 21, 3)
    rotations: Tensor  # (B, 16, 3, 3), MANO order, absolute
    betas: Tensor  # (B, 10)
    camera: Tensor  # (B, 3): s, tx, ty; u = size / 2 (1 + s (x + tx)) - 0.5
    keypoints_2d: Tensor  # (B, 21, 2)
    confidence: Tensor  # (B, 21), 0..1
    presence: Tensor  # (B,), probability that a hand is there
    is_right: Tensor  # (B,), probability that the picture, as shown, is of a right hand


class HandMeshNet(nn.Module):
    """FastViT, one of the two heads, and the MANO layer."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, config: ModelConfig, mano: ManoArrays) -> None:
        """
        Raises:
            HandMeshError: an unknown backbone or head, a size that no heatmap fits, or weights that cannot be had.
        """
        super().__init__()
        if config.head not in ("aligned", "pooled"):
            raise HandMeshError(f"expected model.head to be aligned or pooled, got {config.head!r}")
        if config.image_size % 32:
            raise HandMeshError(f"expected model.image_size to be a multiple of 32, got {config.image_size}")
        self.config = config
        self.mano = ManoLayer(mano)
        self.hand_fingerprint = mano.fingerprint()
        self.is_folded = False
        for name, values in (("pixel_mean", IMAGENET_DEFAULT_MEAN), ("pixel_std", IMAGENET_DEFAULT_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1) * 255.0, persistent=False)
        is_pooled = config.head == "pooled"
        self.backbone = Backbone(
            config.backbone, config.pretrained, config.drop_path, config.layer_scale, with_final=is_pooled
        )
        self.head: nn.Module
        if is_pooled:
            self.head = PooledHead(self.backbone.pooled_channels, self.mano.mean_pose)
        else:
            self.head = self._aligned(config)
        self.refinements = nn.ModuleList(
            Refinement(self.backbone.channels, config.image_size, self.backbone.strides, config.width)
            for _ in range(config.refinements)
        )

    def _aligned(self, config: ModelConfig) -> AlignedHead:
        if config.heatmap_stride not in self.backbone.strides[:-1]:
            raise HandMeshError(f"expected model.heatmap_stride to be 4, 8 or 16, got {config.heatmap_stride}")
        with torch.no_grad():
            mean = self.mano.mean_pose[None]
            _, joints = self.mano(torch.eye(3)[None], mean, torch.zeros(1, 10))
        return AlignedHead(
            self.backbone.channels, self.backbone.strides, config.image_size, mean[0], joints[0],
            width=config.width, heatmap_stride=config.heatmap_stride, blocks=config.blocks,
        )  # fmt: skip

    def forward(self, images: Tensor) -> HandMeshOutput:
        """images (B, S, S, 3) uint8 RGB -> :class:`HandMeshOutput`."""
        return self.detailed(images)[0]

    def detailed(self, images: Tensor) -> tuple[HandMeshOutput, HeadOutput]:
        """As :meth:`forward`, and what the head said, for losses."""
        return self.decode(*self.features(images))

    def features(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """images (B, S, S, 3) uint8 RGB -> the backbone's maps, finest first, and its pooled feature."""
        features: tuple[list[Tensor], Tensor] = self.backbone(self.normalise(images))
        return features

    def decode(self, maps: list[Tensor], pooled: Tensor) -> tuple[HandMeshOutput, HeadOutput]:
        """The second half of :meth:`detailed`: what :meth:`features` gave -> the hand, and what the head said."""
        said: HeadOutput = self.head(maps, pooled)
        rotations, betas = said.rotations.float(), said.betas.float()
        vertices, joints, camera = self._pose(rotations, betas, said)
        for refine in self.refinements:
            rotations, betas = refine(maps, rotations, betas, joints, project(joints, camera))
            vertices, joints, camera = self._pose(rotations, betas, said)
        keypoints = project(joints, camera) if said.keypoints_2d is None else said.keypoints_2d
        confidence = torch.ones_like(keypoints[..., 0]) if said.confidence is None else said.confidence.sigmoid()
        output = HandMeshOutput(
            vertices, joints, rotations, betas, camera, self.to_pixels(keypoints), confidence,
            said.presence.sigmoid(), said.is_right.sigmoid(),
        )  # fmt: skip
        return output, said

    def normalise(self, images: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 RGB -> (B, 3, S, S) as the backbone was trained to see it."""
        if torch.is_grad_enabled():
            # oneDNN 3.12 (in PyTorch 2.14) writes past its buffers in the gradient of a 1 x 1 convolution of stride 2
            # over three channels that lie channels last, on CPUs with AVX2 and no AVX-512: plain layout for training.
            return (images.permute(0, 3, 1, 2).contiguous().float() - self.pixel_mean) / self.pixel_std
        return (images.permute(0, 3, 1, 2).float() - self.pixel_mean) / self.pixel_std

    def _pose(self, rotations: Tensor, betas: Tensor, said: HeadOutput) -> tuple[Tensor, Tensor, Tensor]:
        """Vertices (B, 778, 3), joints (B, 21, 3), and the camera (B, 3): the head's, or fitted to its keypoints."""
        vertices, joints = self.mano(rotations[:, 0], rotations[:, 1:], betas)
        if said.camera is not None:
            return vertices, joints, said.camera
        assert said.keypoints_2d is not None, "a head gives a camera or keypoints"
        return vertices, joints, fit_camera(joints, said.keypoints_2d)

    def to_pixels(self, points: Tensor) -> Tensor:
        """-1..1 over the crop -> crop pixels, a pixel's centre at whole numbers."""
        return (points + 1.0) * (self.config.image_size / 2) - 0.5

    def reparameterize(self) -> HandMeshNet:
        """Evaluation mode, every branch, foldable BatchNorm and layer scale folded, in place; asking twice is safe."""
        self.eval()
        self.backbone.reparameterize()
        with torch.no_grad():
            for parent in list(self.head.modules()):
                for name, child in list(parent.named_children()):
                    if isinstance(child, ConvNormAct):
                        setattr(parent, name, fold_conv_norm(child))
        self.is_folded = True
        return self


def project(joints: Tensor, camera: Tensor) -> Tensor:
    """joints (B, J, 3) and weak-perspective camera (B, 3) -> (B, J, 2) in -1..1 over the crop."""
    return camera[:, None, :1] * (joints[..., :2] + camera[:, None, 1:])


def fit_camera(joints: Tensor, keypoints: Tensor) -> Tensor:
    """The weak-perspective camera (B, 3) that brings joints (B, J, 3) nearest to keypoints (B, J, 2) in -1..1.

    Least squares in closed form: the scale is a covariance over a variance, the shift follows from the means.
    """
    xy = joints[..., :2]
    centre, target = xy.mean(1, keepdim=True), keypoints.mean(1, keepdim=True)
    moved = xy - centre
    covariance = (moved * (keypoints - target)).sum((1, 2))
    variance = (moved * moved).sum((1, 2))
    # A hand never fills less than 1 / 20 of its crop; the floor keeps the inverse below finite.
    scale = (covariance / (variance + 1e-8)).clamp(min=0.5, max=100.0).unsqueeze(-1)
    return torch.cat([scale, target[:, 0] / scale - centre[:, 0]], dim=-1)
