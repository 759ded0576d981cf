"""Networks as OpenVINO models and ONNX graphs, converted once and kept: that takes seconds, reading a tenth of one.

A conversion is named by all that decides it, so that no stale one is read, and kept with its checksum: one whose bytes
are others is made anew.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from handmesh.errors import HandMeshError
from handmesh.inference.engines.base import EngineOutput
from handmesh.inference.engines.fingerprint import conversion_fingerprint
from handmesh.inference.engines.integrity import is_intact, record, record_of
from handmesh.inference.engines.onnx_engine import INPUT, write_onnx
from handmesh.io.files import atomic_path, cache_dir
from handmesh.io.runtime.openvino_loader import convert_module, load_openvino

_LOG = logging.getLogger("handmesh")

#: Conversions kept, of the mesh network and the detector; the least recently used go.
MAX_KEPT = 6


def openvino_model(net: nn.Module, image_size: int, keep: bool) -> Any:
    """The network as an ov.Model: uint8 (B, S, S, 3) in, its fields in order out, batch and size free.

    Args:
        net: folded, normalisation and hand model inside.
        image_size: side S of its crops, pixels, a multiple of 32; of the example that is traced.
        keep: write it to the cache folder and read it from there the next time; where the folder cannot be written it
            is converted each time.
    """
    ov = load_openvino()

    if not keep:
        return _convert(net, image_size)
    file = openvino_file(net, image_size)
    if is_intact(file):
        try:
            os.utime(file)
            return ov.Core().read_model(file)
        except (OSError, RuntimeError) as error:
            _LOG.debug("%s is written anew: %s", file, error)
    model = _convert(net, image_size)
    keep_openvino(model, file)
    return model


def keep_openvino(model: Any, file: Path) -> None:
    """Write an ov.Model to the cache folder; where that cannot be written, it is converted again the next time."""
    try:
        _save(model, file)
    except (OSError, HandMeshError) as error:
        _LOG.debug("the converted network is not kept: %s", error)


def openvino_file(net: nn.Module, image_size: int) -> Path:
    """Where :func:`openvino_model` keeps the network, whether it is there or not."""
    return cache_dir() / "engines" / f"{_key(net, image_size)}.xml"


def onnx_bytes(net: nn.Module, image_size: int, keep: bool) -> bytes:
    """The network as an ONNX graph: uint8 (B, S, S, 3) in, its fields by name out, batch and size free.

    Args:
        net, image_size, keep: as of :func:`openvino_model`.

    Raises:
        HandMeshError: the packages that write ONNX are not installed.
    """
    file = cache_dir() / "engines" / f"{_key(net, image_size)}.onnx"
    if keep and is_intact(file):
        try:
            os.utime(file)
            return file.read_bytes()
        except OSError as error:
            _LOG.debug("%s is written anew: %s", file, error)
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "net.onnx"
        write_onnx(net, [_example(image_size)], [INPUT], EngineOutput._fields, part, getattr(net, "any_size", False))
        content = part.read_bytes()
    if keep:
        try:
            with atomic_path(file) as temporary:
                temporary.write_bytes(content)
            record([file])
            _drop_old(file.parent, "*.onnx")
        except (OSError, HandMeshError) as error:
            _LOG.debug("the converted network is not kept: %s", error)
    return content


def _example(image_size: int) -> torch.Tensor:
    return torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8)


def _convert(net: nn.Module, image_size: int) -> Any:
    with torch.no_grad():
        return convert_module(net.eval(), _example(image_size))


def _save(model: Any, file: Path) -> None:
    """Both files of the model under their names, the one that is looked for last."""
    ov = load_openvino()

    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".new-") as folder:
        part = Path(folder) / file.name
        ov.save_model(model, part, compress_to_fp16=False)
        os.replace(part.with_suffix(".bin"), file.with_suffix(".bin"))
        os.replace(part, file)
    record([file, file.with_suffix(".bin")])
    _drop_old(file.parent, "*.xml")


def _drop_old(folder: Path, pattern: str) -> None:
    kept = sorted(folder.glob(pattern), key=lambda each: each.stat().st_mtime, reverse=True)
    for old in kept[MAX_KEPT:]:
        for gone in (record_of(old), old, old.with_suffix(".bin")):
            gone.unlink(missing_ok=True)


def _key(net: nn.Module, image_size: int) -> str:
    """A name made of all that decides the converted graph: weights, constants, the code and the converters."""
    digest = hashlib.sha256(f"{image_size} {conversion_fingerprint()}".encode())
    for name, value in [*net.state_dict().items(), *net.named_buffers()]:
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]
