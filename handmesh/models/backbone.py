"""FastViT from timm as a feature pyramid, and the folding of its training form into its inference form."""

from __future__ import annotations

from typing import Any

import timm
import torch
from timm.layers import ConvNormAct
from timm.models import fastvit
from timm.utils import reparameterize_model
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from handmesh.errors import HandMeshError
from handmesh.models.activation import HardGelu

BACKBONES: tuple[str, ...] = (
    "fastvit_t8", "fastvit_t12", "fastvit_s12", "fastvit_sa12", "fastvit_sa24", "fastvit_sa36", "fastvit_ma36",
)  # fmt: skip


class Backbone(nn.Module):
    """One of timm's FastViT variants.

    Attributes:
        channels: width of each map of the pyramid, asked of the network.
        strides: 4, 8, 16, 32.
        pooled_channels: width of the pooled feature; 0 without ``with_final``.
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        with_final: bool = False,
    ) -> None:
        """Build the backbone.

        Args:
            name: one of :data:`BACKBONES`, with or without one of timm's weight tags (``.apple_dist_in1k``).
            pretrained: start from ImageNet weights (timm downloads them).
            drop_path: stochastic depth at the last block.
            layer_scale: start value of every layer scale when not pretrained, with the MLPs' weights to match; timm's
                own start when None.
            with_final: keep timm's last expanding convolution, whose pooled output the FastViT paper regresses from.

        Raises:
            HandMeshError: an unknown name, or weights that cannot be had.
        """
        super().__init__()
        if name.split(".")[0] not in BACKBONES:
            raise HandMeshError(f"expected model.backbone to be one of {', '.join(BACKBONES)}, got {name!r}")
        self.net: Any = _create(name, pretrained, drop_path)
        self.channels: tuple[int, ...] = tuple(info["num_chs"] for info in self.net.feature_info)
        self.strides: tuple[int, ...] = tuple(info["reduction"] for info in self.net.feature_info)
        self.pooled_channels: int = self.net.num_features if with_final else 0
        if not with_final:
            self.net.final_conv = nn.Identity()
        self.is_half = False
        if layer_scale is not None and not pretrained:
            _start_awake(self.net, layer_scale)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Normalised pictures (B, 3, S, S) -> maps (B, C_i, S / stride_i, S / stride_i), and the pooled feature.

        The pooled feature is (B, pooled_channels), or the pooled last map when the last convolution is left out.
        """
        x = self.net.stem(x.half() if self.is_half else x)
        maps = []
        for stage in self.net.stages:
            x = stage(x)
            maps.append(x)
        pooled = self.net.final_conv(x).mean((2, 3))
        if self.is_half:
            return [each.float() for each in maps], pooled.float()
        return maps, pooled

    def first_maps(self, x: Tensor, count: int) -> list[Tensor]:
        """The ``count`` finest maps of normalised pictures (B, 3, H, W)."""
        x = self.net.stem(x)
        maps = []
        for stage in self.net.stages[:count]:
            x = stage(x)
            maps.append(x)
        return maps

    def further_maps(self, maps: list[Tensor]) -> list[Tensor]:
        """All maps, of those that :meth:`first_maps` gave, at least one."""
        maps = list(maps)
        for stage in self.net.stages[len(maps) :]:
            maps.append(stage(maps[-1]))
        return maps

    def to_half(self) -> Backbone:
        """Compute in float16, in place; maps go in and come out as float32. For a GPU, and not for training."""
        self.half()
        self.is_half = True
        return self

    def reparameterize(self) -> Backbone:
        """Fold branches, BatchNorms and layer scales into single convolutions, in place; asking twice is safe.

        The result computes the same numbers in evaluation mode. There is no way back.
        """
        self.eval()
        with torch.no_grad():
            # timm's own function raises when asked twice, so ask only while some block still has its branches.
            if any(getattr(module, "reparam_conv", 0) is None for module in self.net.modules()):
                reparameterize_model(self.net, inplace=True)
            for block in self.net.modules():
                _fold_block(block)
        for parameter in self.net.parameters():
            parameter.requires_grad_(True)
        return self


def _create(name: str, pretrained: bool, drop_path: float) -> Any:
    try:
        net = timm.create_model(name, pretrained=pretrained, num_classes=0, drop_path_rate=drop_path)
    except Exception as error:  # timm lets every network library's own errors through
        if "." in name and name not in timm.list_pretrained(f"{name.split('.')[0]}.*"):
            known = ", ".join(timm.list_pretrained(f"{name.split('.')[0]}.*"))
            raise HandMeshError(f"expected one of timm's weight tags, {known}, got {name!r}; or no tag") from error
        if not pretrained:
            raise
        raise HandMeshError(
            f"expected ImageNet weights for {name}, got none ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no message'}); connect to the internet once, "
            "or put the weights into the Hugging Face cache, or train from random weights with model.pretrained=false"
        ) from error
    return net


def _start_awake(net: nn.Module, layer_scale: float) -> None:
    """Let every block take part from the first step.

    timm starts MLPs at a standard deviation of 0.02 behind layer scales of 1e-5, which is made for 300 epochs: in a
    short training from random weights the blocks would do nothing for its first part.
    """
    for module in net.modules():
        if isinstance(module, fastvit.LayerScale2d):
            nn.init.constant_(module.gamma, layer_scale)
        elif isinstance(module, fastvit.ConvMlp):
            nn.init.kaiming_normal_(module.fc1.weight, nonlinearity="relu")
            nn.init.kaiming_normal_(module.fc2.weight, nonlinearity="linear")


#: Layer scales, and the layer each one multiplies the output of.
_SCALED: tuple[tuple[type[nn.Module], str, str], ...] = (
    (fastvit.RepMixerBlock, "layer_scale", "mlp.fc2"),
    (fastvit.AttentionBlock, "layer_scale_1", "token_mixer.proj"),
    (fastvit.AttentionBlock, "layer_scale_2", "mlp.fc2"),
)


def _fold_block(block: Any) -> None:
    """Fold what timm leaves: the MLP's BatchNorm, layer scales, and the attention's BatchNorm."""
    for kind, scale, layer in _SCALED:
        if isinstance(block, kind) and isinstance(getattr(block, scale), fastvit.LayerScale2d):
            _scale_output(block.get_submodule(layer), getattr(block, scale).gamma)
            setattr(block, scale, nn.Identity())
    if isinstance(block, fastvit.PatchEmbed) and isinstance(block.proj, nn.Sequential):
        block.set_submodule("proj", DoublingEmbed.of(block.proj))
    if isinstance(block, fastvit.ConvMlp) and not isinstance(block.conv, nn.Conv2d):
        block.set_submodule("conv", fold_conv_norm(block.conv))
    if isinstance(block, fastvit.ConvMlp) and isinstance(block.act, HardGelu):
        block.set_submodule("act", _as_hard_swish(block.fc1, block.fc2))
    if isinstance(block, fastvit.AttentionBlock) and isinstance(block.norm, nn.BatchNorm2d):
        block.token_mixer.qkv = _fold_norm_before(block.norm, block.token_mixer.qkv)
        block.set_submodule("norm", nn.Identity())


class DoublingEmbed(nn.Module):
    """A folded patch embedding: a depthwise convolution to twice the channels, its activation, the layer after it.

    Both outputs of a channel lie next to one another in the original, a form for which engines have slow kernels only.
    Here come all first outputs, then all second ones, by a plain depthwise convolution each. The 1 x 1 convolution that
    follows takes its inputs in that order.
    """

    def __init__(self, first: nn.Conv2d, second: nn.Conv2d, act: nn.Module, pointwise: nn.Module) -> None:
        """Take over three layers.

        Args:
            first, second: the two halves of a grouped convolution to twice its channels.
            act: its activation.
            pointwise: the 1 x 1 convolution behind it.
        """
        super().__init__()
        self.first, self.second, self.act, self.pointwise = first, second, act, pointwise

    @classmethod
    def of(cls, proj: Any) -> nn.Module:
        """timm's two re-parameterized layers in this form; ``proj`` itself where they are of another kind."""
        large, point = proj[0], proj[1].reparam_conv
        conv: nn.Conv2d = large.reparam_conv
        width = conv.in_channels
        if conv.groups != width or conv.out_channels != 2 * width or not isinstance(large.se, nn.Identity):
            return proj
        assert conv.bias is not None, "a re-parameterized convolution has a bias"
        halves = []
        for turn in range(2):
            half = nn.Conv2d(
                width, width, conv.kernel_size, conv.stride, conv.padding, groups=width  # type: ignore[arg-type]
            ).to(conv.weight)
            assert half.bias is not None
            half.weight.copy_(conv.weight[turn::2])
            half.bias.copy_(conv.bias[turn::2])
            halves.append(half)
        order = torch.arange(2 * width).view(width, 2).T.flatten()
        point.weight.copy_(point.weight[:, order])
        return cls(halves[0], halves[1], large.act, proj[1])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 2 C, H / stride, W / stride)."""
        return self.pointwise(self.act(torch.cat([self.first(x), self.second(x)], dim=1)))


def fold_conv_norm(block: Any) -> nn.Module:
    """timm's ConvNormAct in evaluation mode as a convolution, followed by its activation when it has one."""
    conv: nn.Module = fuse_conv_bn_eval(block.conv, block.bn)
    act = getattr(block.bn, "act", nn.Identity())
    return conv if isinstance(act, nn.Identity) else nn.Sequential(conv, act)


def fold_conv_norms(module: nn.Module) -> None:
    """Every ConvNormAct inside a module by :func:`fold_conv_norm`, in place."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ConvNormAct):
                setattr(parent, name, fold_conv_norm(child))


def _scale_output(layer: Any, gamma: Tensor) -> None:
    """gamma * layer(x), folded into the layer's weight and bias."""
    scale = gamma.flatten()
    layer.weight.mul_(scale.view(-1, *[1] * (layer.weight.dim() - 1)))
    if layer.bias is not None:
        layer.bias.mul_(scale)


def _as_hard_swish(before: Any, after: Any) -> nn.Module:
    """The hard swish that takes a HardGelu's place once its factors are folded into the layers around it."""
    _scale_output(before, before.weight.new_full((len(before.weight),), 2.0))
    after.weight.mul_(0.5)
    return nn.Hardswish()


def _fold_norm_before(norm: Any, linear: nn.Linear) -> nn.Linear:
    """linear(norm(x)) as one linear layer."""
    alpha = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    delta = norm.bias - norm.running_mean * alpha
    folded = nn.Linear(linear.in_features, linear.out_features, bias=True)
    bias = linear.weight @ delta
    folded.weight.copy_(linear.weight * alpha)
    folded.bias.copy_(bias if linear.bias is None else bias + linear.bias)
    return folded.to(linear.weight)
