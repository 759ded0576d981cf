"""Engines agree with PyTorch to a tenth of a millimetre, fall back with a word; the cache never serves the stale."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from handmesh import engine_cache
from handmesh.config import ModelConfig
from handmesh.errors import HandMeshError
from handmesh.mano.arrays import ManoArrays
from handmesh.models.hand_mesh_net import HandMeshNet, HandMeshOutput
from handmesh.runtime import EngineOutput, OpenVinoEngine, TorchEngine, choose_device, make_engine

SIZE = 8


class TinyNet(nn.Module):
    """A network of one layer with the real one's interface."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Linear(SIZE * SIZE * 3, 778 * 3 + 63 + 144 + 10 + 3 + 42 + 21 + 2)
        self.config = SimpleNamespace(image_size=SIZE)
        self.folded = 0

    def reparameterize(self) -> TinyNet:
        self.folded += 1
        return self

    def forward(self, images: Tensor) -> HandMeshOutput:
        x = self.layer(images.float().flatten(1) / 255)
        parts = torch.split(x, [778 * 3, 63, 144, 10, 3, 42, 21, 1, 1], dim=1)
        shapes = [(778, 3), (21, 3), (16, 3, 3), (10,), (3,), (21, 2), (21,), (), ()]
        return HandMeshOutput(*(part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)))


def pictures(count: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def largest_difference(output: EngineOutput, reference: EngineOutput) -> float:
    assert [part.shape for part in output] == [part.shape for part in reference]
    return max(float(np.abs(a - b).max()) for a, b in zip(output, reference, strict=True))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_any_number_of_crops(count: int) -> None:
    net = TinyNet()
    fast, reference = OpenVinoEngine(net, SIZE, threads=1), TorchEngine(net)
    output = fast(pictures(count))
    assert largest_difference(output, reference(pictures(count))) < 1e-4
    # One crop's answer does not depend on its neighbours, and the arrays stay the caller's.
    alone = fast(pictures(count)[-1:])
    kept = output.vertices.copy()
    fast(pictures(count + 1))
    assert np.allclose(alone.vertices[0], output.vertices[-1], atol=1e-5) and np.array_equal(kept, output.vertices)


def test_engines_are_chosen_by_name_and_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    assert make_engine(TinyNet(), "torch", "cpu").name == "PyTorch CPU"
    assert make_engine(TinyNet(), "auto", "cpu", threads=1).name == "OpenVINO CPU"
    with pytest.raises(HandMeshError, match="auto, torch, openvino"):
        make_engine(TinyNet(), "tensorrt")

    def fails(*_: object) -> None:
        raise RuntimeError("no such operation")

    monkeypatch.setattr(engine_cache, "_convert", fails)
    engine = make_engine(TinyNet(), "auto", "cpu", report=lines.append)
    assert engine.name == "PyTorch CPU" and len(lines) == 1 and "no such operation" in lines[0]
    with pytest.raises(HandMeshError, match="no such operation.*--engine torch"):
        make_engine(TinyNet(), "openvino", "cpu")


def test_devices() -> None:
    assert choose_device("cpu") == "cpu" and choose_device("auto") in ("cpu", "cuda")
    with pytest.raises(HandMeshError, match="cpu"):
        choose_device("tpu")


def test_the_cache_serves_the_same_network_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDMESH_HOME", str(tmp_path))
    conversions: list[int] = []
    convert = engine_cache._convert
    monkeypatch.setattr(engine_cache, "_convert", lambda *args: (conversions.append(1), convert(*args))[1])
    reference = TorchEngine(TinyNet())(pictures(1))
    for expected in (1, 1):
        engine = OpenVinoEngine(TinyNet(), SIZE, 1, keep=True)
        assert largest_difference(engine(pictures(1)), reference) < 1e-4
        assert len(conversions) == expected
    OpenVinoEngine(TinyNet(seed=1), SIZE, 1, keep=True)
    assert len(conversions) == 2
    for file in (tmp_path / "engines").glob("*.xml"):
        file.write_text("damaged")
    assert largest_difference(OpenVinoEngine(TinyNet(), SIZE, 1, keep=True)(pictures(1)), reference) < 1e-4
    assert len(conversions) == 3
    monkeypatch.setattr(engine_cache, "MAX_KEPT", 2)
    OpenVinoEngine(TinyNet(2), SIZE, 1, keep=True)
    assert len(list((tmp_path / "engines").iterdir())) == 2 * engine_cache.MAX_KEPT
    # Without being asked to, nothing is written: the hand model inside may be a licensed one.
    monkeypatch.setenv("HANDMESH_HOME", str(tmp_path / "other"))
    OpenVinoEngine(TinyNet(), SIZE, 1)
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_the_real_network_agrees_within_a_tenth_of_a_millimetre(open_mano: ManoArrays) -> None:
    torch.manual_seed(0)
    net = HandMeshNet(ModelConfig(image_size=96), open_mano).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.running_mean, 0, 0.2)
    before = TorchEngine(net)(pictures(2, 96))
    fast = make_engine(net, "openvino", "cpu", threads=1)
    after = TorchEngine(net)(pictures(2, 96))
    output = fast(pictures(2, 96))
    assert np.abs(before.vertices - after.vertices).max() < 1e-4
    assert np.abs(output.vertices - after.vertices).max() < 1e-4
    assert np.abs(output.keypoints_2d - after.keypoints_2d).max() < 0.05
    assert largest_difference(output, after) < 0.05
