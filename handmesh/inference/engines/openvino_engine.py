"""OpenVINO as an engine: compiled for latency on the CPU, one request for one crop and one for two."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.inference.engines.base import EngineOutput, in_pairs
from handmesh.inference.engines.mixed_precision import halves, has_halves
from handmesh.io.runtime.cpu_features import has_bfloat16, has_matrix_units
from handmesh.io.runtime.fork import renew_after_fork
from handmesh.io.runtime.openvino_loader import CompiledModel, load_openvino

#: Outputs that are computed from the posed mesh (of the pooled head, the camera is not, and is not missed either).
_OF_THE_MESH = ("vertices", "joints", "camera")
#: Multiplications up to which a network runs on one thread where the processor has matrix units: its layers are then so
#: short that several threads wait for one another most of the time (two cores: a call is a tenth faster for twice the
#: work), and drawing wants a core as well. On cores of Zen 4, without such units, two threads take 0.63 of one's time.
SMALL = 1e9


class OpenVinoEngine:
    """Runs an ov.Model whose input is uint8 (B, S, S, 3) and whose outputs are EngineOutput's fields in order."""

    def __init__(self, model: Any, threads: int = 0, precision: str = "auto", keep: str = "") -> None:
        """Compile at the first call.

        Args:
            model: an ov.Model.
            threads: 0 = one for a small network on a processor with matrix units, else OpenVINO's own choice.
            precision: of the arithmetic: "f32", "bf16" or "f16" of all of it; "mixed" for bfloat16 convolutions and
                float32 behind them (mixed_precision.py); "auto" for mixed where the processor multiplies
                bfloat16 and the model has the halves, else "f32".
            keep: a name for the model's content, under which its compiled forms stay in the cache folder; empty where
                they may not.
        """
        if precision == "auto":
            precision = "mixed" if has_bfloat16() and has_halves(model) else "f32"
        self._model, self._threads, self._precision, self._keep = model, threads, precision, keep
        self._compiled: dict[tuple[tuple[int, ...], bool], CompiledModel] = {}
        self._lock = threading.Lock()
        renew_after_fork(self)
        self.any_size = bool(model.input(0).partial_shape[1].is_dynamic)
        self.name = "OpenVINO CPU" + ("" if precision == "f32" else f" {precision.replace('mixed', 'bf16')}")

    def __call__(self, images: NDArray[np.uint8]) -> EngineOutput:
        """Run the network on crops (B, S, S, 3) uint8 RGB."""
        return in_pairs(self._run, images)

    def without_mesh(self, images: NDArray[np.uint8]) -> EngineOutput:
        """As a call, but vertices, joints and camera are left out: (B, 0, 3), (B, 0, 3) and (B, 0).

        For callers who pose the hand themselves from rotations and betas: the hand model is a tenth of the network's
        time.
        """
        return in_pairs(self._run_without_mesh, images)

    def after_fork(self) -> None:
        """A thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    def _run(self, images: NDArray[np.uint8]) -> EngineOutput:
        return EngineOutput(*self._compiled_for(images.shape, True)(images))

    def _run_without_mesh(self, images: NDArray[np.uint8]) -> EngineOutput:
        found = iter(self._compiled_for(images.shape, False)(images))
        none = np.empty((len(images), 0, 3), np.float32)
        parts = dict(zip(_OF_THE_MESH, (none, none, none[:, :, 0]), strict=True))
        return EngineOutput(*(parts[name] if name in parts else next(found) for name in EngineOutput._fields))

    def _compiled_for(self, shape: tuple[int, ...], mesh: bool) -> CompiledModel:
        with self._lock:
            if (shape, mesh) not in self._compiled:
                model = self._model.clone()
                model.reshape(list(shape))
                keep = f"{self._keep} {shape} {mesh} {self._precision}" if self._keep else ""
                self._compiled[shape, mesh] = self._compile(model if mesh else _without_mesh(model), keep)
            return self._compiled[shape, mesh]

    def _compile(self, model: Any, keep: str) -> CompiledModel:
        threads = self._threads or int(has_matrix_units() and multiplications(model) < SMALL)
        if self._precision != "mixed":
            return CompiledModel(model, threads, keep=keep, INFERENCE_PRECISION_HINT=self._precision)
        first, second = halves(model)
        exact = {"INFERENCE_PRECISION_HINT": "f32"}
        return CompiledModel(first, threads, [(second, exact)], keep, INFERENCE_PRECISION_HINT="bf16")


def multiplications(model: Any) -> float:
    """How many numbers the convolutions and matrix products of an ov.Model of fixed shape multiply."""
    total = 0.0
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind in ("Convolution", "GroupConvolution", "MatMul"):
            given, weights, made = node.get_input_shape(0), node.get_input_shape(1), node.get_output_shape(0)
            inner = math.prod(weights) / made[1]
            if kind == "MatMul":
                inner = math.prod(given) / (math.prod(given[:-2]) * (made[-2] if len(made) > 1 else 1))
            total += math.prod(made) * inner
    return total


def _without_mesh(model: Any) -> Any:
    """An ov.Model without what it takes to pose the mesh, as far as no other output needs it."""
    named = zip(EngineOutput._fields, model.get_results(), strict=True)
    kept = [result for name, result in named if name not in _OF_THE_MESH]
    return load_openvino().Model(kept, model.get_parameters())
