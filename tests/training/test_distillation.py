"""A teacher's laws: any size and backbone, its own answers cost nothing, and one option is all it takes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from handmesh.config import Config, DataConfig, LossConfig, ModelConfig, TrainConfig
from handmesh.errors import HandMeshError
from handmesh.geometry.camera import project_points
from handmesh.mano.arrays import ManoArrays
from handmesh.models.auxiliary import DirectVertices, FeatureProjection
from handmesh.models.checkpoint import load_checkpoint, save_checkpoint
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.training.mesh.distillation import Teacher
from handmesh.training.mesh.loss_net import LossNet
from handmesh.training.mesh.resizing import resize_crops, resize_images
from handmesh.training.trainer import STATE_FILE, Trainer

SMALL = ModelConfig(image_size=32, width=16, heatmap_stride=4)
LARGER = ModelConfig(backbone="fastvit_t12", image_size=64, width=32, head="pooled")


@pytest.fixture
def config(freihand_root: Path, fake_mano: ManoArrays, tiny_backbone: str, tmp_path: Path) -> Config:
    """Two steps of a tiny network under a larger teacher of another backbone, head and size."""
    fake_mano.save_npz(tmp_path / "fake.npz")
    torch.manual_seed(1)
    teacher = Config(model=LARGER, mano=str(tmp_path / "fake.npz"))
    save_checkpoint(tmp_path / "teacher", HandMeshNet(LARGER, fake_mano), teacher)
    train = TrainConfig(
        steps=2, batch_size=4, warmup_steps=1, validate_every=2, save_every=1, log_every=1, device="cpu",
        tensorboard=False, teacher=str(tmp_path / "teacher"), loss=LossConfig(direct_vertices=1.0),
    )  # fmt: skip
    return Config(
        model=dataclasses.replace(SMALL, backbone=tiny_backbone), data=DataConfig(root=str(freihand_root), workers=0),
        train=train, mano=str(tmp_path / "fake.npz"), output=str(tmp_path / "run"),
    )  # fmt: skip


def _batch(config: Config, size: int) -> dict[str, torch.Tensor]:
    from handmesh.data.loading import HandDataset, collate
    from handmesh.mano.arrays import load_mano
    from handmesh.training.sources import make_sources

    source, _ = make_sources(config, load_mano(config.mano))
    dataset = HandDataset(source, config, train=True, size=size)
    return collate([dataset[(0, index)] for index in range(3)])


def test_a_run_learns_from_a_larger_network_and_keeps_only_its_own(config: Config) -> None:
    trainer = Trainer(config)
    trainer.run()
    net, header = load_checkpoint(Path(config.output) / "last")
    assert net.config == config.model and header["config"]["train"]["teacher"] == config.train.teacher
    state = load_file(Path(config.output) / "last" / STATE_FILE)
    branches = {name for name in state if name.startswith("branches.")}
    assert any("vertices.mixture" in name for name in branches) and any("features.project" in name for name in branches)
    log = (Path(config.output) / "log.jsonl").read_text()
    for name in ("joints", "vertices", "rotations", "betas", "features"):
        assert f'"teacher_{name}"' in log
    assert '"direct_vertices"' in log
    assert not any(p.requires_grad or p.grad is not None for p in trainer.task.teacher.net.parameters())


@pytest.mark.slow
def test_branches_survive_an_interruption(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    Trainer(config).run()
    cut = dataclasses.replace(config, output=config.output + "_cut")
    step = Trainer.step

    def stop_at_one(self, batches):
        if self.progress.step == 1:
            raise KeyboardInterrupt
        return step(self, batches)

    monkeypatch.setattr(Trainer, "step", stop_at_one)
    with pytest.raises(KeyboardInterrupt):
        Trainer(cut).run()
    monkeypatch.setattr(Trainer, "step", step)
    Trainer(dataclasses.replace(cut, resume=True)).run()
    whole, pieces = (load_file(Path(c.output) / "last" / STATE_FILE) for c in (config, cut))
    assert whole.keys() == pieces.keys()
    assert all(torch.equal(whole[name], pieces[name]) for name in whole)


def test_the_teachers_own_answer_costs_nothing(config: Config, fake_mano: ManoArrays) -> None:
    teacher = Teacher(config, fake_mano, "cpu")
    alike = dataclasses.replace(config, model=LARGER)
    pupil = Teacher(alike, fake_mano, "cpu")
    batch = pupil.label(_batch(alike, 64), 64)
    losses = LossNet(pupil.net, config.train, pupil).eval()
    with torch.no_grad():
        terms = losses(batch)
    for name in ("joints", "vertices", "rotations", "betas"):
        assert terms[f"teacher_{name}"].item() == pytest.approx(0, abs=1e-5), name
    assert terms["vertices"].item() > 1e-4
    assert teacher.size == 64


def test_the_pupil_sees_the_same_crop_smaller(config: Config, fake_mano: ManoArrays) -> None:
    teacher = Teacher(config, fake_mano, "cpu")
    large = _batch(config, 64)
    batch = teacher.label(large, 32)
    assert batch["image"].shape == (3, 32, 32, 3) and batch["image"].dtype == torch.uint8
    for joints, K, keypoints in zip(batch["joints"], batch["K_crop"], batch["keypoints_2d"], strict=True):
        torch.testing.assert_close(
            torch.from_numpy(project_points(joints.numpy(), K.numpy())).float(), keypoints, atol=1e-3, rtol=1e-4
        )
    assert batch["teacher"].joints.shape == (3, 21, 3) and batch["teacher"].maps[1].shape[0] == 3
    assert resize_crops(large, 64) is large


def test_resizing_keeps_a_smooth_picture() -> None:
    line = torch.linspace(0, 255, 64)
    images = line[None, :, None, None].expand(2, 64, 64, 3).to(torch.uint8)
    small = resize_images(images, 32)
    wanted = images.float().view(2, 32, 2, 32, 2, 3).mean((2, 4))
    assert (small.float() - wanted).abs()[:, 1:-1].max() <= 1
    assert resize_images(images, 64) is images


def test_maps_equal_after_projection_cost_nothing() -> None:
    torch.manual_seed(0)
    compare = FeatureProjection((4, 8, 8), (4, 16, 16))
    maps = [torch.randn(2, 4, 8, 8), torch.randn(2, 8, 4, 4), torch.randn(2, 8, 2, 2)]
    with torch.no_grad():
        theirs = [project(mine) * 3 for project, mine in zip(compare.project, maps[1:], strict=True)]
    assert compare(maps, theirs).item() == pytest.approx(0, abs=1e-4)
    assert compare(maps, [-value for value in theirs]).item() == pytest.approx(2, abs=1e-3)
    # A teacher of another input size has maps of another grid.
    assert torch.isfinite(compare(maps, [torch.randn(2, 16, 7, 7), torch.randn(2, 16, 4, 4)]))


@pytest.mark.parametrize("model", [SMALL, LARGER], ids=["aligned", "pooled"])
def test_direct_vertices_start_small_and_reach_the_backbone(model: ModelConfig, fake_mano: ManoArrays) -> None:
    torch.manual_seed(0)
    net = HandMeshNet(model, fake_mano)
    branch = DirectVertices(net)
    images = torch.randint(0, 256, (2, model.image_size, model.image_size, 3), dtype=torch.uint8)
    maps, pooled = net.features(images)
    vertices = branch(net.decode(maps, pooled)[1].details, pooled)
    assert vertices.shape == (2, 778, 3) and vertices.abs().max() < 0.05
    vertices.square().sum().backward()
    stem = next(net.backbone.net.stem.parameters())
    assert stem.grad is not None and stem.grad.abs().sum() > 0


def test_a_teacher_of_other_crops_is_refused(config: Config, fake_mano: ManoArrays) -> None:
    other = dataclasses.replace(config, data=dataclasses.replace(config.data, perspective=False))
    with pytest.raises(HandMeshError, match="data.perspective"):
        Teacher(other, fake_mano, "cpu")
    absent = dataclasses.replace(config, train=dataclasses.replace(config.train, teacher="nowhere"))
    with pytest.raises(HandMeshError, match="nowhere"):
        Teacher(absent, fake_mano, "cpu")
