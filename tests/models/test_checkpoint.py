"""A checkpoint gives back what was put in, or says why not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from handmesh.config import Config, ModelConfig, without_folders
from handmesh.errors import HandMeshError
from handmesh.mano.arrays import ManoArrays, load_mano
from handmesh.models.checkpoint import load_checkpoint, save_checkpoint
from handmesh.models.hand_mesh_net import HandMeshNet

CONFIG = Config(model=ModelConfig(image_size=64, width=32))


@pytest.fixture(scope="module")
def net(fake_mano: ManoArrays) -> HandMeshNet:
    torch.manual_seed(0)
    return HandMeshNet(CONFIG.model, fake_mano).eval()


def test_round_trip(net: HandMeshNet, fake_mano: ManoArrays, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "run", net, CONFIG, {"pa_mpjpe": 9.5}, step=3)
    loaded, header = load_checkpoint(tmp_path / "run", fake_mano)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), loaded.state_dict().values()))
    assert header["metrics"] == {"pa_mpjpe": 9.5} and header["step"] == 3
    assert header["hand_fingerprint"] == fake_mano.fingerprint()
    assert not loaded.training


def test_folded_and_half_come_back_nearly_the_same(fake_mano: ManoArrays, tmp_path: Path) -> None:
    torch.manual_seed(0)
    folded = HandMeshNet(CONFIG.model, fake_mano).reparameterize()
    save_checkpoint(tmp_path / "a.safetensors", folded, CONFIG, half=True)
    loaded, _ = load_checkpoint(tmp_path / "a.safetensors", fake_mano)
    assert loaded.is_folded
    images = torch.full((1, 64, 64, 3), 100, dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images).joints, folded(images).joints, atol=1e-3, rtol=0)


def test_another_hand_is_refused(net: HandMeshNet, fake_mano: ManoArrays, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.safetensors", net, CONFIG)
    other = dataclasses.replace(fake_mano, hands_mean=np.zeros(45))
    with pytest.raises(HandMeshError, match="hand model"):
        load_checkpoint(tmp_path / "a.safetensors", other)


def test_a_checkpoint_to_give_away_loads_with_the_hand_given(
    net: HandMeshNet, fake_mano: ManoArrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = fake_mano.save_npz(tmp_path / "hands" / "hand.npz")
    config = without_folders(dataclasses.replace(CONFIG, mano=str(hand)))
    save_checkpoint(tmp_path / "a.safetensors", net, config)
    assert str(tmp_path).encode() not in (tmp_path / "a.safetensors").read_bytes()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HandMeshError, match=r"hand model hand\.npz it was trained with.*--mano FILE"):
        load_checkpoint(tmp_path / "a.safetensors")
    assert load_checkpoint(tmp_path / "a.safetensors", load_mano(hand))[0].hand_fingerprint == net.hand_fingerprint


def test_damaged_and_foreign_files_are_named(net: HandMeshNet, fake_mano: ManoArrays, tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    save_checkpoint(whole, net, CONFIG)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.read_bytes()[:-1000])
    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(3)}, foreign)
    text = tmp_path / "text.safetensors"
    text.write_text("not a checkpoint")
    for path in (cut, foreign, text, tmp_path / "absent.safetensors"):
        with pytest.raises(HandMeshError, match=path.name):
            load_checkpoint(path, fake_mano)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "cut.safetensors", "foreign.safetensors", "text.safetensors", "whole.safetensors",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image_size", "128"), ("image_size", True), ("image_size", 10**6), ("width", 10**6), ("width", 30),
        ("blocks", 10**9), ("refinements", -1), ("backbone", 8), ("drop_path", None), ("drop_path", float("nan")),
    ],
)  # fmt: skip
def test_numbers_that_make_no_network_are_named_before_one_is_built(
    net: HandMeshNet, fake_mano: ManoArrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: object
) -> None:
    model = dataclasses.replace(CONFIG.model, **{key: value})  # type: ignore[arg-type]
    save_checkpoint(tmp_path / "a.safetensors", net, dataclasses.replace(CONFIG, model=model))
    monkeypatch.setattr("handmesh.models.checkpoint.HandMeshNet", None)
    with pytest.raises(HandMeshError, match=rf"a\.safetensors: expected model\.{key} to be .*train one"):
        load_checkpoint(tmp_path / "a.safetensors", fake_mano)


@pytest.mark.parametrize("header", ["[1]", "[" * 100_000, '{"config": {"model": 3}, "hand_fingerprint": ""}'])
def test_a_header_that_describes_nothing_is_named(fake_mano: ManoArrays, tmp_path: Path, header: str) -> None:
    save_file({"x": torch.zeros(3)}, tmp_path / "a.safetensors", {"handmesh": header})
    with pytest.raises(HandMeshError, match="a.safetensors"):
        load_checkpoint(tmp_path / "a.safetensors", fake_mano)
