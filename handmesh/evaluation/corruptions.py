"""Ways in which a picture can be bad, each in five severities, for asking how much a network loses by it.

In the manner of Hendrycks & Dietterich (ICLR 2019), chosen for hands before a webcam.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from handmesh.data import augment
from handmesh.data.sample import Sample
from handmesh.geometry.camera import project_points
from handmesh.geometry.crop import box_around

SEVERITIES = (1, 2, 3, 4, 5)
#: Lengths in pixels are given for a picture of this width and grow with it.
_REFERENCE_PX = 224
_Corruption = Callable[[Sample, int, np.random.Generator], np.ndarray]


def _unit(sample: Sample) -> float:
    return max(sample["image"].shape[:2]) / _REFERENCE_PX


def _noise(sample: Sample, level: int, rng: np.random.Generator) -> np.ndarray:
    return augment.add_noise(sample["image"], (8.0, 16.0, 24.0, 36.0, 52.0)[level], rng)


def _blur(sample: Sample, level: int, rng: np.random.Generator) -> np.ndarray:
    return augment.blur(sample["image"], (1.0, 1.8, 2.6, 3.6, 5.0)[level] * _unit(sample))


def _motion(sample: Sample, level: int, rng: np.random.Generator) -> np.ndarray:
    length = (4.0, 7.0, 11.0, 16.0, 22.0)[level] * _unit(sample)
    return augment.motion_blur(sample["image"], length, float(rng.uniform(0, 180)))


def _jpeg(sample: Sample, level: int, rng: np.random.Generator) -> np.ndarray:
    return augment.compress(sample["image"], (40, 25, 15, 10, 6)[level])


def _darkness(sample: Sample, level: int, rng: np.random.Generator) -> np.ndarray:
    """Less light, and the sensor's noise, which stays."""
    gain = (0.55, 0.38, 0.26, 0.17, 0.1)[level]
    return augment.add_noise(cv2.convertScaleAbs(sample["image"], alpha=gain), 2.0, rng)


def _low_resolution(sample: Sample, level: int, rng: np.random.Generator) -> np.ndarray:
    return augment.lower_resolution(sample["image"], (2.0, 3.0, 4.0, 5.5, 7.5)[level] * _unit(sample))


def _occlusion(sample: Sample, level: int, rng: np.random.Generator) -> np.ndarray:
    """A square of one colour over some joint, a growing share of the hand's box wide."""
    pixels = project_points(sample["joints"], sample["K"])
    box = box_around(pixels)
    half = (box[2] - box[0]) * (0.2, 0.3, 0.4, 0.5, 0.6)[level] / 2
    low, high = (np.round(pixels[rng.integers(len(pixels))] + offset).astype(int) for offset in (-half, half))
    height, width = sample["image"].shape[:2]
    (x0, y0), (x1, y1) = np.clip(low, 0, (width, height)), np.clip(high, 0, (width, height))
    covered = sample["image"].copy()
    covered[y0:y1, x0:x1] = rng.integers(0, 256, 3)
    return covered


CORRUPTIONS: dict[str, _Corruption] = {
    "noise": _noise,
    "blur": _blur,
    "motion blur": _motion,
    "JPEG": _jpeg,
    "darkness": _darkness,
    "low resolution": _low_resolution,
    "occlusion": _occlusion,
}


def corrupt(sample: Sample, name: str, severity: int, seed: int = 0) -> np.ndarray:
    """A sample's picture, worse.

    Args:
        sample: with ``image`` and ``index``.
        name: one of CORRUPTIONS.
        severity: 1 to 5.
        seed: the same seed, name, severity and index give the same picture.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    rng = np.random.default_rng((seed, list(CORRUPTIONS).index(name), severity, int(sample["index"])))
    return CORRUPTIONS[name](sample, severity - 1, rng)
