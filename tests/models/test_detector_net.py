"""The detector network: folded it says the same, masks may be left out, its files are its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from handmesh.config import Config, ModelConfig
from handmesh.detection.grid_decoding import CHANNELS
from handmesh.detection.grid_decoding import STRIDE as DECODED_STRIDE
from handmesh.errors import HandMeshError
from handmesh.mano.arrays import ManoArrays
from handmesh.models.checkpoint import load_checkpoint, save_checkpoint
from handmesh.models.detector_checkpoint import load_detector
from handmesh.models.detector_net import STRIDE, HandDetectorNet, HandsOnly
from handmesh.models.hand_mesh_net import HandMeshNet


@pytest.fixture
def net(tiny_backbone: str) -> HandDetectorNet:
    torch.manual_seed(0)
    net = HandDetectorNet(ModelConfig(backbone=tiny_backbone, width=16)).eval()
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.running_mean, 0, 0.2)
    nn.init.normal_(net.out.weight, std=0.1)
    return net


def pictures(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("height", "width"), [(64, 96), (64, 64)])
def test_folded_it_says_the_same(net: HandDetectorNet, height: int, width: int) -> None:
    images = pictures(height, width)
    with torch.no_grad():
        before = net(images)
        after = net.reparameterize()(images)
    assert before.hands.shape == (2, len(CHANNELS), height // STRIDE, width // STRIDE) and STRIDE == DECODED_STRIDE
    assert before.mask.shape == (2, height // 4, width // 4)
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=2e-4)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.up.modules())
    assert net.reparameterize() is net


def test_masks_may_be_left_out(net: HandDetectorNet) -> None:
    images = pictures(64, 64)
    with torch.no_grad():
        assert torch.equal(net(images).hands, HandsOnly(net)(images))


def test_a_file_gives_the_network_back(net: HandDetectorNet, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, net, Config(task="detector", model=net.config), {"ap": 0.5}, step=7)
    read, header = load_detector(tmp_path)
    assert header["step"] == 7 and header["metrics"] == {"ap": 0.5} and not read.training
    for (name, one), other in zip(net.state_dict().items(), read.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    save_checkpoint(tmp_path / "folded", net.reparameterize(), Config(task="detector", model=net.config), half=True)
    folded, _ = load_detector(tmp_path / "folded")
    with torch.no_grad():
        one, other = net(pictures(64, 64)), folded(pictures(64, 64))
    torch.testing.assert_close(one.hands, other.hands, atol=2e-2, rtol=2e-2)


def test_files_of_the_two_networks_are_told_apart(
    net: HandDetectorNet, fake_mano: ManoArrays, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "a", net, Config(task="detector", model=net.config))
    with pytest.raises(HandMeshError, match="expected a mesh network's checkpoint, got a detector's"):
        load_checkpoint(tmp_path / "a", fake_mano)
    mesh = ModelConfig(width=16, image_size=64)
    save_checkpoint(tmp_path / "b", HandMeshNet(mesh, fake_mano), Config(model=mesh))
    with pytest.raises(HandMeshError, match="expected a detector's checkpoint, got a mesh network's"):
        load_detector(tmp_path / "b")
