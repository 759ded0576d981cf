"""A network together with its losses and the branches that only training has."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from handmesh.config import DetectorLossConfig, LossConfig, TrainConfig
from handmesh.data.sample import Batch
from handmesh.models.auxiliary import DirectVertices, FeatureProjection
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.training.mesh.distillation import Teacher
from handmesh.training.mesh.losses import hand_losses


class LossNet(nn.Module):
    """One forward from a batch to its loss terms, so that a parallel wrapper sees one module.

    Attributes:
        net: what the run is for, and all that it saves as its network.
        branches: parameters that only training has; they are in the run's state and nowhere else.
        features: the maps and the pooled feature of the last forward, kept only while ``keeps_features`` is set.
    """

    def __init__(self, net: HandMeshNet, train: TrainConfig, teacher: Teacher | None = None) -> None:
        """Add the branches that the losses need.

        Args:
            net: the network.
            train: weights of the losses.
            teacher: whose features are compared, where they have a weight.
        """
        super().__init__()
        self.net, self.squared = net, train.squared
        self.branches = nn.ModuleDict()
        if train.loss.direct_vertices > 0:
            self.branches["vertices"] = DirectVertices(net)
        if teacher is not None and train.loss.teacher_features > 0:
            self.branches["features"] = FeatureProjection(net.backbone.channels, teacher.net.backbone.channels)
        self.keeps_features = False
        self.features: list[Tensor] = []

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """A stacked batch -> unweighted loss terms."""
        maps, pooled = self.net.features(batch["image"])
        self.features = [*maps, pooled] if self.keeps_features else []
        output, head = self.net.decode(maps, pooled)
        direct = self.branches["vertices"](head.details, pooled) if "vertices" in self.branches else None
        terms = hand_losses(output, head, batch, batch["image"].shape[1], self.squared, direct)
        if "features" in self.branches:
            terms["teacher_features"] = self.branches["features"](maps, batch["teacher"].maps)
        return terms


def gradient_shares(
    terms: dict[str, Tensor], weights: LossConfig | DetectorLossConfig, features: list[Tensor]
) -> dict[str, float]:
    """How much each weighted term moves the backbone: its gradient's norm at the features over the sum of all.

    The graph stays as it is, for the step's own backward pass.

    Args:
        terms: the unweighted losses by name.
        weights: of the terms.
        features: maps and pooled feature, of the terms' graph.
    """
    norms = {}
    for name, value in terms.items():
        weight = getattr(weights, name)
        if weight == 0 or not value.requires_grad:
            continue
        gradients = torch.autograd.grad(weight * value, features, retain_graph=True, allow_unused=True)
        squares = [g.float().square().sum() for g in gradients if g is not None]
        norms[name] = float(torch.stack(squares).sum().sqrt()) if squares else 0.0
    total = sum(norms.values())
    return {name: norm / total if total > 0 else 0.0 for name, norm in norms.items()}
