"""Training crops made on the network's device, a batch at a time: cut out, occluded, recoloured, blurred, noisy.

The loader then only reads pictures and draws numbers (:func:`draw_parameters`); :func:`finish` does to a batch what
crops.py and augment.py do to one picture with OpenCV, by the same rules and within a grey level or two, except
that there is no JPEG. Every random number comes from the sample's own generator, so that a batch is the same whatever
the number of workers or processes.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional

from handmesh.config import AugmentConfig
from handmesh.data.augment import draw_colour, draw_light, draw_sharpening, noise_bank
from handmesh.data.crop_parameters import CropParameters, Occluder
from handmesh.data.sample import Batch
from handmesh.geometry.camera import resize_points
from handmesh.geometry.crop import CropTransform

#: What lies outside a picture: grid_sample's names for black, the last pixel repeated, and the picture mirrored.
BORDERS = ("zeros", "border", "reflection")


def draw_parameters(
    rng: np.random.Generator,
    augment: AugmentConfig,
    crop: CropTransform,
    border: int,
    keypoints_2d: np.ndarray,
    present: bool,
) -> CropParameters:
    """All that :func:`finish` needs to know of one sample.

    Args:
        rng: draws it.
        augment: how far.
        crop: of the sample.
        border: an index into BORDERS.
        keypoints_2d: (21, 2) pixels of the crop.
        present: whether the sample shows a hand; only then is there an occluder.
    """
    matrix, contrast, gamma = draw_colour(rng, augment.colour)
    size, unit = crop.size, crop.size / 128
    chosen = rng.random(3) < augment.degrade
    is_motion = bool(chosen[1] and rng.random() < 0.5)
    bank = max(noise_bank().shape[0] - size, 0)
    low_resolution = rng.uniform(1.3, 3.5) * unit if chosen[0] else 1.0
    blur = rng.uniform(0.4, 1.6) * unit if chosen[1] and not is_motion else 0.0
    blur_length = rng.uniform(2, 9) * unit if is_motion else 0.0
    blur_angle = rng.uniform(0, math.pi)
    noise = rng.uniform(2, 14) if chosen[2] else 0.0
    noise_place = rng.integers(bank + 1), rng.integers(bank + 1)
    is_grey = rng.random() < 0.5
    middle = keypoints_2d[rng.integers(len(keypoints_2d))] + rng.normal(0, 0.1 * size, 2)
    axes = rng.uniform(0.12, 0.45, 2) * size / 2
    (is_ellipse, is_colour), colour, roll = rng.random(2) < 0.5, rng.integers(0, 256, 3), rng.integers(0, size, 2)
    turn = rng.uniform(0, math.pi)
    hidden = _covered(keypoints_2d, middle, axes, turn, bool(is_ellipse))
    is_there = present and rng.random() < augment.degrade and hidden.mean() <= 0.6
    light, (sharpening, sharpen_sigma) = draw_light(rng, augment.light), draw_sharpening(rng, augment.sharpen)
    occluder = map(_tensor, (is_there, middle, axes, turn, is_ellipse, is_colour, colour, roll))
    return CropParameters(
        warp=_tensor(np.linalg.inv(crop.homography)), shrink=_tensor(crop.K[0, 0] / crop.K_crop[0, 0]),
        border=_tensor(border), light=_tensor(light),
        colour=_tensor(matrix), contrast=_tensor(contrast), gamma=_tensor(gamma),
        low_resolution=_tensor(low_resolution), blur=_tensor(blur), blur_length=_tensor(blur_length),
        blur_angle=_tensor(blur_angle), noise=_tensor(noise), noise_place=_tensor(noise_place),
        is_grey=_tensor(is_grey), sharpen=_tensor(sharpening), sharpen_sigma=_tensor(sharpen_sigma * unit),
        occluder=Occluder(*occluder), seen=_tensor(~(hidden & is_there)),
    )  # fmt: skip


def _tensor(value: ArrayLike) -> Tensor:
    return torch.from_numpy(np.array(value, np.float32))


def _covered(
    points: np.ndarray, middle: np.ndarray, axes: np.ndarray, turn: float, is_ellipse: bool
) -> np.ndarray:
    """Which points (N, 2) lie under an occluder, described as in :class:`Occluder`: (N,) bool."""
    c, s = math.cos(turn), math.sin(turn)
    u, v = ((np.asarray(points) - middle) @ np.array([[c, -s], [s, c]]) / axes).T
    return np.asarray(u * u + v * v <= 1 if is_ellipse else (np.abs(u) <= 1) & (np.abs(v) <= 1))


@torch.no_grad()
def finish(batch: Batch, size: int) -> Batch:
    """A batch of whole pictures with their parameters -> the same batch with crops (B, size, size, 3) uint8.

    A batch whose crops are cut out already is returned as it is.
    """
    if "crop_parameters" not in batch:
        return batch
    parameters = batch["crop_parameters"]
    x = cut_out(batch["image"].permute(0, 3, 1, 2).float(), parameters, size)
    x = _lit(_occluded(x, parameters.occluder), parameters.light)
    mean = x[:, :, ::8, ::8].mean((1, 2, 3)).view(-1, 1, 1, 1)
    x = torch.einsum("bij,bjhw->bihw", parameters.colour, x) + (1 - parameters.contrast).view(-1, 1, 1, 1) * mean
    x = 255 * (x.clamp(0, 255) / 255) ** parameters.gamma.view(-1, 1, 1, 1)
    x = _sharpened(_noisy(_blurred(_lowered(x, parameters), parameters), parameters), parameters)
    image = x.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    rest = {name: value for name, value in batch.items() if name != "crop_parameters"}
    return cast(Batch, {**rest, "image": image, "visibility": batch["visibility"] * parameters.seen})


def cut_out(pictures: Tensor, parameters: CropParameters, size: int) -> Tensor:
    """Crops of pictures. One much smaller than its source is averaged down first, as CropTransform.apply_image does.

    Args:
        pictures: (B, 3, H, W) float.
        parameters: of the batch; its warp, shrink and border count.
        size: side of the crops, pixels.

    Returns:
        (B, 3, size, size).
    """
    line = torch.arange(size, dtype=torch.float32, device=pictures.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    places = torch.stack([x.flatten(), y.flatten(), torch.ones_like(x.flatten())])
    found = parameters.warp @ places  # (B, 3, size * size)
    found = (found[:, :2] / found[:, 2:]).transpose(1, 2).view(-1, size, size, 2)
    levels = parameters.shrink.clamp_min(1e-6).log2().floor().clamp(0, 4).int()
    crops = pictures.new_zeros(len(pictures), pictures.shape[1], size, size)
    level = pictures
    for number in range(int(levels.max()) + 1):
        side = torch.tensor([level.shape[-1] - 1, level.shape[-2] - 1], device=level.device).clamp_min(1)
        grid = resize_points(found, 0.5**number) * 2 / side - 1
        for border, mode in enumerate(BORDERS):
            rows = ((levels == number) & (parameters.border.int() == border)).nonzero().flatten()
            if len(rows):
                crops[rows] = functional.grid_sample(level[rows], grid[rows], "bilinear", mode, align_corners=True)
        level = functional.avg_pool2d(level, 2)
    return crops


def _occluded(x: Tensor, occluder: Occluder) -> Tensor:
    size = x.shape[-1]
    line = torch.arange(size, dtype=x.dtype, device=x.device)

    def over_map(values: Tensor) -> Tensor:
        return values.view(-1, 1, 1)

    middle_x, middle_y = map(over_map, occluder.middle.unbind(1))
    axis_x, axis_y = map(over_map, occluder.axes.unbind(1))
    roll_y, roll_x = map(over_map, occluder.roll.unbind(1))
    dy, dx = line.view(1, -1, 1) - middle_y, line.view(1, 1, -1) - middle_x
    c, s = over_map(occluder.turn).cos(), over_map(occluder.turn).sin()
    u, v = (dx * c + dy * s) / axis_x, (dy * c - dx * s) / axis_y
    mask = torch.where(over_map(occluder.is_ellipse) > 0, u * u + v * v <= 1, (u.abs() <= 1) & (v.abs() <= 1))
    mask = (mask & (over_map(occluder.is_there) > 0)).unsqueeze(1)
    colour = occluder.colour.view(-1, 3, 1, 1).expand_as(x)
    # Another part of the picture: upside down and rolled.
    from_y = size - 1 - (line.view(1, -1, 1) - roll_y).remainder(size)
    from_x = (line.view(1, 1, -1) - roll_x).remainder(size)
    index = (from_y * size + from_x).long().flatten(1).unsqueeze(1).expand(-1, 3, -1)
    other = x.flatten(2).gather(2, index).view_as(x)
    return torch.where(mask, torch.where(over_map(occluder.is_colour).unsqueeze(1) > 0, colour, other), x)


def _lit(x: Tensor, light: Tensor) -> Tensor:
    if not light.any():
        return x
    line = torch.linspace(-1, 1, x.shape[-1], dtype=x.dtype, device=x.device)
    middle, right, down = (each.view(-1, 1, 1) for each in light.unbind(1))
    gain = (middle + right * line.view(1, 1, -1) + down * line.view(1, -1, 1)).exp()
    return (x * gain.unsqueeze(1)).clamp(0, 255)


def _sharpened(x: Tensor, parameters: CropParameters) -> Tensor:
    rows = (parameters.sharpen > 0).nonzero().flatten()
    if not len(rows):
        return x
    x, sigma = x.clamp(0, 255), parameters.sharpen_sigma[rows].view(-1, 1, 1)
    gaussian = _gaussian(*_offsets(math.ceil(3 * float(sigma.max())), x), sigma)
    return x + parameters.sharpen.view(-1, 1, 1, 1) * (x - _filtered(x, rows, gaussian))


def _lowered(x: Tensor, parameters: CropParameters) -> Tensor:
    """Those that are to have fewer pixels, one by one: each has a size of its own."""
    size = x.shape[-1]
    for row in (parameters.low_resolution > 1).nonzero().flatten().tolist():
        small = max(int(size / float(parameters.low_resolution[row])), 8)
        one = functional.interpolate(x[row : row + 1], size=(small, small), mode="area")
        x[row] = functional.interpolate(one, size=(size, size), mode="bilinear", align_corners=False)[0]
    return x


def _blurred(x: Tensor, parameters: CropParameters) -> Tensor:
    """Out of focus, or along a line: each with a kernel of its own, in one grouped convolution."""
    rows = ((parameters.blur > 0) | (parameters.blur_length > 0)).nonzero().flatten()
    if not len(rows):
        return x
    sigma, length = parameters.blur[rows].view(-1, 1, 1), parameters.blur_length[rows].view(-1, 1, 1)
    dy, dx = _offsets(max(math.ceil(max(3 * float(sigma.max()), float(length.max()) / 2)), 1), x)
    angle = parameters.blur_angle[rows].view(-1, 1, 1)
    along, across = dx * angle.cos() + dy * angle.sin(), dy * angle.cos() - dx * angle.sin()
    beyond = (along.abs() - length / 2).clamp_min(0)
    stroke = (1 - (across * across + beyond * beyond).sqrt()).clamp_min(0)
    return _filtered(x, rows, torch.where(length > 0, stroke, _gaussian(dy, dx, sigma)))


def _offsets(radius: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (1, 2 radius + 1, 1) and columns (1, 1, 2 radius + 1) of kernels, from their middle; as x's numbers."""
    line = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    return line.view(1, -1, 1), line.view(1, 1, -1)


def _gaussian(dy: Tensor, dx: Tensor, sigma: Tensor) -> Tensor:
    return torch.exp(-(dx * dx + dy * dy) / (2 * sigma.clamp_min(1e-3) ** 2))


def _filtered(x: Tensor, rows: Tensor, kernel: Tensor) -> Tensor:
    """Some pictures of x (B, 3, S, S), each with a kernel (K, 2 radius + 1, 2 radius + 1) of its own; in a copy."""
    kernel = kernel / kernel.sum((1, 2), keepdim=True)
    padded = functional.pad(x[rows], [kernel.shape[-1] // 2] * 4, mode="replicate").flatten(0, 1).unsqueeze(0)
    weight = kernel.repeat_interleave(3, dim=0).unsqueeze(1)
    out = x.clone()
    out[rows] = functional.conv2d(padded, weight, groups=len(weight)).view(len(rows), 3, *x.shape[-2:])
    return out


def _noisy(x: Tensor, parameters: CropParameters) -> Tensor:
    """Sensor noise from windows of one bank of random numbers, fully coloured or grey."""
    rows = (parameters.noise > 0).nonzero().flatten().tolist()
    if not rows:
        return x
    size, bank = x.shape[-1], _bank(str(x.device))
    for row in rows:
        top, left = parameters.noise_place[row].int().tolist()
        window = bank[:, top : top + size, left : left + size]
        if window.shape[-1] == size and window.shape[-2] == size:
            x[row] += parameters.noise[row] * (window[:1] if parameters.is_grey[row] > 0 else window)
    return x


_BANKS: dict[str, Tensor] = {}


def _bank(device: str) -> Tensor:
    """(3, 768, 768) standard normal on a device, brought there once."""
    if device not in _BANKS:
        _BANKS[device] = torch.from_numpy(noise_bank()).permute(2, 0, 1).contiguous().to(device)
    return _BANKS[device]
