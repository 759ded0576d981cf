"""A full disk: every writer says one line and leaves nothing, and what was there before stays."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from handmesh.config import Config, ModelConfig
from handmesh.errors import HandMeshError
from handmesh.evaluation.submission import write_predictions
from handmesh.inference.export.exporter import _writing
from handmesh.inference.export.formats import FORMATS, Graph
from handmesh.inference.timing import LiveStats
from handmesh.io.files import work_folder
from handmesh.io.images import write_image
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.hand_model import HandModel
from handmesh.models.checkpoint import save_checkpoint
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.motion.formats.bvh import write_bvh
from handmesh.motion.formats.convert import write_csv
from handmesh.motion.formats.gltf import write_gltf
from handmesh.motion.formats.tables import RecordingHeader
from handmesh.motion.recorder import RecordingWriter, recording_of
from handmesh.motion.recording import RecordedFrame, Recording
from handmesh.rendering.result_files import write_glb, write_obj, write_record
from handmesh.results import Hand
from handmesh.training.state import Progress, save_state

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs a limit on the size of files")
EYE = np.eye(3)
NOISE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)


def make_hand(mano: ManoArrays) -> Hand:
    vertices = mano.v_template + [0, 0, 0.5]
    return Hand(
        vertices, vertices[:21], vertices[:21, :2], True, 0.9, mano.faces, EYE, np.tile(EYE, (15, 1, 1)), np.zeros(10),
        np.zeros(3), EYE, np.array([0.0, 0, 64, 64]),
    )  # fmt: skip


@contextmanager
def full_disk(most_bytes: int) -> Iterator[None]:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


WRITERS: dict[str, Callable[[Path, ManoArrays], object]] = {
    "a.png": lambda path, mano: write_image(path, NOISE),
    "a.jpg": lambda path, mano: write_image(path, NOISE),
    "a.json": lambda path, mano: write_record(path, [make_hand(mano)]),
    "a.glb": lambda path, mano: write_glb(path, [make_hand(mano)]),
    "a.obj": lambda path, mano: write_obj(path, [make_hand(mano)]),
    "stats.json": lambda path, mano: LiveStats("engine" * 100).save(path),
    "a.npz": lambda path, mano: mano.save_npz(path),
}


def make_recording(mano: ManoArrays) -> Recording:
    model = HandModel(mano)
    joints = mano.J_regressor @ mano.v_template
    header = RecordingHeader("a.mp4", hand_model=mano.name, hand_model_fingerprint=mano.fingerprint(),
                             rest_joints=tuple(map(tuple, joints.round(6).tolist())), image_size=(64, 64))  # fmt: skip
    hand = replace(make_hand(mano), track_id=0)
    frames = [RecordedFrame(index, index / 30, (64, 64), EYE, [hand]) for index in range(20)]
    return recording_of(header, frames).of_model(model)


def save_network(path: Path, mano: ManoArrays) -> None:
    config = Config(model=ModelConfig(image_size=64, width=16))
    save_checkpoint(path, HandMeshNet(config.model, mano), config)


def save_training(path: Path, mano: ManoArrays) -> None:
    net = nn.Linear(20, 20)
    save_state(path, net, net, torch.optim.SGD(net.parameters()), Progress(), {})


#: What the commands write besides, each by what reads it back.
MORE_WRITERS: dict[str, Callable[[Path, ManoArrays], object]] = {
    "a.jsonl": lambda path, mano: make_recording(mano).save(path),
    "recording.npz": lambda path, mano: make_recording(mano).save(path),
    "animation.glb": lambda path, mano: write_gltf(make_recording(mano), path),
    "a.bvh": lambda path, mano: write_bvh(make_recording(mano), path),
    "a.csv": lambda path, mano: write_csv(make_recording(mano), path),
    "a.safetensors": save_network,
    "state.safetensors": save_training,
    "pred.json": lambda path, mano: write_predictions(path, np.zeros((2, 21, 3)), np.zeros((2, 778, 3))),
}


@pytest.mark.parametrize("name", [*WRITERS, *MORE_WRITERS])
def test_results(name: str, open_mano: ManoArrays, tmp_path: Path) -> None:
    write = {**WRITERS, **MORE_WRITERS}[name]
    (tmp_path / name).write_bytes(b"before")
    with full_disk(200), pytest.raises(HandMeshError, match=f"expected to write .*{name}.*free some space"):
        write(tmp_path / name, open_mano)
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).read_bytes() == b"before"
    write(tmp_path / name, open_mano)
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).stat().st_size > 200


def test_a_running_recording_says_that_the_disk_is_full_and_keeps_what_it_has(
    open_mano: ManoArrays, tmp_path: Path
) -> None:
    recording = make_recording(open_mano)
    with pytest.raises(HandMeshError, match="expected to write .*a.part.jsonl.*free some space"):
        with full_disk(20_000), RecordingWriter(tmp_path / "a.jsonl", recording.header) as writer:
            for row in range(len(recording.frames)):
                writer.write(recording.frame(row))
    assert os.listdir(tmp_path) == ["a.part.jsonl"], "nothing under the final name"
    kept = Recording.load(tmp_path / "a.part.jsonl")
    assert 1 < len(kept.frames) < len(recording.frames) and not kept.is_complete


class Tiny(nn.Module):
    """A network of 460 kB."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(192, 600))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (pixels.float().flatten(1) @ self.weight,)


@pytest.mark.parametrize("name", ["onnx", "openvino", "torchscript"])
def test_exports_do_not_end_the_process(name: str, tmp_path: Path) -> None:
    pytest.importorskip({"onnx": "onnx", "openvino": "openvino", "torchscript": "torch"}[name])
    graph = Graph(Tiny(), 8, {}, ("mean",), {"about": "a test"})
    target = tmp_path / f"model{FORMATS[name].suffix}"
    with pytest.raises(HandMeshError, match="expected to write .*MB free"), work_folder(target) as folder:
        with full_disk(50_000), _writing(target):
            FORMATS[name].write(graph, folder / target.name)
            # OpenVINO's writer does not look: a file that is too short does not come back.
            FORMATS[name].read(graph, folder / target.name)
    assert os.listdir(tmp_path) == []
