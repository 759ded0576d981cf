"""Differentiable operations on maps (C, H, W, N) for training on a CPU: numba kernels and plain matrix products.

Batch normalisation is taken apart here: a convolution also returns the mean and variance of its output's channels as
differentiable tensors, the arithmetic of normalisation is done on those (C,) vectors by whoever calls, and
:func:`blend` applies the resulting scale and offset in one pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from handmesh.training.cpu import channelwise
from handmesh.training.cpu import depthwise as depthwise_kernels


def to_chwn(x: Tensor) -> Tensor:
    """(N, C, H, W) of any strides -> contiguous (C, H, W, N); no copy when the memory already lies so."""
    return x.permute(1, 2, 3, 0).contiguous()


def to_nchw(x: Tensor) -> Tensor:
    """(C, H, W, N) -> (N, C, H, W), a view."""
    return x.permute(3, 0, 1, 2)


def array(x: Tensor) -> Any:
    """The numpy array of a tensor's own memory, for kernels."""
    return x.detach().numpy()


def rows(x: Tensor) -> Any:
    """(C, H, W, N) -> numpy (C, H, W * N), a view."""
    return x.detach().reshape(x.shape[0], x.shape[1], -1).numpy()


class _Depthwise(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, stride: int) -> tuple[Tensor, Tensor, Tensor]:
        _, height, width, batch = x.shape
        k = w.shape[-1]
        size = [(side + 2 * (k // 2) - k) // stride + 1 for side in (height, width)]
        y = x.new_empty(w.shape[0], *size, batch)
        mean, var = x.new_empty(w.shape[0]), x.new_empty(w.shape[0])
        w = w.reshape(-1, k, k).contiguous()
        depthwise_kernels.depthwise_forward(array(x), array(w), stride, array(y), array(mean), array(var))
        ctx.save_for_backward(x, w, y, mean)
        ctx.stride = stride
        return y, mean, var

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x, w, y, mean = ctx.saved_tensors
        grad, grad_mean, grad_var = (g.contiguous() for g in grads)
        grad_x, grad_w = torch.empty_like(x), torch.empty_like(w)
        depthwise_kernels.depthwise_backward(
            array(x), array(w), ctx.stride, array(y), array(mean),
            array(grad), array(grad_mean), array(grad_var), array(grad_x), array(grad_w),
        )  # fmt: skip
        return grad_x, grad_w.unsqueeze(1), None


def depthwise(x: Tensor, w: Tensor, stride: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Depthwise convolution with k // 2 zeros around.

    Args:
        x: (Ci, H, W, N).
        w: (Co, 1, k, k).
        stride: 1 or 2.

    Returns:
        y (Co, h, w, N), and mean and biased variance (Co,) of its channels.
    """
    return _Depthwise.apply(x, w, stride)


class _Pointwise(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        w = w.reshape(w.shape[0], -1)
        y = torch.mm(w, x.view(x.shape[0], -1)).view(-1, *x.shape[1:])
        mean, var = x.new_empty(len(w)), x.new_empty(len(w))
        channelwise.channel_moments(rows(y), array(mean), array(var))
        ctx.save_for_backward(x, w, y, mean)
        return y, mean, var

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x, w, y, mean = ctx.saved_tensors
        grad, grad_mean, grad_var = (g.contiguous() for g in grads)
        total = grad.clone()
        channelwise.moments_backward(rows(y), array(mean), array(grad_mean), array(grad_var), rows(total))
        flat = total.view(len(w), -1)
        grad_x = torch.mm(w.t(), flat).view_as(x)
        return grad_x, torch.mm(flat, x.view(len(x), -1).t()).view(len(w), -1, 1, 1)


def pointwise(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A 1 x 1 convolution w (Co, Ci, 1, 1) of x (Ci, H, W, N) -> y (Co, H, W, N), mean (Co,), biased variance (Co,)."""
    return _Pointwise.apply(x, w)


class _Moments(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, var = x.new_empty(len(x)), x.new_empty(len(x))
        channelwise.channel_moments(rows(x), array(mean), array(var))
        ctx.save_for_backward(x, mean)
        return mean, var

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        grad = torch.zeros_like(x)
        grad_mean, grad_var = (g.contiguous() for g in grads)
        channelwise.moments_backward(rows(x), array(mean), array(grad_mean), array(grad_var), rows(grad))
        return grad


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (C,) and biased variance (C,) of x (C, H, W, N)."""
    return _Moments.apply(x)


class _Scale(Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, alpha: Tensor, delta: Tensor) -> Tensor:
        out = torch.empty_like(y)
        channelwise.scale_forward(rows(y), array(alpha), array(delta), rows(out))
        ctx.save_for_backward(y, alpha)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, alpha = ctx.saved_tensors
        grad_y, grad_alpha, grad_delta = torch.empty_like(y), torch.empty_like(alpha), torch.empty_like(alpha)
        channelwise.scale_backward(
            rows(y), array(alpha), rows(grads[0].contiguous()),
            rows(grad_y), array(grad_alpha), array(grad_delta),
        )  # fmt: skip
        return grad_y, grad_alpha, grad_delta


def scale(y: Tensor, alpha: Tensor, delta: Tensor) -> Tensor:
    """alpha y + delta.

    Args:
        y: (C, H, W, N).
        alpha, delta: (C,).
    """
    return _Scale.apply(y, alpha.contiguous(), delta.contiguous())


class _Blend(Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, alpha: Tensor, beta: Tensor, delta: Tensor) -> Tensor:
        out = torch.empty_like(y)
        channelwise.blend_forward(rows(y), rows(x), array(alpha), array(beta), array(delta), rows(out))
        ctx.save_for_backward(y, x, alpha, beta)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        y, x, alpha, beta = ctx.saved_tensors
        grad_y, grad_x = torch.empty_like(y), torch.empty_like(x)
        vectors = [torch.empty_like(alpha) for _ in range(3)]
        channelwise.blend_backward(
            rows(y), rows(x), array(alpha), array(beta), rows(grads[0].contiguous()),
            rows(grad_y), rows(grad_x), *(array(v) for v in vectors),
        )  # fmt: skip
        return grad_y, grad_x, *vectors


def blend(y: Tensor, x: Tensor, alpha: Tensor, beta: Tensor, delta: Tensor) -> Tensor:
    """alpha y + beta x + delta.

    Args:
        y, x: (C, H, W, N).
        alpha, beta, delta: (C,).
    """
    return _Blend.apply(y, x, alpha.contiguous(), beta.contiguous(), delta.contiguous())


class _Gelu(Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, bias: Tensor, is_hard: bool) -> Tensor:
        out, slope = torch.empty_like(z), torch.empty_like(z)
        channelwise.gelu_forward(rows(z), array(bias), is_hard, rows(out), rows(slope))
        ctx.save_for_backward(slope)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (slope,) = ctx.saved_tensors
        grad_z, grad_bias = torch.empty_like(slope), slope.new_empty(len(slope))
        channelwise.gelu_backward(rows(grads[0].contiguous()), rows(slope), rows(grad_z), array(grad_bias))
        return grad_z, grad_bias, None


def gelu(z: Tensor, bias: Tensor | None = None, is_hard: bool = False) -> Tensor:
    """GELU(z + bias).

    Args:
        z: (C, H, W, N).
        bias: (C,).
        is_hard: HardGelu in GELU's place.
    """
    return _Gelu.apply(z, (z.new_zeros(len(z)) if bias is None else bias).contiguous(), is_hard)


class _AddProduct(Function):
    @staticmethod
    def forward(ctx: Any, residual: Tensor, w: Tensor, x: Tensor, bias: Tensor) -> Tensor:
        out = torch.mm(w, x.view(len(x), -1)).view(-1, *x.shape[1:])
        channelwise.add_with_bias(rows(out), rows(residual), array(bias))
        ctx.save_for_backward(w, x)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        w, x = ctx.saved_tensors
        grad = grads[0].contiguous()
        flat, grad_bias = grad.view(len(grad), -1), grad.new_empty(len(grad))
        channelwise.channel_sums(rows(grad), array(grad_bias))
        return grad, torch.mm(flat, x.view(len(x), -1).t()), torch.mm(w.t(), flat).view_as(x), grad_bias


def add_product(residual: Tensor, w: Tensor, x: Tensor, bias: Tensor) -> Tensor:
    """residual + w x + bias: a 1 x 1 convolution added to a map.

    Args:
        residual: (Co, H, W, N).
        w: (Co, Ci).
        x: (Ci, H, W, N).
        bias: (Co,).
    """
    return _AddProduct.apply(residual, w, x, bias.contiguous())


class _Enlarge(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        c, h, w, n = x.shape
        return x.view(c, h, 1, w, 1, n).expand(c, h, 2, w, 2, n).reshape(c, 2 * h, 2 * w, n)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].contiguous()
        summed = grad[:, ::2] + grad[:, 1::2]
        return summed[:, :, ::2] + summed[:, :, 1::2]


def enlarge(x: Tensor) -> Tensor:
    """(C, H, W, N) -> (C, 2 H, 2 W, N) by repeating pixels."""
    return _Enlarge.apply(x)


class _SumOfProcesses(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        torch.distributed.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].clone()
        torch.distributed.all_reduce(grad)
        return grad


def sum_of_processes(x: Tensor) -> Tensor:
    """The sum of x over all processes of a parallel run; its gradient is the sum of theirs."""
    return _SumOfProcesses.apply(x)
