"""A file is kept only when it answers as the checkpoint does; a licensed hand stays out unless asked for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from handmesh.cli import main as cli
from handmesh.config import Config, ModelConfig
from handmesh.errors import HandMeshError
from handmesh.inference.engines.factory import make_engine
from handmesh.inference.engines.onnx_engine import OnnxEngine
from handmesh.inference.engines.pytorch_engine import TorchEngine
from handmesh.inference.export import exporter
from handmesh.inference.export.exporter import export_checkpoint
from handmesh.io.images import write_image
from handmesh.mano.arrays import ManoArrays, load_mano
from handmesh.models.checkpoint import load_checkpoint, save_checkpoint
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.models.outputs import HandMeshOutput
from handmesh.models.parameter_net import ParameterNet
from handmesh.skeleton import JOINT_NAMES

ROOT = Path(__file__).resolve().parents[2]
SIZE = 64


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


Save = Callable[..., Path]


@pytest.fixture(scope="module")
def save_network(trained_looking: Callable[[ModelConfig, ManoArrays], HandMeshNet]) -> Save:
    """Writes a checkpoint of a small trained-looking network and gives its folder."""

    def save(folder: Path, arrays: ManoArrays, mano: str, **model: Any) -> Path:
        config = Config(model=ModelConfig(image_size=SIZE, width=32, **model), mano=mano)
        save_checkpoint(folder, trained_looking(config.model, arrays), config)
        return folder

    return save


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, open_mano: ManoArrays, save_network: Save) -> Path:
    return save_network(tmp_path_factory.mktemp("run"), open_mano, "open")


@pytest.fixture(scope="module")
def licensed(tmp_path_factory: pytest.TempPathFactory, fake_mano: ManoArrays, save_network: Save) -> tuple[Path, Path]:
    """A checkpoint of another hand than the open one, and that hand's file."""
    folder = tmp_path_factory.mktemp("licensed")
    file = fake_mano.save_npz(folder / "mano.npz")
    return save_network(folder, load_mano(file), str(file)), file


@pytest.fixture(autouse=True)
def noise_for_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "rendered_crops", lambda arrays, config, count, varied=False: pictures(count))


def needs(format_name: str) -> None:
    for package in {"onnx": ("onnxscript", "onnxruntime"), "coreml": ("coremltools",)}.get(format_name, ()):
        pytest.importorskip(package)


@pytest.mark.slow
@pytest.mark.parametrize("format_name", ["onnx", "openvino", "torchscript"])
def test_an_exported_file_answers_as_the_checkpoint_and_serves_as_an_engine(
    format_name: str, checkpoint: Path, open_mano: ManoArrays, tmp_path: Path
) -> None:
    needs(format_name)
    result = export_checkpoint(checkpoint, format_name, tmp_path / "hand")
    assert result.largest_mm is not None and result.largest_mm < 0.1 and result.contains_hand
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == (["hand.bin", "hand.xml"] if format_name == "openvino" else [result.file.name])
    net, _ = load_checkpoint(checkpoint, open_mano)
    expected = TorchEngine(net)(pictures(3))
    engine = make_engine(net, str(result.file), "cpu", threads=1, trust_engine_file=True)
    output = engine(pictures(3))
    assert np.linalg.norm(output.vertices - expected.vertices, axis=-1).max() < 1e-4
    assert max(float(np.abs(a - b).max()) for a, b in zip(output, expected, strict=True)) < 0.05
    # The file is not taken for a network of another hand or size.
    net.hand_fingerprint = "0" * 16
    with pytest.raises(HandMeshError, match="hand_fingerprint 0000"):
        make_engine(net, str(result.file), "cpu", trust_engine_file=True)
    if format_name == "onnx":
        check_the_example(result.file, tmp_path, Config().data.crop_padding)


def check_the_example(file: Path, folder: Path, padding: float) -> None:
    """It imports neither this package nor torch, and a mirrored photo's left hand is the mirrored hand."""
    photo = pictures(1)[0]
    write_image(folder / "right.png", photo)
    write_image(folder / "left.png", np.ascontiguousarray(photo[:, ::-1]))
    size = len(photo)
    half = size / padding / 2
    box = [str(size / 2 + sign * half) for sign in (-1, -1, 1, 1)]
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0]); "
        "assert not {'torch', 'handmesh', 'cv2'} & set(sys.modules)"
    )
    found = {}
    for side in ("right", "left"):
        words = [str(ROOT / "demo" / "onnx_example.py"), str(file), f"{side}.png", *box, side, f"{side}.obj"]
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": ""},
            timeout=120,
        )
        rows = [line.split() for line in done.stdout.splitlines()[1:]]
        assert [row[0] for row in rows] == list(JOINT_NAMES)
        lines = (folder / f"{side}.obj").read_text().splitlines()
        vertices, faces = ([line.split()[1:] for line in lines if line.startswith(kind)] for kind in ("v ", "f "))
        assert len(vertices) == 778 and len(faces) == 1538
        found[side] = np.array(rows)[:, 1:].astype(float), np.array(vertices, float), np.array(faces, int)
    (numbers, vertices, faces), (mirrored, other, flipped) = found["right"], found["left"]
    expected = OnnxEngine(str(file), 1)(photo[None])
    np.testing.assert_allclose(vertices * [1, -1, -1], expected.vertices[0], atol=2e-6)
    np.testing.assert_allclose(numbers[:, :2], expected.keypoints_2d[0], atol=0.06)
    np.testing.assert_allclose(other, vertices * [-1, 1, 1], atol=2e-6)
    np.testing.assert_allclose(mirrored[:, 1:], numbers[:, 1:] * [1, -1, 1, 1], atol=1e-4)
    np.testing.assert_allclose(mirrored[:, 0], size - 1 - numbers[:, 0], atol=0.11)
    assert np.array_equal(flipped, faces[:, ::-1])


@pytest.mark.slow
def test_a_licensed_hand_stays_out_unless_asked_for(licensed: tuple[Path, Path], tmp_path: Path) -> None:
    checkpoint, file = licensed
    alone = export_checkpoint(checkpoint, "torchscript", tmp_path / "alone.v1", mano=file)
    assert alone.file.name == "alone.v1.pt"
    assert not alone.contains_hand and alone.largest_mm is not None and alone.largest_mm < 0.1
    net, _ = load_checkpoint(checkpoint, load_mano(file))
    module = torch.jit.load(str(alone.file))
    inside = [*module.parameters(), *module.buffers()]
    arrays = load_mano(file)
    keys = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "hands_components", "hands_mean")
    secrets = [net.head.mean_6d, net.head.rest_frame, *(torch.as_tensor(getattr(arrays, key)).float() for key in keys)]
    for secret in secrets:
        for value in inside:
            same_size = value.numel() == secret.numel() and value.numel() > 9
            assert not (same_size and torch.allclose(value.float().flatten().sort()[0], secret.flatten().sort()[0]))
    assert not any(torch.allclose(value.float(), secrets[1]) for value in inside if value.shape == (3, 3))
    with pytest.raises(HandMeshError, match="--with-hand"):
        make_engine(net, str(alone.file), "cpu", trust_engine_file=True)
    whole = export_checkpoint(checkpoint, "torchscript", tmp_path / "whole", mano=file, with_hand=True)
    engine = make_engine(net, str(whole.file), "cpu", trust_engine_file=True)
    assert whole.contains_hand and engine.name == "TorchScript CPU"


@pytest.mark.parametrize("head", ["aligned", "pooled"])
def test_parameters_alone_are_the_whole_networks(head: str, fake_mano: ManoArrays) -> None:
    net = HandMeshNet(ModelConfig(image_size=SIZE, width=32, head=head), fake_mano).eval()
    alone = ParameterNet(net).eval()
    images = torch.from_numpy(pictures(2))
    with torch.no_grad():
        expected, said = net(images), alone(images, *alone.constants.values())
    for name, value in zip(alone.outputs, said, strict=True):
        torch.testing.assert_close(value, getattr(expected, name), msg=name)
    looking = HandMeshNet(ModelConfig(image_size=SIZE, width=32, refinements=1), fake_mano)
    with pytest.raises(HandMeshError, match="refinement"):
        ParameterNet(looking)


def test_a_file_that_differs_is_not_left(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = exporter._checkpoint_answers
    monkeypatch.setattr(exporter, "_checkpoint_answers", lambda *args: (answers(*args)[0] + 0.001, 1.0))
    (tmp_path / "hand.pt").write_text("what was there before")
    with pytest.raises(HandMeshError, match=r"within 0.1 mm .* 1\.73\d mm at most"):
        export_checkpoint(checkpoint, "torchscript", tmp_path / "hand.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["hand.pt"]
    assert (tmp_path / "hand.pt").read_text() == "what was there before"


@pytest.mark.slow
def test_core_ml_is_converted_and_said_not_to_have_run(checkpoint: Path, tmp_path: Path) -> None:
    coremltools = pytest.importorskip("coremltools")
    result = export_checkpoint(checkpoint, "coreml", tmp_path / "hand")
    assert (result.largest_mm is None) == (sys.platform != "darwin")
    model = coremltools.models.MLModel(str(result.file), skip_model_load=True)
    assert model.user_defined_metadata["joint_order"].split(",") == list(JOINT_NAMES)
    names = [feature.name for feature in model.get_spec().description.output]
    assert names == list(HandMeshOutput._fields)


@pytest.mark.slow
def test_int8_is_measured_against_float(checkpoint: Path, open_mano: ManoArrays, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    with pytest.raises(HandMeshError, match=r"within 0.001 mm .* on average"):
        export_checkpoint(checkpoint, "openvino", tmp_path / "a", int8=True, calibration=4, bound_mm=1e-3)
    assert not list(tmp_path.iterdir())
    result = export_checkpoint(checkpoint, "openvino", tmp_path / "b", int8=True, calibration=4, bound_mm=100.0)
    assert result.largest_mm is not None and result.mean_mm is not None and 1e-3 < result.mean_mm <= result.largest_mm
    assert b'"i8"' in result.file.read_bytes()
    net, _ = load_checkpoint(checkpoint, open_mano)
    assert make_engine(net, str(result.file), "cpu", threads=1)(pictures(2)).vertices.shape == (2, 778, 3)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--format", "tflite"], "torchscript"),
        (["--format", "onnx", "--int8"], "--format openvino"),
        (["--format", "onnx", "--bound", "0"], "--bound"),
        (["--format", "onnx", "--output", "hand.xml"], "end in .onnx"),
        (["--format", "onnx", "--checkpoint", "nowhere"], "no file nowhere"),
    ],
)
def test_a_wrong_word_is_one_line(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["export", *words])
    _, err = capsys.readouterr()
    assert stop.value.code == 2 and err.startswith("error: ") and err.count("\n") == 1 and expected in err


def test_a_folder_that_cannot_be_made_is_said_before_any_work(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said: list[str] = []
    with pytest.raises(HandMeshError, match="file: .*name another"):
        export_checkpoint(checkpoint, "torchscript", tmp_path / "file" / "model.pt", report=said.append)
    assert not said


def test_the_command_says_what_it_made(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main(["export", "--format", "torchscript", "--checkpoint", str(checkpoint)])
    out, _ = capsys.readouterr()
    assert not stop.value.code and "model.pt" in out and "bound 0.1" in out and "--engine model.pt" in out
    assert (tmp_path / "model.pt").is_file()


def test_damaged_and_foreign_files_are_no_engines(checkpoint: Path, open_mano: ManoArrays, tmp_path: Path) -> None:
    net, _ = load_checkpoint(checkpoint, open_mano)
    for name in ("a.xml", "a.onnx", "a.pt"):
        if name == "a.onnx":
            pytest.importorskip("onnxruntime")
        (tmp_path / name).write_text("not a network")
        with pytest.raises(HandMeshError, match="handmesh export"):
            make_engine(net, str(tmp_path / name), "cpu", trust_engine_file=True)
    with pytest.raises(HandMeshError, match="no such file"):
        make_engine(net, str(tmp_path / "absent.xml"), "cpu")


class Witness(torch.nn.Module):
    """A network that writes a file when it runs, as a stranger's may."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        torch.from_file(self.file, True, 16, dtype=torch.uint8).fill_(65)
        return images


def test_torchscript_is_not_run_unless_it_is_trusted(
    checkpoint: Path, open_mano: ManoArrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = tmp_path / "witness"
    torch.jit.save(torch.jit.script(Witness(str(witness))), str(tmp_path / "stranger.pt"))
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("loaded"))
    net, _ = load_checkpoint(checkpoint, open_mano)
    for name in ("stranger.pt", "absent.pt"):
        with pytest.raises(HandMeshError, match=f"{name}.*--trust-engine-file"):
            make_engine(net, str(tmp_path / name), "cpu")
    assert not witness.exists()
