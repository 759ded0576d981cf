"""What RepMixer's folding gains by resolution: the same backbone with its token mixers folded and as trained.

The FastViT paper's figure 3 compares RepMixer with pooling; here its own two forms are compared, the difference being
the skip connection and the second branch. Everything else is folded in both.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from timm.models import fastvit
from torch import nn

from handmesh.io.runtime.openvino_loader import CPU_OPTIONS, load_openvino, signal_stack_kept
from handmesh.models.backbone import Backbone


def unfolded_mixers(backbone: Backbone) -> Backbone:
    """A folded copy whose RepMixers alone stay as trained."""
    net = copy.deepcopy(backbone).eval()
    kept = {name: module for name, module in net.named_modules() if isinstance(module, fastvit.RepMixer)}
    for name in kept:
        net.set_submodule(name, nn.Identity())
    net.reparameterize()
    for name, module in kept.items():
        net.set_submodule(name, module)
    return net.eval()


def measure(sides: Sequence[int], variant: str, rounds: int, threads: int) -> dict[str, Any]:
    """Median milliseconds of a picture in OpenVINO by form and side; {} when no side is asked for."""
    if not sides:
        return {}
    torch.manual_seed(0)
    trained = Backbone(variant, with_final=True).eval()
    forms = {
        "as trained": trained,
        "RepMixer as trained": unfolded_mixers(trained),
        "folded": copy.deepcopy(trained).reparameterize(),
    }
    rows = []
    for side in sides:
        runs = {name: _compiled(net, side, threads) for name, net in forms.items()}
        picture = np.random.default_rng(0).normal(size=(1, 3, side, side)).astype(np.float32)
        times: dict[str, list[float]] = {name: [] for name in forms}
        for _ in range(rounds + 1):
            for name, request in runs.items():
                request.infer([picture], share_inputs=True)
                times[name].append(request.latency)
        rows.append({"side": side, **{name: float(np.median(spent[1:])) for name, spent in times.items()}})
    return {"variant": variant, "rows": rows}


class _Tensors(nn.Module):
    """A backbone whose answer is tensors alone, as converters want it."""

    def __init__(self, net: Backbone) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        maps, pooled = self.net(x)
        return (*maps, pooled)


def _compiled(net: Backbone, side: int, threads: int) -> Any:
    ov = load_openvino()

    with torch.no_grad(), warnings.catch_warnings():
        # The tracer warns of its own coming retirement, which is OpenVINO's to handle.
        warnings.simplefilter("ignore")
        model = ov.convert_model(_Tensors(net), example_input=torch.zeros(1, 3, side, side))
    model.reshape([1, 3, side, side])
    options = {**CPU_OPTIONS, "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    with signal_stack_kept():
        return ov.Core().compile_model(model, "CPU", options).create_infer_request()
