"""Training crops made on the network's device, a batch at a time: cut out, occluded, recoloured, blurred, noisy.

The loader then only reads pictures and draws numbers (:func:`draw_look`); :func:`finish` does to a batch what
transforms.py and augment.py do to one picture with OpenCV, by the same rules and within a grey level or two, except
that there is no JPEG. Every random number comes from the sample's own generator, so that a batch is the same whatever
the number of workers or processes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from handmesh.config import AugmentConfig
from handmesh.data.augment import draw_colour, noise_bank
from handmesh.geometry.crop import CropTransform

#: What lies outside a picture: grid_sample's names for black, the last pixel repeated, and the picture mirrored.
BORDERS = ("zeros", "border", "reflection")
#: Columns of a sample's "look".
SHRINK, BORDER, CONTRAST, GAMMA, LOW_RESOLUTION, BLUR, LENGTH, ANGLE, NOISE, NOISE_Y, NOISE_X, IS_GREY = range(12)
#: And of its "occluder": middle, half axes and direction in crop pixels, and what it is filled with.
IS_THERE, MIDDLE_X, MIDDLE_Y, AXIS_X, AXIS_Y, TURN, IS_ELLIPSE, IS_COLOUR, RED, GREEN, BLUE, ROLL_Y, ROLL_X = range(13)
_KEYS = ("warp", "colour", "look", "occluder", "seen")


def draw_look(
    rng: np.random.Generator,
    augment: AugmentConfig,
    crop: CropTransform,
    border: int,
    keypoints_2d: np.ndarray,
    present: bool,
) -> dict[str, np.ndarray]:
    """All that :func:`finish` needs to know of one sample.

    Args:
        rng: draws it.
        augment: how far.
        crop: of the sample.
        border: an index into BORDERS.
        keypoints_2d: (21, 2) pixels of the crop.
        present: whether the sample shows a hand; only then is there an occluder.

    Returns:
        float32: warp (3, 3) from crop pixels to picture pixels; colour (3, 3); look (12,), occluder (13,); and seen
            (21,),
        0 for the joints that the occluder hides.
    """
    matrix, contrast, gamma = draw_colour(rng, augment.colour)
    size, unit = crop.size, crop.size / 128
    chosen = rng.random(3) < augment.degrade
    is_motion = bool(chosen[1] and rng.random() < 0.5)
    bank = max(noise_bank().shape[0] - size, 0)
    look = np.array([
        crop.K[0, 0] / crop.K_crop[0, 0], border, contrast, gamma,
        rng.uniform(1.3, 3.5) * unit if chosen[0] else 1.0,
        rng.uniform(0.4, 1.6) * unit if chosen[1] and not is_motion else 0.0,
        rng.uniform(2, 9) * unit if is_motion else 0.0, rng.uniform(0, math.pi),
        rng.uniform(2, 14) if chosen[2] else 0.0, rng.integers(bank + 1), rng.integers(bank + 1), rng.random() < 0.5,
    ])  # fmt: skip
    occluder = _draw_occluder(rng, keypoints_2d, size)
    hidden = _covers(occluder, keypoints_2d)
    is_there = present and rng.random() < augment.degrade and hidden.mean() <= 0.6
    occluder[IS_THERE] = is_there
    numbers = {
        "warp": np.linalg.inv(crop.homography), "colour": matrix, "look": look, "occluder": occluder,
        "seen": ~(hidden & is_there),
    }  # fmt: skip
    return {name: np.asarray(value, np.float32) for name, value in numbers.items()}


def _draw_occluder(rng: np.random.Generator, keypoints_2d: np.ndarray, size: int) -> np.ndarray:
    middle = keypoints_2d[rng.integers(len(keypoints_2d))] + rng.normal(0, 0.1 * size, 2)
    axes = rng.uniform(0.12, 0.45, 2) * size / 2
    kinds, colour, roll = rng.random(2) < 0.5, rng.integers(0, 256, 3), rng.integers(0, size, 2)
    return np.array([0, *middle, *axes, rng.uniform(0, math.pi), *kinds, *colour, *roll], np.float64)


def _covers(occluder: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which points (N, 2) lie under an occluder: (N,) bool."""
    c, s = math.cos(occluder[TURN]), math.sin(occluder[TURN])
    apart = (np.asarray(points) - occluder[[MIDDLE_X, MIDDLE_Y]]) @ np.array([[c, -s], [s, c]])
    u, v = (apart / occluder[[AXIS_X, AXIS_Y]]).T
    is_in_ellipse, is_in_block = u * u + v * v <= 1, (np.abs(u) <= 1) & (np.abs(v) <= 1)
    return np.asarray(np.where(occluder[IS_ELLIPSE] > 0, is_in_ellipse, is_in_block))


@torch.no_grad()
def finish(batch: dict[str, Tensor], size: int) -> dict[str, Tensor]:
    """A batch of whole pictures with what :func:`draw_look` drew -> the same batch with crops (B, size, size, 3) uint8.

    A batch whose crops are cut out already is returned as it is.
    """
    if "warp" not in batch:
        return batch
    look, occluder = batch["look"], batch["occluder"]
    x = cut_out(batch["image"].permute(0, 3, 1, 2).float(), batch["warp"], look, size)
    x = _occluded(x, occluder)
    mean = x[:, :, ::8, ::8].mean((1, 2, 3)).view(-1, 1, 1, 1)
    x = torch.einsum("bij,bjhw->bihw", batch["colour"], x) + (1 - look[:, CONTRAST]).view(-1, 1, 1, 1) * mean
    x = 255 * (x.clamp(0, 255) / 255) ** look[:, GAMMA].view(-1, 1, 1, 1)
    x = _noisy(_blurred(_lowered(x, look), look), look)
    image = x.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    rest = {name: value for name, value in batch.items() if name not in _KEYS}
    return {**rest, "image": image, "visibility": batch["visibility"] * batch["seen"]}


def cut_out(pictures: Tensor, warp: Tensor, look: Tensor, size: int) -> Tensor:
    """Crops of pictures. One much smaller than its source is averaged down first, as CropTransform.apply_image does.

    Args:
        pictures: (B, 3, H, W) float.
        warp: (B, 3, 3) from crop pixels to picture pixels.
        look: (B, 12) of :func:`draw_look`.
        size: side of the crops, pixels.

    Returns:
        (B, 3, size, size).
    """
    line = torch.arange(size, dtype=torch.float32, device=pictures.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    places = torch.stack([x.flatten(), y.flatten(), torch.ones_like(x.flatten())])
    found = warp @ places  # (B, 3, size * size)
    found = (found[:, :2] / found[:, 2:]).transpose(1, 2).view(-1, size, size, 2)
    levels = look[:, SHRINK].clamp_min(1e-6).log2().floor().clamp(0, 4).int()
    crops = pictures.new_zeros(len(pictures), pictures.shape[1], size, size)
    level = pictures
    for number in range(int(levels.max()) + 1):
        factor = 2.0**number
        side = torch.tensor([level.shape[-1] - 1, level.shape[-2] - 1], device=level.device).clamp_min(1)
        grid = ((found + 0.5) / factor - 0.5) * 2 / side - 1
        for border, mode in enumerate(BORDERS):
            rows = ((levels == number) & (look[:, BORDER].int() == border)).nonzero().flatten()
            if len(rows):
                crops[rows] = functional.grid_sample(level[rows], grid[rows], "bilinear", mode, align_corners=True)
        level = functional.avg_pool2d(level, 2)
    return crops


def _occluded(x: Tensor, occluder: Tensor) -> Tensor:
    size = x.shape[-1]
    line = torch.arange(size, dtype=x.dtype, device=x.device)

    def column(index: int) -> Tensor:
        return occluder[:, index].view(-1, 1, 1)

    dy, dx = line.view(1, -1, 1) - column(MIDDLE_Y), line.view(1, 1, -1) - column(MIDDLE_X)
    c, s = column(TURN).cos(), column(TURN).sin()
    u, v = (dx * c + dy * s) / column(AXIS_X), (dy * c - dx * s) / column(AXIS_Y)
    mask = torch.where(column(IS_ELLIPSE) > 0, u * u + v * v <= 1, (u.abs() <= 1) & (v.abs() <= 1))
    mask = (mask & (column(IS_THERE) > 0)).unsqueeze(1)
    colour = occluder[:, RED : BLUE + 1].view(-1, 3, 1, 1).expand_as(x)
    # Another part of the picture: upside down and rolled.
    from_y = size - 1 - (line.view(1, -1, 1) - column(ROLL_Y)).remainder(size)
    from_x = (line.view(1, 1, -1) - column(ROLL_X)).remainder(size)
    index = (from_y * size + from_x).long().flatten(1).unsqueeze(1).expand(-1, 3, -1)
    other = x.flatten(2).gather(2, index).view_as(x)
    return torch.where(mask, torch.where(column(IS_COLOUR).unsqueeze(1) > 0, colour, other), x)


def _lowered(x: Tensor, look: Tensor) -> Tensor:
    """Those that are to have fewer pixels, one by one: each has a size of its own."""
    size = x.shape[-1]
    for row in (look[:, LOW_RESOLUTION] > 1).nonzero().flatten().tolist():
        small = max(int(size / float(look[row, LOW_RESOLUTION])), 8)
        one = functional.interpolate(x[row : row + 1], size=(small, small), mode="area")
        x[row] = functional.interpolate(one, size=(size, size), mode="bilinear", align_corners=False)[0]
    return x


def _blurred(x: Tensor, look: Tensor) -> Tensor:
    """Out of focus, or along a line: each with a kernel of its own, in one grouped convolution."""
    rows = ((look[:, BLUR] > 0) | (look[:, LENGTH] > 0)).nonzero().flatten()
    if not len(rows):
        return x
    sigma, length = look[rows, BLUR].view(-1, 1, 1), look[rows, LENGTH].view(-1, 1, 1)
    radius = max(math.ceil(max(3 * float(sigma.max()), float(length.max()) / 2)), 1)
    line = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    dy, dx = line.view(1, -1, 1), line.view(1, 1, -1)
    gaussian = torch.exp(-(dx * dx + dy * dy) / (2 * sigma.clamp_min(1e-3) ** 2))
    angle = look[rows, ANGLE].view(-1, 1, 1)
    along, across = dx * angle.cos() + dy * angle.sin(), dy * angle.cos() - dx * angle.sin()
    beyond = (along.abs() - length / 2).clamp_min(0)
    stroke = (1 - (across * across + beyond * beyond).sqrt()).clamp_min(0)
    kernel = torch.where(length > 0, stroke, gaussian)
    kernel = kernel / kernel.sum((1, 2), keepdim=True)
    padded = functional.pad(x[rows], [radius] * 4, mode="replicate").flatten(0, 1).unsqueeze(0)
    weight = kernel.repeat_interleave(3, dim=0).unsqueeze(1)
    out = x.clone()
    out[rows] = functional.conv2d(padded, weight, groups=len(weight)).view(len(rows), 3, *x.shape[-2:])
    return out


def _noisy(x: Tensor, look: Tensor) -> Tensor:
    """Sensor noise from windows of one bank of random numbers, fully coloured or grey."""
    rows = (look[:, NOISE] > 0).nonzero().flatten().tolist()
    if not rows:
        return x
    size, bank = x.shape[-1], _bank(str(x.device))
    for row in rows:
        top, left = int(look[row, NOISE_Y]), int(look[row, NOISE_X])
        window: Any = bank[:, top : top + size, left : left + size]
        if window.shape[-1] == size and window.shape[-2] == size:
            x[row] += look[row, NOISE] * (window[:1] if look[row, IS_GREY] > 0 else window)
    return x


_BANKS: dict[str, Tensor] = {}


def _bank(device: str) -> Tensor:
    """(3, 768, 768) standard normal on a device, brought there once."""
    if device not in _BANKS:
        _BANKS[device] = torch.from_numpy(noise_bank()).permute(2, 0, 1).contiguous().to(device)
    return _BANKS[device]
