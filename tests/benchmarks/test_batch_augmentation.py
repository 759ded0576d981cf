"""The benchmark of batch augmentation crops real batches, and says what it lacks."""

from __future__ import annotations

import sys

import pytest

from handmesh.data.gpu_augment import finish
from handmesh.errors import HandMeshError
from scripts.benchmarks import batch_augmentation


def test_the_batch_is_whole_pictures_that_become_different_crops() -> None:
    batch = batch_augmentation.make_batch(3, 32)
    assert batch["image"].shape[1] > 32
    crops = finish(batch, 32)["image"].float()
    assert crops.shape == (3, 32, 32, 3)
    assert (crops[0] - crops[1]).abs().mean() > 5 and crops.std() > 5


def test_a_missing_kornia_and_empty_runs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kornia.augmentation", None)
    with pytest.raises(HandMeshError, match="pip install kornia"):
        batch_augmentation.kornias(32)
    with pytest.raises(HandMeshError, match="at least one picture"):
        batch_augmentation.main(["--batch", "0"])
