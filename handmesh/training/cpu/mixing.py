"""FastViT's token mixer for training on a CPU: a depthwise convolution and the map that it was made of, added up."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from handmesh.training.cpu import channelwise, depthwise
from handmesh.training.cpu.ops import array, rows


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
        depthwise.mixing_forward(array(x), array(w), array(y), *map(array, found))
        ctx.save_for_backward(x, w, y, found[0], found[2])
        ctx.shared = shared
        return y, *found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x, w, y, mean, mean_x = ctx.saved_tensors
        grad_mean, grad_var, grad_mean_x, grad_var_x = (array(g.contiguous()) for g in grads[1:])
        grad_x, grad_w, shared = torch.empty_like(x), torch.empty_like(w), ctx.shared
        depthwise.mixing_backward(
            array(x), array(w), array(y), array(shared.grad), array(shared.alpha), array(shared.beta),
            array(mean), grad_mean, grad_var, array(mean_x), grad_mean_x, grad_var_x, array(grad_x), array(grad_w),
        )  # fmt: skip
        del shared.grad
        return grad_x, grad_w.unsqueeze(1), None


class _MixingSum(Function):
    @staticmethod
    def forward(
        ctx: Any, y: Tensor, x: Tensor, alpha: Tensor, beta: Tensor, delta: Tensor, shared: _Shared
    ) -> Tensor:
        out = torch.empty_like(y)
        channelwise.blend_forward(rows(y), rows(x), array(alpha), array(beta), array(delta), rows(out))
        ctx.save_for_backward(y, x, alpha, beta)
        ctx.shared = shared
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        y, x, alpha, beta = ctx.saved_tensors
        grad = grads[0].contiguous()
        factors = [torch.empty_like(alpha) for _ in range(3)]
        channelwise.blend_sums(rows(y), rows(x), rows(grad), *map(array, factors))
        # Detached: factors that know where they come from would lead back here, and no step would ever be forgotten.
        ctx.shared.grad, ctx.shared.alpha, ctx.shared.beta = grad.detach(), alpha.detach(), beta.detach()
        # y's own gradient is left out: the convolution makes it of the sum's.
        return grad.new_zeros(1).expand_as(y), None, *factors, None
