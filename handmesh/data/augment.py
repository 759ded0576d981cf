"""Make a crop look worse: occlusion, light, colour, resolution, blur, noise, sharpening, JPEG. uint8 RGB in and out.

Everything random comes from the generator it is given, so a sample is repeatable.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

_LUMA = np.array([0.299, 0.587, 0.114])  # Rec. 601


def jitter_colour(image: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Channel gains, exposure, contrast, saturation (one matrix) and gamma (one table).

    Args:
        image: (H, W, 3) uint8 RGB.
        rng: draws them.
        strength: 0 changes nothing, 1 is the usual.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    if strength <= 0:
        return image
    matrix, contrast, gamma = draw_colour(rng, strength)
    offset = (1 - contrast) * float(image[::8, ::8].mean())
    affine = np.concatenate([matrix, np.full((3, 1), offset)], axis=1)
    table = 255 * (np.arange(256) / 255) ** gamma
    return cv2.LUT(cv2.transform(image, affine), np.round(table).astype(np.uint8))


def draw_colour(rng: np.random.Generator, strength: float) -> tuple[np.ndarray, float, float]:
    """A random change of colour: the matrix (3, 3) that pixels are multiplied by, the contrast in it, and a gamma."""
    gains = 1 + strength * rng.uniform(-0.25, 0.25, 3)
    exposure, gamma = np.exp(strength * rng.uniform(-0.35, 0.35, 2))
    contrast, saturation = 1 + strength * rng.uniform(-0.35, 0.35, 2)
    if rng.random() < 0.12 * strength:
        saturation = 0.0
    mixing = saturation * np.eye(3) + (1 - saturation) * _LUMA
    return (exposure * contrast * gains)[:, None] * mixing, float(contrast), float(gamma)


def draw_light(rng: np.random.Generator, probability: float) -> np.ndarray:
    """Uneven light, or zeros where the draw leaves it out.

    Returns:
        (3,) natural logarithm of the gain in the middle of a crop, and its change to the right and to the lower edge.
    """
    if probability <= 0 or rng.random() >= probability:
        return np.zeros(3)
    direction, slope = rng.uniform(-np.pi, np.pi), rng.uniform(0, 0.6)
    return np.array([rng.uniform(-0.5, 0.5), slope * np.cos(direction), slope * np.sin(direction)])


def shade(image: np.ndarray, light: np.ndarray) -> np.ndarray:
    """The picture in the light of :func:`draw_light`.

    Args:
        image: (H, W, 3) uint8.
        light: (3,); zeros change nothing.
    """
    if not np.any(light):
        return image
    (height, width), (middle, right, down) = image.shape[:2], light.astype(np.float32)
    y, x = np.linspace(-1, 1, height, dtype=np.float32), np.linspace(-1, 1, width, dtype=np.float32)
    gain = np.exp(middle + right * x)[None] * np.exp(down * y)[:, None]
    return cv2.convertScaleAbs(image * gain[..., None])


def draw_sharpening(rng: np.random.Generator, probability: float) -> tuple[float, float]:
    """Share of the fine detail that is added again, 0 for none, and the detail's scale in crops of 128 pixels."""
    if probability <= 0 or rng.random() >= probability:
        return 0.0, 1.0
    return float(rng.uniform(0.3, 1.8)), float(rng.uniform(0.5, 1.5))


def sharpen(image: np.ndarray, amount: float, sigma_px: float) -> np.ndarray:
    """Unsharp masking: the picture, and more of what a Gaussian takes from it.

    Args:
        image: (H, W, 3) uint8.
        amount: how much more; 0 changes nothing.
        sigma_px: the Gaussian's standard deviation in pixels.
    """
    return cv2.addWeighted(image, 1 + amount, cv2.GaussianBlur(image, (0, 0), sigma_px), -amount, 0.0)


def occlude(image: np.ndarray, keypoints_2d: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paste a block or an ellipse over part of the hand, unless it would hide most of the hand.

    It is filled with one colour or with another part of the picture.

    Args:
        image: (S, S, 3) uint8 RGB.
        keypoints_2d: (21, 2) pixels.
        rng: draws place, size, shape and filling.

    Returns:
        image: (S, S, 3) uint8 RGB.
        hidden: (21,) bool, the keypoints under it.
    """
    size = image.shape[0]
    centre = keypoints_2d[rng.integers(len(keypoints_2d))] + rng.normal(0, 0.1 * size, 2)
    axes = rng.uniform(0.12, 0.45, 2) * size
    box = (centre.tolist(), axes.tolist(), float(rng.uniform(0, 180)))
    mask = np.zeros((size, size), np.uint8)
    if rng.random() < 0.5:
        cv2.ellipse(mask, box, 255, -1)
    else:
        cv2.fillConvexPoly(mask, np.round(cv2.boxPoints(box)).astype(np.int32), 255)
    pixel = np.round(keypoints_2d).astype(int)
    inside = ((pixel >= 0) & (pixel < size)).all(1)
    hidden = inside & (mask[tuple(np.clip(pixel, 0, size - 1).T[::-1])] > 0)
    if hidden.mean() > 0.6:
        return image, np.zeros_like(hidden)
    if rng.random() < 0.5:
        fill = np.full_like(image, rng.integers(0, 256, 3, dtype=np.uint8))
    else:
        fill = np.roll(image[::-1], tuple(rng.integers(0, size, 2)), (0, 1))
    cover = mask[..., None] > 0
    return np.where(cover, fill, image), hidden


def lower_resolution(image: np.ndarray, factor: float) -> np.ndarray:
    """The picture as a camera with 1/factor as many pixels a side would give it."""
    height, width = image.shape[:2]
    small = (max(int(width / factor), 8), max(int(height / factor), 8))
    return cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), (width, height))


def blur(image: np.ndarray, sigma_px: float) -> np.ndarray:
    """Defocus: a Gaussian of the given standard deviation in pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigma_px)


def motion_blur(image: np.ndarray, length_px: float, angle_deg: float) -> np.ndarray:
    """The mean along a line.

    Args:
        image: (H, W, 3) uint8.
        length_px: of the line.
        angle_deg: its direction, clockwise from the x axis.
    """
    radius = max(int(np.ceil(length_px / 2)), 1)
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1), np.float32)
    along = np.radians(angle_deg)
    step = np.array([np.cos(along), np.sin(along)]) * length_px / 2
    first, last = np.round(radius - step).astype(int), np.round(radius + step).astype(int)
    cv2.line(kernel, first.tolist(), last.tolist(), 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum())


@lru_cache(maxsize=1)
def noise_bank() -> np.ndarray:
    """(768, 768, 3) standard normal, drawn once: a window of it costs a tenth of fresh numbers."""
    return np.random.default_rng(20190).standard_normal((768, 768, 3), np.float32)


def add_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Sensor noise, coloured or grey.

    Args:
        image: (H, W, 3) uint8.
        sigma: its standard deviation in grey levels (0..255).
        rng: draws it.
    """
    height, width = image.shape[:2]
    bank = noise_bank()
    if height > bank.shape[0] or width > bank.shape[1]:
        window = rng.standard_normal(image.shape, np.float32)
    else:
        top, left = rng.integers(bank.shape[0] - height + 1), rng.integers(bank.shape[1] - width + 1)
        window = bank[top : top + height, left : left + width]
    if rng.random() < 0.5:
        window = window[..., :1]
    return cv2.convertScaleAbs(np.maximum(image + np.float32(sigma) * window, 0))


def compress(image: np.ndarray, quality: int) -> np.ndarray:
    """The picture after JPEG at the given quality (1..100). Channel order does not matter enough to swap
    it.
    """
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def degrade(image: np.ndarray, rng: np.random.Generator, probability: float, sharpening: float = 0.0) -> np.ndarray:
    """Low resolution, blur, noise, sharpening and JPEG, in the order in which a camera applies them.

    Args:
        image: (S, S, 3) uint8 RGB.
        rng: draws which, and how strong each is.
        probability: of each but the sharpening.
        sharpening: its probability.
    """
    chosen = rng.random(4) < probability
    unit = image.shape[0] / 128
    if chosen[0]:
        image = lower_resolution(image, float(rng.uniform(1.3, 3.5)) * unit)
    if chosen[1]:
        if rng.random() < 0.5:
            image = blur(image, float(rng.uniform(0.4, 1.6)) * unit)
        else:
            image = motion_blur(image, float(rng.uniform(2, 9)) * unit, float(rng.uniform(0, 180)))
    if chosen[2]:
        image = add_noise(image, float(rng.uniform(2, 14)), rng)
    amount, sigma = draw_sharpening(rng, sharpening)
    if amount > 0:
        image = sharpen(image, amount, sigma * unit)
    if chosen[3]:
        image = compress(image, int(rng.integers(20, 75)))
    return image
