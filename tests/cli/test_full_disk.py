"""A full disk: every writer says one line and leaves nothing, and what was there before stays."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from handmesh.errors import HandMeshError
from handmesh.inference.export.exporter import _writing
from handmesh.inference.export.formats import FORMATS, Graph
from handmesh.inference.timing import LiveStats
from handmesh.io.files import work_folder
from handmesh.io.images import write_image
from handmesh.mano.arrays import ManoArrays
from handmesh.rendering.result_files import write_glb, write_obj, write_record
from handmesh.results import Hand

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


@pytest.mark.parametrize("name", WRITERS)
def test_results(name: str, open_mano: ManoArrays, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"before")
    with full_disk(200), pytest.raises(HandMeshError, match=f"expected to write .*{name}.*free some space"):
        WRITERS[name](tmp_path / name, open_mano)
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).read_bytes() == b"before"
    WRITERS[name](tmp_path / name, open_mano)
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).stat().st_size > 200


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
