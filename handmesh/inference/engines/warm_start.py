"""A later start without PyTorch: a checkpoint that was converted for OpenVINO before is found by what it was made from.

Importing PyTorch and timm and building a network takes seconds that nobody needs once the converted one is in the
cache. cache.py converts, openvino_engine.py runs.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from handmesh.errors import HandMeshError
from handmesh.geometry.crop import CropSettings
from handmesh.inference.engines.base import OPENVINO_PRECISIONS
from handmesh.inference.engines.fingerprint import conversion_fingerprint
from handmesh.inference.engines.integrity import is_intact
from handmesh.inference.engines.openvino_engine import OpenVinoEngine
from handmesh.io.files import cache_dir, write_json
from handmesh.io.runtime.openvino_loader import load_openvino
from handmesh.mano.arrays import ManoArrays
from handmesh.models.checkpoint_path import find_checkpoint

if TYPE_CHECKING:
    from handmesh.inference.engines.base import Engine

_LOG = logging.getLogger("handmesh")

_SUFFIX = ".start.json"
#: Where a driver of an NVIDIA card shows itself; with one, PyTorch is the engine of choice.
_CUDA_SIGNS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg")


def may_start_quickly(engine: str, device: str) -> bool:
    """Whether these words mean OpenVINO on this machine, as far as can be known without PyTorch."""
    if device not in ("auto", "cpu") or engine not in ("auto", *OPENVINO_PRECISIONS):
        return False
    is_cpu_sure = engine in OPENVINO_PRECISIONS or device == "cpu" or sys.platform == "darwin"
    # Elsewhere (Windows) the card has no file to look for.
    return is_cpu_sure or (sys.platform.startswith("linux") and not any(map(os.path.exists, _CUDA_SIGNS)))


def start_quickly(
    checkpoint: str | Path, arrays: ManoArrays, threads: int = 0, engine: str = "auto", crop_size: int = 0
) -> tuple[Engine, CropSettings] | None:
    """The engine of a checkpoint that was converted before.

    Args:
        checkpoint: as of load_checkpoint.
        arrays: the hand model inside it.
        threads: as of :class:`OpenVinoEngine`.
        engine: "auto" or one of OpenVINO's; see :func:`may_start_quickly`.
        crop_size: of the crops that will come first, pixels; 0 for the network's own.

    Returns:
        The engine, and its crops; None where nothing is kept of it.

    Raises:
        HandMeshError: there is no such checkpoint.
    """
    note = _note_of(find_checkpoint(checkpoint), arrays)
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        model, (size, padding, perspective, sizes) = note.with_name(known["model"]), known["crop"]
        crop = CropSettings(int(size), float(padding), bool(perspective), tuple(map(int, sizes)))
        if not is_intact(model):
            return None
        # The cache drops what was not used for long.
        os.utime(model)
        precision = OPENVINO_PRECISIONS.get(engine, "auto")
        runner = OpenVinoEngine(load_openvino().Core().read_model(model), threads, precision, keep=model.stem)
        # As it will be asked: compiling takes a third of a second.
        size = crop_size or crop.image_size
        runner.without_mesh(np.zeros((1, size, size, 3), np.uint8))
        return runner, crop
    except (OSError, RuntimeError, ValueError, TypeError, LookupError, RecursionError):
        # Not there, damaged, or not to be run: the long way makes it anew, or raises with the reason.
        return None


def remember(checkpoint: str | Path, arrays: ManoArrays, net: Any, crop: CropSettings) -> None:
    """Note what the network of a checkpoint became, if it was converted and kept, for :func:`start_quickly`.

    Where the cache folder cannot be written the next start is as slow as this one.

    Args:
        checkpoint: as of load_checkpoint.
        arrays: the hand model inside it.
        net: its network, folded.
        crop: of its checkpoint.
    """
    from handmesh.inference.engines.cache import openvino_file

    model = openvino_file(net, crop.image_size)
    if not model.is_file():
        return
    note = _note_of(find_checkpoint(checkpoint), arrays)
    try:
        write_json(note, {"model": model.name, "crop": astuple(crop)})
        for other in note.parent.glob(f"*{_SUFFIX}"):
            if not other.with_name(json.loads(other.read_text(encoding="utf-8"))["model"]).is_file():
                other.unlink(missing_ok=True)
    except (OSError, HandMeshError, ValueError, KeyError) as error:
        _LOG.debug("the next start is as slow as this one: %s", error)


def _note_of(checkpoint: Path, arrays: ManoArrays) -> Path:
    """A file named by all that decides the converted network: weights, hand, code and converters; none of it loaded."""
    digest = hashlib.sha256(f"{arrays.fingerprint()} {conversion_fingerprint()}".encode())
    digest.update(checkpoint.read_bytes())
    return cache_dir() / "engines" / f"{digest.hexdigest()[:32]}{_SUFFIX}"
