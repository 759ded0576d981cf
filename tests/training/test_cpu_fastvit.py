"""The CPU's training form computes what the plain modules compute: outputs, gradients, running statistics."""

from __future__ import annotations

import copy
import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from handmesh.models.activation import HardGelu, harden
from handmesh.training.cpu import ops
from handmesh.training.cpu.fastvit import accelerate, plain
from handmesh.training.cpu.mixing import Mixing

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("k", "stride", "multiplier", "side"), [(7, 1, 1, 5), (3, 1, 1, 4), (7, 2, 2, 8), (3, 2, 2, 7)]
)
def test_depthwise_is_the_convolution_and_its_statistics(k: int, stride: int, multiplier: int, side: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, side, side, generator=generator, dtype=torch.float64)
    w = torch.randn(4 * multiplier, 1, k, k, generator=generator, dtype=torch.float64)
    plain_x, plain_w = x.clone().requires_grad_(), w.clone().requires_grad_()
    y = nn.functional.conv2d(plain_x, plain_w, padding=k // 2, stride=stride, groups=4)
    fast_x, fast_w = ops.to_chwn(x.float()).requires_grad_(), w.float().requires_grad_()
    fast_y, mean, var = ops.depthwise(fast_x, fast_w, stride)
    torch.testing.assert_close(ops.to_nchw(fast_y).double(), y, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mean.double(), y.mean((0, 2, 3)), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(var.double(), y.var((0, 2, 3), unbiased=False), atol=1e-4, rtol=1e-5)
    weight = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    ((y * weight).sum() + (y.mean((0, 2, 3)) ** 2).sum() + y.var((0, 2, 3), unbiased=False).sum()).backward()
    ((ops.to_nchw(fast_y) * weight.float()).sum() + (mean**2).sum() + var.sum()).backward()
    assert plain_x.grad is not None and fast_x.grad is not None
    torch.testing.assert_close(ops.to_nchw(fast_x.grad).double(), plain_x.grad, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(fast_w.grad.double(), plain_w.grad, atol=1e-3, rtol=1e-4)


def test_a_mixing_is_the_sum_of_its_parts() -> None:
    """Output and gradients, with factors that depend on both maps' moments, against torch's own in float64."""
    generator = torch.Generator().manual_seed(0)
    x, w, factor, weight = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((3, 4, 6, 5), (4, 1, 3, 3), (4,), (3, 4, 6, 5))
    )
    plain_given = [each.clone().requires_grad_() for each in (x, w, factor)]
    fast_given = [each.float().requires_grad_() for each in (ops.to_chwn(x), w, factor)]

    def factors(factor: Tensor, mean: Tensor, var: Tensor, mean_x: Tensor, var_x: Tensor) -> tuple[Tensor, ...]:
        return factor * (var + 1).rsqrt() + mean, 1 + factor * var_x + mean_x.square(), mean * factor + var_x

    y = nn.functional.conv2d(plain_given[0], plain_given[1], padding=1, groups=4)
    moments = (y.mean((0, 2, 3)), y.var((0, 2, 3), unbiased=False))
    moments += (plain_given[0].mean((0, 2, 3)), plain_given[0].var((0, 2, 3), unbiased=False))
    alpha, beta, delta = (each.view(1, -1, 1, 1) for each in factors(plain_given[2], *moments))
    expected = alpha * y + beta * plain_given[0] + delta
    mixing = Mixing(fast_given[0], fast_given[1])
    out = mixing.blend(*factors(fast_given[2], mixing.mean, mixing.var, mixing.mean_x, mixing.var_x))
    torch.testing.assert_close(ops.to_nchw(out).double(), expected, atol=1e-5, rtol=1e-5)
    wanted = torch.autograd.grad((expected * weight).sum(), plain_given)
    for _ in range(2):  # a graph that is kept gives the same again
        got = torch.autograd.grad((ops.to_nchw(out) * weight.float()).sum(), fast_given, retain_graph=True)
        torch.testing.assert_close(ops.to_nchw(got[0]).double(), wanted[0], atol=1e-4, rtol=1e-4)
        for a, b in zip(got[1:], wanted[1:], strict=True):
            torch.testing.assert_close(a.double(), b, atol=1e-3, rtol=1e-4)


def test_a_mixing_is_forgotten_after_its_step() -> None:
    """Nothing in a graph that is done with leads back to itself: a run of thousands of steps would not end."""
    x, w = torch.randn(4, 6, 5, 3, requires_grad=True), torch.randn(4, 1, 3, 3, requires_grad=True)
    mixing = Mixing(x, w)
    shared = weakref.ref(mixing._shared)
    out = mixing.blend(mixing.var.rsqrt(), 1 + mixing.mean_x, mixing.var_x + mixing.mean)
    gc.disable()  # Python's collector does not see through a graph of PyTorch's anyway
    try:
        out.square().sum().backward()
        del mixing, out
        assert shared() is None
    finally:
        gc.enable()


_DIGEST = """
import hashlib, numba, torch
from handmesh.training.cpu import ops
numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
generator = torch.Generator().manual_seed(0)
x = torch.randn(6, 9, 9, 5, generator=generator).requires_grad_()
w = torch.randn(12, 1, 7, 7, generator=generator).requires_grad_()
y, mean, var = ops.depthwise(x, w, 2)
out = ops.gelu(ops.scale(y, mean, var))
out.square().sum().backward()
values = b"".join(each.detach().numpy().tobytes() for each in (out, x.grad, w.grad))
print(numba.get_num_threads(), hashlib.sha256(values).hexdigest())
"""


def test_the_number_of_threads_changes_no_digit() -> None:
    """A channel is one thread's: the other tests of the suite run with one, training with all."""
    found = {}
    for threads in ("1", "2"):
        environment = {**os.environ, "NUMBA_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", _DIGEST]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
        used, found[threads] = done.stdout.split()
        assert used == threads
    assert found["1"] == found["2"]


@pytest.mark.parametrize("is_hard", [False, True])
def test_gelu_is_torchs(is_hard: bool) -> None:
    z = torch.linspace(-12, 12, 4096).view(2, 4, 8, 64).requires_grad_()
    bias = torch.tensor([0.3, -0.2], requires_grad=True)
    expected = (HardGelu() if is_hard else nn.GELU())(z + bias.view(2, 1, 1, 1))
    wanted = torch.autograd.grad(expected.square().sum(), (z, bias))
    got = ops.gelu(z, bias, is_hard)
    gradients = torch.autograd.grad(got.square().sum(), (z, bias))
    torch.testing.assert_close(got, expected, atol=2e-6, rtol=1e-6)
    for a, b in zip(gradients, wanted):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def _steps(net: nn.Module, x: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
    net.train()
    maps = net(x)
    generator = torch.Generator().manual_seed(1)
    loss = sum((m * torch.randn(m.shape, generator=generator).to(m)).sum() for m in maps)
    loss.backward()
    gradients = {name: p.grad.double() for name, p in net.named_parameters() if p.grad is not None}
    return maps, gradients


@pytest.mark.slow
@pytest.mark.parametrize(("name", "is_hard"), [("fastvit_t8", False), ("fastvit_t8", True), ("fastvit_sa12", False)])
def test_a_backbone_trains_the_same(name: str, is_hard: bool) -> None:
    torch.manual_seed(0)
    reference = timm.create_model(name, features_only=True)
    if is_hard:
        harden(reference)
    for module in reference.modules():
        if hasattr(module, "gamma"):
            nn.init.uniform_(module.gamma, -0.5, 0.5)  # at timm's 1e-5 no mistake would show
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    fast = accelerate(accelerate(copy.deepcopy(reference)))
    reference = reference.double()
    x = torch.randn(3, 3, 64, 64)
    maps, gradients = _steps(reference, x.double())
    fast_maps, fast_gradients = _steps(fast, x)
    for a, b in zip(fast_maps, maps):
        assert (a.double() - b).norm() < 1e-5 * b.norm()
    assert gradients.keys() == fast_gradients.keys()
    for parameter, wanted in gradients.items():
        # A depthwise 1 x 1 scale before a BatchNorm has no gradient but rounding; hence the absolute part.
        assert (fast_gradients[parameter] - wanted).norm() < 1e-3 * wanted.norm() + 1e-2, parameter
    for (buffer, a), b in zip(fast.named_buffers(), reference.buffers()):
        torch.testing.assert_close(a.double(), b.double(), atol=1e-5, rtol=1e-4, msg=buffer)
    assert {type(m) for m in plain(fast).modules()} == {type(m) for m in reference.modules()}


def test_the_last_widening_convolution_trains_the_same() -> None:
    torch.manual_seed(0)
    reference = timm.create_model("fastvit_t8").final_conv
    fast = accelerate(copy.deepcopy(reference))
    x = torch.randn(4, 384, 3, 3)
    maps, gradients = _steps(nn.Sequential(reference.double()), x.double())
    fast_maps, fast_gradients = _steps(nn.Sequential(fast), x)
    torch.testing.assert_close(fast_maps.double(), maps, atol=1e-4, rtol=1e-4)
    assert gradients.keys() == fast_gradients.keys()
    for name, wanted in gradients.items():
        assert (fast_gradients[name] - wanted).norm() < 1e-3 * wanted.norm() + 1e-2, name


def test_evaluation_and_frozen_statistics_are_untouched() -> None:
    torch.manual_seed(0)
    net = timm.create_model("fastvit_t8", features_only=True).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = net(x)
        got = accelerate(net)(x)
    assert all(torch.equal(a, b) for a, b in zip(got, expected))
    net.train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    for a, b in zip(net(x), expected):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
