"""Crops made on the device are those that OpenCV makes, and belong to their labels whatever the batch."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from handmesh.config import AugmentConfig, Config, DataConfig, ModelConfig
from handmesh.data import gpu_augment
from handmesh.data.augment import jitter_colour
from handmesh.data.crops import random_crop
from handmesh.data.freihand import FreiHandDataset
from handmesh.data.loading import HandDataset, collate
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


def test_the_colours_are_opencvs(make_sample):
    picture = make_sample(1)["image"][:64, :64]
    matrix, contrast, gamma = gpu_augment.draw_colour(np.random.default_rng(0), 1.0)
    expected = jitter_colour(picture, np.random.default_rng(0), 1.0).astype(int)
    look, occluder = torch.zeros(1, 12), torch.zeros(1, 13)
    look[0, [gpu_augment.SHRINK, gpu_augment.CONTRAST, gpu_augment.GAMMA]] = torch.tensor([1.0, contrast, gamma])
    occluder[0, [gpu_augment.AXIS_X, gpu_augment.AXIS_Y]] = 1.0
    batch = {
        "image": torch.from_numpy(picture.copy())[None], "warp": torch.eye(3)[None], "look": look,
        "colour": torch.from_numpy(matrix).float()[None], "occluder": occluder,
        "visibility": torch.ones(1, 21), "seen": torch.ones(1, 21),
    }  # fmt: skip
    got = gpu_augment.finish(batch, 64)["image"][0].numpy().astype(int)
    assert np.abs(expected - picture).mean() > 5
    assert np.abs(got - expected).max() <= 4 and np.abs(got - expected).mean() < 1


def test_degradations_do_something_and_repeat_whatever_the_batch(make_sample):
    augment = AugmentConfig(degrade=1.0, on_device=True)
    samples = [random_crop(make_sample(i), np.random.default_rng(i), augment, 64, 1.5) for i in range(4)]
    whole = gpu_augment.finish(collate(samples), 64)
    for row, sample in enumerate(samples):
        alone = gpu_augment.finish(collate([sample]), 64)
        for name in whole:
            torch.testing.assert_close(alone[name][0].float(), whole[name][row].float(), atol=1, rtol=0)
        plain = {**sample, "look": sample["look"].copy()}
        changes = [gpu_augment.LOW_RESOLUTION, gpu_augment.BLUR, gpu_augment.LENGTH, gpu_augment.NOISE]
        plain["look"][changes] = 1, 0, 0, 0
        sharp = gpu_augment.finish(collate([plain]), 64)
        assert (sharp["image"] != alone["image"]).float().mean() > 0.3
    assert whole["image"].dtype == torch.uint8 and whole["image"].shape == (4, 64, 64, 3)
    assert not whole.keys() & set(gpu_augment._KEYS)


def test_an_occluder_covers_what_it_is_said_to_hide():
    size, points = 64, np.random.default_rng(1).uniform(0, 63, (21, 2))
    for seed in range(20):
        occluder = gpu_augment._draw_occluder(np.random.default_rng(seed), points, size)
        occluder[[gpu_augment.IS_THERE, gpu_augment.IS_COLOUR]] = 1
        occluder[[gpu_augment.RED, gpu_augment.GREEN, gpu_augment.BLUE]] = 255
        painted = gpu_augment._occluded(torch.zeros(1, 3, size, size), torch.from_numpy(occluder).float()[None])[0, 0]
        whole = np.round(points)
        hidden = gpu_augment._covers(occluder, whole)
        x, y = whole.astype(int).T
        assert ((painted[y, x] > 0).numpy() == hidden).mean() > 0.95  # at its very edge rounding may differ


def test_finished_crops_are_left_alone_and_other_sizes_refused(freihand_root, make_sample):
    config = Config(model=ModelConfig(image_size=64), data=DataConfig(augment=AugmentConfig(on_device=True)))
    source = FreiHandDataset(freihand_root)
    usual = collate([HandDataset(source, config, train=False)[0]])
    assert gpu_augment.finish(usual, 64) is usual
    small = {**make_sample(0), "image": np.zeros((100, 100, 3), np.uint8)}
    crops = [random_crop(s, np.random.default_rng(0), config.data.augment, 64, 1.5) for s in (small, make_sample(1))]
    with pytest.raises(HandMeshError, match="on_device"):
        collate(crops)
