"""OpenVINO without its telemetry, and its models as functions that threads and forked children may call.

The package, when imported and at every conversion, reports to a web service from processes it starts, unless its
telemetry package is absent, for which it has a stand-in of its own. A program that shows people's hands reports nothing
to anybody.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.io.cpu_count import engine_threads
from handmesh.io.fork import never_release, renew_after_fork

_TELEMETRY = "openvino_telemetry"


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


class CompiledModel:
    """A model of one input of a fixed shape, compiled for the CPU, latency first.

    Any number of threads may call it: one request runs at a time, on all of the model's threads. In a forked child it
    is compiled anew at the first call.
    """

    def __init__(self, model: Any, threads: int = 0, **options: Any) -> None:
        """Compile.

        Args:
            model: an ov.Model, or the path of a file that OpenVINO reads.
            threads: 0 = OpenVINO's own choice, within the CPU quota.
            options: further properties of the CPU plugin.
        """
        ov = load_openvino()
        self._model = ov.Core().read_model(str(model)) if isinstance(model, str | Path) else model
        self._options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", **options}
        if threads or engine_threads():
            self._options["INFERENCE_NUM_THREADS"] = threads or engine_threads()
        self._lock = threading.Lock()
        self._request: Any = None
        self._input: NDArray[Any]
        self._outputs: list[NDArray[Any]] = []
        self._compile()
        renew_after_fork(self)

    def __call__(self, values: NDArray[Any]) -> list[NDArray[Any]]:
        """The model's outputs, in its order, for an input of its shape and type; the arrays are the caller's own."""
        with self._lock:
            if self._request is None:
                self._compile()
            # Filling a buffer that is bound once costs a tenth of a millisecond less than handing arrays to infer().
            self._input[:] = values
            self._request.start_async()
            self._request.wait()
            return [output.copy() for output in self._outputs]

    def after_fork(self) -> None:
        """Forget the parent's request, whose threads are not here, and a lock that one of them may have held."""
        never_release((self._request, self._outputs))
        self._request, self._lock = None, threading.Lock()

    def _compile(self) -> None:
        ov = load_openvino()
        # A core of its own: after a fork, the old one's executors are as dead as its requests.
        self._request = ov.Core().compile_model(self._model, "CPU", self._options).create_infer_request()
        port = self._model.input(0)
        self._input = np.zeros(tuple(port.shape), port.element_type.to_dtype())
        self._request.set_input_tensor(ov.Tensor(self._input, shared_memory=True))
        count = len(self._model.outputs)
        self._outputs = [self._request.get_output_tensor(index).data for index in range(count)]
