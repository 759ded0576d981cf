"""Engines agree with PyTorch to a tenth of a millimetre, fall back with a word; the cache never serves the stale."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from handmesh.config import ModelConfig
from handmesh.errors import HandMeshError
from handmesh.inference.engines import cache, openvino_engine
from handmesh.inference.engines.base import ENGINES, Engine, EngineOutput, choose_device
from handmesh.inference.engines.factory import make_engine
from handmesh.inference.engines.mixed_precision import halves, has_halves
from handmesh.inference.engines.openvino_engine import OpenVinoEngine
from handmesh.inference.engines.pytorch_engine import TorchEngine
from handmesh.inference.export.sample_crops import rendered_crops
from handmesh.io.runtime.cpu_features import has_bfloat16, has_matrix_units
from handmesh.io.runtime.openvino_loader import CompiledModel, convert_module
from handmesh.mano.arrays import ManoArrays
from handmesh.models.checkpoint import config_of, load_checkpoint
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.models.outputs import HandMeshOutput

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


def build(name: str, net: nn.Module) -> Engine:
    """The engine of that name, or a skip where its packages are not installed."""
    if name == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    lines: list[str] = []
    engine = make_engine(net, name, "cpu", threads=1, report=lines.append)
    assert not lines, lines
    return engine


@pytest.mark.parametrize("name", ["openvino", "onnx"])
def test_any_number_of_crops(name: str) -> None:
    net = TinyNet()
    fast, reference = build(name, net), TorchEngine(net)
    for count in (1, 2, 3, 5):
        output = fast(pictures(count))
        assert largest_difference(output, reference(pictures(count))) < 1e-4
        # One crop's answer does not depend on its neighbours, and the arrays stay the caller's.
        alone = fast(pictures(count)[-1:])
        kept = output.vertices.copy()
        fast(pictures(count + 1))
        assert np.allclose(alone.vertices[0], output.vertices[-1], atol=1e-5) and np.array_equal(kept, output.vertices)


def test_one_engine_serves_many_threads() -> None:
    net = TinyNet()
    fast, reference = build("openvino", net), TorchEngine(net)
    with ThreadPoolExecutor(4) as pool:
        for count, output in zip([1, 2] * 10, pool.map(fast, [pictures(1), pictures(2)] * 10), strict=True):
            assert largest_difference(output, reference(pictures(count))) < 1e-4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("name", ["openvino", "onnx", "torch"])
def test_a_forked_child_has_the_same_engine(name: str) -> None:
    net = TinyNet()
    engine = build(name, net)
    expected = engine(pictures(3)).vertices
    torch.mm(torch.ones(400, 400), torch.ones(400, 400))  # so that PyTorch's threads are there to be missed
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(100)
        answer = engine(pictures(3)).vertices
        torch.mm(torch.ones(400, 400), torch.ones(400, 400)) if name == "torch" else None
        os.write(write, answer.tobytes())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        found = np.frombuffer(pipe.read(), np.float32)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-5)


def test_a_gpu_does_not_survive_a_fork_and_that_is_said() -> None:
    engine = TorchEngine(TinyNet())
    engine._device = torch.device("cuda")
    engine.after_fork()
    with pytest.raises(HandMeshError, match="spawn"):
        engine(pictures(1))


def test_engines_are_chosen_by_name() -> None:
    assert make_engine(TinyNet(), "torch", "cpu").name == "PyTorch CPU"
    assert make_engine(TinyNet(), "auto", "cpu", threads=1).name == "OpenVINO CPU"
    with pytest.raises(HandMeshError, match="auto, torch, .*openvino, .*onnx"):
        make_engine(TinyNet(), "tensorrt")


@pytest.mark.parametrize("name", [name for name in ENGINES if name != "torch"])
def test_an_engine_that_fails_leaves_the_work_to_pytorch_and_says_so(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no such\noperation")

    for module, function in ((cache, "_convert"), (cache, "write_onnx"), (torch, "compile")):
        monkeypatch.setattr(module, function, fails)
    lines: list[str] = []
    # torch-half fails of itself: this network has no backbone.
    engine = make_engine(TinyNet(), name, "cpu", report=lines.append)
    assert engine.name == "PyTorch CPU"
    assert largest_difference(engine(pictures(2)), TorchEngine(TinyNet())(pictures(2))) == 0
    assert len(lines) == 1 and "\n" not in lines[0] and "using PyTorch" in lines[0]
    assert name == "torch-half" or "no such operation" in lines[0]


def test_a_network_whose_numbers_are_none_is_not_used() -> None:
    net = TinyNet()
    net.layer.bias.data[:] = torch.nan
    lines: list[str] = []
    with pytest.raises(HandMeshError, match="not finite.*another checkpoint"):
        make_engine(net, "openvino", "cpu", threads=1, report=lines.append)
    assert len(lines) == 1 and "not finite" in lines[0]
    with pytest.raises(HandMeshError, match="not finite"):
        make_engine(net, "torch", "cpu")


def test_pytorch_compiled_answers_the_same() -> None:
    net = TinyNet()
    engine = TorchEngine(net, compiled=True, backend="aot_eager")
    assert engine.name == "PyTorch CPU compiled"
    assert largest_difference(engine(pictures(3)), TorchEngine(net)(pictures(3))) < 1e-5


def test_a_cuda_graph_that_cannot_be_recorded_is_said_and_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr("handmesh.inference.engines.pytorch_engine._Recorded", fails)
    lines: list[str] = []
    engine = TorchEngine(TinyNet(), report=lines.append)
    engine._records = True
    for _ in range(2):
        assert largest_difference(engine(pictures(2)), TorchEngine(TinyNet())(pictures(2))) < 1e-5
    assert len(lines) == 1 and "not permitted" in lines[0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("count", [1, 2, 3])
def test_cuda_with_a_recorded_graph_answers_as_the_cpu(count: int) -> None:
    net, lines = TinyNet(), []
    expected = TorchEngine(net)(pictures(count))
    engine = TorchEngine(net, "cuda", report=lines.append)
    for _ in range(2):
        assert largest_difference(engine(pictures(count)), expected) < 1e-3
    assert not lines and engine._graphs


def test_devices() -> None:
    assert choose_device("cpu") == "cpu" and choose_device("auto") in ("cpu", "cuda")
    with pytest.raises(HandMeshError, match="cpu"):
        choose_device("tpu")


def openvino(net: TinyNet, keep: bool) -> Any:
    return cache.openvino_model(net, SIZE, keep)


def test_the_cache_keeps_graphs_for_onnx_runtime_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDMESH_HOME", str(tmp_path))
    written: list[Path] = []

    def write(*args: Any) -> None:
        written.append(args[4])
        args[4].write_bytes(b"x")

    monkeypatch.setattr(cache, "write_onnx", write)
    for _ in range(2):
        assert cache.onnx_bytes(TinyNet(), SIZE, True) == b"x"
    assert len(written) == 1 and len(list((tmp_path / "engines").glob("*.onnx"))) == 1
    cache.onnx_bytes(TinyNet(), SIZE, False)
    cache.onnx_bytes(TinyNet(1), SIZE, False)
    assert len(written) == 3 and len(list((tmp_path / "engines").glob("*.onnx"))) == 1


def test_the_cache_serves_the_same_network_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDMESH_HOME", str(tmp_path))
    conversions: list[int] = []
    convert = cache._convert
    monkeypatch.setattr(cache, "_convert", lambda *args: (conversions.append(1), convert(*args))[1])
    reference = TorchEngine(TinyNet())(pictures(1))
    for expected in (1, 1):
        engine = OpenVinoEngine(openvino(TinyNet(), True), 1)
        assert largest_difference(engine(pictures(1)), reference) < 1e-4
        assert len(conversions) == expected
    openvino(TinyNet(seed=1), True)
    assert len(conversions) == 2
    for file in (tmp_path / "engines").glob("*.xml"):
        file.write_text("damaged")
    assert largest_difference(OpenVinoEngine(openvino(TinyNet(), True), 1)(pictures(1)), reference) < 1e-4
    assert len(conversions) == 3
    # A file that can be read and is another, as a disk or a program may leave it.
    for file in (tmp_path / "engines").glob("*.bin"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 64
        file.write_bytes(content)
    assert largest_difference(OpenVinoEngine(openvino(TinyNet(), True), 1)(pictures(1)), reference) < 1e-4
    assert len(conversions) == 4
    monkeypatch.setattr(cache, "MAX_KEPT", 2)
    openvino(TinyNet(2), True)
    assert len(list((tmp_path / "engines").iterdir())) == 3 * cache.MAX_KEPT
    # Without being asked to, nothing is written: the hand model inside may be a licensed one.
    monkeypatch.setenv("HANDMESH_HOME", str(tmp_path / "other"))
    openvino(TinyNet(), False)
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_every_engine_agrees_with_the_training_form_within_a_tenth_of_a_millimetre(open_mano: ManoArrays) -> None:
    net, _ = load_checkpoint("default", open_mano)
    size = net.config.image_size
    crops, larger = pictures(3, size), pictures(2, size + 32)
    before, before_larger = TorchEngine(net)(crops), TorchEngine(net)(larger)
    names = [name for name in ("torch", "openvino-float32", "onnx") if name != "onnx" or find_spec("onnxscript")]
    for name in names:
        engine = build(name, net)
        output = engine(crops)
        assert np.linalg.norm(output.vertices - before.vertices, axis=-1).max() < 1e-4, name
        assert np.abs(output.keypoints_2d - before.keypoints_2d).max() < 0.05, name
        assert largest_difference(output, before) < 0.05, name
        assert engine.any_size and largest_difference(engine(larger), before_larger) < 0.05, name


@pytest.mark.parametrize("name", ["torch", "openvino-float32"])
@pytest.mark.parametrize("head", ["aligned", "pooled"])
def test_one_engine_takes_crops_of_several_sizes(
    name: str, head: str, fake_mano: ManoArrays, trained_looking: Callable[[ModelConfig, ManoArrays], HandMeshNet]
) -> None:
    net = trained_looking(ModelConfig(image_size=64, width=16, head=head), fake_mano)
    engine = build(name, net)
    assert engine.any_size
    for size in (64, 96):
        crops = pictures(2, size)
        assert largest_difference(engine(crops), TorchEngine(net)(crops)) < 0.01, size


@pytest.mark.slow
def test_a_network_in_two_halves_is_the_network_and_bfloat16_convolutions_cost_a_fifth_of_a_millimetre(
    open_mano: ManoArrays,
) -> None:
    net, header = load_checkpoint("default", open_mano)
    model, size = cache.openvino_model(net.reparameterize(), net.config.image_size, False), net.config.image_size
    crops = rendered_crops(open_mano, config_of(header), 3)
    whole, mixed = OpenVinoEngine(model, 1, "f32"), OpenVinoEngine(model, 1, "mixed")
    expected = whole(crops)
    assert (whole.name, mixed.name) == ("OpenVINO CPU", "OpenVINO CPU bf16")
    fixed = model.clone()
    fixed.reshape([1, size, size, 3])
    first, second = halves(fixed)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    parts = CompiledModel(first, 1, [(second, exact)], **exact)(crops[:1])
    for part, name in zip(parts, EngineOutput._fields, strict=True):
        np.testing.assert_allclose(part[0], getattr(expected, name)[0], atol=1e-5, err_msg=name)
    found = mixed(crops)
    assert np.linalg.norm(found.vertices - expected.vertices, axis=-1).mean() < 5e-4
    assert np.linalg.norm(found.keypoints_2d - expected.keypoints_2d, axis=-1).mean() < 0.2
    # Of a network without a backbone there are no halves, and it stays in float32.
    assert not has_halves(cache.openvino_model(TinyNet(), SIZE, False))


def test_which_processors_multiply_bfloat16(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    cases = (("amx_bf16 amx_tile", True, True), ("avx512_bf16", True, False), ("avx512f avx512_fp16", False, False))
    for flags, has_products, has_matrices in cases:
        info.write_text(f"model name: x\nflags\t\t: fpu {flags}\n")
        assert (has_bfloat16(info), has_matrix_units(info)) == (has_products, has_matrices)
    assert not has_bfloat16(tmp_path / "absent") and not has_matrix_units(tmp_path / "absent")


@pytest.mark.slow
def test_half_precision_costs_less_than_a_millimetre(open_mano: ManoArrays) -> None:
    net = load_checkpoint("default", open_mano)[0]
    crops = pictures(2, net.config.image_size)
    expected, half = TorchEngine(net)(crops), build("torch-half", net)
    assert half.name == "PyTorch CPU half"
    assert np.linalg.norm(half(crops).vertices - expected.vertices, axis=-1).max() < 1e-3


def test_an_engine_may_leave_out_the_mesh_and_nothing_else() -> None:
    engine = OpenVinoEngine(openvino(TinyNet(), False), 1)
    for count in (1, 3):
        whole, bare = engine(pictures(count)), engine.without_mesh(pictures(count))
        assert (bare.vertices.shape, bare.joints.shape, bare.camera.shape) == ((count, 0, 3), (count, 0, 3), (count, 0))
        for name in ("rotations", "betas", "keypoints_2d", "confidence", "presence", "is_right"):
            np.testing.assert_allclose(getattr(bare, name), getattr(whole, name), atol=1e-5)


@pytest.mark.parametrize("has_units", [True, False])
def test_a_small_network_has_one_thread_where_there_are_matrix_units(
    monkeypatch: pytest.MonkeyPatch, has_units: bool
) -> None:
    monkeypatch.setattr(openvino_engine, "has_matrix_units", lambda: has_units)

    class Layer(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, channels, 3, padding=1)

        def forward(self, image: Tensor) -> Tensor:
            return self.layer(image) @ torch.ones(16, 2)

    threads: list[int] = []
    monkeypatch.setattr(openvino_engine, "CompiledModel", lambda model, count, **_: threads.append(count))
    for channels, asked in ((8, 0), (8, 2), (200_000, 0), (200_000, 1)):
        model = convert_module(Layer(channels), torch.zeros(1, 3, 16, 16))
        model.reshape([1, 3, 16, 16])
        # Of each output pixel three channels of 3 x 3, and rows of 16 times two columns of them.
        assert openvino_engine.multiplications(model) == channels * (16 * 16 * 27 + 16 * 16 * 2)
        OpenVinoEngine(model, asked, "f32")._compile(model, "")
    assert threads == [int(has_units), 2, 0, 1]
