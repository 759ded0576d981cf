"""A network is shipped only when it is as good as the run's; until then what was shipped before stays."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from handmesh.config import Config, ModelConfig, TrainConfig
from handmesh.errors import HandMeshError
from handmesh.mano.arrays import ManoArrays
from handmesh.models.checkpoint import load_checkpoint, save_checkpoint
from handmesh.models.detector_checkpoint import load_detector
from handmesh.models.detector_net import HandDetectorNet


def test_what_was_shipped_stays_until_another_is_as_good(
    tmp_path: Path, open_mano: ManoArrays, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    trained_looking: Callable[[ModelConfig, ManoArrays], Any], script: Callable[[str], ModuleType],
) -> None:  # fmt: skip
    ship = script("release_weights")
    config = Config(model=ModelConfig(image_size=64, width=32), train=TrainConfig(image_sizes=[32, 64]))
    save_checkpoint(tmp_path / "run", trained_looking(config.model, open_mano), config)
    shipped = tmp_path / "assets" / "default.safetensors"
    shipped.parent.mkdir()
    shipped.write_text("the one before")
    monkeypatch.setattr(sys, "argv", ["ship.py", str(tmp_path / "run"), "--output", str(shipped)])
    monkeypatch.setattr(ship, "MAX_BYTES", 1000)
    with pytest.raises(HandMeshError, match="as it was"):
        ship.main()
    assert shipped.read_text() == "the one before" and len(list(shipped.parent.iterdir())) == 1
    monkeypatch.setattr(ship, "MAX_BYTES", 1_000_000_000)
    monkeypatch.setattr(ship, "MAX_DIFFERENCE_MM", 1000.0)
    ship.main()
    assert f"{shipped}: " in capsys.readouterr().out and len(list(shipped.parent.iterdir())) == 1
    assert load_checkpoint(shipped, open_mano)[0].config.image_size == 64
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--crop-size", "32"])
    ship.main()
    assert load_checkpoint(shipped, open_mano)[0].config.image_size == 32


def test_a_detector_is_shipped_by_the_same_rule(
    tmp_path: Path, tiny_backbone: str, monkeypatch: pytest.MonkeyPatch, script: Callable[[str], ModuleType]
) -> None:
    ship = script("release_weights")
    config = Config(task="detector", model=ModelConfig(backbone=tiny_backbone, width=16))
    save_checkpoint(tmp_path / "run", HandDetectorNet(config.model), config)
    shipped = tmp_path / "default-detector.safetensors"
    monkeypatch.setattr(sys, "argv", ["ship.py", str(tmp_path / "run"), "--detector", "--output", str(shipped)])
    monkeypatch.setattr(ship, "MAX_DETECTOR_BYTES", 1000)
    with pytest.raises(HandMeshError, match="as it was"):
        ship.main()
    assert not shipped.exists()
    monkeypatch.setattr(ship, "MAX_DETECTOR_BYTES", 8_000_000)
    ship.main()
    assert load_detector(shipped)[0].config.width == 16


def test_the_mean_of_two_runs_is_shipped(
    tmp_path: Path, open_mano: ManoArrays, monkeypatch: pytest.MonkeyPatch,
    trained_looking: Callable[[ModelConfig, ManoArrays], Any], script: Callable[[str], ModuleType],
) -> None:  # fmt: skip
    ship = script("release_weights")
    config = Config(model=ModelConfig(image_size=64, width=32))
    nets = [trained_looking(config.model, open_mano) for _ in range(2)]
    with torch.no_grad():
        for weight in nets[1].parameters():
            weight.mul_(1.5)
    runs = [str(tmp_path / name) for name in ("first", "second")]
    for run, net in zip(runs, nets, strict=True):
        save_checkpoint(run, net, config, {"pa_mpjpe": 9.0})
    shipped = tmp_path / "default.safetensors"
    words = ["ship.py", *runs, "--output", str(shipped)]
    monkeypatch.setattr(ship, "MAX_DIFFERENCE_MM", 1000.0)
    monkeypatch.setattr(sys, "argv", [*words, "--shares", "0.25", "0.75"])
    ship.main()
    mean, header = load_checkpoint(shipped, open_mano)
    for got, *each in zip(mean.parameters(), *(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(got, 0.25 * each[0] + 0.75 * each[1], rtol=2e-3, atol=1e-4)
    assert not header["metrics"]
    monkeypatch.setattr(sys, "argv", [*words, "--shares", "0.5", "0.6"])
    with pytest.raises(HandMeshError, match="add up to 1"):
        ship.main()
    save_checkpoint(runs[0], trained_looking(ModelConfig(image_size=64, width=16), open_mano), config)
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(HandMeshError):
        ship.main()
