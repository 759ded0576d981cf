"""OpenVINO as an engine: compiled for latency on the CPU, one request for one crop and one for two.

Knows that package's requests and buffers. Does not know how a network becomes its model (engine_cache.py).
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handmesh.inference.engines.base import EngineOutput, in_pairs
from handmesh.io.cpu_count import engine_threads
from handmesh.io.openvino_loader import load_openvino


class _Request(NamedTuple):
    """A request with its own input buffer, and views of where it puts its outputs."""

    request: Any
    pixels: NDArray[np.uint8]
    outputs: list[NDArray[np.float32]]


class OpenVinoEngine:
    """Runs an ov.Model whose input is uint8 (B, S, S, 3) and whose outputs are EngineOutput's fields in order."""

    def __init__(self, model: Any, threads: int = 0, precision: str = "f32") -> None:
        """threads: 0 = OpenVINO's own choice. precision: of the arithmetic, "f32", "bf16" or "f16"."""
        ov = load_openvino()

        self._core = ov.Core()
        self._options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
        if threads or engine_threads():
            self._options["INFERENCE_NUM_THREADS"] = threads or engine_threads()
        self._model = model
        self._requests: dict[tuple[int, ...], _Request] = {}
        self._lock = threading.Lock()
        self.name = "OpenVINO CPU"

    def __call__(self, images: NDArray[np.uint8]) -> EngineOutput:
        return in_pairs(self._run, images)

    def _run(self, images: NDArray[np.uint8]) -> EngineOutput:
        with self._lock:
            request, pixels, outputs = self._request_for(images.shape)
            # Filling a buffer that is bound once costs a tenth of a millisecond less than handing arrays to infer().
            pixels[:] = images
            request.start_async()
            request.wait()
            return EngineOutput(*(output.copy() for output in outputs))

    def _request_for(self, shape: tuple[int, ...]) -> _Request:
        if shape not in self._requests:
            ov = load_openvino()
            model = self._model.clone()
            model.reshape(list(shape))
            request = self._core.compile_model(model, "CPU", self._options).create_infer_request()
            pixels = np.zeros(shape, np.uint8)
            request.set_input_tensor(ov.Tensor(pixels, shared_memory=True))
            outputs = [request.get_output_tensor(index).data for index in range(len(EngineOutput._fields))]
            self._requests[shape] = _Request(request, pixels, outputs)
        return self._requests[shape]
