"""Laws of a later start: the same answers without building a network, and never those of another file or hand."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from handmesh.errors import HandMeshError
from handmesh.inference.engines import cache, fingerprint, warm_start
from handmesh.inference.engines.warm_start import may_start_quickly
from handmesh.inference.predictor import HandMeshPredictor
from handmesh.mano.arrays import ManoArrays
from handmesh.models import checkpoint
from handmesh.models.outputs import HandMeshOutput

SIZE = 32
ROOT = Path(__file__).resolve().parents[2]


class TinyNet(nn.Module):
    """A network of one layer with the real one's interface."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Linear(SIZE * SIZE * 3, 778 * 3 + 63 + 144 + 10 + 3 + 42 + 21 + 2)
        self.config = SimpleNamespace(image_size=SIZE)

    def reparameterize(self) -> TinyNet:
        return self

    def forward(self, images: Tensor) -> HandMeshOutput:
        parts = torch.split(self.layer(images.float().flatten(1) / 255), [2334, 63, 144, 10, 3, 42, 21, 1, 1], dim=1)
        shapes = [(778, 3), (21, 3), (16, 3, 3), (10,), (3,), (21, 2), (21,), (), ()]
        return HandMeshOutput(*(part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)))


class Builder:
    """Stands for the loading of a checkpoint: the file's text is the seed. Counts how often it had to be done."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, path: str | Path, mano: ManoArrays) -> tuple[Any, dict[str, Any]]:
        self.count += 1
        data = {"crop_padding": 1.4, "perspective": False}
        config = {"model": {"image_size": SIZE}, "data": data, "train": {"image_sizes": [96]}}
        return TinyNet(int(Path(path).read_text())).eval(), {"config": config}


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, open_mano: ManoArrays) -> Builder:
    pytest.importorskip("openvino")
    monkeypatch.setenv("HANDMESH_HOME", str(tmp_path / "home"))
    made = Builder()
    monkeypatch.setattr(checkpoint, "load_checkpoint", made)
    (tmp_path / "a.safetensors").write_text("1")
    return made


def start(file: Path, **words: Any) -> HandMeshPredictor:
    # Our own detector keeps files of its own; what is asked here is what the mesh network leaves.
    return HandMeshPredictor.from_pretrained(file, device="cpu", threads=1, detector="mediapipe", **words)


def test_the_second_start_builds_nothing_and_answers_the_same(builder: Builder, tmp_path: Path) -> None:
    first, second = (start(tmp_path / "a.safetensors") for _ in range(2))
    assert builder.count == 1 and second.engine.name == first.engine.name == "OpenVINO CPU"
    assert second.crop == first.crop and second.crop.padding == 1.4 and second.crop.sizes == (96,)
    pictures = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    for one, other in zip(first.engine(pictures), second.engine(pictures), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_another_file_other_code_and_a_damaged_cache_start_the_long_way(
    builder: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.safetensors"
    start(file)
    file.write_text("2")
    start(file)
    assert builder.count == 2
    monkeypatch.setattr(fingerprint, "_version", lambda package: "another")
    start(file)
    assert builder.count == 3
    for kept in (tmp_path / "home" / "engines").glob("*.xml"):
        kept.write_text("damaged")
    start(file)
    start(file)
    assert builder.count == 4
    file.unlink()
    with pytest.raises(HandMeshError, match="no file"):
        start(file)


def test_all_that_decides_a_conversion_is_in_both_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_mano: ManoArrays
) -> None:
    (tmp_path / "weights").write_text("1")

    def names() -> set[str]:
        note = warm_start._note_of(tmp_path / "weights", open_mano)
        return {cache.openvino_file(TinyNet(0), SIZE).name, note.name}

    known = names()
    copy = tmp_path / "handmesh"
    for pattern in fingerprint._CODE:
        for file in (ROOT / "handmesh").glob(pattern):
            (copy / file.relative_to(ROOT / "handmesh")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy / file.relative_to(ROOT / "handmesh"))
    monkeypatch.setattr(fingerprint, "_PACKAGE", copy)
    assert names() == known
    for changed in ("geometry/rotation.py", "models/head.py", "mano/layers/layer.py", "skeleton.py"):
        with (copy / changed).open("a") as source:
            source.write("# changed")
        assert not names() & known, changed
        known |= names()
    version = fingerprint._version
    for changed in ("timm", "torch", "openvino"):
        monkeypatch.setattr(fingerprint, "_version", lambda name, it=changed: "new" if name == it else version(name))
        assert not names() & known, changed
        known |= names()


def test_a_licensed_hand_leaves_nothing_behind(
    builder: Builder, tmp_path: Path, open_mano: ManoArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = dataclasses.replace(open_mano, v_template=open_mano.v_template * 1.01)
    hand.save_npz(tmp_path / "hand.npz")
    monkeypatch.setattr("handmesh.inference.predictor.hand_fingerprint_of", lambda _: hand.fingerprint())
    for _ in range(2):
        start(tmp_path / "a.safetensors", mano=tmp_path / "hand.npz")
    assert builder.count == 2 and not (tmp_path / "home").exists()


def test_only_openvino_on_the_cpu_starts_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_start.sys, "platform", "linux")
    monkeypatch.setattr(warm_start.os.path, "exists", lambda path: False)
    assert may_start_quickly("auto", "auto") and may_start_quickly("openvino", "cpu")
    assert not may_start_quickly("torch", "cpu") and not may_start_quickly("auto", "cuda")
    monkeypatch.setattr(warm_start.os.path, "exists", lambda path: path == "/dev/nvidiactl")
    assert not may_start_quickly("auto", "auto") and may_start_quickly("openvino", "auto")


def test_it_loads_no_torch() -> None:
    code = "import sys, handmesh.inference.engines.warm_start; print({'torch', 'timm'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"
