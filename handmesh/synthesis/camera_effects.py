"""What a camera does to a picture: blur, movement, noise, compression, colour.

Pure functions of (picture, rng) on (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

import cv2
import numpy as np

from handmesh.io.runtime.kernels import njit

_STEPS = 1023
_RANGE = np.float32(4.0)  # linear values above this are white
#: Hue angle (degrees) and chroma in CIELAB of a hand's skin as webcams show it: mean and spread over 290 crops of ten
#: sets of webcam frames and 147 photos of signed digits, each hand's median, each set weighing the same.
SKIN_HUE, SKIN_CHROMA = (48.5, 16.3), (19.4, 3.9)
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
_D65 = np.array([0.9505, 1.0, 1.089])
_RGB_FROM_XYZ = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])


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
    """Lay what was rendered over a picture, through the tone curve.

    Args:
        color: (H, W, 3) float32 linear, premultiplied.
        alpha: (H, W) float32 coverage.
        curve: of :func:`tone_curve`.
        gains: (3,) of the white balance.
        picture: (H, W, 3) uint8, changed.
    """
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


def skin_balance(mean: np.ndarray, curve: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gains of the white balance before the tone curve.

    Cameras balance lamps away well, but not fully, and see every skin in a narrow band of hues: the colour that comes
    out of the curve is drawn from what was measured, and most of the way from ``mean`` to it is gone.

    Args:
        mean: (3,) linear colour of the skin.
        curve: of :func:`tone_curve`.
        rng: draws the colour.

    Returns:
        (3,) float32.
    """
    grid = np.linspace(0, 1, _STEPS + 1) ** 2 * float(_RANGE)
    level = float(mean @ _LUMINANCE) + 1e-4
    luminance = float(np.interp(level, grid, curve) / 255) ** 2.2
    # camera_effects() and the lamps' remaining colour widen the hue again, haze takes some of the chroma back.
    hue = np.radians(rng.normal(SKIN_HUE[0] - 2.0, 0.75 * SKIN_HUE[1]))
    chroma = max(8.0, rng.normal(1.08 * SKIN_CHROMA[0], 0.75 * SKIN_CHROMA[1]))
    shown = linear_from_lab(_lightness(luminance), chroma * np.cos(hue), chroma * np.sin(hue))
    wanted = np.interp(255 * shown.clip(0.0005, 0.995) ** (1 / 2.2), np.maximum.accumulate(curve), grid)
    gains = (wanted / level) / (mean / level + 1e-3)
    return np.asarray(gains ** rng.uniform(0.85, 1.0), np.float32)


def _lightness(luminance: float) -> float:
    """CIELAB's L* of a relative luminance."""
    return float(116 * np.cbrt(luminance) - 16 if luminance > 0.008856 else 903.3 * luminance)


def linear_from_lab(lightness: float, a: float, b: float) -> np.ndarray:
    """A CIELAB colour under D65 as linear RGB of sRGB's primaries.

    Args:
        lightness, a, b: the colour.

    Returns:
        (3,); outside 0..1 where displays do not have the colour.
    """
    root = (lightness + 16) / 116 + np.array([a / 500, 0.0, -b / 200])
    xyz = np.where(root > 6 / 29, root**3, 3 * (6 / 29) ** 2 * (root - 4 / 29)) * _D65
    return np.asarray(_RGB_FROM_XYZ @ xyz)


def channel_tables(gains: np.ndarray, gamma: float, lift: float) -> np.ndarray:
    """A look-up table for each channel.

    Args:
        gains: (3,) of the white balance.
        gamma: exponent after them.
        lift: of the blacks, 0..1: haze.

    Returns:
        (256, 1, 3) uint8.
    """
    x = np.arange(256)[:, None] / 255.0
    y = np.clip(x * gains, 0, 1) ** gamma
    return (255 * (lift + (1 - lift) * y) + 0.5).clip(0, 255).astype(np.uint8)[:, None, :]


def blur(picture: np.ndarray, sigma: float) -> np.ndarray:
    """picture (H, W, 3) out of focus by sigma pixels; the picture itself below 0.3, where nothing would show."""
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
    """White balance, movement, focus, resolution, noise and compression, each now and then.

    Args:
        picture: (S, S, 3) uint8 RGB.
        rng: draws which, and how strong.
        bank: (4, N, N, 3) noise, of :func:`noise_bank`.
    """
    size = picture.shape[0]
    gains = np.exp(rng.normal(0, 0.02, 3) + np.array([1, 0, -1]) * rng.normal(0, 0.05))
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
    if rng.random() < 0.015:
        picture = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return picture
