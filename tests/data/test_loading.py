"""Batches repeat: the same seed and step give the same batch with any number of workers, processes or
restarts."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
import torch

from handmesh.config import Config, ModelConfig
from handmesh.data import loading
from handmesh.data.freihand import FreiHandDataset, image_path
from handmesh.data.loading import HandDataset, MixtureSource, StepBatches, iterate, make_loader
from handmesh.errors import HandMeshError

CONFIG = Config(model=ModelConfig(image_size=64))


class Endless:
    is_endless = True

    def __init__(self, make_sample):
        self.make_sample = make_sample

    def __len__(self):
        return 2**40

    def sample(self, index):
        return {**self.make_sample(index % 5), "index": index}


class Numbered:
    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def sample(self, index):
        return {"number": index}


def batches_of(source, steps, workers=0, **settings):
    sampler = StepBatches(source, 4, steps, **settings)
    return list(iterate(make_loader(HandDataset(source, CONFIG, train=True), sampler, workers)))


def assert_same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        for key in a:
            torch.testing.assert_close(a[key], b[key], atol=0, rtol=0)


def test_workers_restarts_and_ranks_give_the_same_batches(freihand_root, fake_mano):
    source = FreiHandDataset(freihand_root, hands_mean=fake_mano.hands_mean)
    whole = batches_of(source, (0, 5), seed=3)
    assert_same(whole, batches_of(source, (0, 5), workers=2, seed=3))
    assert_same(whole[2:], batches_of(source, (2, 5), seed=3))
    ranks = [batches_of(source, (0, 5), seed=3, rank=rank, world=2) for rank in range(2)]
    joined = [{key: torch.cat([a[key], b[key]]) for key in a} for a, b in zip(*ranks, strict=True)]
    assert_same(whole, joined)
    assert any((a["index"] != b["index"]).any() for a, b in zip(whole, batches_of(source, (0, 5), seed=4), strict=True))


def test_an_epoch_visits_every_sample_once_and_augments_anew(freihand_root):
    source = FreiHandDataset(freihand_root)
    seen = [key for batch in StepBatches(source, 2, (0, 6)) for key in batch]
    for epoch in (0, 1):
        assert sorted(index for e, index in seen if e == epoch) == list(range(6))
    dataset = HandDataset(source, CONFIG, train=True)
    assert (dataset[(0, 1)]["image"] != dataset[(1, 1)]["image"]).any()
    plain = HandDataset(source, CONFIG, train=False)
    np.testing.assert_array_equal(plain[(0, 1)]["image"], plain[(1, 1)]["image"])


def test_an_endless_source_is_walked_straight_on(make_sample):
    source = Endless(make_sample)
    assert [batch["index"].tolist() for batch in batches_of(source, (1, 3))] == [[4, 5, 6, 7], [8, 9, 10, 11]]


def test_shapes_and_types_of_a_batch(freihand_root, fake_mano):
    source = FreiHandDataset(freihand_root, hands_mean=fake_mano.hands_mean)
    batch = next(iterate(make_loader(HandDataset(source, CONFIG, train=False), 3)))
    shapes = {key: tuple(value.shape) for key, value in batch.items()}
    assert shapes["image"] == (3, 64, 64, 3) and shapes["hand_pose"] == (3, 15, 3, 3)
    assert shapes["keypoints_2d"] == (3, 21, 2) and shapes["is_right"] == (3,)
    assert batch["image"].dtype == torch.uint8 and batch["joints"].dtype == torch.float32


def test_mixture_draws_by_weight_and_repeats(freihand_root, make_sample):
    folder, endless = FreiHandDataset(freihand_root), Endless(make_sample)
    mixture = MixtureSource([folder, endless], [3.0, 1.0])
    assert len(mixture) == pytest.approx(4 * MixtureSource.ENDLESS_SHARE, abs=2)
    drawn = [mixture.sample(index) for index in range(0, len(mixture), len(mixture) // 40)]
    from_endless = sum(sample["has_mano"] for sample in drawn)  # the folder was opened without a hand model
    assert from_endless == pytest.approx(len(drawn) / 4, abs=1)
    np.testing.assert_array_equal(drawn[7]["joints"], mixture.sample(drawn[7]["index"])["joints"])
    with pytest.raises(HandMeshError, match="weight"):
        MixtureSource([folder], [0.0])


def test_mixture_leaves_no_sample_out():
    sources = [Numbered(7), Numbered(30)]
    mixture = MixtureSource(sources, [1.0, 2.0])
    seen = [mixture.sample(index)["number"] for index in range(len(mixture))]
    assert len(mixture) == 45
    # The larger one once, the smaller one in equal turns until it has its share.
    assert sorted(seen[15:]) == list(range(30)) and np.bincount(seen[:15]).tolist() == [3, 2, 2, 2, 2, 2, 2]


def test_a_bad_image_in_a_worker_is_one_line(freihand_root):
    source = FreiHandDataset(freihand_root)
    image_path(freihand_root, "training", 4).write_bytes(b"")
    with pytest.raises(HandMeshError) as caught:
        batches_of(source, (0, 2), workers=1)
    assert "00000004" in str(caught.value) and "Traceback" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_worker_that_gives_nothing_is_one_error(make_sample, monkeypatch):
    monkeypatch.setattr(loading, "STALL_S", 0.5)
    monkeypatch.setattr(Endless, "sample", lambda self, index: time.sleep(2))
    with pytest.raises(HandMeshError, match="none from any worker"):
        batches_of(Endless(make_sample), (0, 2), workers=1)


def test_impossible_settings_are_refused(freihand_root):
    source = FreiHandDataset(freihand_root)
    with pytest.raises(HandMeshError, match="divisible"):
        StepBatches(source, 5, (0, 1), world=2)
    assert dataclasses.is_dataclass(CONFIG)
