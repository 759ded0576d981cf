"""All that a run needs to go on as if it had never stopped, in one safetensors file: no pickle, never half-written.

Weights, their moving average, the optimizer, how far the run is. What is random in training is a function of
(seed, step) or (seed, epoch, index), so no generator's state needs keeping.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from handmesh.errors import HandMeshError
from handmesh.io.files import atomic_path
from handmesh.models.checkpoint import check_safetensors_header

HEADER = "handmesh_state"


@dataclass
class Progress:
    """How far a run is. elapsed_s: seconds of training so far, over all its pieces. best: lowest PA-MPJPE in mm."""

    step: int = 0
    elapsed_s: float = 0.0
    best: float = float("inf")


def save_state(
    path: Path,
    net: nn.Module,
    ema: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    config: dict[str, Any],
    branches: nn.Module | None = None,
    scaler: dict[str, Any] | None = None,
) -> None:
    """Write the state, whole or not at all.

    Args:
        path: the file.
        net: the network.
        ema: its moving average.
        optimizer: of the run.
        progress: how far the run is.
        config: of the run, so that it is continued under the same settings.
        branches: parameters that only training has.
        scaler: numbers of the loss scaling that fp16 needs.

    Raises:
        HandMeshError: the file cannot be written.
    """
    tensors = {f"net.{name}": value for name, value in net.state_dict().items()}
    tensors.update({f"ema.{name}": value for name, value in ema.state_dict().items()})
    if branches is not None:
        tensors.update({f"branches.{name}": value for name, value in branches.state_dict().items()})
    for index, values in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in values.items()})
    # Tensors that share memory cannot be saved, so each is copied.
    copies = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    header = {"progress": asdict(progress), "config": config, "scaler": scaler or {}}
    with atomic_path(path) as temporary:
        try:
            save_file(copies, temporary, {HEADER: json.dumps(header)})
        except SafetensorError as error:  # its own error type hides the system's (disk full)
            raise OSError(str(error)) from error


def load_state(
    path: Path,
    net: nn.Module,
    ema: nn.Module,
    optimizer: torch.optim.Optimizer,
    branches: nn.Module | None = None,
    scaler: Any = None,
) -> tuple[Progress, dict[str, Any]]:
    """Put a saved state back into what is given.

    Args:
        path: the file.
        net, ema, optimizer, branches, scaler: as of :func:`save_state`; the scaler is GradScaler itself.

    Returns:
        The progress, and the config it was saved with.

    Raises:
        HandMeshError: no such file, damaged, or of another network.
    """
    if not path.is_file():
        raise HandMeshError(f"expected a run to resume, got none: there is no {path}; start it with resume=false")
    try:
        check_safetensors_header(path)
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[HEADER])
            progress, config = Progress(**header["progress"]), dict(header["config"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise HandMeshError(
            f"{path}: expected a run's state, got a damaged or foreign file; start with resume=false"
        ) from error
    try:
        net.load_state_dict(_part(tensors, "net."))
        ema.load_state_dict(_part(tensors, "ema."))
        if branches is not None:
            branches.load_state_dict(_part(tensors, "branches."))
        if scaler is not None and header.get("scaler"):
            scaler.load_state_dict(header["scaler"])
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _part(tensors, "optimizer.").items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise HandMeshError(
            f"{path}: expected the state of this config's network, got another's; "
            "resume with the config the run was started with, or give another output folder"
        ) from error
    return progress, config


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
