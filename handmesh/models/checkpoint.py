"""The file that holds a network: safetensors with a JSON description in its header, never a pickle.

The description says all that is needed to build the network again (config, whether it is folded), what it was trained
on (hand model, data), and how well it did.
"""

from __future__ import annotations

import dataclasses
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from handmesh.config import Config, config_from_dict, config_to_dict
from handmesh.errors import HandMeshError, reason_of
from handmesh.io.files import atomic_path
from handmesh.mano.arrays import ManoArrays, load_mano
from handmesh.models.checkpoint_path import FILE_NAME as FILE_NAME
from handmesh.models.checkpoint_path import HEADER as HEADER
from handmesh.models.checkpoint_path import NEXT_STEP, file_of, find_checkpoint
from handmesh.models.checkpoint_path import hand_fingerprint_of as hand_fingerprint_of
from handmesh.models.detector_net import HandDetectorNet
from handmesh.models.hand_mesh_net import HandMeshNet

#: Arrays of so many numbers and more are halved on request.
_LARGE = 16384
#: Names, shapes and the description of the largest network and its training state are 500 kB; their arrays 1 GB.
_MAX_HEADER_BYTES = 4 * 2**20
_MAX_FILE_BYTES = 2 * 2**30


def save_checkpoint(
    path: str | Path,
    net: HandMeshNet | HandDetectorNet,
    config: Config,
    metrics: dict[str, float] | None = None,
    half: bool = False,
    **description: Any,
) -> None:
    """Write a network, whole or not at all.

    Args:
        path: a .safetensors file, or a folder that is to hold one.
        net: the network.
        config: of the run that made the network.
        metrics: what it scored.
        half: large arrays as float16 (half the size; the small ones stay float32: BatchNorm's, and the first
            layers', on whose few numbers everything else is built).
        description: more for the header (JSON): git revision, data fingerprint, steps, ...

    Raises:
        HandMeshError: the file cannot be written.
    """
    target = file_of(path)
    tensors = {}
    for name, value in net.state_dict().items():
        is_large = value.is_floating_point() and value.dim() >= 2 and value.numel() >= _LARGE
        tensors[name] = value.detach().cpu().to(torch.float16 if half and is_large else value.dtype).contiguous()
    header = {
        **description,
        "version": _version(),
        "hand_fingerprint": net.hand_fingerprint,
        "is_folded": net.is_folded,
        "config": config_to_dict(config),
        "metrics": metrics or {},
    }
    with atomic_path(target) as temporary:
        try:
            save_file(tensors, temporary, {HEADER: json.dumps(header)})
        except SafetensorError as error:  # its own error type hides the system's (disk full)
            raise OSError(str(error)) from error


def load_checkpoint(path: str | Path = "default", mano: ManoArrays | None = None) -> tuple[HandMeshNet, dict[str, Any]]:
    """The network of a file, in evaluation mode, float32, and the file's description.

    Args:
        path: "default" (the weights shipped with the package), a .safetensors file, or a run's folder.
        mano: the hand model; None for the one the checkpoint's config names.

    Raises:
        HandMeshError: no such file, not one of ours, damaged, or made for another hand model.
    """
    file = find_checkpoint(path)
    header, tensors = read_checkpoint(file)
    try:
        # Before anything is built of its numbers: anyone may have written them.
        config: Config = config_from_dict(header["config"])
        hand, is_folded = str(header["hand_fingerprint"]), bool(header["is_folded"])
    except (KeyError, TypeError, AttributeError) as error:
        line = f"{file}: expected a handmesh checkpoint, its header has no {str(error)[:80]}; {NEXT_STEP}"
        raise HandMeshError(line) from error
    except HandMeshError as error:
        raise HandMeshError(f"{file}: {error}; {NEXT_STEP}") from error
    if config.task != "mesh":
        raise HandMeshError(f"{file}: expected a mesh network's checkpoint, got a {config.task}'s; {NEXT_STEP}")
    if mano is None:
        mano = _own_hand(file, config.mano)
    if mano.fingerprint() != hand:
        raise HandMeshError(
            f"{file}: expected the hand model {hand} it was trained with, got {mano.name} ({mano.fingerprint()}); "
            "give that hand model (mano=...), or another checkpoint"
        )
    net = HandMeshNet(dataclasses.replace(config.model, pretrained=False), mano)
    if is_folded:
        net.reparameterize()
    load_weights(net, tensors, file)
    # Settings that the file leaves out have their defaults from here on, for whoever reads the description.
    return net.eval(), {**header, "config": config_to_dict(config)}


def config_of(description: dict[str, Any]) -> Config:
    """The config in a checkpoint's description: what the network is, and the crop it was trained on."""
    config: Config = config_from_dict(description["config"])
    return config


def _own_hand(file: Path, name: str) -> ManoArrays:
    try:
        return load_mano(name)
    except HandMeshError as error:
        # It may be the file's name alone: a checkpoint made to be given away does not say where files lay.
        raise HandMeshError(
            f"{file}: expected the hand model {name} it was trained with, which was not given: {error} (--mano FILE of "
            "the commands, mano=... in Python, or run where that file lies)"
        ) from error


def load_weights(net: nn.Module, tensors: dict[str, torch.Tensor], file: Path) -> None:
    """Put a file's arrays into the network that they are of.

    Args:
        net: of the shape that the file's description asks for.
        tensors: by name, of either precision.
        file: for messages.

    Raises:
        HandMeshError: names, shapes or numbers that no such network has.
    """
    try:
        net.load_state_dict(
            {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
        )
    except RuntimeError as error:
        line = reason_of(error)
        raise HandMeshError(f"{file}: its weights do not fit its own config ({line}); {NEXT_STEP}") from error
    for name, value in net.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise HandMeshError(f"{file}: expected finite weights, got NaN or infinity in {name}; {NEXT_STEP}")


def read_checkpoint(file: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The description and the arrays of a file, as they are there.

    Raises:
        HandMeshError: damaged, or not one of ours.
    """
    try:
        check_safetensors_header(file)
        with safe_open(file, framework="pt") as opened:
            text = (opened.metadata() or {}).get(HEADER)
            if text is None:
                line = f"{file}: expected a handmesh checkpoint, got another safetensors file; {NEXT_STEP}"
                raise HandMeshError(line)
            header = json.loads(text)
            if not isinstance(header, dict):
                raise ValueError("its header holds no description")
            return header, {name: opened.get_tensor(name) for name in opened.keys()}
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        line = reason_of(error)
        raise HandMeshError(
            f"{file}: expected a whole checkpoint, got a damaged or foreign file ({line}); {NEXT_STEP}"
        ) from error


def check_safetensors_header(file: Path) -> None:
    """Look at the lengths a safetensors file begins with before its reader takes them for true.

    Raises:
        OSError: it cannot be read.
        ValueError: cut off, or with a header or a whole that no network of ours has.
    """
    size = file.stat().st_size
    with open(file, "rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
    if size < 8 or length > size - 8:
        raise ValueError("it is cut off")
    if length > _MAX_HEADER_BYTES or size > _MAX_FILE_BYTES:
        raise ValueError(f"a header of {length >> 10} kB in a file of {size >> 20} MB, larger than any network here")


def _version() -> str:
    try:
        return metadata.version("handmesh")
    except metadata.PackageNotFoundError:
        return "unknown"
