"""Features taught without labels: a few steps bring the maps nearer, and training can start from the result."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import timm
import torch

from handmesh.errors import HandMeshError
from handmesh.io.images import write_image
from handmesh.mano.arrays import load_mano
from handmesh.models.checkpoint import load_checkpoint


def options(tmp_path: Path, **changed: object) -> argparse.Namespace:
    values = {
        "pictures": [str(tmp_path / "pictures")], "weights": str(tmp_path / "lite0.pth"), "out": str(tmp_path / "out"),
        "start": None, "minutes": 5.0, "steps": 6, "save_minutes": 5.0, "size": 64, "batch": 4, "rate": 2e-3,
        "backbone": "fastvit_t8", "plain": False, "seed": 0,
    }  # fmt: skip
    return argparse.Namespace(**{**values, **changed})


def test_maps_come_nearer_and_a_run_can_start_from_them(tmp_path: Path, script: Callable[[str], ModuleType]) -> None:
    module = script("experiments.pretrain_features")
    torch.manual_seed(0)
    torch.save(timm.create_model(module.TEACHER).state_dict(), tmp_path / "lite0.pth")
    (tmp_path / "pictures").mkdir()
    for number in range(2):
        picture = np.random.default_rng(number).integers(0, 255, (50, 60, 3), dtype=np.uint8)
        write_image(tmp_path / f"pictures/{number}.png", picture)
    losses = module.pretrain(options(tmp_path))
    assert len(losses) == 6 and losses[-1] < losses[0]
    net, header = load_checkpoint(tmp_path / "out", load_mano("open"))
    assert header["metrics"]["one_minus_correlation"] == pytest.approx(np.mean(losses))
    again = module.pretrain(options(tmp_path, start=str(tmp_path / "out"), steps=1, out=str(tmp_path / "more")))
    assert len(again) == 1 and not net.is_folded


def test_other_weights_and_no_pictures_are_errors(tmp_path: Path, script: Callable[[str], ModuleType]) -> None:
    module = script("experiments.pretrain_features")
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(HandMeshError, match="other tensors"):
        module.load_teacher(str(tmp_path / "other.pth"))
    with pytest.raises(HandMeshError, match="pictures below"):
        module.find_pictures([str(tmp_path)])
