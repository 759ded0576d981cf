"""What every engine gives and takes: crops (uint8) in, the network's answer as numpy arrays out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError

#: What each runs, for the screen. "auto" is the first that can run of: PyTorch on CUDA, OpenVINO, PyTorch on the CPU.
ENGINES = {
    "auto": "the fastest that runs here",
    "torch": "PyTorch",
    "torch-half": "PyTorch, half precision",
    "torch-compile": "PyTorch, compiled",
    "openvino": "OpenVINO",
    "openvino-float32": "OpenVINO, float32 throughout",
    "onnx": "ONNX Runtime",
}
#: What these two ask OpenVinoEngine for.
OPENVINO_PRECISIONS = {"openvino": "auto", "openvino-float32": "f32"}
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
    """Runs one network. Any number of threads may share one; in a forked child it is loaded anew or raises."""

    #: What runs, for the screen: "OpenVINO CPU".
    name: str
    #: Whether crops may have any side that is a multiple of 32, not the network's own alone.
    any_size: bool

    def __call__(self, images: NDArray[np.uint8]) -> EngineOutput:
        """images (B, S, S, 3) uint8 RGB, B >= 1 -> the network's answer; the arrays are the caller's own."""
        ...


def cuda_after_fork() -> HandMeshError:
    """What is raised where a forked child wants its parent's GPU."""
    return HandMeshError(
        "expected the process that loaded the predictor, got a forked child of it, which cannot use its parent's CUDA; "
        "start processes with multiprocessing's 'spawn', or load the predictor in each of them"
    )


def in_pairs(run: Callable[[NDArray[np.uint8]], EngineOutput], images: NDArray[np.uint8]) -> EngineOutput:
    """Any number of crops as runs of two and one: fixed sizes run faster than a free one, and two serve both hands."""
    parts = [run(images[start : start + 2]) for start in range(0, len(images), 2)]
    return parts[0] if len(parts) == 1 else EngineOutput(*(np.concatenate(rows) for rows in zip(*parts, strict=True)))


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
