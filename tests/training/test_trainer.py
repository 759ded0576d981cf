"""A run's laws: it can be repeated and interrupted without a trace, and processes share one batch."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from handmesh.config import Config, config_to_dict, load_config
from handmesh.errors import HandMeshError
from handmesh.io.images import read_image
from handmesh.mano.arrays import ManoArrays
from handmesh.models.checkpoint import load_checkpoint, save_checkpoint
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.training.logger import Log, check_folder
from handmesh.training.mesh.loss_net import LossNet
from handmesh.training.setup import make_optimizer
from handmesh.training.state import Progress
from handmesh.training.trainer import STATE_FILE, Trainer

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def config(tiny_run: Config) -> Config:
    return tiny_run


def _state(folder: str | Path) -> dict[str, torch.Tensor]:
    return load_file(Path(folder) / "last" / STATE_FILE)


def _losses(folder: str | Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def test_an_interrupted_run_equals_an_uninterrupted_one(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    Trainer(config).run()
    cut = dataclasses.replace(config, output=config.output + "_cut")
    step = Trainer.step

    def stop_at_three(self: Trainer, batches: Any) -> Any:
        if self.progress.step == 3:
            raise KeyboardInterrupt  # after step 3, whose result was not saved
        return step(self, batches)

    monkeypatch.setattr(Trainer, "step", stop_at_three)
    with pytest.raises(KeyboardInterrupt):
        Trainer(cut).run()
    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(HandMeshError, match="resume=true"):
        Trainer(cut)
    scores = Trainer(dataclasses.replace(cut, resume=True)).run()
    whole, pieces = _state(config.output), _state(cut.output)
    assert whole.keys() == pieces.keys()
    assert not [name for name in whole if not torch.equal(whole[name], pieces[name])]
    assert _losses(config.output) == _losses(cut.output)
    net, header = load_checkpoint(Path(cut.output) / "last", None)
    assert header["step"] == 4 and header["metrics"] == scores
    assert not net.training and scores["pa_mpjpe"] > 0


def test_steps_take_the_sizes_of_crops_in_turn(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    train = dataclasses.replace(config.train, image_sizes=[64, 32])
    seen: list[int] = []
    forward = LossNet.forward

    def note(self: LossNet, batch: Any) -> Any:
        terms = forward(self, batch)
        seen.append(batch["image"].shape[1])
        # Places are those of the picture at its size: no keypoint lies far outside it.
        assert batch["keypoints_2d"].abs().max() < 3 * batch["image"].shape[1]
        return terms

    monkeypatch.setattr(LossNet, "forward", note)
    Trainer(dataclasses.replace(config, train=train)).run()
    assert seen == [64, 32] * 2
    net, _ = load_checkpoint(Path(config.output) / "last")
    assert net.config.image_size == config.model.image_size


def test_a_clock_ends_a_run_with_its_checkpoints(config: Config) -> None:
    train = dataclasses.replace(config.train, steps=10_000, max_minutes=0.02, validate_every=10_000, save_every=10_000)
    trainer = Trainer(dataclasses.replace(config, train=train))
    trainer.run()
    assert 0 < trainer.progress.step < 10_000
    assert trainer.optimizer.param_groups[0]["lr"] < train.learning_rate * 0.6
    for name in ("best", "last"):
        assert load_checkpoint(Path(config.output) / name)[1]["step"] == trainer.progress.step


def test_a_clock_that_is_too_fast_leaves_the_least_steps(config: Config) -> None:
    train = dataclasses.replace(
        config.train, steps=10_000, max_minutes=1e-6, min_steps=3, validate_every=10_000, save_every=10_000
    )
    trainer = Trainer(dataclasses.replace(config, train=train))
    trainer.run()
    assert trainer.progress.step == 3


def test_a_step_that_outlasts_the_minutes_is_still_shown(config: Config, tmp_path: Path) -> None:
    train = dataclasses.replace(config.train, max_minutes=1.0, tensorboard=False)
    log = Log(tmp_path / "log", dataclasses.replace(config, train=train), Progress())
    log.bar.mininterval = 0
    log.step({}, 0.0, 0.0, Progress(step=1, elapsed_s=600.0))
    assert log.bar.n == log.bar.total == 10
    log.close()


def test_a_run_starts_from_weights_learned_with_another_hand(config: Config, open_mano: ManoArrays) -> None:
    torch.manual_seed(7)
    other = dataclasses.replace(config, mano="open")
    learned = HandMeshNet(config.model, open_mano)
    path = Path(config.output + "_learned")
    save_checkpoint(path, learned, other)
    train = dataclasses.replace(config.train, start_from=str(path))
    trainer = Trainer(dataclasses.replace(config, train=train))
    assert trainer.net.hand_fingerprint == trainer.task.mano.fingerprint() != learned.hand_fingerprint
    for (name, mine), theirs in zip(trainer.net.named_parameters(), learned.parameters(), strict=True):
        assert torch.equal(mine, theirs), name
    wider = dataclasses.replace(config, train=train, model=dataclasses.replace(config.model, width=32))
    with pytest.raises(HandMeshError, match="same model settings"):
        Trainer(wider)


@pytest.mark.parametrize("is_fast", [False, True])
def test_muon_finds_its_directions_in_what_the_cpu_is_quick_at(
    config: Config, is_fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timm.optim import muon

    monkeypatch.setattr("handmesh.training.setup.has_bfloat16", lambda: is_fast)
    net, used = torch.nn.Linear(6, 4, bias=False), []
    train = dataclasses.replace(config.train, optimizer="nadamuon", learning_rate=0.1)
    optimizer = make_optimizer(net, dataclasses.replace(config, train=train))
    inner = muon.zeropower_via_newtonschulz

    def watched(*args: Any, **options: Any) -> torch.Tensor:
        used.append(inner(*args, **options))
        return used[-1]

    monkeypatch.setattr(muon, "zeropower_via_newtonschulz", watched)
    net(torch.randn(8, 6, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    optimizer.step()
    assert [each.dtype for each in used] == [torch.bfloat16 if is_fast else torch.float32]
    lengths = torch.linalg.svdvals(used[0].float())
    assert 0.5 < lengths.min() and lengths.max() < 1.5  # a direction is nearly orthogonal


def test_norms_biases_and_scales_do_not_decay(config: Config) -> None:
    trainer = Trainer(config)
    decays = {id(p): g["weight_decay"] for g in trainer.optimizer.param_groups for p in g["params"]}
    for name, parameter in trainer.net.named_parameters():
        is_free = parameter.dim() <= 1 or name.endswith((".bias", "gamma"))
        assert decays[id(parameter)] == (0.0 if is_free else config.train.weight_decay), name


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"sync_batch_norm": True}, {"frozen_batch_norm": True}], ids=["shared", "frozen"])
def test_two_processes_train_as_one(config: Config, change: dict[str, bool], tmp_path: Path) -> None:
    train = dataclasses.replace(config.train, steps=2, **change)
    # Other processes do not know the tiny backbone.
    model = dataclasses.replace(config.model, drop_path=0.0, backbone="fastvit_t8")
    one = dataclasses.replace(config, train=train, model=model)
    scores = Trainer(one).run()
    two = dataclasses.replace(one, output=config.output + "_two")
    settings = tmp_path / "two.yaml"
    settings.write_text(json.dumps(config_to_dict(two)))
    root = Path(__file__).parents[2]
    environment = {
        **os.environ,
        "PYTHONPATH": str(root),
        "OMP_NUM_THREADS": "1",
        "PROCESSES": "2",
        "PYTHON": sys.executable,
    }
    command = [str(root / "scripts" / "train.sh"), str(settings)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    _, header = load_checkpoint(Path(two.output) / "last")
    for name, value in scores.items():
        assert header["metrics"][name] == pytest.approx(value, rel=1e-2), name
    a, b = _state(one.output), _state(two.output)
    for name in a:
        if name.startswith("net.") and "running" in name:
            torch.testing.assert_close(b[name], a[name], atol=1e-3, rtol=1e-2, msg=name)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_configs_are_valid(path: Path) -> None:
    config = load_config(path, [])
    assert config.train.steps > config.train.warmup_steps
    assert config.model.image_size % 32 == 0


@pytest.mark.parametrize(
    ("part", "key", "value", "word"),
    [
        ("train", "optimizer", "sgdd", "adamw"),
        ("train", "schedule", "flat", "cosine"),
        ("train", "device", "tpu", "cpu"),
        ("train", "start_from", "nowhere", "nowhere"),
        ("data", "source", "video", "freihand"),
        ("data", "root", "", "data.root"),
    ],
)
def test_wrong_settings_are_named(config: Config, part: str, key: str, value: str, word: str) -> None:
    with pytest.raises(HandMeshError, match=word):
        changed = dataclasses.replace(getattr(config, part), **{key: value})
        Trainer(dataclasses.replace(config, **{part: changed}))


def test_a_folder_that_cannot_be_written_is_said_before_any_data_is_read(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for output in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(HandMeshError, match="folder to write the run to.*; give another"):
            Log(output, config, Progress())
        with monkeypatch.context() as patched, pytest.raises(HandMeshError, match="file is a file"):
            patched.setattr("handmesh.training.mesh.task.make_sources", None)
            Trainer(dataclasses.replace(config, output=str(output)))
    check_folder(tmp_path / "new" / "run")
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(HandMeshError, match="may not be written to"):
        check_folder(tmp_path / "new" / "run")


def test_a_run_tells_shares_pictures_and_losses_by_term(config: Config) -> None:
    train = dataclasses.replace(config.train, tensorboard=True, shares_every=2, pictures=3)
    Trainer(dataclasses.replace(config, train=train)).run()
    lines = [json.loads(line) for line in (Path(config.output) / "log.jsonl").read_text().splitlines()]
    shares = [line for line in lines if "share/joints" in line]
    assert [line["step"] for line in shares] == [1, 3]
    for line in shares:
        values = [value for name, value in line.items() if name.startswith("share/")]
        assert sum(values) == pytest.approx(1, abs=1e-3) and min(values) >= 0 and line["share/heatmap"] > 0
    picture = read_image(Path(config.output) / "predictions.png")
    assert picture.shape[0] > 100 and picture.std() > 5
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(Path(config.output) / "tensorboard"))
    board.Reload()
    scalars = set(board.Tags()["scalars"])
    assert {"loss", "loss/joints", "share/joints", "learning_rate", "val/pa_mpjpe", "images_per_s"} <= scalars
    assert board.Tags()["images"] == ["predictions"]


def test_measuring_shares_changes_no_weight(config: Config) -> None:
    states = []
    for every in (0, 1):
        train = dataclasses.replace(config.train, steps=2, shares_every=every, pictures=0)
        run = dataclasses.replace(config, train=train, output=f"{config.output}_{every}")
        Trainer(run).run()
        states.append(_state(run.output))
    assert not [name for name in states[0] if not torch.equal(states[0][name], states[1][name])]


def test_weights_and_biases_get_the_same_words(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []
    begun: list[dict[str, Any]] = []

    class Run:
        def log(self, values: dict[str, Any], step: int) -> None:
            told.append({"step": step, **values})

        def finish(self) -> None:
            told.append({})

    fake: Any = types.ModuleType("wandb")
    fake.init = lambda **settings: begun.append(settings) or Run()
    fake.Image = lambda image: ("image", image.shape)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    train = dataclasses.replace(config.train, steps=2, wandb="hands")
    Trainer(dataclasses.replace(config, train=train)).run()
    assert begun[0]["project"] == "hands" and begun[0]["config"]["train"]["steps"] == 2
    names = {name for line in told for name in line}
    assert {"loss/joints", "share/joints", "val/pa_mpjpe", "predictions", "learning_rate"} <= names
    assert told[-1] == {}
    monkeypatch.setitem(sys.modules, "wandb", None)
    absent = dataclasses.replace(config, train=train, output=config.output + "_absent")
    with pytest.raises(HandMeshError, match=r"handmesh\[wandb\]"):
        Trainer(absent).run()
