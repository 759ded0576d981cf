"""A detector's run: cut in two it is the whole one, frozen stages stay, it starts from either network."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from handmesh.config import Config, DataConfig, DetectorConfig, ModelConfig, TrainConfig
from handmesh.data.scenes import Scene, SceneHand, scene_line, write_scene_labels, write_scene_pictures
from handmesh.errors import HandMeshError
from handmesh.io.images import write_image
from handmesh.labeling.held_out import HeldOut
from handmesh.mano.arrays import ManoArrays
from handmesh.models.checkpoint import save_checkpoint
from handmesh.models.detector_checkpoint import load_detector
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.training.detector.task import open_scenes, start_from
from handmesh.training.trainer import STATE_FILE, Trainer

POINTS = np.random.default_rng(5).normal(0, 9, (21, 2))


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Six pictures, some with a hand, of two makers."""
    rng = np.random.default_rng(0)
    lines = []
    for index in range(6):
        image = rng.integers(0, 255, (48, 64, 3)).astype(np.uint8)
        hand_map = np.zeros((48, 64), np.uint8)
        hands = []
        if index % 3:
            hands, hand_map[10:30, 20:40] = [SceneHand(POINTS + [30, 20], bool(index % 2))], 1
        scene = Scene(image, hands, hand_map, maker="one" if index < 4 else "two")
        write_scene_pictures(tmp_path / "scenes", "training", index, scene)
        lines.append(scene_line(index, scene))
    write_scene_labels(tmp_path / "scenes", "training", lines)
    (tmp_path / "negatives").mkdir()
    write_image(tmp_path / "negatives" / "a.png", np.zeros((20, 30, 3), np.uint8))
    write_image(tmp_path / "negatives" / "b.png", np.zeros((20, 30, 3), np.uint8))
    return tmp_path


@pytest.fixture
def config(scenes: Path, tiny_backbone: str) -> Config:
    folder = str(scenes / "scenes" / "training")
    return Config(
        task="detector", model=ModelConfig(backbone=tiny_backbone, width=16, drop_path=0.1),
        data=DataConfig(workers=0, val_samples=3),
        detector=DetectorConfig(
            scenes={folder: 0.8, f"negatives:{scenes / 'negatives'}": 0.2}, val_scenes=folder, side=64, train_side=64,
        ),
        train=TrainConfig(
            steps=3, batch_size=2, warmup_steps=1, validate_every=3, save_every=1, log_every=1, device="cpu",
            tensorboard=False, pictures=2, accelerate_cpu=False, shares_every=0,
        ),
        output=str(scenes / "run"),
    )  # fmt: skip


def test_an_interrupted_run_equals_an_uninterrupted_one(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = Trainer(config).run()
    assert {"ap", "recall", "mask_iou"} <= set(scores) and (Path(config.output) / "predictions.png").is_file()
    cut, step = dataclasses.replace(config, output=config.output + "_cut"), Trainer.step

    def stop_at_two(self: Trainer, batches: object) -> object:
        if self.progress.step == 2:
            raise KeyboardInterrupt
        return step(self, batches)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "step", stop_at_two)
    with pytest.raises(KeyboardInterrupt):
        Trainer(cut).run()
    monkeypatch.setattr(Trainer, "step", step)
    Trainer(dataclasses.replace(cut, resume=True)).run()
    whole, pieces = (load_file(Path(each.output) / "last" / STATE_FILE) for each in (config, cut))
    assert whole.keys() == pieces.keys()
    assert not [name for name in whole if not torch.equal(whole[name], pieces[name])]
    net, header = load_detector(Path(cut.output) / "best")
    assert header["config"]["task"] == "detector" and "6 scenes of training" in header["data_fingerprint"]
    assert header["config"]["model"]["width"] == net.config.width == 16


def test_frozen_stages_stay_and_say_what_the_network_says(config: Config) -> None:
    frozen = dataclasses.replace(
        config, detector=dataclasses.replace(config.detector, frozen_stages=3),
        train=dataclasses.replace(config.train, steps=1),
    )  # fmt: skip
    trainer = Trainer(frozen)
    images = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        trainer.net.eval()
        pixels = trainer.net.normalise(images)
        expected = trainer.net.backbone.first_maps(pixels, 3)
        for one, other in zip(trainer.losses._folded[0].first_maps(pixels, 3), expected, strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    before = {name: value.clone() for name, value in trainer.net.state_dict().items()}
    trainer.run()
    changed = {name for name, value in trainer.net.state_dict().items() if not torch.equal(value, before[name])}
    fixed = tuple(f"backbone.net.{part}" for part in ("stem", "stages.0", "stages.1", "stages.2"))
    assert not [name for name in changed if name.startswith(fixed)]
    assert any(name.startswith("backbone.net.stages.3") for name in changed) and "out.weight" in changed


def test_it_starts_from_the_mesh_network(config: Config, fake_mano: ManoArrays, tmp_path: Path) -> None:
    mesh = HandMeshNet(ModelConfig(backbone=config.model.backbone, width=16, image_size=64), fake_mano)
    save_checkpoint(tmp_path / "mesh", mesh, Config(model=mesh.config))
    train = dataclasses.replace(config.train, start_from=str(tmp_path / "mesh"))
    net = Trainer(dataclasses.replace(config, train=train)).net
    theirs = mesh.state_dict()
    for name, value in net.state_dict().items():
        if name.startswith("backbone."):
            assert torch.equal(value, theirs[name]), name
        elif name.startswith("up."):
            assert torch.equal(value, theirs[f"head.{name}"]), name
    other = HandMeshNet(ModelConfig(width=16, image_size=64), fake_mano)
    save_checkpoint(tmp_path / "other", other, Config(model=other.config))
    with pytest.raises(HandMeshError, match="expected a checkpoint of fastvit_tiny"):
        start_from(net, str(tmp_path / "other"))
    save_checkpoint(tmp_path / "folded", net.reparameterize(), config)
    with pytest.raises(HandMeshError, match="folded"):
        start_from(net, str(tmp_path / "folded"))


def test_held_out_makers_are_left_out(scenes: Path) -> None:
    folder = str(scenes / "scenes" / "training")
    assert len(open_scenes(folder, HeldOut(frozenset({"two"}), {}))) == 4
    (scenes / "negatives" / "index.jsonl").write_text(
        "\n".join(json.dumps({"file": f"{name}.png", "set": maker}) for name, maker in (("a", "one"), ("b", "two")))
    )
    negatives = f"negatives:{scenes / 'negatives'}"
    assert len(open_scenes(negatives, HeldOut(frozenset({"two"}), {}))) == 1
    # A folder of folders: each a maker's.
    assert len(open_scenes(str(scenes / "scenes"), HeldOut(frozenset(), {}))) == 6


def test_a_run_without_scenes_is_refused(config: Config) -> None:
    with pytest.raises(HandMeshError, match="synth --scenes"):
        Trainer(dataclasses.replace(config, detector=DetectorConfig()))
    with pytest.raises(HandMeshError, match="mesh or detector"):
        Trainer(dataclasses.replace(config, task="feet"))
