"""Files that ``handmesh export`` made, opened as engines: their metadata, and what runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from handmesh.errors import HandMeshError, reason_of
from handmesh.inference.engines.base import Engine
from handmesh.io.runtime.openvino_loader import load_openvino

#: Under this name a format that has sections keeps our description.
SECTION = "handmesh"
TORCHSCRIPT_ENTRY = "handmesh.json"


def open_engine(file: Path, threads: int = 0) -> tuple[Engine, dict[str, str]]:
    """The engine of a .xml, .onnx or .pt file, and the file's description.

    Raises:
        HandMeshError: no such file, or one that its own runtime cannot read.
    """
    if not file.is_file():
        raise HandMeshError(f"expected an exported network, got {file}: no such file; make it with handmesh export")
    readers = {".xml": _openvino, ".onnx": _onnx, ".pt": _torchscript}
    try:
        engine, metadata = readers[file.suffix](file, threads)
        # Verified, and in an older file made, for crops of the network's own size alone.
        engine.any_size = False
        return engine, metadata
    except (RuntimeError, ValueError, OSError, IndexError) as error:
        line = reason_of(error)
        raise HandMeshError(
            f"{file}: expected an exported network, could not read it ({line}); make it again with handmesh export"
        ) from error


def _openvino(file: Path, threads: int) -> tuple[Engine, dict[str, str]]:
    from handmesh.inference.engines.openvino_engine import OpenVinoEngine

    model = load_openvino().Core().read_model(file)
    metadata = openvino_description(model)
    _expect_hand(file, metadata)
    # As it was verified when it was written.
    return OpenVinoEngine(model, threads, "f32"), metadata


def openvino_description(model: Any) -> dict[str, str]:
    """The metadata of an exported ov.Model; {} for a foreign one."""
    if not model.has_rt_info([SECTION]):
        return {}
    return {key: str(value) for key, value in model.get_rt_info([SECTION]).value.items()}


def _onnx(file: Path, threads: int) -> tuple[Engine, dict[str, str]]:
    from handmesh.inference.engines.onnx_engine import OnnxEngine

    try:
        engine = OnnxEngine(str(file), threads)
    except HandMeshError:
        raise
    except Exception as error:  # onnxruntime's errors share no class
        raise RuntimeError(str(error)) from error
    metadata = dict(engine.session.get_modelmeta().custom_metadata_map)
    _expect_hand(file, metadata)
    return engine, metadata


def _torchscript(file: Path, threads: int) -> tuple[Engine, dict[str, str]]:
    from handmesh.inference.engines.pytorch_engine import TorchEngine

    module, metadata = load_torchscript(file)
    _expect_hand(file, metadata)
    engine = TorchEngine(module)
    engine.name = "TorchScript CPU"
    return engine, metadata


def load_torchscript(file: Path) -> tuple[Any, dict[str, str]]:
    """A TorchScript module and its description."""
    import warnings

    extra = {TORCHSCRIPT_ENTRY: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch speaks of TorchScript's retirement at every call
        module = torch.jit.load(str(file), map_location="cpu", _extra_files=extra)
    return module, json.loads(extra[TORCHSCRIPT_ENTRY] or "{}")


def _expect_hand(file: Path, metadata: dict[str, str]) -> None:
    if metadata.get("contains_hand") != "yes":
        raise HandMeshError(
            f"{file}: expected a network with its hand inside, got "
            f"{'the parameter network alone' if metadata else 'a file of another program'}; "
            "use --engine auto with the checkpoint, or export it with --with-hand"
        )
