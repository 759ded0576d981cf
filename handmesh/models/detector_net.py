"""FastViT for the whole picture: where hands are, and which pixels are hand.

The backbone and the up-sampling path are the mesh network's, and may begin with its weights. Detection is anchor-free,
one map at stride 8 (Tian et al., "FCOS", ICCV 2019; the score is taught the box's overlap as in Li et al., "Generalized
Focal Loss", NeurIPS 2020); segmentation is one map at stride 4, as in Kirillov et al., "Panoptic Feature Pyramid
Networks", CVPR 2019, which the FastViT paper takes for its dense tasks. Pictures may have any sides that are multiples
of 32.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import ConvNormAct
from torch import Tensor, nn

from handmesh.config import ModelConfig
from handmesh.models.activation import harden
from handmesh.models.aligned_head import Double, UpPath
from handmesh.models.backbone import Backbone, fold_conv_norms

#: Stride of the detection's map; the segmentation's has half of it.
STRIDE = 8
#: Side, in pixels of the input, that a cell's side of 0 stands for.
START_SIDE_PX = 48.0
#: Sides are within this factor of it: 4 px to all of a large input.
_MOST_LOG_SIDE = 2.5
#: Share of the cells that show a hand before anything is learnt.
_PRIOR = 0.02


class DetectorOutput(NamedTuple):
    """What the network says about each picture."""

    hands: Tensor  # (B, 8, H / 8, W / 8): score, offset of the middle in cells, side in px, right, sin, cos, cut off
    mask: Tensor  # (B, H / 4, W / 4), probability that a pixel is hand


class DetectorLogits(NamedTuple):
    """The same before the last functions, for losses."""

    score: Tensor  # (B, h, w) logit
    offset: Tensor  # (B, 2, h, w) cells, from the cell's middle
    log_side: Tensor  # (B, h, w), of the side over START_SIDE_PX
    is_right: Tensor  # (B, h, w) logit
    roll: Tensor  # (B, 2, h, w) sin and cos, of any length
    cut_off: Tensor  # (B, h, w) logit
    mask: Tensor  # (B, 2 h, 2 w) logit


def _separable(width: int) -> nn.Module:
    return nn.Sequential(
        ConvNormAct(width, width, 3, groups=width, apply_act=False), ConvNormAct(width, width, 1, act_layer=nn.GELU)
    )


class HandDetectorNet(nn.Module):
    """FastViT, an up-sampling path, a detection head and a segmentation head.

    Attributes:
        hand_fingerprint: "": there is no hand model in it.
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    hand_fingerprint = ""

    def __init__(self, config: ModelConfig) -> None:
        """Build the network; of the config, backbone, pretrained, drop_path, layer_scale, activation and width count.

        Raises:
            HandMeshError: an unknown backbone, or weights that cannot be had.
        """
        super().__init__()
        self.config, self.is_folded = config, False
        for name, values in (("pixel_mean", IMAGENET_DEFAULT_MEAN), ("pixel_std", IMAGENET_DEFAULT_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1) * 255.0, persistent=False)
        self.backbone = Backbone(config.backbone, config.pretrained, config.drop_path, config.layer_scale)
        channels, width = self.backbone.channels, config.width
        self.first = self.backbone.strides.index(STRIDE)
        self.up = UpPath(channels[self.first :], width)
        self.tower = nn.Sequential(_separable(width), _separable(width))
        self.out = nn.Conv2d(width, 8, 1)
        fine = max(8, width // 4)
        self.enlarge = Double()
        self.narrow = ConvNormAct(width, fine, 1, apply_act=False)
        self.lateral = ConvNormAct(channels[self.first - 1], fine, 1, apply_act=False)
        self.mask_tower = _separable(fine)
        self.mask_out = nn.Conv2d(fine, 1, 1)
        for layer in (self.out, self.mask_out):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        if config.activation == "hard_gelu":
            harden(self)
        with torch.no_grad():
            self.out.bias[0] = -math.log((1 - _PRIOR) / _PRIOR)  # type: ignore[index]
            self.out.bias[6] = 1.0  # type: ignore[index]

    def forward(self, images: Tensor) -> DetectorOutput:
        """images (B, H, W, 3) uint8 RGB, sides multiples of 32 -> :class:`DetectorOutput`."""
        joined, finest = self.features(images)
        return DetectorOutput(self._hands(joined), self._mask(joined, finest).sigmoid())

    def hands(self, images: Tensor) -> Tensor:
        """:attr:`DetectorOutput.hands` alone: the segmentation costs nothing."""
        return self._hands(self.features(images)[0])

    def _hands(self, joined: Tensor) -> Tensor:
        raw = self.out(self.tower(joined)).float()
        side = START_SIDE_PX * torch.exp(raw[:, 3:4].clamp(-_MOST_LOG_SIDE, _MOST_LOG_SIDE))
        return torch.cat(
            [raw[:, :1].sigmoid(), raw[:, 1:3], side, raw[:, 4:5].sigmoid(), raw[:, 5:7], raw[:, 7:].sigmoid()], dim=1
        )

    def decode(self, joined: Tensor, finest: Tensor) -> DetectorLogits:
        """The second half of :meth:`forward`, before the last functions, of what :meth:`features` gave."""
        raw = self.out(self.tower(joined)).float()
        log_side = raw[:, 3].clamp(-_MOST_LOG_SIDE, _MOST_LOG_SIDE)
        return DetectorLogits(
            raw[:, 0], raw[:, 1:3], log_side, raw[:, 4], raw[:, 5:7], raw[:, 7], self._mask(joined, finest)
        )

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, H, W, 3) uint8 -> the joined map (B, width, H / 8, W / 8), the finest one (B, C, H / 4, W / 4)."""
        return self.join(self.backbone(self.normalise(images))[0])

    def normalise(self, images: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 RGB -> (B, 3, H, W) as the backbone was trained to see it."""
        pixels = images.permute(0, 3, 1, 2)
        if torch.is_grad_enabled():
            pixels = pixels.contiguous()  # as HandMeshNet.normalise
        return (pixels.float() - self.pixel_mean) / self.pixel_std

    def join(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The backbone's maps, finest first -> what :meth:`features` gives."""
        return self.up(maps[self.first :]), maps[self.first - 1]

    def _mask(self, joined: Tensor, finest: Tensor) -> Tensor:
        mixed = self.enlarge(self.narrow(joined)) + self.lateral(finest)
        return self.mask_out(mixed + self.mask_tower(mixed)).float()[:, 0]

    def reparameterize(self) -> HandDetectorNet:
        """Evaluation mode, every branch and foldable BatchNorm folded, in place; asking twice is safe."""
        self.eval()
        self.backbone.reparameterize()
        with torch.no_grad():
            fold_conv_norms(self)
        self.is_folded = True
        return self


class HandsOnly(nn.Module):
    """The detector without its segmentation, as a graph of its own."""

    def __init__(self, net: HandDetectorNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """images (B, H, W, 3) uint8 RGB -> (B, 8, H / 8, W / 8)."""
        return self.net.hands(images)
