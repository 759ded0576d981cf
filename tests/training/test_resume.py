"""A run under odd conditions: killed outright, a full disk, a batch in pieces, crops left to the device."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from handmesh.config import Config, config_to_dict
from handmesh.errors import HandMeshError
from handmesh.models.checkpoint import load_checkpoint
from handmesh.training.state import Progress, load_state, save_state
from handmesh.training.trainer import STATE_FILE, Trainer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tiny_run: Config) -> Config:
    """Six steps of a tiny network on six samples."""
    train = dataclasses.replace(tiny_run.train, steps=6, validate_every=3, pictures=0)
    return dataclasses.replace(tiny_run, train=train)


def _state(config: Config) -> dict[str, torch.Tensor]:
    return load_file(Path(config.output) / "last" / STATE_FILE)


def _start(config: Config, settings: Path) -> subprocess.Popen[bytes]:
    """The run in a process of its own: what ran before in this one may choose other kernels, which round otherwise."""
    settings.write_text(json.dumps(config_to_dict(config)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.Popen(
        [sys.executable, "-m", "handmesh", "train", str(settings)],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.slow
def test_a_run_killed_outright_goes_on_as_if_nothing_had_been(config: Config, tmp_path: Path) -> None:
    # Another process does not know the tiny backbone.
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, backbone="fastvit_t8"))
    assert _start(config, tmp_path / "whole.yaml").wait(200) == 0
    killed = dataclasses.replace(config, output=config.output + "_killed")
    run = _start(killed, tmp_path / "killed.yaml")
    state = Path(killed.output) / "last" / STATE_FILE
    end = time.monotonic() + 200
    while not state.is_file() and run.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait(60)
    assert state.is_file()
    assert _start(dataclasses.replace(killed, resume=True), tmp_path / "resumed.yaml").wait(200) == 0
    whole, pieces = _state(config), _state(killed)
    assert whole.keys() == pieces.keys()
    assert not [name for name in whole if not torch.equal(whole[name], pieces[name])]
    losses = []
    for folder in (config.output, killed.output):
        lines = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
        losses.append({line["step"]: line["loss"] for line in lines if "loss" in line})
    assert losses[0] == losses[1] and len(losses[0]) == 6


def test_a_full_disk_leaves_the_last_good_checkpoint(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    step, before = Trainer.step, resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_the_disk_after_two(self: Trainer, batches: Any) -> Any:
        if self.progress.step == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
        return step(self, batches)

    monkeypatch.setattr(Trainer, "step", fill_the_disk_after_two)
    try:
        with pytest.raises(HandMeshError, match="free some space"):
            Trainer(config).run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    monkeypatch.setattr(Trainer, "step", step)
    folder = Path(config.output)
    assert load_checkpoint(folder / "last")[1]["step"] == 2
    assert not [path for path in folder.rglob(".*") if path.is_file()]  # nothing half-written is left
    trainer = Trainer(dataclasses.replace(config, resume=True))
    assert trainer.progress.step == 2
    trainer.run()
    assert load_checkpoint(folder / "last")[1]["step"] == 6


def test_a_batch_in_pieces_is_the_batch(config: Config) -> None:
    weights = []
    for batch, accumulate in ((4, 1), (2, 2)):
        train = dataclasses.replace(
            config.train, steps=2, batch_size=batch, accumulate=accumulate, frozen_batch_norm=True, optimizer="sgd"
        )
        model = dataclasses.replace(config.model, drop_path=0.0)
        run = dataclasses.replace(config, train=train, model=model, output=f"{config.output}_{accumulate}")
        Trainer(run).run()
        weights.append({name: value for name, value in _state(run).items() if name.startswith("net.")})
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, atol=1e-6, rtol=1e-4, msg=name)


def test_crops_made_on_the_device_train_and_repeat(config: Config) -> None:
    augment = dataclasses.replace(config.data.augment, on_device=True, degrade=0.5)
    states = []
    for name in ("a", "b"):
        run = dataclasses.replace(
            config, data=dataclasses.replace(config.data, augment=augment), output=config.output + name,
            train=dataclasses.replace(config.train, steps=2),
        )  # fmt: skip
        assert Trainer(run).run()["pa_mpjpe"] > 0
        states.append(_state(run))
    assert not [name for name in states[0] if not torch.equal(states[0][name], states[1][name])]


def test_the_scale_of_half_precision_is_kept(tmp_path: Path) -> None:
    net, ema = nn.Linear(3, 2), nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(net.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    save_state(
        tmp_path / "state.safetensors", net, ema, optimizer, Progress(step=3), config_to_dict(Config()),
        scaler=scaler.state_dict(),
    )  # fmt: skip
    other = torch.amp.GradScaler("cpu")
    progress, _ = load_state(tmp_path / "state.safetensors", net, ema, optimizer, scaler=other)
    assert other.state_dict()["scale"] == 512.0 and progress.step == 3


def test_a_run_of_an_older_version_is_resumed(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    """Its state knows neither the settings nor the parameters that came later."""
    short = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=2))
    Trainer(short).run()
    path = Path(short.output) / "last" / STATE_FILE
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["handmesh_state"])
    del header["scaler"], header["config"]["train"]["teacher"], header["config"]["model"]["blocks"]
    save_file(_state(short), path, {"handmesh_state": json.dumps(header)})
    trainer = Trainer(dataclasses.replace(short, resume=True))
    assert trainer.progress.step == 2 and "other settings" not in caplog.text
