"""Depthwise convolution for training on a CPU, in numba, with the batch innermost.

Every map here is a float32 array (C, H, W, N): channel first, batch last. One channel's slab then lies together (it
stays in the L2 cache through a whole pass), and every inner loop runs over one long contiguous row of W * N numbers,
whatever the size of the map. Padding is k // 2 zeros; strides are 1 or 2; output channel ``o`` reads input channel ``o
// multiplier``.
"""

from __future__ import annotations

import numpy as np

from handmesh.io.runtime.kernels import njit, prange
from handmesh.training.cpu.channelwise import OPTIONS, Array, moments


@njit(inline="always")
def _padded(image: Array, pad: int, stride: int, width: int, batch: int) -> Array:
    """(H, W * N) -> (stride, H + 2 pad, columns * N): zero border; with stride 2 even and odd columns are parted."""
    height = image.shape[0]
    columns = (width + 2 * pad + stride - 1) // stride
    rows = np.zeros((stride, height + 2 * pad, columns * batch), np.float32)
    if stride == 1:
        for y in range(height):
            rows[0, y + pad, pad * batch : (pad + width) * batch] = image[y]
    else:
        for y in range(height):
            for x in range(width):
                to = (x + pad) // 2 * batch
                rows[(x + pad) % 2, y + pad, to : to + batch] = image[y, x * batch : (x + 1) * batch]
    return rows


@njit(inline="always")
def _row_1(out: Array, a: Array, w: float) -> None:
    for i in range(out.size):
        out[i] += w * a[i]


@njit(inline="always")
def _row_3(out: Array, taps: tuple[Array, ...], w: Array) -> None:
    a, b, c = taps
    w0, w1, w2 = w[0], w[1], w[2]
    for i in range(out.size):
        out[i] += w0 * a[i] + w1 * b[i] + w2 * c[i]


@njit(inline="always")
def _row_7(out: Array, taps: tuple[Array, ...], w: Array) -> None:
    a, b, c, d, e, f, g = taps
    w0, w1, w2, w3, w4, w5, w6 = w[0], w[1], w[2], w[3], w[4], w[5], w[6]
    for i in range(out.size):
        out[i] += w0 * a[i] + w1 * b[i] + w2 * c[i] + w3 * d[i] + w4 * e[i] + w5 * f[i] + w6 * g[i]


@njit(inline="always")
def _tap(rows: Array, y: int, kx: int, stride: int, batch: int, length: int) -> Array:
    """The part of padded row ``y`` that tap ``kx`` multiplies, one number per output."""
    start = kx // stride * batch
    return rows[kx % stride, y, start : start + length]


@njit(inline="always")
def _taps_3(rows: Array, y: int, stride: int, batch: int, length: int) -> tuple[Array, ...]:
    return (
        _tap(rows, y, 0, stride, batch, length),
        _tap(rows, y, 1, stride, batch, length),
        _tap(rows, y, 2, stride, batch, length),
    )


@njit(inline="always")
def _taps_7(rows: Array, y: int, stride: int, batch: int, length: int) -> tuple[Array, ...]:
    return (
        _tap(rows, y, 0, stride, batch, length),
        _tap(rows, y, 1, stride, batch, length),
        _tap(rows, y, 2, stride, batch, length),
        _tap(rows, y, 3, stride, batch, length),
        _tap(rows, y, 4, stride, batch, length),
        _tap(rows, y, 5, stride, batch, length),
        _tap(rows, y, 6, stride, batch, length),
    )


@njit(inline="always")
def _correlate(rows: Array, w: Array, stride: int, batch: int, out: Array) -> None:
    """out (h, w * N) += rows cross-correlated with w (k, k)."""
    k = w.shape[0]
    length = out.shape[1]
    for y in range(out.shape[0]):
        for ky in range(k):
            iy = y * stride + ky
            if k == 7:
                _row_7(out[y], _taps_7(rows, iy, stride, batch, length), w[ky])
            elif k == 3:
                _row_3(out[y], _taps_3(rows, iy, stride, batch, length), w[ky])
            else:
                for kx in range(k):
                    _row_1(out[y], _tap(rows, iy, kx, stride, batch, length), w[ky, kx])


@njit(parallel=True, **OPTIONS)
def depthwise_forward(x: Array, w: Array, stride: int, out: Array, mean: Array, var: Array) -> None:
    """Convolve, and take the moments of what comes out.

    Args:
        x: (Ci, H, W, N).
        w: (Co, k, k).
        stride: 1 or 2.
        out: (Co, h, w, N), filled.
        mean, var: (Co,), filled: mean and biased variance of each output channel.
    """
    multiplier = out.shape[0] // x.shape[0]
    _, height, width, batch = x.shape
    _, out_height, out_width, _ = out.shape
    pad = w.shape[1] // 2
    for ci in prange(x.shape[0]):
        rows = _padded(x[ci].reshape(height, width * batch), pad, stride, width, batch)
        for co in range(ci * multiplier, (ci + 1) * multiplier):
            result = out[co].reshape(out_height, out_width * batch)
            result[:] = 0.0
            _correlate(rows, w[co], stride, batch, result)
            mean[co], var[co] = moments(result)


@njit(inline="always")
def _dot_3(g: Array, taps: tuple[Array, ...], out: Array) -> None:
    a, b, c = taps
    s0 = s1 = s2 = np.float32(0.0)
    for i in range(g.size):
        v = g[i]
        s0 += v * a[i]
        s1 += v * b[i]
        s2 += v * c[i]
    out[0] += s0
    out[1] += s1
    out[2] += s2


@njit(inline="always")
def _dot_7(g: Array, taps: tuple[Array, ...], out: Array) -> None:
    a, b, c, d, e, f, h = taps
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = np.float32(0.0)
    for i in range(g.size):
        v = g[i]
        s0 += v * a[i]
        s1 += v * b[i]
        s2 += v * c[i]
        s3 += v * d[i]
        s4 += v * e[i]
        s5 += v * f[i]
        s6 += v * h[i]
    out[0] += s0
    out[1] += s1
    out[2] += s2
    out[3] += s3
    out[4] += s4
    out[5] += s5
    out[6] += s6


@njit(inline="always")
def _weight_gradient(rows: Array, grad: Array, stride: int, batch: int, out: Array) -> None:
    """out (k, k) = sum over outputs of grad (h, w * N) times what each tap saw."""
    k = out.shape[0]
    length = grad.shape[1]
    out[:] = 0.0
    for ky in range(k):
        for y in range(grad.shape[0]):
            iy = y * stride + ky
            if k == 7:
                _dot_7(grad[y], _taps_7(rows, iy, stride, batch, length), out[ky])
            elif k == 3:
                _dot_3(grad[y], _taps_3(rows, iy, stride, batch, length), out[ky])
            else:
                for kx in range(k):
                    row = _tap(rows, iy, kx, stride, batch, length)
                    g = grad[y]
                    total = np.float32(0.0)
                    for i in range(g.size):
                        total += g[i] * row[i]
                    out[ky, kx] += total


@njit(inline="always")
def _flipped(w: Array) -> Array:
    """(k, k) upside down and mirrored: what correlates as the transpose of w does."""
    k = w.shape[0]
    flipped = np.empty((k, k), np.float32)
    for ky in range(k):
        for kx in range(k):
            flipped[ky, kx] = w[k - 1 - ky, k - 1 - kx]
    return flipped


@njit(inline="always")
def _spread(grad: Array, w: Array, stride: int, batch: int, rows: Array) -> None:
    """The transpose of :func:`_correlate` for stride 2: rows (2, H + 2 pad, columns * N) += grad spread by w."""
    k = w.shape[0]
    length = grad.shape[1]
    for y in range(grad.shape[0]):
        for ky in range(k):
            for kx in range(k):
                _row_1(_tap(rows, y * stride + ky, kx, stride, batch, length), grad[y], w[ky, kx])


@njit(parallel=True, **OPTIONS)
def depthwise_backward(
    x: Array, w: Array, stride: int, y: Array, mean: Array, grad: Array, grad_mean: Array, grad_var: Array,
    grad_x: Array, grad_w: Array,
) -> None:  # fmt: skip
    """Gradients of :func:`depthwise_forward`.

    The gradient that reaches y is grad (through y itself) plus those through its mean and variance,
    dmean / n + 2 (y - mean) dvar / n.

    Args:
        x, w, stride: as there.
        y: (Co, h, w, N), its out.
        mean: (Co,) of y.
        grad: (Co, h, w, N) of y.
        grad_mean, grad_var: (Co,).
        grad_x: (Ci, H, W, N), filled.
        grad_w: (Co, k, k), filled.
    """
    multiplier = y.shape[0] // x.shape[0]
    _, height, width, batch = x.shape
    _, out_height, out_width, _ = y.shape
    k = w.shape[1]
    pad = k // 2
    count = np.float32(out_height * out_width * batch)
    for ci in prange(x.shape[0]):
        rows = _padded(x[ci].reshape(height, width * batch), pad, stride, width, batch)
        back = grad_x[ci].reshape(height, width * batch)
        back[:] = 0.0
        spread = np.zeros_like(rows) if stride == 2 else rows[:0]
        total = np.empty((out_height, out_width * batch), np.float32)
        for co in range(ci * multiplier, (ci + 1) * multiplier):
            offset = grad_mean[co] / count
            slope = np.float32(2.0) * grad_var[co] / count
            centre = mean[co]
            g = grad[co].reshape(out_height, out_width * batch)
            values = y[co].reshape(out_height, out_width * batch)
            for r in range(out_height):
                to, from_g, from_y = total[r], g[r], values[r]
                for i in range(to.size):
                    to[i] = from_g[i] + offset + slope * (from_y[i] - centre)
            _weight_gradient(rows, total, stride, batch, grad_w[co])
            if stride == 1:
                _correlate(_padded(total, pad, 1, out_width, batch), _flipped(w[co]), 1, batch, back)
            else:
                _spread(total, w[co], stride, batch, spread)
        if stride == 2:
            for r in range(height):
                for c in range(width):
                    at = (c + pad) // 2 * batch
                    back[r, c * batch : (c + 1) * batch] = spread[(c + pad) % 2, r + pad, at : at + batch]


@njit(parallel=True, **OPTIONS)
def mixing_forward(x: Array, w: Array, y: Array, mean: Array, var: Array, mean_x: Array, var_x: Array) -> None:
    """:func:`depthwise_forward` with stride 1, and the moments of what goes in.

    Args:
        x, w: as there.
        y: (C, H, W, N), filled: what comes out.
        mean, var: (C,), filled: mean and biased variance of each channel of y.
        mean_x, var_x: (C,), filled: of x.
    """
    _, height, width, batch = x.shape
    for c in prange(x.shape[0]):
        image = x[c].reshape(height, width * batch)
        mean_x[c], var_x[c] = moments(image)
        result = y[c].reshape(height, width * batch)
        result[:] = 0.0
        _correlate(_padded(image, w.shape[1] // 2, 1, width, batch), w[c], 1, batch, result)
        mean[c], var[c] = moments(result)


@njit(parallel=True, **OPTIONS)
def mixing_backward(
    x: Array, w: Array, y: Array, grad: Array, alpha: Array, beta: Array, mean: Array, grad_mean: Array,
    grad_var: Array, mean_x: Array, grad_mean_x: Array, grad_var_x: Array, grad_x: Array, grad_w: Array,
) -> None:  # fmt: skip
    """Gradients of alpha y + beta x + delta by x and w, where y and the moments are of :func:`mixing_forward`.

    Args:
        x, w, y, mean, mean_x: as there.
        grad: (C, H, W, N) of the sum.
        alpha, beta: (C,).
        grad_mean, grad_var, grad_mean_x, grad_var_x: (C,), what comes through the moments.
        grad_x: (C, H, W, N), filled.
        grad_w: (C, k, k), filled.
    """
    _, height, width, batch = x.shape
    k = w.shape[1]
    count = np.float32(height * width * batch)
    for c in prange(x.shape[0]):
        image, values = x[c].reshape(height, width * batch), y[c].reshape(height, width * batch)
        g, back = grad[c].reshape(height, width * batch), grad_x[c].reshape(height, width * batch)
        total = np.empty((height, width * batch), np.float32)
        factor, centre = alpha[c], mean[c]
        offset, slope = grad_mean[c] / count, np.float32(2.0) * grad_var[c] / count
        factor_x, centre_x = beta[c], mean_x[c]
        offset_x, slope_x = grad_mean_x[c] / count, np.float32(2.0) * grad_var_x[c] / count
        for r in range(height):
            to, from_g, from_y, to_x, from_x = total[r], g[r], values[r], back[r], image[r]
            for i in range(to.size):
                to[i] = factor * from_g[i] + offset + slope * (from_y[i] - centre)
                to_x[i] = factor_x * from_g[i] + offset_x + slope_x * (from_x[i] - centre_x)
        _weight_gradient(_padded(image, k // 2, 1, width, batch), total, 1, batch, grad_w[c])
        _correlate(_padded(total, k // 2, 1, width, batch), _flipped(w[c]), 1, batch, back)
