"""What the head adds to the backbone's time on a CPU: one crop, folded networks, PyTorch and OpenVINO side by side.

The backbone alone gives its maps and pooled feature; the others are whole networks, pixels to vertices, hand model
inside. Rows are measured in turn, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from handmesh.config import ModelConfig
from handmesh.errors import HandMeshError, run_command
from handmesh.io.runtime.cpu_count import available_cores
from handmesh.io.runtime.openvino_loader import CPU_OPTIONS, load_openvino, signal_stack_kept
from handmesh.mano.arrays import load_mano
from handmesh.models.hand_mesh_net import HandMeshNet

#: What the head may add, as a share of the backbone's time.
LIMIT = 0.35
BACKBONE = "backbone alone"


class Features(nn.Module):
    """The first half of a network, pixels to maps."""

    def __init__(self, net: HandMeshNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """images (B, S, S, 3) uint8 -> the maps and the pooled feature."""
        maps, pooled = self.net.features(images)
        return (*maps, pooled)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.benchmarks.head", description=__doc__)
    parser.add_argument("--backbone", default="fastvit_sa12")
    parser.add_argument("--size", type=int, default=224, help="side of the crop in pixels (default 224)")
    parser.add_argument("--width", type=int, default=128, help="channels of the head (default 128)")
    parser.add_argument("--refinements", type=int, default=1, help="most refinements to measure (default 1)")
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--engine", default="both", choices=("both", "torch", "openvino"))
    options = parser.parse_args(argv)
    if min(options.repeats, options.threads) < 1 or options.refinements < 0:
        raise HandMeshError("expected --repeats and --threads of at least 1; see its --help")
    torch.set_num_threads(options.threads)
    print(
        f"{options.backbone}, {options.size} px, one crop, {options.threads} threads; "
        f"the machine's load is {os.getloadavg()[0]:.1f}"
    )
    networks = _networks(options)
    images = np.random.default_rng(0).integers(0, 256, (1, options.size, options.size, 3), dtype=np.uint8)
    for engine, prepare in (("torch", _torch_call), ("openvino", _openvino_call)):
        if options.engine in ("both", engine):
            calls = {name: prepare(net, images, options.threads) for name, net in networks.items()}
            _print(engine, _medians(calls, options.repeats))
    return 0


def _networks(options: argparse.Namespace) -> dict[str, nn.Module]:
    """The rows, every one with weights of its own, folded."""
    mano = load_mano("open")
    base = ModelConfig(options.backbone, image_size=options.size, width=options.width)
    kinds = {
        "pooled head": ModelConfig(options.backbone, image_size=options.size, head="pooled"),
        "aligned head": base,
        **{
            f"aligned head, {count} refinement{'s' * (count > 1)}": ModelConfig(
                options.backbone, image_size=options.size, width=options.width, refinements=count
            )
            for count in range(1, options.refinements + 1)
        },
    }
    whole: dict[str, nn.Module] = {name: HandMeshNet(kind, mano).reparameterize() for name, kind in kinds.items()}
    return {BACKBONE: Features(HandMeshNet(base, mano).reparameterize()), **whole}


def _torch_call(net: nn.Module, images: np.ndarray, threads: int) -> Callable[[], Any]:
    pixels = torch.from_numpy(images)

    def call() -> None:
        with torch.inference_mode():
            net(pixels)

    return call


def _openvino_call(net: nn.Module, images: np.ndarray, threads: int) -> Callable[[], Any]:
    ov = load_openvino()
    with torch.no_grad():
        model = ov.convert_model(torch.export.export(net, (torch.from_numpy(images),)))
    settings = {
        **CPU_OPTIONS, "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads,
    }  # fmt: skip
    with signal_stack_kept():
        request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer({0: images}, share_inputs=True)


def _medians(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each call, the calls taking turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(repeats + 3):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if number >= 3:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def _print(engine: str, medians: dict[str, float]) -> None:
    base = medians[BACKBONE]
    for name, value in medians.items():
        added = value / base - 1
        verdict = "" if name == BACKBONE else f" {added:+7.1%} ({'within' if added <= LIMIT else 'over'} {LIMIT:.0%})"
        print(f"  {f'{engine}, {name}':44} {value:8.2f} ms{verdict}")


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
