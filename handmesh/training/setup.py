"""The optimizer and its schedule, timm's both, from a config."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn

from handmesh.config import Config
from handmesh.errors import HandMeshError
from handmesh.io.runtime.cpu_features import has_bfloat16


def make_optimizer(net: nn.Module, config: Config, branches: nn.Module | None = None) -> torch.optim.Optimizer:
    """timm's optimizer of that name; no weight decay on norms, biases and layer scales.

    Args:
        net: the network.
        config: of the run.
        branches: what only training has. Its parameters come after the network's, whose numbers stay the same.

    Raises:
        HandMeshError: timm has no such optimizer.
    """
    from timm.optim import create_optimizer_v2, param_groups_weight_decay

    train = config.train
    scales = [name for name, _ in net.named_parameters() if name.endswith("gamma")]
    groups = param_groups_weight_decay(net, train.weight_decay, no_weight_decay_list=scales)
    if branches is not None and any(True for _ in branches.parameters()):
        groups += param_groups_weight_decay(branches, train.weight_decay)
    extra: dict[str, Any] = {"fused": True} if train.optimizer == "adamw" else {}
    if "muon" in train.optimizer:
        _orthogonalise_where_it_is_fast()
    try:
        return create_optimizer_v2(groups, train.optimizer, lr=train.learning_rate, weight_decay=0.0, **extra)
    except (AssertionError, ValueError) as error:
        raise HandMeshError(
            f"expected train.optimizer to be one of timm's, got {train.optimizer!r}; try adamw"
        ) from error


def _orthogonalise_where_it_is_fast() -> None:
    """Let timm's Muon find its directions in float32 on CPUs that are slow at bfloat16, for which it has no option."""
    from timm.optim import muon

    inner = muon.zeropower_via_newtonschulz
    if hasattr(inner, "__wrapped__"):
        return

    @functools.wraps(inner)
    def outer(G: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        if G.device.type == "cpu" and not has_bfloat16():
            options.setdefault("dtype", torch.float32)
        return inner(G, *args, **options)

    muon.zeropower_via_newtonschulz = outer


def make_scheduler(optimizer: torch.optim.Optimizer, config: Config) -> Any:
    """timm's schedule by step: a linear warm-up, then a cosine to zero, or a tenth at each of ``decay_at``."""
    from timm.scheduler import CosineLRScheduler, MultiStepLRScheduler

    train = config.train
    warm: dict[str, Any] = {
        "warmup_t": min(train.warmup_steps, train.steps // 2),
        "warmup_lr_init": train.learning_rate * 1e-2,
    }
    if train.schedule == "cosine":
        return CosineLRScheduler(
            optimizer, t_initial=train.steps, lr_min=train.learning_rate * 1e-3, t_in_epochs=False, **warm
        )
    at = [int(train.steps * share) for share in train.decay_at]
    return MultiStepLRScheduler(optimizer, decay_t=at, decay_rate=0.1, t_in_epochs=False, **warm)


def set_training(model: nn.Module, frozen_batch_norm: bool) -> None:
    """Training mode; with frozen BatchNorms those keep their running statistics."""
    model.train()
    if frozen_batch_norm:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
