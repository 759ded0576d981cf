"""What a camera does to a picture: blur, movement, noise, compression, colour.

Pure functions of (picture, rng) on (H, W, 3) uint8 RGB. Knows: cameras. Does not know: what is in the picture.
"""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit

_STEPS = 1023
_RANGE = np.float32(4.0)  # linear values above this are white


def tone_curve(exposure: float, contrast: float) -> np.ndarray:
    """(1024,) float32, 0..255: linear 0.._RANGE (uniform steps of the square root) to camera values."""
    x = np.linspace(0, 1, _STEPS + 1) ** 2 * float(_RANGE) * exposure
    # A shoulder that rolls off the highlights, then the display's gamma, then an S-curve about the middle.
    x = np.where(x < 0.7, x, 0.7 + 0.3 * (1 - np.exp(-(x - 0.7) / 0.45)))
    y = np.clip(x, 0, 1) ** (1 / 2.2)
    y = y + contrast * (y - 0.5) * (1 - np.abs(2 * y - 1))
    return (255 * np.clip(y, 0, 1)).astype(np.float32)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def compose(
    color: np.ndarray, alpha: np.ndarray, curve: np.ndarray, gains: np.ndarray, picture: np.ndarray
) -> None:
    """Lay premultiplied linear color (H, W, 3) over picture (H, W, 3) uint8 in place, through the tone curve."""
    for v in range(color.shape[0]):
        for u in range(color.shape[1]):
            a = alpha[v, u]
            if a <= 0:
                continue
            inverse = np.float32(1.0) / a
            for c in range(3):
                linear = min(max(color[v, u, c] * inverse * gains[c], np.float32(0.0)), _RANGE)
                step = int(np.sqrt(linear / _RANGE) * np.float32(_STEPS))
                value = curve[step]
                picture[v, u, c] = np.uint8(value * a + picture[v, u, c] * (np.float32(1.0) - a) + np.float32(0.5))


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def mean_color(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(3,) float64 mean of premultiplied color (H, W, 3), weighted by alpha; zeros where nothing was drawn."""
    total, weight = np.zeros(3), 1e-6
    for v in range(color.shape[0]):
        for u in range(color.shape[1]):
            if alpha[v, u] > 0:
                weight += alpha[v, u]
                for c in range(3):
                    total[c] += color[v, u, c]
    return total / weight


def channel_tables(gains: np.ndarray, gamma: float, lift: float) -> np.ndarray:
    """(256, 1, 3) uint8 look-up table: white balance gains (3,), gamma, and haze (lift of the blacks, 0..1)."""
    x = np.arange(256)[:, None] / 255.0
    y = np.clip(x * gains, 0, 1) ** gamma
    return (255 * (lift + (1 - lift) * y) + 0.5).clip(0, 255).astype(np.uint8)[:, None, :]


def blur(picture: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), sigma) if sigma > 0.3 else picture


def motion_kernel(length: float, angle: float) -> np.ndarray:
    """A line of `length` pixels as a normalised kernel."""
    size = int(np.ceil(length)) | 1
    kernel = np.zeros((size, size), np.float32)
    half, dx, dy = (size - 1) / 2, np.cos(angle) * length / 2, np.sin(angle) * length / 2
    for t in np.linspace(-1, 1, 2 * size):
        x, y = half + t * min(abs(dx), half) * np.sign(dx), half + t * min(abs(dy), half) * np.sign(dy)
        kernel[int(round(y)), int(round(x))] += 1
    return kernel / kernel.sum()


_NOISE_SIDE = 512


def noise_bank(seed: int) -> np.ndarray:
    """(4, 512, 512, 3) int16 unit noise (sigma 64): two of fresh pixels, two that demosaicing has smeared."""
    rng = np.random.default_rng([seed, 11])
    bank = np.empty((4, _NOISE_SIDE, _NOISE_SIDE, 3), np.int16)
    for i in range(4):
        noise = rng.standard_normal((_NOISE_SIDE, _NOISE_SIDE, 3), dtype=np.float32)
        noise[..., :] = 0.7 * noise + 0.7 * noise.mean(2, keepdims=True) * np.sqrt(3) * 0.7
        if i >= 2:
            noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), 0.6 + 0.5 * (i - 2)), np.float32)
        bank[i] = np.clip(noise / noise.std() * 64, -300, 300)
    return bank


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _add_noise(picture: np.ndarray, noise: np.ndarray, floor: float, shot: float) -> None:
    table = np.empty(256, np.float32)
    for i in range(256):
        # Noise grows with the square root of the light; after gamma it is strongest in the shadows.
        table[i] = (floor + shot * np.sqrt(max(0.0, 1.0 - i / 255.0))) / 64.0
    for v in range(picture.shape[0]):
        for u in range(picture.shape[1]):
            for c in range(3):
                value = np.float32(picture[v, u, c])
                value += table[picture[v, u, c]] * np.float32(noise[v, u, c]) + np.float32(0.5)
                picture[v, u, c] = np.uint8(min(max(value, np.float32(0.0)), np.float32(255.0)))


def camera_effects(picture: np.ndarray, rng: np.random.Generator, bank: np.ndarray) -> np.ndarray:
    """White balance, movement, focus, resolution, noise and compression, each now and then."""
    size = picture.shape[0]
    gains = np.exp(rng.normal(0, 0.02, 3) + np.array([1, 0, -1]) * rng.normal(0, 0.07))
    gains *= np.exp(rng.normal(0, 0.13))
    lift = max(0.0, rng.normal(-0.03, 0.06))
    picture = cv2.LUT(picture, channel_tables(gains, float(np.exp(rng.normal(0, 0.14))), lift))
    if rng.random() < 0.15:
        length = 1.5 + rng.gamma(1.5, 3.0)
        picture = cv2.filter2D(picture, -1, motion_kernel(min(length, 21.0), rng.uniform(0, np.pi)))
    if rng.random() < 0.45:
        picture = blur(picture, float(abs(rng.normal(0, 0.9))))
    if rng.random() < 0.45:
        small = int(size / np.exp(rng.uniform(0, np.log(4.0))))
        down = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
        up = cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_CUBIC
        picture = cv2.resize(down, (size, size), interpolation=up)
    if rng.random() < 0.7:
        x, y = (int(v) for v in rng.integers(0, _NOISE_SIDE - size, 2)) if size < _NOISE_SIDE else (0, 0)
        noise = bank[int(rng.integers(4)), y : y + size, x : x + size]
        if noise.shape[:2] == picture.shape[:2]:
            _add_noise(picture, noise, float(rng.gamma(1.0, 0.9)), float(rng.gamma(1.0, 1.7)))
    if rng.random() < 0.15:
        soft = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.8, 1.6)))
        picture = cv2.addWeighted(picture, 1.8, soft, -0.8, 0)  # a phone's sharpening
    if rng.random() < 0.55:
        quality = int(rng.integers(25, 96))
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        picture = cv2.cvtColor(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)
    if rng.random() < 0.03:
        picture = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return picture
