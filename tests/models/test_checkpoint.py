"""A checkpoint gives back what was put in, or says why not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
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
    save_checkpoint(tmp_path / "a.safetensors", net, CONFIG)
    rewritten(tmp_path / "a.safetensors", lambda description, _: description["config"]["model"].update({key: value}))
    monkeypatch.setattr("handmesh.models.checkpoint.HandMeshNet", None)
    with pytest.raises(HandMeshError, match=rf"a\.safetensors: expected model\.{key} to be .*train one"):
        load_checkpoint(tmp_path / "a.safetensors", fake_mano)


@pytest.mark.parametrize("header", ["[1]", "[" * 100_000, '{"config": {"model": 3}, "hand_fingerprint": ""}'])
def test_a_header_that_describes_nothing_is_named(fake_mano: ManoArrays, tmp_path: Path, header: str) -> None:
    save_file({"x": torch.zeros(3)}, tmp_path / "a.safetensors", {"handmesh": header})
    with pytest.raises(HandMeshError, match="a.safetensors"):
        load_checkpoint(tmp_path / "a.safetensors", fake_mano)


def rewritten(path: Path, change: Any) -> Path:
    """The checkpoint with its description and arrays changed."""
    with safe_open(path, framework="pt") as opened:
        description = json.loads(opened.metadata()["handmesh"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}
    change(description, tensors)
    save_file(tensors, path, {"handmesh": json.dumps(description)})
    return path


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(
    net: HandMeshNet, fake_mano: ManoArrays, tmp_path: Path, value: float
) -> None:
    save_checkpoint(tmp_path / "a.safetensors", net, CONFIG)

    def change(_: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        name = next(name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel() > 3)
        tensors[name].view(-1)[2] = value

    with pytest.raises(HandMeshError, match="a.safetensors: expected finite weights"):
        load_checkpoint(rewritten(tmp_path / "a.safetensors", change), fake_mano)


@pytest.mark.parametrize("padding", [0, -1.5, 0.5, 1e9, float("nan"), float("inf"), "wide", None, [1.5], True])
def test_a_crop_padding_that_shows_no_hand_is_refused(
    net: HandMeshNet, fake_mano: ManoArrays, tmp_path: Path, padding: Any
) -> None:
    save_checkpoint(tmp_path / "a.safetensors", net, CONFIG)
    path = rewritten(tmp_path / "a.safetensors", lambda d, _: d["config"]["data"].update(crop_padding=padding))
    with pytest.raises(HandMeshError, match="crop_padding"):
        load_checkpoint(path, fake_mano)


def test_settings_that_a_file_leaves_out_have_their_defaults(
    net: HandMeshNet, fake_mano: ManoArrays, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "a.safetensors", net, CONFIG)
    path = rewritten(tmp_path / "a.safetensors", lambda d, _: d["config"].pop("data"))
    assert load_checkpoint(path, fake_mano)[1]["config"]["data"]["crop_padding"] == CONFIG.data.crop_padding


@pytest.mark.parametrize("content", [[], 5, "text", {}, {"config": 5}, {"config": {"model": 5}}, {"config": []}])
def test_descriptions_of_another_shape_are_one_line(
    net: HandMeshNet, fake_mano: ManoArrays, tmp_path: Path, content: Any
) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors", {"handmesh": json.dumps(content)})
    with pytest.raises(HandMeshError, match="a.safetensors") as caught:
        load_checkpoint(tmp_path / "a.safetensors", fake_mano)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [2**40, 2**63, 5 * 2**20])
def test_lengths_that_a_file_only_claims_are_refused(tmp_path: Path, fake_mano: ManoArrays, length: int) -> None:
    with open(tmp_path / "a.safetensors", "wb") as file:
        file.write(length.to_bytes(8, "little") + b"{}")
        file.truncate(10 if length != 5 * 2**20 else 8 * 2**20)
    with pytest.raises(HandMeshError, match="cut off|header of 5120 kB"):
        load_checkpoint(tmp_path / "a.safetensors", fake_mano)
