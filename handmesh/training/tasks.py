"""What a run trains: a task gives the trainer its network, samples, losses and scores."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from handmesh.config import Config


class Task(Protocol):
    """What is particular to one kind of network."""

    source: Any  # has a length: what an epoch walks through
    data_fingerprint: str
    val_data: Dataset[Any]

    def make_network(self) -> nn.Module:
        """The network as the run begins."""
        ...

    def make_losses(self, net: Any) -> Any:
        """A module from a batch to named terms, with ``branches``, ``keeps_features`` and ``features`` as LossNet."""
        ...

    def training_data(self) -> Dataset[Any]:
        """What is trained on, indexed by (epoch, index)."""
        ...

    def prepare(self, batch: Any, step: int, autocast: AbstractContextManager[None]) -> Any:
        """The batch of a step of the run as the losses take it.

        Args:
            batch: of the loader, on the device.
            step: of the run.
            autocast: for a network that has to answer first.
        """
        ...

    def validate(self, net: Any, loader: DataLoader[Any]) -> tuple[dict[str, float], float]:
        """Scores by name, and what is to be small of them."""
        ...

    def picture(self, net: Any, count: int) -> np.ndarray:
        """Some validation samples with the network's answers (H, W, 3) uint8 RGB."""
        ...


def make_task(config: Config, device: torch.device) -> Task:
    """The task that a config names.

    Raises:
        HandMeshError: its data cannot be had.
    """
    if config.task == "mesh":
        from handmesh.training.mesh.task import MeshTask

        return MeshTask(config, device)
    from handmesh.training.detector.task import DetectorTask

    return DetectorTask(config, device)
