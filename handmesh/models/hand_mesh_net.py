"""Pictures of hands in, MANO hands out: backbone, head and hand model put together.

Input is uint8 RGB; its normalisation is a buffer of the network. ``forward`` is maths on tensors.
"""

from __future__ import annotations

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from handmesh.config import ModelConfig
from handmesh.errors import HandMeshError
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.layers.layer import ManoLayer
from handmesh.models.activation import harden
from handmesh.models.aligned_head import AlignedHead
from handmesh.models.backbone import Backbone, fold_conv_norms
from handmesh.models.outputs import HandMeshOutput, HeadOutput, fit_camera, project, to_pixels
from handmesh.models.pooled_head import PooledHead
from handmesh.models.refinement import Refinement


class HandMeshNet(nn.Module):
    """FastViT, one of the two heads, and the MANO layer."""

    #: For converters: it takes crops of every side that is a multiple of 32, whatever its config's.
    any_size = True
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, config: ModelConfig, mano: ManoArrays) -> None:
        """Build the network.

        Raises:
            HandMeshError: an unknown backbone, a size that no heatmap fits, or weights that cannot be had.
        """
        super().__init__()
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
        if config.activation == "hard_gelu":
            # Not of the head's small layers: they take no time.
            harden(self.backbone)
            if isinstance(self.head, AlignedHead):
                harden(self.head.up)
        self.refinements = nn.ModuleList(
            Refinement(self.backbone.channels, config.width)
            for _ in range(config.refinements)
        )

    def _aligned(self, config: ModelConfig) -> AlignedHead:
        if config.heatmap_stride not in self.backbone.strides[:-1]:
            raise HandMeshError(f"expected model.heatmap_stride to be 4, 8 or 16, got {config.heatmap_stride}")
        with torch.no_grad():
            mean = self.mano.mean_pose[None]
            _, joints = self.mano(torch.eye(3)[None], mean, torch.zeros(1, 10))
        return AlignedHead(
            self.backbone.channels, self.backbone.strides, mean[0], joints[0],
            width=config.width, heatmap_stride=config.heatmap_stride, blocks=config.blocks,
        )  # fmt: skip

    def forward(self, images: Tensor) -> HandMeshOutput:
        """images (B, S, S, 3) uint8 RGB -> :class:`HandMeshOutput`.

        S is any multiple of 32; answers are good at the sizes that the network was trained at (``model.image_size``, or
        ``train.image_sizes``).
        """
        return self.detailed(images)[0]

    def detailed(self, images: Tensor) -> tuple[HandMeshOutput, HeadOutput]:
        """As :meth:`forward`, and the head's own answer, for losses."""
        return self.decode(*self.features(images))

    def features(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """images (B, S, S, 3) uint8 RGB -> the backbone's maps, finest first, and its pooled feature."""
        features: tuple[list[Tensor], Tensor] = self.backbone(self.normalise(images))
        return features

    def decode(self, maps: list[Tensor], pooled: Tensor) -> tuple[HandMeshOutput, HeadOutput]:
        """The second half of :meth:`detailed`: what :meth:`features` gave -> the hand, and the head's answer."""
        found: HeadOutput = self.head(maps, pooled)
        rotations, betas = found.rotations.float(), found.betas.float()
        vertices, joints, camera = self._pose(rotations, betas, found)
        for refine in self.refinements:
            rotations, betas = refine(maps, rotations, betas, joints, project(joints, camera))
            vertices, joints, camera = self._pose(rotations, betas, found)
        keypoints = project(joints, camera) if found.keypoints_2d is None else found.keypoints_2d
        size = maps[-1].shape[-1] * self.backbone.strides[-1]
        confidence = torch.ones_like(keypoints[..., 0]) if found.confidence is None else found.confidence.sigmoid()
        output = HandMeshOutput(
            vertices, joints, rotations, betas, camera, to_pixels(keypoints, size), confidence,
            found.presence.sigmoid(), found.is_right.sigmoid(),
        )  # fmt: skip
        return output, found

    def normalise(self, images: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 RGB -> (B, 3, S, S) as the backbone was trained to see it."""
        if torch.is_grad_enabled():
            # oneDNN 3.12 (in PyTorch 2.14) writes past its buffers in the gradient of a 1 x 1 convolution of stride 2
            # over three channels that lie channels last, on CPUs with AVX2 and no AVX-512: plain layout for training.
            return (images.permute(0, 3, 1, 2).contiguous().float() - self.pixel_mean) / self.pixel_std
        # In the layout in which pixels come: engines then lay the first convolution's input out without a copy.
        mean, std = self.pixel_mean.view(3), self.pixel_std.view(3)
        return ((images.float() - mean) / std).permute(0, 3, 1, 2)

    def _pose(self, rotations: Tensor, betas: Tensor, found: HeadOutput) -> tuple[Tensor, Tensor, Tensor]:
        """Vertices (B, 778, 3), joints (B, 21, 3), and the camera (B, 3): the head's, or fitted to its keypoints."""
        vertices, joints = self.mano(rotations[:, 0], rotations[:, 1:], betas)
        if found.camera is not None:
            return vertices, joints, found.camera
        assert found.keypoints_2d is not None, "a head gives a camera or keypoints"
        return vertices, joints, fit_camera(joints, found.keypoints_2d)

    def reparameterize(self) -> HandMeshNet:
        """Evaluation mode, every branch, foldable BatchNorm and layer scale folded, in place; asking twice is safe."""
        self.eval()
        self.backbone.reparameterize()
        with torch.no_grad():
            fold_conv_norms(self.head)
        self.is_folded = True
        return self
