"""The training form of FastViT, faster on a CPU: the same modules, parameters and maths, other inner loops.

:func:`accelerate` gives timm's blocks in place a subclass whose ``forward``, in training mode on a CPU, runs on maps
that keep the batch innermost (ops.py) and joins the branches' batch normalisations into one pass; in evaluation
mode or on a GPU the original ``forward`` runs. Maps stay logical (N, C, H, W) tensors between blocks, only their
strides differ, so every other module works as it is. Parameters, buffers and names do not change.

Why it is so much faster than the plain modules on a CPU: their 7 x 7 depthwise convolutions' gradients run scalar
code, and each of some seventy BatchNorms is a pass of its own through memory.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import ConvNormAct
from timm.models import fastvit
from torch import Tensor, nn
from torch.nn import functional

from handmesh.models.activation import HardGelu
from handmesh.models.aligned_head import Double
from handmesh.training.cpu import ops
from handmesh.training.cpu.mixing import Mixing


def accelerate(net: nn.Module, share_statistics: bool = False) -> nn.Module:
    """Give FastViT's blocks in ``net`` their faster CPU training form, in place; asking twice is safe.

    share_statistics: in a parallel run, BatchNorms see the batch of all processes, not their own part of it.
    """
    for module in net.modules():
        faster = _FASTER.get(type(module))
        if faster is not None:
            module.__class__ = faster
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            setattr(module, _SHARES, share_statistics)
    return net


def plain(net: nn.Module) -> nn.Module:
    """Undo :func:`accelerate`, in place."""
    original = {faster: slow for slow, faster in _FASTER.items()}
    for module in net.modules():
        if type(module) in original:
            module.__class__ = original[type(module)]
    return net


#: Attribute of a BatchNorm whose statistics are those of all processes together.
_SHARES = "shares_statistics"


def _applies(module: nn.Module, x: Tensor) -> bool:
    return module.training and x.device.type == "cpu" and x.dtype == torch.float32 and torch.is_grad_enabled()


def normalisation(bn: Any, mean: Tensor, var: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Scale and offset that a BatchNorm in training applies.

    Updates the running statistics as torch does (the running variance is the unbiased one). A BatchNorm that is
    frozen (in evaluation mode) applies its running statistics.

    Args:
        bn: the BatchNorm.
        mean, var: (C,) mean and biased variance of the map.
        count: numbers in each of its channels.

    Returns:
        Scale and offset, (C,) each.
    """
    if not bn.training:
        mean, var = bn.running_mean, bn.running_var
    else:
        if getattr(bn, _SHARES, False):
            mean, var, count = _of_all_processes(mean, var, count)
        with torch.no_grad():
            bn.num_batches_tracked += 1
            bn.running_mean.lerp_(mean, bn.momentum)
            bn.running_var.lerp_(var * (count / max(count - 1, 1)), bn.momentum)
    alpha = bn.weight * torch.rsqrt(var + bn.eps)
    return alpha, bn.bias - mean * alpha


def _of_all_processes(mean: Tensor, var: Tensor, count: int) -> tuple[Tensor, Tensor, int]:
    """Mean, biased variance and count over the equal parts of a batch that the processes hold; differentiable."""
    world = torch.distributed.get_world_size()
    mean_all, square = ops.sum_of_processes(torch.stack([mean, var + mean * mean]) / world).unbind(0)
    return mean_all, square - mean_all * mean_all, count * world


def _activate(act: nn.Module, y: Tensor, bias: Tensor | None = None) -> Tensor:
    """(C, H, W, N), with a bias (C,) added, through an activation -> (C, H, W, N)."""
    is_exact_gelu = isinstance(act, nn.GELU) and getattr(act, "approximate", "none") == "none"
    if is_exact_gelu or isinstance(act, HardGelu):
        return ops.gelu(y, bias, isinstance(act, HardGelu))
    return act(y if bias is None else y + bias.view(-1, 1, 1, 1))


def _count(x: Tensor) -> int:
    return x[0].numel()


class FastBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d in two passes over maps with the batch innermost."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        if not _applies(self, x):
            return super().forward(x)
        x = ops.to_chwn(x)
        return ops.to_nchw(ops.scale(x, *normalisation(self, *ops.moments(x), _count(x))))


class FastConvNormAct(ConvNormAct):
    """A depthwise or pointwise convolution with its BatchNorm, and an activation if there is one."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', h, w)."""
        conv = self.conv
        is_pointwise = conv.kernel_size == (1, 1) and conv.groups == 1 and conv.stride == (1, 1)
        is_depthwise = conv.groups == conv.in_channels and conv.groups > 1
        if not _applies(self, x) or not (is_pointwise or is_depthwise):
            return super().forward(x)
        x = ops.to_chwn(x)
        y, mean, var = ops.pointwise(x, conv.weight) if is_pointwise else ops.depthwise(x, conv.weight, conv.stride[0])
        alpha, delta = normalisation(self.bn, mean, var, _count(y))
        y = ops.scale(y, alpha, delta)
        return ops.to_nchw(_activate(getattr(self.bn, "act", nn.Identity()), y))


class FastMobileOneBlock(fastvit.MobileOneBlock):
    """All branches of a MobileOne block in one convolution and one pass that normalises and adds them."""

    identity: Any
    conv_kxk: Any
    conv_scale: Any

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', h, w)."""
        # The last convolution of all gives two channels for each of its input: its branches run one by one.
        is_widening = self.groups > 1 and self.out_chs != self.in_chs
        if self.reparam_conv is not None or not _applies(self, x) or self.num_conv_branches > 1 or is_widening:
            return super().forward(x)
        is_dense = self.groups == 1 and self.kernel_size > 1
        out = self._dense(x) if is_dense else self.linear(ops.to_chwn(x))
        if not isinstance(self.se, nn.Identity):
            out = ops.to_chwn(self.se(ops.to_nchw(out)))
        return ops.to_nchw(_activate(self.act, out))

    def centre(self, mean: Tensor, var: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Scale and offset of the branches that look at one pixel only: the identity and the 1 x 1 scale.

        Args:
            mean, var: (C,) of what goes in, at the output's pixels.
            count: numbers in each of its channels.
        """
        beta, delta = torch.zeros_like(mean), torch.zeros_like(mean)
        if self.identity is not None:
            beta, delta = normalisation(self.identity, mean, var, count)
        if self.conv_scale is not None:
            w = self.conv_scale.conv.weight.flatten()
            alpha, offset = normalisation(self.conv_scale.bn, w * mean, w * w * var, count)
            beta, delta = beta + alpha * w, delta + offset
        return beta, delta

    def linear(self, x: Tensor) -> Tensor:
        """Everything before the activation, for depthwise and pointwise blocks: (C, H, W, N) -> (C', h, w, N)."""
        conv = self.conv_kxk[0].conv
        if self.groups == 1:
            y, mean, var = ops.pointwise(x, conv.weight)
        else:
            y, mean, var = ops.depthwise(x, conv.weight, self.stride)
        alpha, delta = normalisation(self.conv_kxk[0].bn, mean, var, _count(y))
        if self.identity is None and self.conv_scale is None:
            return ops.scale(y, alpha, delta)
        if self.stride > 1:
            x = x[:, :: self.stride, :: self.stride].contiguous()
        beta, offset = self.centre(*ops.moments(x), _count(x))
        return ops.blend(y, x, alpha, beta, delta + offset)

    def _dense(self, x: Tensor) -> Tensor:
        """The stem's 3 x 3 convolution of the picture: one product with the patches' matrix.

        Mean and variance of each branch's output follow from the patches' own mean and covariance, so the branches
        are merged before they are applied. (No gradient reaches the picture.)
        """
        patches, height, width = self._patches(x.detach())
        count = patches.shape[1]
        mean = patches.mean(dim=1)
        centred = patches - mean[:, None]
        covariance = centred @ centred.t() / count
        weight, delta = patches.new_zeros(self.out_chs, patches.shape[0]), patches.new_zeros(self.out_chs)
        branches = [*self.conv_kxk] + ([self.conv_scale] if self.conv_scale is not None else [])
        for branch in branches:
            w = branch.conv.weight
            pad = (self.kernel_size - w.shape[-1]) // 2
            w = functional.pad(w, [pad] * 4).flatten(1)
            alpha, offset = normalisation(branch.bn, w @ mean, ((w @ covariance) * w).sum(1), count)
            weight, delta = weight + alpha[:, None] * w, delta + offset
        return torch.addmm(delta[:, None], weight, patches).view(-1, height, width, x.shape[0])

    def _patches(self, x: Tensor) -> tuple[Tensor, int, int]:
        """(N, C, H, W) -> (C * k * k, h * w * N): what each output pixel sees."""
        k = self.kernel_size
        x = functional.pad(x.permute(1, 2, 3, 0), [0, 0, k // 2, k // 2, k // 2, k // 2])
        x = x.unfold(1, k, self.stride).unfold(2, k, self.stride)  # (C, h, w, N, k, k)
        height, width = x.shape[1:3]
        return x.permute(0, 4, 5, 1, 2, 3).reshape(x.shape[0] * k * k, -1), height, width


class FastLargeKernel(fastvit.ReparamLargeKernelConv):
    """The 7 x 7 and 3 x 3 depthwise branches of a patch embedding."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', h, w)."""
        if self.reparam_conv is not None or not _applies(self, x) or self.groups == 1:
            return super().forward(x)
        x = ops.to_chwn(x)
        large, mean, var = ops.depthwise(x, self.large_conv.conv.weight, self.stride)
        alpha, delta = normalisation(self.large_conv.bn, mean, var, _count(large))
        if self.small_kernel is None:
            out = ops.scale(large, alpha, delta)
        else:
            small, mean, var = ops.depthwise(x, self.small_conv.conv.weight, self.stride)
            beta, offset = normalisation(self.small_conv.bn, mean, var, _count(small))
            out = ops.blend(large, small, alpha, beta, delta + offset)
        return ops.to_nchw(_activate(self.act, ops.to_chwn(self.se(ops.to_nchw(out)))))


class FastRepMixer(fastvit.RepMixer):
    """x + scale (mixer(x) - norm(x)) as one depthwise convolution and one pass."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        if self.reparam_conv is not None or not _applies(self, x):
            return super().forward(x)
        x = ops.to_chwn(x)
        mixer, count = self.mixer, _count(x)
        mixing = Mixing(x, mixer.conv_kxk[0].conv.weight)
        alpha, delta = normalisation(mixer.conv_kxk[0].bn, mixing.mean, mixing.var, count)
        beta, offset = mixer.centre(mixing.mean_x, mixing.var_x, count)
        slope, shift = self.norm.centre(mixing.mean_x, mixing.var_x, count)
        gamma = self.layer_scale.gamma.flatten() if isinstance(self.layer_scale, fastvit.LayerScale2d) else 1.0
        out = mixing.blend(gamma * alpha, 1.0 + gamma * (beta - slope), gamma * (delta + offset - shift))
        return ops.to_nchw(out)


class FastConvMlp(fastvit.ConvMlp):
    """7 x 7 depthwise convolution, its BatchNorm folded into the first of two pointwise ones."""

    conv: Any
    fc1: Any
    fc2: Any

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        if not _applies(self, x) or self.drop.p > 0:
            return super().forward(x)
        x = ops.to_chwn(x)
        return ops.to_nchw(self._hidden(x, None, None))

    def residual(self, x: Tensor, gamma: Tensor) -> Tensor:
        """x + gamma * forward(x), with the scale folded into the last product: (N, C, H, W) -> (N, C, H, W)."""
        x = ops.to_chwn(x)
        return ops.to_nchw(self._hidden(x, x, gamma.flatten()))

    def _hidden(self, x: Tensor, residual: Tensor | None, gamma: Tensor | None) -> Tensor:
        y, mean, var = ops.depthwise(x, self.conv.conv.weight)
        alpha, delta = normalisation(self.conv.bn, mean, var, _count(y))
        w1, w2 = self.fc1.weight.flatten(1), self.fc2.weight.flatten(1)
        b1, b2 = w1 @ delta + self.fc1.bias, self.fc2.bias
        hidden = torch.mm(w1 * alpha, y.view(len(y), -1)).view(-1, *y.shape[1:])
        hidden = _activate(self.act, hidden, b1)
        if residual is None or gamma is None:
            return torch.addmm(b2[:, None], w2, hidden.view(len(hidden), -1)).view_as(x)
        return ops.add_product(residual, w2 * gamma[:, None], hidden, b2 * gamma)


class FastRepMixerBlock(fastvit.RepMixerBlock):
    """Token mixer, then the MLP with its layer scale and residual in one product."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        mlp = self.mlp
        is_simple = isinstance(self.drop_path, nn.Identity) and isinstance(self.layer_scale, fastvit.LayerScale2d)
        if not (_applies(self, x) and is_simple and isinstance(mlp, FastConvMlp) and mlp.drop.p == 0):
            return super().forward(x)
        return mlp.residual(self.token_mixer(x), self.layer_scale.gamma)


class FastPositions(fastvit.RepConditionalPosEnc):
    """The conditional position encoding: a 7 x 7 depthwise convolution, its bias, and the input."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        if self.reparam_conv is not None or not _applies(self, x) or self.spatial_shape[0] != self.spatial_shape[1]:
            return super().forward(x)
        x = ops.to_chwn(x)
        y, _, _ = ops.depthwise(x, self.pos_enc.weight)
        bias = self.pos_enc.bias
        return ops.to_nchw(ops.blend(y, x, torch.ones_like(bias), torch.ones_like(bias), bias))


class FastDouble(Double):
    """Repeated pixels, keeping the batch innermost."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 2 H, 2 W)."""
        if not _applies(self, x):
            return super().forward(x)
        return ops.to_nchw(ops.enlarge(ops.to_chwn(x)))


_FASTER: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm2d: FastBatchNorm2d,
    ConvNormAct: FastConvNormAct,
    fastvit.MobileOneBlock: FastMobileOneBlock,
    fastvit.ReparamLargeKernelConv: FastLargeKernel,
    fastvit.RepMixer: FastRepMixer,
    fastvit.ConvMlp: FastConvMlp,
    fastvit.RepMixerBlock: FastRepMixerBlock,
    fastvit.RepConditionalPosEnc: FastPositions,
    Double: FastDouble,
}
