"""ONNX Runtime as an engine, and the way from a network to an ONNX graph."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from handmesh.errors import HandMeshError
from handmesh.inference.engines.base import EngineOutput, cuda_after_fork
from handmesh.io.runtime.cpu_count import engine_threads
from handmesh.io.runtime.fork import never_release, renew_after_fork
from handmesh.io.runtime.openvino_loader import TRACING

#: Understood by ONNX Runtime since 2024, by OpenVINO and by TensorRT.
OPSET = 20
INPUT = "images"


class OnnxEngine:
    """Runs an ONNX graph whose input is uint8 (B, S, S, 3) and whose outputs are EngineOutput's fields in order."""

    def __init__(self, model: bytes | str, threads: int = 0, device: str = "cpu") -> None:
        """Open a graph.

        Args:
            model: the graph's bytes, or a file's path.
            threads: 0 = the runtime's own choice.
            device: "cuda" where ONNX Runtime has it, else the CPU.

        Raises:
            HandMeshError: onnxruntime is not installed.
        """
        self._model, self._threads, self._device = model, threads, device
        self._lock = threading.Lock()
        self._session: Any = open_session(model, threads, device)
        used = self._session.get_providers()[0].removesuffix("ExecutionProvider")
        self.name = f"ONNX Runtime {used}"
        self.any_size = not isinstance(self._session.get_inputs()[0].shape[1], int)
        renew_after_fork(self)

    @property
    def session(self) -> Any:
        """The onnxruntime.InferenceSession, which any number of threads may run."""
        with self._lock:
            if self._session is None:
                if self._device.startswith("cuda"):
                    raise cuda_after_fork()
                self._session = open_session(self._model, self._threads, self._device)
            return self._session

    def after_fork(self) -> None:
        """The session's threads are the parent's, and one of them may have held the lock."""
        never_release(self._session)
        self._session, self._lock = None, threading.Lock()

    def __call__(self, images: NDArray[np.uint8]) -> EngineOutput:
        """Run the network on crops (B, S, S, 3) uint8 RGB."""
        return EngineOutput(*self.session.run(list(EngineOutput._fields), {INPUT: np.ascontiguousarray(images)}))


def open_session(model: bytes | str, threads: int = 0, device: str = "cpu") -> Any:
    """An onnxruntime.InferenceSession, on CUDA where asked for and there, else on the CPU.

    Args:
        model, threads, device: as of :class:`OnnxEngine`.

    Raises:
        HandMeshError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise HandMeshError(
            "expected onnxruntime, which is not installed; run pip install 'handmesh[export]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or engine_threads()
    options.log_severity_level = 3
    wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
    there = [name for name in wanted if name in onnxruntime.get_available_providers()]
    return onnxruntime.InferenceSession(model, options, providers=[*there, "CPUExecutionProvider"])


def write_onnx(
    net: nn.Module, examples: Sequence[Tensor], inputs: Sequence[str], outputs: Sequence[str], file: Path,
    any_size: bool = False,
) -> None:  # fmt: skip
    """Write a module as one ONNX file.

    Args:
        net: the module.
        examples: its inputs; the first one's first axis is the batch, which stays free, and has two rows or more.
        inputs, outputs: names of what goes in and comes out, in order.
        file: the path.
        any_size: the first input (B, S, S, 3) may have any S that is a multiple of 32.

    Raises:
        HandMeshError: the packages that write ONNX are not installed.
    """
    # At least two rows: with one, the exporter takes the batch for a constant.
    assert len(examples[0]) >= 2
    free: dict[int, Any] = {0: torch.export.Dim("batch", min=1, max=64)}
    if any_size:
        free[1] = free[2] = 32 * torch.export.Dim("cells", min=1, max=32)
    shapes = (free, *[None] * (len(examples) - 1))
    if not (find_spec("onnx") and find_spec("onnxscript")):
        raise HandMeshError("expected onnx and onnxscript, which are not installed; run pip install 'handmesh[export]'")
    with TRACING, torch.no_grad(), _quiet():
        program: Any = torch.onnx.export(
            net.eval(), tuple(examples), dynamo=True, dynamic_shapes=shapes, input_names=list(inputs),
            output_names=list(outputs), opset_version=OPSET, verbose=False,
        )  # fmt: skip
        program.save(str(file), external_data=False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter has to say of its own progress and of its rewriting rules."""
    levels = {name: logging.getLogger(name).level for name in ("onnxscript", "onnx_ir", "torch.onnx")}
    try:
        for name in levels:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
