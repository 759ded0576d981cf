"""The layer benchmark counts what layers do as the shapes say, and its figures add up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from scripts.benchmarks.layers import by_part, comparison, flop_of, part_of, plot, table


@pytest.mark.parametrize(
    ("kind", "module", "shape"),
    [
        ("Convolution", torch.nn.Conv2d(8, 12, 3, padding=1), (1, 8, 6, 6)),
        ("Convolution", torch.nn.Conv2d(8, 8, 7, padding=3, groups=8), (1, 8, 6, 6)),
        ("FullyConnected", torch.nn.Linear(20, 7), (3, 20)),
        ("FullyConnected", torch.nn.Linear(20, 7), (2, 3, 20)),
    ],
)
def test_operations_are_those_that_pytorch_counts(kind: str, module: Any, shape: tuple[int, ...]) -> None:
    pixels = torch.zeros(shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        output = module(pixels)
    assert flop_of(kind, [list(shape), list(module.weight.shape)], list(output.shape)) == counter.get_total_flops()
    assert flop_of("Softmax", [list(shape)], list(output.shape)) == 0


def test_operations_of_a_batched_product() -> None:
    assert flop_of("MatMul", [[4, 5, 6], [4, 6, 7]], [4, 5, 7]) == 2 * 4 * 5 * 6 * 7
    # OpenVINO's convolutions of groups have weights (G, O, I, h, w).
    assert flop_of("Convolution", [[1, 8, 6, 6], [8, 1, 1, 7, 7]], [1, 8, 6, 6]) == 2 * 8 * 36 * 49


def test_parts_of_the_network() -> None:
    assert part_of("__module.backbone.net.stages.2.blocks.1.mlp.fc1/Convolution", "") == "stage 3"
    assert part_of("x", "__module.backbone.net.stem.0/Convolution") == "stem"
    assert part_of("__module.head.up.mix.0/Convolution", "") == "head"
    assert part_of("__module.mano/Add", "") == "hand model"
    assert part_of("aten::sub", "") == "other"


def test_the_figures_add_up_and_are_drawn(tmp_path: Path) -> None:
    layer = {"name": "__module.head.a", "part": "head", "kind": "MatMul", "kernel": "jit", "flop": 2e6,
             "read_and_written": 4e3, "microseconds": 50.0}  # fmt: skip
    bare = {**layer, "name": "b", "kind": "Softmax", "flop": 0.0, "read_and_written": 8e4, "microseconds": 30.0}
    run = {"name": "x", "precision": "f32", "threads": 1, "milliseconds": 0.07, "gflops": 100.0, "gigabytes": 10.0,
           "layers": [layer, bare]}  # fmt: skip
    # 2 MFLOP at 100 GFLOP/s are 20 us, 80 kB at 10 GB/s are 8.
    assert by_part(run) == {"head, products": (50.0, pytest.approx(20.0)), "head, the rest": (30.0, pytest.approx(8.0))}
    text = table(run, 5)
    assert "0.07 ms a call, 29% of" in text and "roofline is 0.03 ms" in text
    assert "0.14    0.07  ms a call" in comparison({**run, "milliseconds": 0.14}, run)
    pytest.importorskip("matplotlib")
    plot(tmp_path / "p.png", [run, run])
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
