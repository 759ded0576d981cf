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


def _array(x: Tensor) -> Any:
    return x.detach().numpy()


def _rows(x: Tensor) -> Any:
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
        depthwise_kernels.depthwise_forward(_array(x), _array(w), stride, _array(y), _array(mean), _array(var))
        ctx.save_for_backward(x, w, y, mean)
        ctx.stride = stride
        return y, mean, var

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x, w, y, mean = ctx.saved_tensors
        grad, grad_mean, grad_var = (g.contiguous() for g in grads)
        grad_x, grad_w = torch.empty_like(x), torch.empty_like(w)
        depthwise_kernels.depthwise_backward(
            _array(x), _array(w), ctx.stride, _array(y), _array(mean),
            _array(grad), _array(grad_mean), _array(grad_var), _array(grad_x), _array(grad_w),
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
        channelwise.channel_moments(_rows(y), _array(mean), _array(var))
        ctx.save_for_backward(x, w, y, mean)
        return y, mean, var

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x, w, y, mean = ctx.saved_tensors
        grad, grad_mean, grad_var = (g.contiguous() for g in grads)
        total = grad.clone()
        channelwise.moments_backward(_rows(y), _array(mean), _array(grad_mean), _array(grad_var), _rows(total))
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
        channelwise.channel_moments(_rows(x), _array(mean), _array(var))
        ctx.save_for_backward(x, mean)
        return mean, var

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        grad = torch.zeros_like(x)
        grad_mean, grad_var = (g.contiguous() for g in grads)
        channelwise.moments_backward(_rows(x), _array(mean), _array(grad_mean), _array(grad_var), _rows(grad))
        return grad


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (C,) and biased variance (C,) of x (C, H, W, N)."""
    return _Moments.apply(x)


class _Scale(Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, alpha: Tensor, delta: Tensor) -> Tensor:
        out = torch.empty_like(y)
        channelwise.scale_forward(_rows(y), _array(alpha), _array(delta), _rows(out))
        ctx.save_for_backward(y, alpha)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, alpha = ctx.saved_tensors
        grad_y, grad_alpha, grad_delta = torch.empty_like(y), torch.empty_like(alpha), torch.empty_like(alpha)
        channelwise.scale_backward(
            _rows(y), _array(alpha), _rows(grads[0].contiguous()),
            _rows(grad_y), _array(grad_alpha), _array(grad_delta),
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
        channelwise.blend_forward(_rows(y), _rows(x), _array(alpha), _array(beta), _array(delta), _rows(out))
        ctx.save_for_backward(y, x, alpha, beta)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        y, x, alpha, beta = ctx.saved_tensors
        grad_y, grad_x = torch.empty_like(y), torch.empty_like(x)
        vectors = [torch.empty_like(alpha) for _ in range(3)]
        channelwise.blend_backward(
            _rows(y), _rows(x), _array(alpha), _array(beta), _rows(grads[0].contiguous()),
            _rows(grad_y), _rows(grad_x), *(_array(v) for v in vectors),
        )  # fmt: skip
        return grad_y, grad_x, *vectors


def blend(y: Tensor, x: Tensor, alpha: Tensor, beta: Tensor, delta: Tensor) -> Tensor:
    """alpha y + beta x + delta.

    Args:
        y, x: (C, H, W, N).
        alpha, beta, delta: (C,).
    """
    return _Blend.apply(y, x, alpha.contiguous(), beta.contiguous(), delta.contiguous())


class Mixing:
    """alpha y + beta x + delta, where y is a depthwise convolution of x: one map fewer to write, several to add.

    The factors may depend on the moments of x and y. The gradient by x, which comes by five ways, is added up in one
    pass: the sum leaves its own gradient here, and the convolution takes it in.

    Attributes:
        mean, var: (C,) of y, differentiable; the variance is the biased one.
        mean_x, var_x: (C,) of x.
    """

    def __init__(self, x: Tensor, w: Tensor) -> None:
        """Convolve.

        Args:
            x: (C, H, W, N).
            w: (C, 1, k, k).
        """
        self._x, self._shared = x.detach(), _Shared()
        self._y, self.mean, self.var, self.mean_x, self.var_x = _MixingConvolution.apply(x, w, self._shared)

    def blend(self, alpha: Tensor, beta: Tensor, delta: Tensor) -> Tensor:
        """The sum (C, H, W, N); once.

        Args:
            alpha, beta, delta: (C,) each.
        """
        factors = (alpha.contiguous(), beta.contiguous(), delta.contiguous())
        return _MixingSum.apply(self._y, self._x, *factors, self._shared)


class _Shared:
    """What the sum's backward pass leaves for the convolution's: the sum's gradient and two of its factors."""

    grad: Tensor
    alpha: Tensor
    beta: Tensor


class _MixingConvolution(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, shared: _Shared) -> tuple[Tensor, ...]:
        y, w = torch.empty_like(x), w.flatten(0, 1).contiguous()
        found = [x.new_empty(len(x)) for _ in range(4)]
        depthwise_kernels.mixing_forward(_array(x), _array(w), _array(y), *map(_array, found))
        ctx.save_for_backward(x, w, y, found[0], found[2])
        ctx.shared = shared
        return y, *found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x, w, y, mean, mean_x = ctx.saved_tensors
        grad_mean, grad_var, grad_mean_x, grad_var_x = (_array(g.contiguous()) for g in grads[1:])
        grad_x, grad_w, shared = torch.empty_like(x), torch.empty_like(w), ctx.shared
        depthwise_kernels.mixing_backward(
            _array(x), _array(w), _array(y), _array(shared.grad), _array(shared.alpha), _array(shared.beta),
            _array(mean), grad_mean, grad_var, _array(mean_x), grad_mean_x, grad_var_x, _array(grad_x), _array(grad_w),
        )  # fmt: skip
        del shared.grad
        return grad_x, grad_w.unsqueeze(1), None


class _MixingSum(Function):
    @staticmethod
    def forward(
        ctx: Any, y: Tensor, x: Tensor, alpha: Tensor, beta: Tensor, delta: Tensor, shared: _Shared
    ) -> Tensor:
        out = torch.empty_like(y)
        channelwise.blend_forward(_rows(y), _rows(x), _array(alpha), _array(beta), _array(delta), _rows(out))
        ctx.save_for_backward(y, x, alpha, beta)
        ctx.shared = shared
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        y, x, alpha, beta = ctx.saved_tensors
        grad = grads[0].contiguous()
        factors = [torch.empty_like(alpha) for _ in range(3)]
        channelwise.blend_sums(_rows(y), _rows(x), _rows(grad), *map(_array, factors))
        # Detached: factors that know where they come from would lead back here, and no step would ever be forgotten.
        ctx.shared.grad, ctx.shared.alpha, ctx.shared.beta = grad.detach(), alpha.detach(), beta.detach()
        # y's own gradient is left out: the convolution makes it of the sum's.
        return grad.new_zeros(1).expand_as(y), None, *factors, None


class _Gelu(Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, bias: Tensor, is_hard: bool) -> Tensor:
        out, slope = torch.empty_like(z), torch.empty_like(z)
        channelwise.gelu_forward(_rows(z), _array(bias), is_hard, _rows(out), _rows(slope))
        ctx.save_for_backward(slope)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (slope,) = ctx.saved_tensors
        grad_z, grad_bias = torch.empty_like(slope), slope.new_empty(len(slope))
        channelwise.gelu_backward(_rows(grads[0].contiguous()), _rows(slope), _rows(grad_z), _array(grad_bias))
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
        channelwise.add_with_bias(_rows(out), _rows(residual), _array(bias))
        ctx.save_for_backward(w, x)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        w, x = ctx.saved_tensors
        grad = grads[0].contiguous()
        flat, grad_bias = grad.view(len(grad), -1), grad.new_empty(len(grad))
        channelwise.channel_sums(_rows(grad), _array(grad_bias))
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
        rows = grad[:, ::2] + grad[:, 1::2]
        return rows[:, :, ::2] + rows[:, :, 1::2]


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
