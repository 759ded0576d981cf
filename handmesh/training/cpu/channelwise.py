"""Passes over the channels of maps (C, rows, row) for training on a CPU: statistics, scale and offset, GELU; in numba.

float32 arrays; a channel's slab lies together, and sums of rows are added up in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from handmesh.io.runtime.kernels import njit, prange

Array = np.ndarray
OPTIONS: dict[str, Any] = {"fastmath": True, "cache": True, "error_model": "numpy", "nogil": True}


@njit(inline="always")
def moments(rows: Array) -> tuple[np.float32, np.float32]:
    """Mean and biased variance of a 2D array; sums of rows in float64, so that large maps lose nothing."""
    total = 0.0
    for y in range(rows.shape[0]):
        row = rows[y]
        part = np.float32(0.0)
        for i in range(row.size):
            part += row[i]
        total += part
    mean = np.float32(total / rows.size)
    total = 0.0
    for y in range(rows.shape[0]):
        row = rows[y]
        part = np.float32(0.0)
        for i in range(row.size):
            part += (row[i] - mean) * (row[i] - mean)
        total += part
    return mean, np.float32(total / rows.size)


@njit(parallel=True, **OPTIONS)
def channel_moments(x: Array, mean: Array, var: Array) -> None:
    """Mean and biased variance of each channel.

    Args:
        x: (C, rows, row).
        mean, var: (C,), filled.
    """
    for c in prange(x.shape[0]):
        mean[c], var[c] = moments(x[c])


@njit(parallel=True, **OPTIONS)
def blend_forward(y: Array, x: Array, alpha: Array, beta: Array, delta: Array, out: Array) -> None:
    """out = alpha y + beta x + delta, per channel.

    Args:
        y, x: (C, rows, row).
        alpha, beta, delta: (C,).
        out: (C, rows, row), filled.
    """
    for c in prange(y.shape[0]):
        a, b, d = alpha[c], beta[c], delta[c]
        for r in range(y.shape[1]):
            to, from_y, from_x = out[c, r], y[c, r], x[c, r]
            for i in range(to.size):
                to[i] = a * from_y[i] + b * from_x[i] + d


@njit(parallel=True, **OPTIONS)
def blend_backward(
    y: Array, x: Array, alpha: Array, beta: Array, grad: Array, grad_y: Array, grad_x: Array, grad_alpha: Array,
    grad_beta: Array, grad_delta: Array,
) -> None:  # fmt: skip
    """Gradients of :func:`blend_forward`.

    Args:
        y, x, alpha, beta: as there.
        grad: (C, rows, row) of its out.
        grad_y, grad_x, grad_alpha, grad_beta, grad_delta: filled.
    """
    for c in prange(y.shape[0]):
        a, b = alpha[c], beta[c]
        sum_y = sum_x = sum_1 = 0.0
        for r in range(y.shape[1]):
            g, from_y, from_x, to_y, to_x = grad[c, r], y[c, r], x[c, r], grad_y[c, r], grad_x[c, r]
            part_y = part_x = part_1 = np.float32(0.0)
            for i in range(g.size):
                v = g[i]
                part_y += v * from_y[i]
                part_x += v * from_x[i]
                part_1 += v
                to_y[i] = a * v
                to_x[i] = b * v
            sum_y += part_y
            sum_x += part_x
            sum_1 += part_1
        grad_alpha[c], grad_beta[c], grad_delta[c] = sum_y, sum_x, sum_1


@njit(parallel=True, **OPTIONS)
def blend_sums(y: Array, x: Array, grad: Array, grad_alpha: Array, grad_beta: Array, grad_delta: Array) -> None:
    """Gradients of :func:`blend_forward` by its factors alone.

    Args:
        y, x: as there.
        grad: (C, rows, row) of its out.
        grad_alpha, grad_beta, grad_delta: (C,), filled.
    """
    for c in prange(y.shape[0]):
        sum_y = sum_x = sum_1 = 0.0
        for r in range(y.shape[1]):
            g, from_y, from_x = grad[c, r], y[c, r], x[c, r]
            part_y = part_x = part_1 = np.float32(0.0)
            for i in range(g.size):
                part_y += g[i] * from_y[i]
                part_x += g[i] * from_x[i]
                part_1 += g[i]
            sum_y += part_y
            sum_x += part_x
            sum_1 += part_1
        grad_alpha[c], grad_beta[c], grad_delta[c] = sum_y, sum_x, sum_1


@njit(parallel=True, **OPTIONS)
def scale_forward(y: Array, alpha: Array, delta: Array, out: Array) -> None:
    """out = alpha y + delta, per channel.

    Args:
        y: (C, rows, row).
        alpha, delta: (C,).
        out: (C, rows, row), filled.
    """
    for c in prange(y.shape[0]):
        a, d = alpha[c], delta[c]
        for r in range(y.shape[1]):
            to, from_y = out[c, r], y[c, r]
            for i in range(to.size):
                to[i] = a * from_y[i] + d


@njit(parallel=True, **OPTIONS)
def scale_backward(y: Array, alpha: Array, grad: Array, grad_y: Array, grad_alpha: Array, grad_delta: Array) -> None:
    """Gradients of :func:`scale_forward`.

    Args:
        y, alpha: as there.
        grad: (C, rows, row) of its out.
        grad_y, grad_alpha, grad_delta: filled.
    """
    for c in prange(y.shape[0]):
        a = alpha[c]
        sum_y = sum_1 = 0.0
        for r in range(y.shape[1]):
            g, from_y, to_y = grad[c, r], y[c, r], grad_y[c, r]
            part_y = part_1 = np.float32(0.0)
            for i in range(g.size):
                v = g[i]
                part_y += v * from_y[i]
                part_1 += v
                to_y[i] = a * v
            sum_y += part_y
            sum_1 += part_1
        grad_alpha[c], grad_delta[c] = sum_y, sum_1


@njit(parallel=True, **OPTIONS)
def moments_backward(y: Array, mean: Array, grad_mean: Array, grad_var: Array, grad: Array) -> None:
    """Gradient of :func:`channel_moments`: grad += dmean / n + 2 (y - mean) dvar / n.

    Args:
        y: (C, rows, row).
        mean: (C,) of it.
        grad_mean, grad_var: (C,).
        grad: (C, rows, row), added to.
    """
    for c in prange(y.shape[0]):
        count = np.float32(y.shape[1] * y.shape[2])
        offset = grad_mean[c] / count
        slope = np.float32(2.0) * grad_var[c] / count
        centre = mean[c]
        for r in range(y.shape[1]):
            to, from_y = grad[c, r], y[c, r]
            for i in range(to.size):
                to[i] += offset + slope * (from_y[i] - centre)


@njit(inline="always")
def _gelu(z: Any) -> tuple[Any, Any]:
    """GELU of one number and its slope, in float32 without a branch or a call, so that loops over it vectorise.

    erf is the usual rational approximation on |x| < 4 (numerator of degree 13, denominator of degree 8); the density is
    exp(-t) of a small t by its series, squared five times. Both are right to about 3e-7.
    """
    one = np.float32(1.0)
    x = z * np.float32(0.70710678118654752)
    x = min(max(x, np.float32(-4.0)), np.float32(4.0))
    q = x * x
    top = np.float32(-2.72614225801306e-10)
    top = top * q + np.float32(2.77068142495902e-08)
    top = top * q + np.float32(-2.10102402082508e-06)
    top = top * q + np.float32(-5.69250639462346e-05)
    top = top * q + np.float32(-7.34990630326855e-04)
    top = top * q + np.float32(-2.95459980854025e-03)
    top = top * q + np.float32(-1.60960333262415e-02)
    bottom = np.float32(-1.45660718464996e-05)
    bottom = bottom * q + np.float32(-2.13374055278905e-04)
    bottom = bottom * q + np.float32(-1.68282697438203e-03)
    bottom = bottom * q + np.float32(-7.37332916720468e-03)
    bottom = bottom * q + np.float32(-1.42647390514189e-02)
    below = np.float32(0.5) + np.float32(0.5) * (x * top / bottom)
    t = q * np.float32(-1.0 / 32.0)
    e = one + t * (
        one
        + t
        * (
            np.float32(1 / 2)
            + t * (np.float32(1 / 6) + t * (np.float32(1 / 24) + t * (np.float32(1 / 120) + t * np.float32(1 / 720))))
        )
    )
    e = e * e
    e = e * e
    e = e * e
    e = e * e
    e = e * e
    return z * below, below + z * e * np.float32(0.39894228040143268)


@njit(inline="always")
def _hard_gelu(z: Any) -> tuple[Any, Any]:
    """HardGelu (models/activation.py) of one number and its slope."""
    third = z * np.float32(1 / 3)
    share = min(max(third + np.float32(0.5), np.float32(0.0)), np.float32(1.0))
    return z * share, share + (third if abs(z) < np.float32(1.5) else np.float32(0.0))


@njit(parallel=True, **OPTIONS)
def gelu_forward(z: Array, bias: Array, is_hard: bool, out: Array, slope: Array) -> None:
    """out = GELU(z + bias), and its slope there.

    Args:
        z: (C, rows, row).
        bias: (C,).
        is_hard: HardGelu in GELU's place.
        out, slope: (C, rows, row), filled.
    """
    for c in prange(z.shape[0]):
        b = bias[c]
        for r in range(z.shape[1]):
            from_z, to, to_slope = z[c, r], out[c, r], slope[c, r]
            if is_hard:
                for i in range(to.size):
                    to[i], to_slope[i] = _hard_gelu(from_z[i] + b)
            else:
                for i in range(to.size):
                    to[i], to_slope[i] = _gelu(from_z[i] + b)


@njit(parallel=True, **OPTIONS)
def gelu_backward(grad: Array, slope: Array, grad_z: Array, grad_bias: Array) -> None:
    """Gradients of :func:`gelu_forward`.

    Args:
        grad: (C, rows, row) of its out.
        slope: as there.
        grad_z, grad_bias: filled.
    """
    for c in prange(grad.shape[0]):
        total = 0.0
        for r in range(grad.shape[1]):
            g, from_slope, to = grad[c, r], slope[c, r], grad_z[c, r]
            part = np.float32(0.0)
            for i in range(g.size):
                v = g[i] * from_slope[i]
                to[i] = v
                part += v
            total += part
        grad_bias[c] = total


@njit(parallel=True, **OPTIONS)
def add_with_bias(out: Array, residual: Array, bias: Array) -> None:
    """out += residual + bias.

    Args:
        out: (C, rows, row), added to.
        residual: (C, rows, row).
        bias: (C,).
    """
    for c in prange(out.shape[0]):
        b = bias[c]
        for r in range(out.shape[1]):
            to, from_x = out[c, r], residual[c, r]
            for i in range(to.size):
                to[i] += from_x[i] + b


@njit(parallel=True, **OPTIONS)
def channel_sums(x: Array, out: Array) -> None:
    """Sum of each channel of x (C, rows, row)."""
    for c in prange(x.shape[0]):
        total = 0.0
        for r in range(x.shape[1]):
            row = x[c, r]
            part = np.float32(0.0)
            for i in range(row.size):
                part += row[i]
            total += part
        out[c] = total
