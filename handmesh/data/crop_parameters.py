"""The parameters of one random crop: how it is cut out of its picture, and how it is made to look worse.

Tensors, float32: of one sample, or of a batch with a first axis of B. gpu_augment.py draws and applies them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Occluder:
    """Something before the hand.

    Attributes:
        is_there: 0 where nothing is painted.
        middle, axes: (2,) pixels of the crop, x and y: its middle, and half its extent along its own axes.
        turn: of those axes, radians.
        is_ellipse: else it is a block.
        is_colour: filled with one colour, else with the picture upside down and rolled.
        colour: (3,) RGB 0..255.
        roll: (2,) pixels, down and right.
    """

    is_there: Tensor
    middle: Tensor
    axes: Tensor
    turn: Tensor
    is_ellipse: Tensor
    is_colour: Tensor
    colour: Tensor
    roll: Tensor


@dataclass(frozen=True)
class CropParameters:
    """How a crop is made.

    Attributes:
        warp: (3, 3) from crop pixels to picture pixels.
        shrink: pixels of the picture to one of the crop.
        border: what lies outside the picture, an index into gpu_augment.BORDERS.
        light: (3,) of uneven light, as augment.draw_light gives it.
        colour: (3, 3) that pixels are multiplied by.
        contrast, gamma: of the same change of colour.
        low_resolution: so many times fewer pixels a side, 1 for none.
        blur: out of focus, standard deviation in pixels, 0 for none.
        blur_length, blur_angle: or moved along a line, pixels and radians, 0 for none.
        noise: standard deviation in 0..255, 0 for none.
        noise_place: (2,) row and column of the window in the bank of noise.
        is_grey: whether the noise is.
        sharpen, sharpen_sigma: share of the detail that is added again, 0 for none, and its scale in pixels.
        occluder: what hides a part.
        seen: (21,) 0 for the joints that the occluder hides.
    """

    warp: Tensor
    shrink: Tensor
    border: Tensor
    light: Tensor
    colour: Tensor
    contrast: Tensor
    gamma: Tensor
    low_resolution: Tensor
    blur: Tensor
    blur_length: Tensor
    blur_angle: Tensor
    noise: Tensor
    noise_place: Tensor
    is_grey: Tensor
    sharpen: Tensor
    sharpen_sigma: Tensor
    occluder: Occluder
    seen: Tensor

    @classmethod
    def stack(cls, several: Sequence[CropParameters]) -> CropParameters:
        """Those of samples as that of their batch."""
        return _combined(several, lambda tensors: torch.stack(list(tensors)))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> CropParameters:
        """On a device, as a tensor goes there."""
        return _combined([self], lambda tensors: tensors[0].to(device, non_blocking=non_blocking))

    def pin_memory(self) -> CropParameters:
        """In page-locked memory; a DataLoader asks for it by this name."""
        return _combined([self], lambda tensors: tensors[0].pin_memory())


def _combined(several: Sequence[CropParameters], function: Callable[[Sequence[Tensor]], Tensor]) -> CropParameters:
    """One whose every tensor is the function of those of several."""
    own = {
        field.name: function([getattr(each, field.name) for each in several])
        for field in fields(CropParameters)
        if field.name != "occluder"
    }
    there = (function([getattr(each.occluder, field.name) for each in several]) for field in fields(Occluder))
    return CropParameters(**own, occluder=Occluder(*there))
