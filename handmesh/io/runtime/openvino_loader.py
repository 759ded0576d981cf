"""OpenVINO without its telemetry, and its models as functions that threads and forked children may call.

The package, when imported and at every conversion, reports to a web service from processes it starts, unless its
telemetry package is absent, for which it has a stand-in of its own. A program that shows people's hands reports nothing
to anybody.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from handmesh.io.files import sha256_file
from handmesh.io.runtime.compiled_cache import keep_compiled, kept_file, read_compiled
from handmesh.io.runtime.cpu_count import engine_threads
from handmesh.io.runtime.fork import never_release, renew_after_fork

_TELEMETRY = "openvino_telemetry"
#: How every model is compiled. Left alone, OpenVINO binds a model's threads to cores, the first of them to the first
#: core, in every process: two that compute on one thread each would share that core and leave the others idle.
CPU_OPTIONS: Mapping[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}


def load_openvino() -> Any:
    """The module ``openvino``, imported as if its telemetry package were not installed."""
    if "openvino" not in sys.modules and _TELEMETRY not in sys.modules:
        # None makes ``import openvino_telemetry`` raise ImportError, in which case OpenVINO takes its stand-in.
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
        try:
            import openvino
            import openvino.tools.ovc.convert_impl  # its own import of the telemetry, when a model is converted
        finally:
            del sys.modules[_TELEMETRY]
        return openvino
    import openvino

    return openvino


#: PyTorch's tracers keep their state in the process: of two networks traced at a time, one comes out wrong or fails.
TRACING = threading.RLock()


def convert_module(module: Any, example: Any) -> Any:
    """A PyTorch module as an ov.Model; threads that convert wait for one another.

    Args:
        module: in eval mode.
        example: its input, or a tuple of its inputs.
    """
    root = logging.getLogger()
    with TRACING, warnings.catch_warnings():
        # The tracer warns of its own coming retirement, which is OpenVINO's to handle.
        warnings.simplefilter("ignore")
        level, handlers, filters = root.level, list(root.handlers), list(root.filters)
        try:
            return load_openvino().convert_model(module, example_input=example)
        finally:
            # A conversion that fails leaves the program's logging at errors alone, so nobody would hear of it.
            root.setLevel(level)
            root.handlers, root.filters = handlers, filters


class _SignalStack(ctypes.Structure):
    """C's stack_t on Linux."""

    _fields_: ClassVar = [("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


@contextlib.contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Give this thread back, at the end, the stack for signal handlers that it had; around whatever loads a plugin.

    On CPUs with AMX the CPU plugin of every ov.Core sets a stack of its own and, when it goes, puts back the one it
    found, which may be that of a core that is gone: the next signal with a handler of Python's (Ctrl-C, a child that
    ends) is a segmentation fault then (OpenVINO 2026.4). A core whose stack is no longer in use puts none back.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    libc, before = ctypes.CDLL(None), _SignalStack()
    libc.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        libc.sigaltstack(ctypes.byref(before), None)


class CompiledModel:
    """A model of one input of a fixed shape, compiled for the CPU, latency first; or a chain of models.

    Of a chain, the outputs of each are the inputs of the next, in order, without a copy. Any number of threads may call
    it: one request runs at a time, on all of the model's threads. In a forked child it is compiled anew at the first
    call.
    """

    def __init__(
        self, model: Any, threads: int = 0, then: Sequence[tuple[Any, dict[str, Any]]] = (), keep: str = "",
        **options: Any,
    ) -> None:  # fmt: skip
        """Compile, or read what was compiled before.

        Args:
            model: an ov.Model, or the path of a file that OpenVINO reads.
            threads: 0 = OpenVINO's own choice, within the CPU quota.
            then: the models of a chain behind the first, each with properties of its own.
            keep: a name for an ov.Model's content, under which the compiled form stays in the cache folder (that of a
                file always does); empty where it may not, as with a licensed hand inside.
            options: further properties of the CPU plugin.
        """
        if isinstance(model, str | Path):
            keep = sha256_file(Path(model))
        self._keep = keep
        shared: dict[str, Any] = dict(CPU_OPTIONS)
        if threads or engine_threads():
            shared["INFERENCE_NUM_THREADS"] = threads or engine_threads()
        self._chain = [(each, {**shared, **own}) for each, own in [(model, options), *then]]
        self._lock = threading.Lock()
        self._requests: list[Any] = []
        self._input: NDArray[Any]
        self._outputs: list[NDArray[Any]] = []
        self._compile()
        renew_after_fork(self)

    def __call__(self, values: NDArray[Any]) -> list[NDArray[Any]]:
        """The model's outputs, in its order, for an input of its shape and type; the arrays are the caller's own."""
        with self._lock:
            if not self._requests:
                self._compile()
            # Filling a buffer that is bound once costs a tenth of a millisecond less than handing arrays to infer().
            self._input[:] = values
            for request in self._requests:
                # In this thread, as far as one thread is all it takes: no other has to be woken and waited for.
                request.infer(share_outputs=True)
            return [output.copy() for output in self._outputs]

    def after_fork(self) -> None:
        """Forget the parent's request, whose threads are not here, and a lock that one of them may have held."""
        never_release((self._requests, self._outputs))
        self._requests, self._lock = [], threading.Lock()

    def _compile(self) -> None:
        ov = load_openvino()
        # A core of its own: after a fork, the old one's executors are as dead as its requests.
        core = ov.Core()
        with signal_stack_kept():
            compiled = [self._part(core, number, *part) for number, part in enumerate(self._chain)]
            requests = [each.create_infer_request() for each in compiled]
        for before, after in zip(requests[:-1], requests[1:]):
            for index in range(len(after.model_inputs)):
                after.set_input_tensor(index, before.get_output_tensor(index))
        port = compiled[0].input(0)
        self._input = np.zeros(tuple(port.shape), port.element_type.to_dtype())
        requests[0].set_input_tensor(ov.Tensor(self._input, shared_memory=True))
        count = len(compiled[-1].outputs)
        self._outputs = [requests[-1].get_output_tensor(index).data for index in range(count)]
        self._requests = requests

    def _part(self, core: Any, number: int, model: Any, options: dict[str, Any]) -> Any:
        """One compiled model of the chain."""
        file = kept_file(core, f"{self._keep} {number}", options) if self._keep else None
        compiled = read_compiled(core, file, options) if file else None
        if compiled is None:
            compiled = core.compile_model(str(model) if isinstance(model, Path) else model, "CPU", options)
            if file:
                keep_compiled(compiled, file)
        return compiled
