"""The network layer by layer in OpenVINO: each layer's time beside what its arithmetic and its memory traffic allow.

The time is the counter of OpenVINO's CPU plugin, the median of many calls. A layer cannot be faster than its
floating-point operations at the rate of a large float32 matrix product, nor than its bytes (inputs, weights, outputs,
each once) at the rate at which an array as large as the network's weights is read. The larger of both is its roofline.
Counters cost time of their own: the sum of the layers is more than a call without them, which is printed too.

  python -m scripts.benchmarks.layers                                     the shipped network, float32
  python -m scripts.benchmarks.layers --precision bf16
  python -m scripts.benchmarks.layers --file model.xml --json after.json  an exported file (float32 or int8)
  python -m scripts.benchmarks.layers --before before.json --plot layers.png
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from handmesh.errors import CommandParser, HandMeshError, run_command
from handmesh.io.files import atomic_path, write_json
from handmesh.io.runtime.cpu_count import available_cores
from handmesh.io.runtime.openvino_loader import CPU_OPTIONS, load_openvino, signal_stack_kept

GEMM_SIDE = 512
#: Layers that multiply: their floating-point operations are counted, those of others are not worth it.
_PRODUCTS = ("Convolution", "GroupConvolution", "FullyConnected", "MatMul")


@dataclass
class Layer:
    """One kernel that ran. Microseconds, the median over the calls."""

    name: str
    part: str
    kind: str
    kernel: str
    flop: float
    read_and_written: float
    microseconds: float = 0.0

    def bound_us(self, gflops: float, gigabytes: float) -> float:
        """The least time: of the arithmetic at ``gflops``, and of the bytes at ``gigabytes`` a second."""
        return max(self.flop / gflops, self.read_and_written / gigabytes) / 1e3


def main(argv: Sequence[str]) -> int:
    """Compile with counters, run, print, write."""
    parser = CommandParser(prog="python -m scripts.benchmarks.layers", description=__doc__)
    parser.add_argument("--checkpoint", default="default")
    parser.add_argument("--file", type=Path, metavar="FILE.xml", help="an exported network in the checkpoint's place")
    parser.add_argument("--precision", default="f32", choices=("f32", "bf16", "f16"), help="of the arithmetic")
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--most", type=int, default=25, help="layers to print, the slowest first (25)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--before", type=Path, help="a file of --json to compare with")
    parser.add_argument("--plot", type=Path, help="write a picture: time by part beside its roofline")
    options = parser.parse_args(argv)
    if min(options.threads, options.calls) < 1:
        raise HandMeshError("expected --threads and --calls of 1 or more")
    result = measure(options)
    print(table(result, options.most))
    before = json.loads(options.before.read_text(encoding="utf-8")) if options.before else None
    if before:
        print(comparison(before, result))
    if options.json:
        write_json(options.json, result)
    if options.plot:
        plot(options.plot, [run for run in (before, result) if run])
    return 0


def measure(options: Any) -> dict[str, Any]:
    """The layers, the machine's two rates, and a call's time without counters."""
    ov = load_openvino()
    model, size = _model(options)
    model.reshape([1, size, size, 3])
    hints = {
        **CPU_OPTIONS, "INFERENCE_PRECISION_HINT": options.precision, "INFERENCE_NUM_THREADS": options.threads,
    }  # fmt: skip
    with signal_stack_kept():
        counted = ov.Core().compile_model(model, "CPU", {**hints, "PERF_COUNT": True})
        plain = ov.Core().compile_model(model, "CPU", hints)
    pixels = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    layers = {layer.name: layer for layer in map(layer_of, counted.get_runtime_model().get_ordered_ops()) if layer}
    spent: dict[str, list[float]] = {name: [] for name in layers}
    with_counters, without = counted.create_infer_request(), plain.create_infer_request()
    whole = []
    for number in range(options.calls + 20):
        start = time.perf_counter()
        without.infer([pixels])
        whole.append(time.perf_counter() - start)
        with_counters.infer([pixels])
        if number < 20:
            continue
        for each in with_counters.profiling_info:
            if each.node_name in spent and each.status == each.Status.EXECUTED:
                spent[each.node_name].append(1e6 * each.real_time.total_seconds())
    for name, times in spent.items():
        layers[name].microseconds = float(np.median(times)) if times else 0.0
    gflops, gigabytes = machine_rates(options.threads)
    return {
        "name": str(options.file or options.checkpoint), "precision": options.precision, "threads": options.threads,
        "milliseconds": 1e3 * float(np.median(whole[20:])), "gflops": gflops, "gigabytes": gigabytes,
        "layers": [asdict(layer) for layer in layers.values() if layer.microseconds],
    }  # fmt: skip


def _model(options: Any) -> tuple[Any, int]:
    """The ov.Model, and the side of its crops in pixels."""
    if options.file:
        model = load_openvino().Core().read_model(options.file)
        return model, model.inputs[0].partial_shape[1].get_length()
    from handmesh.inference.engines.cache import openvino_model
    from handmesh.models.checkpoint import load_checkpoint

    net = load_checkpoint(options.checkpoint)[0].reparameterize()
    return openvino_model(net, net.config.image_size, keep=False), net.config.image_size


def layer_of(node: Any) -> Layer | None:
    """What a node of OpenVINO's runtime graph does; None for inputs and constants."""
    facts = {key: _word(value) for key, value in node.get_rt_info().items()}
    kind = facts.get("layerType", "")
    if kind in ("Input", "Const", "Output", "Result", ""):
        return None
    inputs = [(list(port.get_shape()), port.get_element_type().size) for port in node.inputs()]
    outputs = [(list(port.get_shape()), port.get_element_type().size) for port in node.outputs()]
    traffic = float(sum(math.prod(shape) * width for shape, width in [*inputs, *outputs]))
    flop = flop_of(kind, [shape for shape, _ in inputs], outputs[0][0]) if outputs and inputs else 0.0
    name = node.get_friendly_name()
    return Layer(name, part_of(name, facts.get("originalLayersNames", "")), kind, facts["primitiveType"], flop, traffic)


def _word(value: Any) -> str:
    return str(value.value if hasattr(value, "value") else value)


def flop_of(kind: str, inputs: list[list[int]], output: list[int]) -> float:
    """Floating-point operations of a layer that multiplies (a multiply and an add are two); 0 of any other.

    Args:
        kind: of the layer, as OpenVINO has it.
        inputs: their shapes; of a convolution the second are its weights, (O, I, h, w) or (G, O, I, h, w).
        output: its shape.
    """
    if kind not in _PRODUCTS or len(inputs) < 2:
        return 0.0
    if kind in ("Convolution", "GroupConvolution"):
        # Of every output: all weights of its channel.
        return 2.0 * math.prod(output) * math.prod(inputs[1]) / output[1]
    inner = math.prod(inputs[0]) / (math.prod(inputs[0][:-2]) * output[-2]) if len(output) > 1 else inputs[0][-1]
    return 2.0 * math.prod(output) * inner


def part_of(name: str, originals: str) -> str:
    """The part of the network that a layer belongs to: "stem", "stage 2", "head", "hand model", "other"."""
    words = f"{name} {originals}"
    stage = re.search(r"stages\.(\d)", words)
    if stage:
        return f"stage {int(stage[1]) + 1}"
    for key, part in (("backbone.net.stem", "stem"), (".mano", "hand model"), (".head", "head")):
        if key in words:
            return part
    return "other"


def machine_rates(threads: int) -> tuple[float, float]:
    """GFLOP/s of a float32 matrix product, and GB/s at which an array of 16 MB is read, with so many threads."""
    import torch

    torch.set_num_threads(threads)
    left = torch.randn(GEMM_SIDE, GEMM_SIDE)
    out, values = torch.empty_like(left), torch.randn(4 << 20)
    product_s = _quickest(lambda: torch.mm(left, left, out=out))
    read_s = _quickest(values.max)
    return 2 * GEMM_SIDE**3 / product_s / 1e9, 4 * len(values) / read_s / 1e9


def _quickest(call: Callable[[], object], count: int = 40) -> float:
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _layers(result: dict[str, Any]) -> list[Layer]:
    return [Layer(**each) for each in result["layers"]]


def _bound_us(result: dict[str, Any], layers: Iterable[Layer]) -> float:
    return sum(layer.bound_us(result["gflops"], result["gigabytes"]) for layer in layers)


def by_part(result: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Microseconds and their roofline by part and by what a layer does, the slowest first."""
    groups: dict[str, list[Layer]] = {}
    for layer in _layers(result):
        what = "depthwise" if "_dw_" in layer.kernel else "products" if layer.kind in _PRODUCTS else "the rest"
        groups.setdefault(f"{layer.part}, {what}", []).append(layer)
    rows = {name: (sum(each.microseconds for each in each_group), _bound_us(result, each_group))
            for name, each_group in groups.items()}  # fmt: skip
    return dict(sorted(rows.items(), key=lambda row: -row[1][0]))


def table(result: dict[str, Any], most: int) -> str:
    """The slowest layers, and the parts, as text.

    Args:
        result: of :func:`measure`.
        most: layers to show.
    """
    layers = sorted(_layers(result), key=lambda layer: -layer.microseconds)
    total = sum(layer.microseconds for layer in layers)
    gflop = sum(layer.flop for layer in layers) / 1e9
    share = gflop / (1e-3 * result["milliseconds"]) / result["gflops"]
    lines = [
        f"{result['name']}, {result['precision']}, {result['threads']} threads: {result['milliseconds']:.2f} ms a "
        f"call, {share:.0%} of the matrix product's {result['gflops']:.0f} GFLOP/s; reading 16 MB "
        f"{result['gigabytes']:.0f} GB/s",
        f"{len(layers)} layers take {total / 1e3:.2f} ms with counters; their roofline is "
        f"{_bound_us(result, layers) / 1e3:.2f} ms",
        "",
        f"{'us':>7} {'roofline':>8} {'GFLOP/s':>8} {'flop/byte':>9}  layer",
    ]
    for layer in layers[:most]:
        bound = layer.bound_us(result["gflops"], result["gigabytes"])
        lines.append(
            f"{layer.microseconds:7.0f} {bound:8.0f} {layer.flop / layer.microseconds / 1e3:8.0f} "
            f"{layer.flop / layer.read_and_written:9.1f}  {layer.kind} {layer.kernel} {layer.name[-70:]}"
        )
    lines += ["", f"{'us':>7} {'roofline':>8}  part"]
    lines += [f"{spent:7.0f} {bound:8.0f}  {name}" for name, (spent, bound) in by_part(result).items()]
    return "\n".join(lines)


def comparison(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Parts before and after, as text."""
    old, new = by_part(before), by_part(after)
    lines = ["", f"{'before':>7} {'after':>7}  part, us"]
    for name in sorted({*old, *new}, key=lambda each: -old.get(each, (0.0, 0.0))[0]):
        lines.append(f"{old.get(name, (0.0, 0.0))[0]:7.0f} {new.get(name, (0.0, 0.0))[0]:7.0f}  {name}")
    lines.append(f"{before['milliseconds']:7.2f} {after['milliseconds']:7.2f}  ms a call without counters")
    return "\n".join(lines)


def plot(file: Path, runs: list[dict[str, Any]]) -> None:
    """A picture: left the time of each part beside its roofline, right every layer's rate over its flop per byte.

    Args:
        file: the picture to write.
        runs: one result of :func:`measure`, or before and after.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (bars, roof) = pyplot.subplots(1, 2, figsize=(13, 5.2))
    colors = ["#bbbbbb", "#4477aa"][-len(runs) :]
    labels = ["before", "now"][-len(runs) :]
    names = list(by_part(runs[0]))
    names += [name for name in by_part(runs[-1]) if name not in names]
    places = np.arange(len(names))[::-1]
    height = 0.8 / len(runs)
    for index, (run, color, label) in enumerate(zip(runs, colors, labels, strict=True)):
        values = by_part(run)
        at = places + height * ((len(runs) - 1) / 2 - index)
        bars.barh(at, [values.get(name, (0, 0))[0] for name in names], height, color=color, label=label)
        if run is runs[-1]:
            bars.barh(at, [values.get(name, (0, 0))[1] for name in names], height, color="#cc3311", label="roofline")
    bars.set_yticks(places, names, fontsize=8)
    bars.set(xlabel="microseconds by OpenVINO's counters", title="time by part")
    bars.legend(frameon=False)
    last = runs[-1]
    intensity = np.geomspace(0.1, 300, 50)
    roof.plot(intensity, np.minimum(last["gflops"], intensity * last["gigabytes"]), color="#cc3311", label="roofline")
    for run, color, label in zip(runs, colors, labels, strict=True):
        layers = [layer for layer in _layers(run) if layer.flop]
        roof.scatter(
            [layer.flop / layer.read_and_written for layer in layers],
            [layer.flop / layer.microseconds / 1e3 for layer in layers],
            s=[max(4.0, layer.microseconds) for layer in layers], color=color, alpha=0.6, label=label,
        )  # fmt: skip
    roof.set(
        xscale="log", yscale="log", xlabel="floating-point operations a byte", ylabel="GFLOP/s",
        title=f"each layer that multiplies; its area is its time ({last['threads']} threads)",
    )  # fmt: skip
    roof.set_ylim(1, 2 * last["gflops"])
    roof.legend(frameon=False, loc="lower right")
    figure.tight_layout()
    with atomic_path(file) as temporary:
        figure.savefig(temporary, dpi=100)
    pyplot.close(figure)


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
