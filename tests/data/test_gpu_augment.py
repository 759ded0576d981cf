"""Crops made on the device are those that OpenCV makes, and belong to their labels whatever the batch."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from handmesh.config import AugmentConfig, Config, DataConfig, ModelConfig
from handmesh.data import gpu_augment
from handmesh.data.augment import jitter_colour, shade, sharpen
from handmesh.data.crop_parameters import CropParameters, Occluder
from handmesh.data.crops import random_crop
from handmesh.data.freihand import FreiHandDataset
from handmesh.data.loading import HandDataset, collate
from handmesh.data.sample import Batch
from handmesh.errors import HandMeshError

PLAIN = AugmentConfig(colour=0.0, degrade=0.0, mirror=0.5)


def both(sample, seed: int, augment: AugmentConfig, size: int):
    """One crop by OpenCV, and the same crop on the gpu_augment."""
    usual = random_crop(sample, np.random.default_rng(seed), augment, size, 1.5)
    settings = dataclasses.replace(augment, on_device=True)
    later = collate([random_crop(sample, np.random.default_rng(seed), settings, size, 1.5)])
    return usual, {name: value[0].numpy() for name, value in gpu_augment.finish(later, size).items()}


@pytest.mark.parametrize("size", [32, 64, 160])
def test_the_cut_is_opencvs_at_every_border_and_scale(make_sample, size):
    for seed in range(12):
        usual, ours = both(make_sample(seed % 4), seed, PLAIN, size)
        assert usual.keys() == ours.keys()
        for name in usual:
            if name != "image":
                np.testing.assert_array_equal(ours[name], usual[name], err_msg=name)
        apart = np.abs(ours["image"].astype(int) - usual["image"].astype(int))
        # Where a picture ends within a pixel, black is laid in by other rounding.
        assert np.quantile(apart, 0.98) <= 3 and apart.mean() < 1.5, (seed, apart.mean(), np.quantile(apart, 0.98))


def unchanged() -> CropParameters:
    """A crop that is the picture, and looks like it."""
    zero, one, two = torch.tensor(0.0), torch.tensor(1.0), torch.zeros(2)
    occluder = Occluder(zero, two, torch.ones(2), zero, zero, zero, torch.zeros(3), two)
    return CropParameters(
        torch.eye(3), one, zero, torch.zeros(3), torch.eye(3), one, one, one, zero, zero, zero, zero, two, zero,
        zero, one, occluder, torch.ones(21),
    )  # fmt: skip


def test_the_colours_are_opencvs(make_sample):
    picture = make_sample(1)["image"][:64, :64]
    matrix, contrast, gamma = gpu_augment.draw_colour(np.random.default_rng(0), 1.0)
    expected = jitter_colour(picture, np.random.default_rng(0), 1.0).astype(int)
    parameters = dataclasses.replace(
        unchanged(), colour=torch.from_numpy(matrix).float(), contrast=torch.tensor(contrast),
        gamma=torch.tensor(gamma),
    )  # fmt: skip
    batch: Batch = {
        "image": torch.from_numpy(picture.copy())[None], "crop_parameters": CropParameters.stack([parameters]),
        "visibility": torch.ones(1, 21),
    }  # fmt: skip
    got = gpu_augment.finish(batch, 64)["image"][0].numpy().astype(int)
    assert np.abs(expected - picture).mean() > 5
    assert np.abs(got - expected).max() <= 4 and np.abs(got - expected).mean() < 1


def test_light_and_sharpening_are_opencvs(make_sample):
    picture = make_sample(1)["image"][:64, :64]
    light = np.array([0.3, -0.4, 0.5])
    for changes, expected in (
        ({"light": torch.from_numpy(light).float()}, shade(picture, light)),
        ({"sharpen": torch.tensor(1.2), "sharpen_sigma": torch.tensor(0.9)}, sharpen(picture, 1.2, 0.9)),
    ):
        batch: Batch = {
            "image": torch.from_numpy(np.stack([picture, picture])),
            "crop_parameters": CropParameters.stack([dataclasses.replace(unchanged(), **changes), unchanged()]),
            "visibility": torch.ones(2, 21),
        }
        changed, same = gpu_augment.finish(batch, 64)["image"].numpy().astype(int)
        np.testing.assert_array_equal(same, picture)
        assert np.abs(expected.astype(int) - picture).max() >= 5
        inside = (changed - expected)[4:-4, 4:-4]  # the two repeat the border in other ways
        assert np.abs(inside).max() <= 4 and np.abs(inside).mean() < 1


def test_degradations_do_something_and_repeat_whatever_the_batch(make_sample):
    augment = AugmentConfig(degrade=1.0, on_device=True)
    samples = [random_crop(make_sample(i), np.random.default_rng(i), augment, 64, 1.5) for i in range(4)]
    whole = gpu_augment.finish(collate(samples), 64)
    for row, sample in enumerate(samples):
        alone = gpu_augment.finish(collate([sample]), 64)
        for name in whole:
            torch.testing.assert_close(alone[name][0].float(), whole[name][row].float(), atol=1, rtol=0)
        zero = torch.tensor(0.0)
        plain = dataclasses.replace(
            sample["crop_parameters"], low_resolution=torch.tensor(1.0), blur=zero, blur_length=zero, noise=zero
        )
        sharp = gpu_augment.finish(collate([{**sample, "crop_parameters": plain}]), 64)
        assert (sharp["image"] != alone["image"]).float().mean() > 0.3
    assert whole["image"].dtype == torch.uint8 and whole["image"].shape == (4, 64, 64, 3)
    assert "crop_parameters" not in whole


def test_an_occluder_covers_what_it_is_said_to_hide(make_sample):
    size, augment = 64, AugmentConfig(degrade=1.0, on_device=True, colour=0.0)
    hid = 0
    for seed in range(20):
        crop = random_crop(make_sample(seed % 4), np.random.default_rng(seed), augment, size, 1.5)
        parameters, whole = crop["crop_parameters"], np.round(crop["keypoints_2d"]).astype(int)
        if not parameters.occluder.is_there or whole.min() < 0 or whole.max() >= size:
            continue
        white = dataclasses.replace(parameters.occluder, is_colour=torch.tensor(1.0), colour=torch.full((3,), 255.0))
        stacked = CropParameters.stack([dataclasses.replace(parameters, occluder=white)])
        painted = gpu_augment._occluded(torch.zeros(1, 3, size, size), stacked.occluder)[0, 0]
        x, y = whole.T
        hidden = parameters.seen.numpy() == 0
        assert ((painted[y, x] > 0).numpy() == hidden).mean() > 0.85  # at its very edge rounding may differ
        hid += int(hidden.sum())
    assert hid > 20


def test_a_look_goes_where_its_batch_goes():
    """Every tensor of it, the occluder's too, and whatever a loader does with pinned memory."""
    stacked = CropParameters.stack([unchanged(), unchanged()])
    moved = stacked.to("meta", non_blocking=True)
    for parameters, there in ((stacked, "cpu"), (moved, "meta")):
        for part in (parameters, parameters.occluder):
            values = [getattr(part, field.name) for field in dataclasses.fields(part) if field.name != "occluder"]
            assert all(value.device.type == there and value.shape[0] == 2 for value in values)


def test_finished_crops_are_left_alone_and_other_sizes_refused(freihand_root, make_sample):
    config = Config(model=ModelConfig(image_size=64), data=DataConfig(augment=AugmentConfig(on_device=True)))
    source = FreiHandDataset(freihand_root)
    usual = collate([HandDataset(source, config, train=False)[0]])
    assert gpu_augment.finish(usual, 64) is usual
    small = {**make_sample(0), "image": np.zeros((100, 100, 3), np.uint8)}
    crops = [random_crop(s, np.random.default_rng(0), config.data.augment, 64, 1.5) for s in (small, make_sample(1))]
    with pytest.raises(HandMeshError, match="on_device"):
        collate(crops)
