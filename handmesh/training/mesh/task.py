"""What is particular to training the mesh network: its samples, its losses, a teacher, its scores."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from handmesh.config import Config
from handmesh.data.gpu_augment import finish
from handmesh.data.loading import HandDataset, SampleSource
from handmesh.data.sample import Batch
from handmesh.evaluation.validation import validate
from handmesh.mano.arrays import load_mano
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.training.mesh.distillation import Teacher
from handmesh.training.mesh.loss_net import LossNet
from handmesh.training.mesh.resizing import resize_crops
from handmesh.training.mesh.visualization import prediction_sheet
from handmesh.training.sources import fingerprint, make_sources
from handmesh.training.start import start_network


class MeshTask:
    """The network that sees crops of hands.

    Attributes:
        source: the samples that are trained on.
        data_fingerprint: a name for them.
        val_data: what is validated on.
        sizes: sides of the crops that the network is trained on, pixels.
        teacher: the network that this one learns from besides, once the losses are made.
    """

    def __init__(self, config: Config, device: torch.device) -> None:
        """Open the samples.

        Args:
            config: of the run.
            device: where the network is.

        Raises:
            HandMeshError: data or hand model that cannot be had.
        """
        self.config, self.device = config, device
        self.sizes = config.train.image_sizes or [config.model.image_size]
        self.mano = load_mano(config.mano)
        self.source: SampleSource
        self.source, val_source = make_sources(config, self.mano)
        self.data_fingerprint = fingerprint(self.source)
        self.val_data: Dataset[Any] = HandDataset(val_source, config, train=False)
        self.teacher: Teacher | None = None

    def make_network(self) -> HandMeshNet:
        """The network as the run begins."""
        return start_network(self.config, self.mano)

    def make_losses(self, net: nn.Module) -> LossNet:
        """The network's losses, and the teacher where the config names one."""
        assert isinstance(net, HandMeshNet)
        self.teacher = Teacher(self.config, self.mano, self.device) if self.config.train.teacher else None
        return LossNet(net, self.config.train, self.teacher)

    @property
    def crop_size(self) -> int:
        """Side of the crops as they are loaded, pixels."""
        return max(*self.sizes, self.teacher.size if self.teacher else 0)

    def training_data(self) -> Dataset[Any]:
        """What is trained on."""
        return HandDataset(self.source, self.config, train=True, size=self.crop_size)

    def prepare(self, batch: Batch, step: int, autocast: AbstractContextManager[None]) -> Batch:
        """A batch on the device as the losses take it.

        Args:
            batch: of crops, or of pictures that are left to the device to cut out.
            step: of the run; steps take the sizes of crops in turn.
            autocast: of the teacher, who labels the batch besides.
        """
        batch, size = finish(batch, self.crop_size), self.sizes[step % len(self.sizes)]
        if self.teacher is None:
            return resize_crops(batch, size)
        with autocast:
            return self.teacher.label(batch, size)

    def validate(self, net: nn.Module, loader: DataLoader[Any]) -> tuple[dict[str, float], float]:
        """The network's scores, and the one of them that is to be small."""
        assert isinstance(net, HandMeshNet)
        scores = validate(net, loader, self.device)
        return scores, scores["pa_mpjpe"]

    def picture(self, net: nn.Module, count: int) -> np.ndarray:
        """Some validation samples with the network's answers (H, W, 3) uint8 RGB."""
        assert isinstance(net, HandMeshNet) and isinstance(self.val_data, HandDataset)
        return prediction_sheet(net, self.mano, self.val_data, count, self.device)
