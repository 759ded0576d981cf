"""One way to run the network, whatever runs it: crops (uint8) in, numpy arrays out.

Knows what an engine gives, which engines there are, and what happens when one cannot run. How a network gets into one
is in runtime_torch.py, runtime_openvino.py and runtime_onnx.py: re-parameterized first, normalisation and hand model
inside, one graph from pixels to vertices. Does not know full pictures, boxes or hands.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError

if TYPE_CHECKING:
    from torch import nn

#: What each runs, for the screen. "auto" is the first that can run of: PyTorch on CUDA, OpenVINO, PyTorch on the CPU.
ENGINES = {
    "auto": "the fastest that runs here",
    "torch": "PyTorch",
    "torch-half": "PyTorch, half precision",
    "torch-compile": "PyTorch, compiled",
    "openvino": "OpenVINO",
    "onnx": "ONNX Runtime",
}
#: Files of ``handmesh export`` that can be named in an engine's place.
FILES = (".xml", ".onnx", ".pt")
Float32 = NDArray[np.float32]
Report = Callable[[str], None]


class EngineOutput(NamedTuple):
    """The fields of the network's HandMeshOutput as numpy float32 arrays; one row a crop. Metres and crop pixels."""

    vertices: Float32  # (B, 778, 3)
    joints: Float32  # (B, 21, 3)
    rotations: Float32  # (B, 16, 3, 3)
    betas: Float32  # (B, 10)
    camera: Float32  # (B, 3)
    keypoints_2d: Float32  # (B, 21, 2)
    confidence: Float32  # (B, 21)
    presence: Float32  # (B,)
    is_right: Float32  # (B,)


class Engine(Protocol):
    """Runs one network."""

    #: What runs, for the screen: "OpenVINO CPU".
    name: str

    def __call__(self, images: NDArray[np.uint8]) -> EngineOutput:
        """images (B, S, S, 3) uint8 RGB, B >= 1 -> the network's answer; the arrays are the caller's own."""
        ...


def in_pairs(run: Callable[[NDArray[np.uint8]], EngineOutput], images: NDArray[np.uint8]) -> EngineOutput:
    """Any number of crops as runs of two and one: fixed sizes run faster than a free one, and two serve both hands."""
    parts = [run(images[start : start + 2]) for start in range(0, len(images), 2)]
    return parts[0] if len(parts) == 1 else EngineOutput(*(np.concatenate(rows) for rows in zip(*parts, strict=True)))


def make_engine(
    net: nn.Module,
    name: str = "auto",
    device: str = "auto",
    *,
    threads: int = 0,
    keep: bool = False,
    report: Report = lambda line: print(line, file=sys.stderr),
) -> Engine:
    """An engine for a network with ``reparameterize()`` and ``config.image_size``. It has run once when it is returned.

    Args:
        name: a key of :data:`ENGINES`, or a file that ``handmesh export`` made of this network.
        device: "auto", "cpu", "cuda" or "mps"; for PyTorch, and CUDA for ONNX Runtime. OpenVINO runs on the CPU.
        threads: for OpenVINO and ONNX Runtime; 0 = their own choice.
        keep: keep the converted network in the cache folder for a faster start. The hand model is inside it, so this
            is for hands that may be copied.
        report: where it is said, in one line, that an engine cannot run and PyTorch does instead.

    Raises:
        HandMeshError: an unknown name or device, or a file that is not of this network.
    """
    if name not in ENGINES and Path(name).suffix not in FILES:
        raise HandMeshError(
            f"expected an engine among {', '.join(ENGINES)}, or a file that handmesh export made "
            f"({', '.join(FILES)}), got {name!r}; choose one of them"
        )
    device = choose_device(device)
    folded: Any = net
    folded.reparameterize()
    if name not in ENGINES:
        return _tried(_from_file(Path(name), folded, threads), folded)
    if name == "auto":
        name = "openvino" if device == "cpu" else "torch"
    try:
        return _tried(_build(name, folded, device, threads, keep, report), folded)
    except Exception as error:  # engines let errors of every kind through
        if name == "torch" and device == "cpu":
            raise
        reason = " ".join(str(error).split())[:160]
        report(f"{ENGINES[name]} cannot run the network ({reason}); using PyTorch on the CPU, which is slower")
        return _build("torch", folded, "cpu", threads, keep, report)


def _build(name: str, net: Any, device: str, threads: int, keep: bool, report: Report) -> Engine:
    size = net.config.image_size
    if name == "openvino":
        from handmesh.engine_cache import openvino_model
        from handmesh.runtime_openvino import OpenVinoEngine

        return OpenVinoEngine(openvino_model(net, size, keep), threads)
    if name == "onnx":
        from handmesh.engine_cache import onnx_bytes
        from handmesh.runtime_onnx import OnnxEngine

        return OnnxEngine(onnx_bytes(net, size, keep), threads, device)
    from handmesh.runtime_torch import TorchEngine

    return TorchEngine(net, device, half=name == "torch-half", compiled=name == "torch-compile", report=report)


def _tried(engine: Engine, net: Any) -> Engine:
    """The engine, after a first run whose numbers are numbers."""
    size = net.config.image_size
    output = engine(np.zeros((1, size, size, 3), np.uint8))
    if not all(np.isfinite(part).all() for part in output):
        raise RuntimeError("its answer to a black picture is not finite")
    return engine


def _from_file(file: Path, net: Any, threads: int) -> Engine:
    """The engine of an exported file, after a look at what the file says of itself."""
    from handmesh.runtime_files import open_engine

    engine, said = open_engine(file, threads)
    wanted = {"hand_fingerprint": net.hand_fingerprint, "image_size": str(net.config.image_size)}
    for key, value in wanted.items():
        if said.get(key) != value:
            raise HandMeshError(
                f"{file}: expected an exported network with {key} {value}, got {said.get(key, 'none')}; "
                "export it again from this checkpoint with handmesh export"
            )
    return engine


def choose_device(device: str) -> str:
    """ "auto" becomes cuda where it is there, else cpu; anything else, mps too, is checked (HandMeshError)."""
    import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return "cuda" if available["cuda"] else "cpu"
    if not available.get(device.split(":")[0], False):
        present = ", ".join(kind for kind, is_there in available.items() if is_there)
        raise HandMeshError(f"expected a device that is there ({present}), got {device!r}; use --device auto")
    return device
