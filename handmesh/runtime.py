"""One way to run the network, whatever runs it: crops (uint8) in, numpy arrays out.

Knows engines (PyTorch, OpenVINO) and how a network gets into them: re-parameterized first, normalisation and hand
model inside, one graph from pixels to vertices. Does not know full pictures, boxes or hands.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from handmesh.engine_cache import openvino_model
from handmesh.errors import HandMeshError
from handmesh.openvino_loader import load_openvino

ENGINES = ("auto", "torch", "openvino")
Float32 = NDArray[np.float32]


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


class TorchEngine:
    """PyTorch on any device; the reference the others are held against."""

    def __init__(self, net: nn.Module, device: str = "cpu") -> None:
        self._device = torch.device(device)
        self._net = net.eval().to(self._device)
        self.name = f"PyTorch {device.upper()}"

    def __call__(self, images: NDArray[np.uint8]) -> EngineOutput:
        with torch.inference_mode():
            output = self._net(torch.from_numpy(np.ascontiguousarray(images)).to(self._device))
        return EngineOutput(*(part.float().cpu().numpy() for part in output))


class OpenVinoEngine:
    """OpenVINO on the CPU, compiled for latency: one request, one graph for one crop and one for two."""

    def __init__(self, net: nn.Module, image_size: int, threads: int = 0, keep: bool = False) -> None:
        """Convert (or take from the cache) and compile; see :func:`make_engine`."""
        ov = load_openvino()

        self._core = ov.Core()
        self._options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            self._options["INFERENCE_NUM_THREADS"] = threads
        self._model = openvino_model(net, image_size, keep)
        self._requests: dict[int, Any] = {}
        self._request_for(1)
        self.name = "OpenVINO CPU"

    def __call__(self, images: NDArray[np.uint8]) -> EngineOutput:
        # Static shapes run faster than a dynamic batch; pairs serve both hands, and any number is made of pairs.
        parts = [self._run(images[start : start + 2]) for start in range(0, len(images), 2)]
        if len(parts) == 1:
            return parts[0]
        return EngineOutput(*(np.concatenate(rows) for rows in zip(*parts, strict=True)))

    def _run(self, images: NDArray[np.uint8]) -> EngineOutput:
        results = self._request_for(len(images)).infer({0: np.ascontiguousarray(images)}, share_inputs=True)
        return EngineOutput(*(results[i] for i in range(len(EngineOutput._fields))))

    def _request_for(self, batch: int) -> Any:
        if batch not in self._requests:
            model = self._model.clone()
            model.reshape([batch, *model.inputs[0].partial_shape[1:]])
            self._requests[batch] = self._core.compile_model(model, "CPU", self._options).create_infer_request()
        return self._requests[batch]


def make_engine(
    net: nn.Module,
    name: str = "auto",
    device: str = "auto",
    *,
    threads: int = 0,
    keep: bool = False,
    report: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> Engine:
    """An engine for a network with ``reparameterize()`` and ``config.image_size``.

    Args:
        name: "auto" (CUDA if there, else OpenVINO, else PyTorch on the CPU), "torch" or "openvino".
        device: "auto", "cpu", "cuda" or "mps"; for PyTorch. OpenVINO runs on the CPU.
        threads: for OpenVINO; 0 = its own choice.
        keep: keep the converted network in the cache folder for a faster start. The hand model is inside it, so this
            is for hands that may be copied.
        report: where a fallback is said, in one line.

    Raises:
        HandMeshError: an unknown name, or an engine asked for by name that cannot run the network.
    """
    if name not in ENGINES:
        raise HandMeshError(f"expected an engine among {', '.join(ENGINES)}, got {name!r}; choose one of them")
    device = choose_device(device)
    folded: Any = net
    folded.reparameterize()
    if name == "torch" or (name == "auto" and device != "cpu"):
        return TorchEngine(net, device)
    try:
        return OpenVinoEngine(net, folded.config.image_size, threads, keep)
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        if name == "openvino":
            raise HandMeshError(
                f"expected OpenVINO to run the network, got: {reason}; use --engine torch, or run handmesh doctor"
            ) from error
        report(f"OpenVINO cannot run the network ({reason}); using PyTorch on the CPU, which is slower")
        return TorchEngine(net, "cpu")


def choose_device(device: str) -> str:
    """ "auto" becomes cuda, mps or cpu, what is there; anything else is checked (HandMeshError)."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return "cuda" if available["cuda"] else "cpu"
    if not available.get(device.split(":")[0], False):
        present = ", ".join(kind for kind, is_there in available.items() if is_there)
        raise HandMeshError(f"expected a device that is there ({present}), got {device!r}; use --device auto")
    return device
