"""OpenVINO as an engine: compiled for latency on the CPU, one request for one crop and one for two."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.inference.engines.base import EngineOutput, in_pairs
from handmesh.io.fork import renew_after_fork
from handmesh.io.openvino_loader import CompiledModel


class OpenVinoEngine:
    """Runs an ov.Model whose input is uint8 (B, S, S, 3) and whose outputs are EngineOutput's fields in order."""

    def __init__(self, model: Any, threads: int = 0, precision: str = "f32") -> None:
        """Compile at the first call.

        Args:
            model: an ov.Model.
            threads: 0 = OpenVINO's own choice.
            precision: of the arithmetic, "f32", "bf16" or "f16".
        """
        self._model, self._threads, self._precision = model, threads, precision
        self._compiled: dict[tuple[int, ...], CompiledModel] = {}
        self._lock = threading.Lock()
        renew_after_fork(self)
        self.name = "OpenVINO CPU"

    def __call__(self, images: NDArray[np.uint8]) -> EngineOutput:
        """Run the network on crops (B, S, S, 3) uint8 RGB."""
        return in_pairs(self._run, images)

    def after_fork(self) -> None:
        """A thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    def _run(self, images: NDArray[np.uint8]) -> EngineOutput:
        return EngineOutput(*self._compiled_for(images.shape)(images))

    def _compiled_for(self, shape: tuple[int, ...]) -> CompiledModel:
        with self._lock:
            if shape not in self._compiled:
                model = self._model.clone()
                model.reshape(list(shape))
                self._compiled[shape] = CompiledModel(model, self._threads, INFERENCE_PRECISION_HINT=self._precision)
            return self._compiled[shape]
