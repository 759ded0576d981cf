"""Colours, noise, cloth and odd shapes that scenes, people and clothes are drawn with.

Pictures here are (size, size, 3), camera values 0..255.
"""

from __future__ import annotations

import cv2
import numpy as np


def any_color(rng: np.random.Generator, muted: float = 0.85) -> np.ndarray:
    """(3,) float RGB 0..255; `muted` of them near grey."""
    value = rng.uniform(15, 245)
    if rng.random() < muted:
        return np.clip(value + rng.normal(0, 12, 3) + np.array([6, 2, -6]) * rng.normal(), 0, 255)
    return rng.uniform(0, 255, 3)


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear 0..1, any shape, to camera values 0..255 by a plain gamma of 2.2."""
    return 255 * np.clip(linear, 0, 1) ** (1 / 2.2)


def noise_field(rng: np.random.Generator, size: int, cell: int, octaves: int = 4) -> np.ndarray:
    """Octaves of smoothed random grids.

    Args:
        rng: draws them.
        size: side of the field, pixels.
        cell: cells a side of the coarsest grid.
        octaves: grids, each twice as fine as the one before; those finer than two pixels are left out.

    Returns:
        (size, size) float32, about 0..1.
    """
    total = np.zeros((size, size), np.float32)
    norm, amplitude = 0.0, 1.0
    for _ in range(octaves):
        if cell > size // 2:
            break
        grid = rng.random((cell, cell), dtype=np.float32)
        total += amplitude * cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        norm += amplitude
        amplitude *= 0.55
        cell *= 2
    return total / norm


def color_mix(level: float, vivid: float) -> np.ndarray:
    """(3, 3) matrix on RGB: brighter by level, and as far from grey as vivid (1: as it was, 0: grey)."""
    grey = np.tile([0.299, 0.587, 0.114], (3, 1))
    return level * (vivid * np.eye(3) + (1 - vivid) * grey)


def gradient(rng: np.random.Generator, size: int) -> np.ndarray:
    """(size, size, 3) float32: four corners' colours, near one another, and what lies between."""
    corner = np.stack([np.stack([any_color(rng) for _ in range(2)]) for _ in range(2)]).astype(np.float32)
    mean = corner.mean((0, 1))
    corner = mean + (corner - mean) * rng.uniform(0.05, 0.7)
    return cv2.resize(corner, (size, size), interpolation=cv2.INTER_LINEAR)


def mixture(rng: np.random.Generator, size: int, cell: int) -> np.ndarray:
    """Two colours that noise mixes, or parts by a sharp edge.

    Args:
        rng: draws them.
        size: side, pixels.
        cell: cells a side of the noise.

    Returns:
        (size, size, 3) camera values.
    """
    field = noise_field(rng, size, cell)[..., None]
    low, high = field.min(), field.max()
    field = (field - low) / (high - low + 1e-6)
    if rng.random() < 0.3:
        field = (field > rng.uniform(0.3, 0.7)).astype(np.float32)
    return any_color(rng) * field + any_color(rng) * (1 - field)


def cloth(rng: np.random.Generator, size: int) -> np.ndarray:
    """(size, size, 3) float32: plain, striped or plaid cloth in folds."""
    base = any_color(rng, 0.75)
    picture = np.empty((size, size, 3), np.float32)
    picture[:] = base
    kind = rng.integers(4)
    x = np.arange(size, dtype=np.float32)
    if kind in (1, 2):  # stripes, plaid
        for axis in range(kind):
            period, duty = rng.uniform(6, 60), rng.uniform(0.15, 0.6)
            stripe = ((x / period + rng.random()) % 1 < duty).astype(np.float32) * rng.uniform(0.3, 0.8)
            stripe = stripe[:, None, None] if axis else stripe[None, :, None]
            picture += (any_color(rng, 0.5) - picture) * stripe
    folds = noise_field(rng, size, int(rng.integers(3, 9)), 2)[..., None]
    return picture * (0.55 + 0.9 * folds)


def clutter(rng: np.random.Generator, picture: np.ndarray, count: int) -> None:
    """Draw boxes, ovals, polygons, lines and words.

    Args:
        rng: draws them.
        picture: (S, S, 3) uint8, changed.
        count: how many.
    """
    size = picture.shape[0]
    for _ in range(count):
        color = tuple(float(c) for c in any_color(rng, 0.5))
        x, y = (int(v) for v in rng.integers(0, size, 2))
        w, h = (int(v) for v in np.exp(rng.uniform(np.log(6), np.log(size * 0.6), 2)))
        kind = rng.integers(6)
        if kind <= 1:
            cv2.rectangle(picture, (x, y), (x + w, y + h), color, -1)
            if rng.random() < 0.4:
                cv2.rectangle(picture, (x, y), (x + w, y + h), tuple(0.6 * c for c in color), int(rng.integers(1, 5)))
        elif kind == 2:
            cv2.ellipse(picture, (x, y), (w // 2, h // 2), float(rng.uniform(0, 180)), 0, 360, color, -1, cv2.LINE_AA)
        elif kind == 3:
            points = rng.normal(0, 1, (int(rng.integers(3, 7)), 2)) * [w / 2, h / 2] + [x, y]
            cv2.fillPoly(picture, [points.astype(np.int32)], color, cv2.LINE_AA)
        elif kind == 4:
            end = (x + w - size // 4, y + h - size // 4)
            cv2.line(picture, (x, y), end, color, int(rng.integers(1, 12)), cv2.LINE_AA)
        else:
            text = "".join(chr(int(c)) for c in rng.integers(33, 123, int(rng.integers(2, 10))))
            font, scale = int(rng.integers(0, 8)), float(rng.uniform(0.4, 3.0))
            cv2.putText(picture, text, (x - w // 2, y), font, scale, color, int(rng.integers(1, 6)), cv2.LINE_AA)
