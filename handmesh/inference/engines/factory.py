"""One way to run the network, whatever runs it: crops (uint8) in, numpy arrays out.

How a network gets into one is in pytorch_engine.py, openvino_engine.py and onnx_engine.py: re-parameterized first,
normalisation and hand model inside, one graph from pixels to vertices.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from handmesh.errors import HandMeshError, reason_of
from handmesh.inference.engines.base import (
    ENGINES,
    FILES,
    OPENVINO_PRECISIONS,
    Engine,
    Report,
    choose_device,
)  # fmt: skip

if TYPE_CHECKING:
    from torch import nn

_LOG = logging.getLogger("handmesh")

def make_engine(
    net: nn.Module,
    name: str = "auto",
    device: str = "auto",
    *,
    threads: int = 0,
    keep: bool = False,
    trust_engine_file: bool = False,
    report: Report = _LOG.warning,
) -> Engine:
    """An engine that has run once when it is returned.

    Args:
        net: with ``reparameterize()`` and ``config.image_size``.
        name: a key of :data:`ENGINES`, or a file that ``handmesh export`` made of this network.
        device: "auto", "cpu", "cuda" or "mps"; for PyTorch, and CUDA for ONNX Runtime. OpenVINO runs on the CPU.
        threads: for OpenVINO and ONNX Runtime; 0 = their own choice.
        keep: keep the converted network in the cache folder for a faster start. The hand model is inside it, so this
            is for hands that may be copied.
        trust_engine_file: run a TorchScript file: it is a program, and may do whatever its user may.
        report: is given one line where an engine cannot run and PyTorch does instead.

    Raises:
        HandMeshError: an unknown name or device, a file that is not of this network, a TorchScript file that is not
            trusted, or weights whose output is not finite.
    """
    if name not in ENGINES and Path(name).suffix not in FILES:
        raise HandMeshError(
            f"expected an engine among {', '.join(ENGINES)}, or a file that handmesh export made "
            f"({', '.join(FILES)}), got {name!r}; choose one of them"
        )
    refuse_programs(name, trust_engine_file)
    device = choose_device(device)
    folded: Any = net
    folded.reparameterize()
    if name not in ENGINES:
        return _verified(_from_file(Path(name), folded, threads), folded)
    if name == "auto":
        name = "openvino" if device == "cpu" else "torch"
    try:
        return _verified(_build(name, folded, device, threads, keep, report), folded)
    except Exception as error:  # engines let errors of every kind through
        if name == "torch" and device == "cpu":
            raise HandMeshError(
                f"expected PyTorch to run the network on the CPU, got: {reason_of(error, 160)}; "
                "use another checkpoint"
            ) from error
        reason = reason_of(error, 160)
        report(f"{ENGINES[name]} cannot run the network ({reason}); using PyTorch on the CPU, which is slower")
        return make_engine(net, "torch", "cpu", threads=threads, report=report)


def refuse_programs(name: str, trust_engine_file: bool) -> None:
    """HandMeshError for an engine file that is a program, unless it is trusted; nothing is loaded to know that."""
    if Path(name).suffix == ".pt" and not trust_engine_file:
        raise HandMeshError(
            f"expected an engine file that cannot run programs (.onnx, .xml), got {name}: TorchScript may do whatever "
            "you may; name it with --trust-engine-file (trust_engine_file=True) if you made it yourself"
        )


def _build(name: str, net: Any, device: str, threads: int, keep: bool, report: Report) -> Engine:
    size = net.config.image_size
    if name in OPENVINO_PRECISIONS:
        from handmesh.inference.engines.cache import openvino_file, openvino_model
        from handmesh.inference.engines.openvino_engine import OpenVinoEngine

        name_kept = openvino_file(net, size).stem if keep else ""
        return OpenVinoEngine(openvino_model(net, size, keep), threads, OPENVINO_PRECISIONS[name], name_kept)
    if name == "onnx":
        from handmesh.inference.engines.cache import onnx_bytes
        from handmesh.inference.engines.onnx_engine import OnnxEngine

        return OnnxEngine(onnx_bytes(net, size, keep), threads, device)
    from handmesh.inference.engines.pytorch_engine import TorchEngine

    return TorchEngine(net, device, half=name == "torch-half", compiled=name == "torch-compile", report=report)


def _verified(engine: Engine, net: Any) -> Engine:
    """The engine, after a first run whose numbers are numbers."""
    size = net.config.image_size
    output = engine(np.zeros((1, size, size, 3), np.uint8))
    if not all(np.isfinite(part).all() for part in output):
        raise RuntimeError("its answer to a black picture is not finite")
    return engine


def _from_file(file: Path, net: Any, threads: int) -> Engine:
    """The engine of an exported file, after a check of the file's metadata."""
    from handmesh.inference.engines.exported import open_engine

    engine, metadata = open_engine(file, threads)
    wanted = {"hand_fingerprint": net.hand_fingerprint, "image_size": str(net.config.image_size)}
    for key, value in wanted.items():
        if metadata.get(key) != value:
            raise HandMeshError(
                f"{file}: expected an exported network with {key} {value}, got {metadata.get(key, 'none')}; "
                "export it again from this checkpoint with handmesh export"
            )
    return engine
