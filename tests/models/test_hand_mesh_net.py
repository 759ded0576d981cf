"""The network's laws: shapes, units, folding changes nothing, exporting changes nothing."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from handmesh.config import ModelConfig
from handmesh.errors import HandMeshError
from handmesh.mano.arrays import ManoArrays
from handmesh.models.aligned_head import CHILD, OWN, palm_frame
from handmesh.models.backbone import BACKBONES
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.models.outputs import fit_camera, project
from handmesh.skeleton import JOINT_NAMES, MANO_JOINT_NAMES

SMALL = ModelConfig(image_size=64, width=32)


def randomise(net: nn.Module) -> nn.Module:
    """Statistics and scales as after training; at their start values a mistake in folding does not show."""
    generator = torch.Generator().manual_seed(3)
    for module in net.modules():
        if hasattr(module, "gamma"):
            module.gamma.data.uniform_(0.2, 1.0, generator=generator)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.uniform_(-0.3, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.uniform_(-0.3, 0.3, generator=generator)
    return net


def pictures(count: int, size: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, size, size, 3), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


@pytest.mark.parametrize("head", ["aligned", "pooled"])
def test_output_is_as_promised(head: str, fake_mano: ManoArrays) -> None:
    net = HandMeshNet(dataclasses.replace(SMALL, head=head), fake_mano).eval()
    with torch.no_grad():
        output = net(pictures(3, 64))
    shapes = [tuple(part.shape) for part in output]
    wanted = [(778, 3), (21, 3), (16, 3, 3), (10,), (3,), (21, 2), (21,), (), ()]
    assert shapes == [(3, *shape) for shape in wanted]
    assert all(torch.isfinite(part).all() for part in output)
    identity = output.rotations @ output.rotations.transpose(-1, -2)
    torch.testing.assert_close(identity, torch.eye(3).expand_as(identity), atol=1e-5, rtol=0)
    for part in (output.confidence, output.presence, output.is_right):
        assert bool(((part >= 0) & (part <= 1)).all())


@pytest.mark.parametrize("head", ["aligned", "pooled"])
def test_a_network_takes_crops_of_any_size(head: str, fake_mano: ManoArrays) -> None:
    config = dataclasses.replace(SMALL, head=head, refinements=1)
    net = randomise(HandMeshNet(config, fake_mano)).eval()
    other = HandMeshNet(dataclasses.replace(config, image_size=96), fake_mano).eval()
    other.load_state_dict(net.state_dict())
    with torch.no_grad():
        # Wherever all pixels are alike a place in the crop is one in -1..1, whatever the crop's size.
        found, expected = net(pictures(2, 96)), other(pictures(2, 96))
        for part, wanted in zip(found, expected, strict=True):
            torch.testing.assert_close(part, wanted, atol=0, rtol=0)
        grey = torch.full((1, 64, 64, 3), 128, dtype=torch.uint8), torch.full((1, 96, 96, 3), 128, dtype=torch.uint8)
        small, large = (net(image).keypoints_2d for image in grey)
    assert bool((small < 80).all()) and bool((large < 120).all()) and float(large.mean()) > float(small.mean())


def test_a_refinement_starts_as_no_change_and_can_learn(fake_mano: ManoArrays) -> None:
    torch.manual_seed(0)
    net = HandMeshNet(dataclasses.replace(SMALL, refinements=2), fake_mano).eval()
    images = pictures(2, 64)
    output, said = net.detailed(images)
    torch.testing.assert_close(output.rotations, said.rotations, atol=0.1, rtol=0)
    output.vertices.square().sum().backward()
    for name, parameter in net.refinements.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
def test_folding_changes_nothing(backbone: str, fake_mano: ManoArrays) -> None:
    torch.manual_seed(0)
    net = HandMeshNet(dataclasses.replace(SMALL, backbone=backbone), fake_mano).eval()
    randomise(net)
    images = (pictures(2, 64).permute(0, 3, 1, 2).float() - net.pixel_mean) / net.pixel_std
    with torch.no_grad():
        before, pooled = net.backbone(images)
        joined = net.head.up(before[net.head.first :])
        assert net.reparameterize() is net.reparameterize()
        after, pooled_after = net.backbone(images)
        joined_after = net.head.up(before[net.head.first :])
    for a, b in zip([*after, pooled_after, joined_after], [*before, pooled, joined]):
        assert (a - b).abs().max() < 2e-4 * b.abs().max()
    assert not [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert not [name for name, _ in net.named_parameters() if "gamma" in name]
    # Grouped convolutions with several outputs a channel have slow kernels in every engine.
    assert all(m.groups in (1, m.out_channels) for m in net.modules() if isinstance(m, nn.Conv2d))


def test_folding_keeps_the_pooled_heads_last_convolution(fake_mano: ManoArrays) -> None:
    torch.manual_seed(0)
    net = HandMeshNet(dataclasses.replace(SMALL, head="pooled"), fake_mano).eval()
    randomise(net)
    with torch.no_grad():
        before = net(pictures(2, 64))
        after = net.reparameterize()(pictures(2, 64))
    torch.testing.assert_close(after.joints, before.joints, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_the_whole_network_exports(fake_mano: ManoArrays) -> None:
    torch.manual_seed(0)
    net = HandMeshNet(dataclasses.replace(SMALL, refinements=1), fake_mano).reparameterize()
    images = pictures(2, 64)
    with torch.no_grad():
        program = torch.export.export(net, (images,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},))
        more = pictures(5, 64)
        expected, got = net(more), program.module()(more)
    for a, b in zip(got, expected):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_the_fitted_camera_is_the_one_that_projected() -> None:
    generator = torch.Generator().manual_seed(0)
    joints = torch.randn(4, 21, 3, generator=generator) * 0.05
    camera = torch.tensor([[9.0, 0.01, -0.02]]).repeat(4, 1)
    torch.testing.assert_close(fit_camera(joints, project(joints, camera)), camera, atol=1e-4, rtol=1e-4)


def test_the_palms_frame_turns_with_the_hand(fake_mano: ManoArrays) -> None:
    generator = torch.Generator().manual_seed(0)
    joints = torch.randn(3, 21, 3, generator=generator)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator)).Q
    turn = turn * torch.linalg.det(turn)
    torch.testing.assert_close(palm_frame(joints @ turn.T), turn @ palm_frame(joints), atol=1e-5, rtol=1e-4)


def test_each_rotation_reads_its_own_joint_and_the_next() -> None:
    for mano_joint, name in enumerate(MANO_JOINT_NAMES[1:], start=1):
        finger, level = name.split("_")
        assert JOINT_NAMES[OWN[mano_joint]].startswith(finger)
        assert CHILD[mano_joint] == OWN[mano_joint] + 1
        base = JOINT_NAMES.index(f"{finger}_cmc" if finger == "thumb" else f"{finger}_mcp")
        assert OWN[mano_joint] == base + int(level) - 1


@pytest.mark.parametrize(
    ("change", "word"),
    [({"backbone": "resnet50"}, "fastvit_t8"), ({"backbone": "fastvit_t8.best"}, "apple_dist_in1k"),
     ({"head": "graph"}, "aligned"), ({"image_size": 100}, "32"),
     ({"heatmap_stride": 5}, "8")],
)  # fmt: skip
def test_wrong_settings_are_named(change: dict[str, object], word: str, fake_mano: ManoArrays) -> None:
    with pytest.raises(HandMeshError, match=word):
        HandMeshNet(dataclasses.replace(SMALL, **change), fake_mano)


def test_weights_that_cannot_be_had_say_so(fake_mano: ManoArrays, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(HandMeshError, match="model.pretrained=false"):
        HandMeshNet(dataclasses.replace(SMALL, pretrained=True), fake_mano)
