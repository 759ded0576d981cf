"""OpenVINO is loaded without its telemetry, by one function only; threads and forked children may share its models."""

from __future__ import annotations

import ast
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from handmesh.io.runtime.openvino_loader import CompiledModel, convert_module

PACKAGE = Path(__file__).resolve().parents[2] / "handmesh"
_PROBE = """
import sys
from handmesh.io.runtime.openvino_loader import load_openvino
load_openvino()
import openvino.tools.ovc.telemetry_utils as used
print(used.tm.__name__, "openvino_telemetry" in sys.modules)
"""


def test_the_telemetry_is_not_loaded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROBE], cwd=PACKAGE.parent, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "False"]


def test_only_the_loader_imports_openvino() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imports_it = any(name.split(".")[0] == "openvino" for name in names)
            assert not imports_it or path.name == "openvino_loader.py", path


_SIGNALS = """
import gc, signal
import numpy as np
from handmesh.io.runtime.openvino_loader import CompiledModel
from openvino import Model, opset13 as ops

def make():
    values = given = ops.parameter([1, 4], np.float32)
    values = ops.matmul(values, np.ones((4, 4), np.float32), False, False)
    return CompiledModel(Model([values], [given]), threads=1)

signal.signal(signal.SIGTERM, lambda *_: print("heard", flush=True))
first, second = make(), make()
del first
gc.collect()
signal.raise_signal(signal.SIGTERM)
del second
gc.collect()
signal.raise_signal(signal.SIGTERM)
"""


def test_signals_are_heard_after_models_are_gone() -> None:
    done = subprocess.run([sys.executable, "-c", _SIGNALS], cwd=PACKAGE.parent, capture_output=True, timeout=120)
    assert (done.returncode, done.stdout.split()) == (0, [b"heard", b"heard"]), done.stderr[-1000:]


def products(threads: int) -> CompiledModel:
    """Some matrix products: long enough for two threads to meet."""
    from openvino import Model
    from openvino import opset13 as ops

    rng = np.random.default_rng(0)
    values = given = ops.parameter([1, 64, 64], np.float32)
    for _ in range(3):
        values = ops.tanh(ops.matmul(values, rng.normal(0, 0.3, (64, 64)).astype(np.float32), False, False))
    return CompiledModel(Model([values], [given]), threads=threads)


@pytest.fixture(scope="module")
def model() -> CompiledModel:
    return products(threads=2)


def inputs(count: int = 40) -> list[np.ndarray]:
    return list(np.random.default_rng(1).normal(size=(count, 1, 64, 64)).astype(np.float32))


def test_threads_share_a_model(model: CompiledModel) -> None:
    serial = [model(each)[0] for each in inputs()]
    with ThreadPoolExecutor(8) as pool:
        for one, (other,) in zip(serial, pool.map(model, inputs()), strict=True):
            assert np.array_equal(one, other)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or os.cpu_count() == 1, reason="needs cores to be bound to")
def test_a_model_computes_on_any_core() -> None:
    """Not bound to the first core, where every other process's one thread would be as well."""
    model = products(threads=1)
    allowed, found, is_over = os.sched_getaffinity(0), [], threading.Event()

    def watch(thread: int) -> None:
        while not is_over.is_set():
            found.append(os.sched_getaffinity(thread))

    watcher = threading.Thread(target=watch, args=(threading.get_native_id(),))
    watcher.start()
    for _ in range(200):
        model(np.ones((1, 64, 64), np.float32))
    is_over.set()
    watcher.join(timeout=60)
    assert len(found) > 20 and all(cores == allowed for cores in found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("is_locked", [False, True])
def test_a_forked_child_answers_and_ends(model: CompiledModel, is_locked: bool) -> None:
    expected = model(inputs(1)[0])[0]
    read, write = os.pipe()
    if is_locked:  # by a thread that does not come along
        assert model._lock.acquire(timeout=10)
    child = os.fork()
    if child == 0:
        signal.alarm(100)
        os.write(write, model(inputs(1)[0])[0].tobytes())
        # Letting go of what the parent made must not wait either.
        model.__dict__.clear()
        os._exit(0)
    if is_locked:
        model._lock.release()
    _, status = os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert status == 0 and np.array_equal(np.frombuffer(pipe.read(), np.float32).reshape(expected.shape), expected)
    assert np.array_equal(model(inputs(1)[0])[0], expected)


class _TwoFaced(torch.nn.Module):
    """A module that the tracer refuses: it does something else each time."""

    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x + 1 if self.calls % 2 else x * torch.ones(3)


@pytest.mark.parametrize("module", [torch.nn.Identity(), _TwoFaced()])
def test_a_conversion_leaves_the_programs_logging_alone(module: torch.nn.Module) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), list(root.filters))
    with contextlib.suppress(Exception):
        convert_module(module.eval(), torch.zeros(2, 3))
    assert (root.level, root.handlers, root.filters) == before


def test_networks_are_converted_one_after_the_other() -> None:
    """As many threads as want to: each gets its own network, whole."""
    modules = [torch.nn.Sequential(*[torch.nn.Linear(4, 4) for _ in range(count)]) for count in (2, 3, 4, 5)]
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda module: convert_module(module.eval(), torch.zeros(1, 4)), modules))
    for module, model in zip(modules, models, strict=True):
        x = np.random.default_rng(0).normal(size=(1, 4)).astype(np.float32)
        [found] = CompiledModel(_fixed(model), INFERENCE_PRECISION_HINT="f32")(x)
        np.testing.assert_allclose(found, module(torch.from_numpy(x)).detach().numpy(), atol=1e-5)


def _fixed(model: Any) -> Any:
    model.reshape([1, 4])
    return model
