"""The network in every engine: milliseconds and spread, share of the machine's float32 matrix-product rate, memory
and load time; and what folding RepMixer gains by resolution.

All that is compared takes turns, round by round, with a float32 matrix product measured in every round: a machine's
speed swings, so ratios within a round are what counts. A network is the whole one, from the uint8 crop to vertices,
hand model inside. "default" is the shipped checkpoint at its own size; other variants have random weights, which cost
the same. Load time and memory are of a new process each, with the converted network in the cache.

  python -m scripts.benchmarks.engines                                        the shipped network, OpenVINO and PyTorch
  python -m scripts.benchmarks.engines --variants default fastvit_sa12 --sizes 256 --precisions float32 int8 \
    --forms folded train
  python -m scripts.benchmarks.engines --repmixer 224 256 384 512 768 1024 --output docs/runtime.md
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from handmesh.config import ModelConfig
from handmesh.errors import CommandParser, HandMeshError, run_command
from handmesh.inference.engines.base import Engine, choose_device
from handmesh.inference.engines.cache import onnx_bytes, openvino_model
from handmesh.io.files import write_json
from handmesh.io.runtime.cpu_count import available_cores
from handmesh.mano.arrays import load_mano
from handmesh.models.backbone import BACKBONES
from handmesh.models.checkpoint import load_checkpoint
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.models.outputs import HandMeshOutput
from scripts.benchmarks import _engines_repmixer, _engines_report

ENGINES = ("openvino", "onnx", "torch", "torch-compile")
PRECISIONS = ("float32", "half", "int8")
#: What there is besides float32; OpenVINO's half is the mixed precision of the engine, float16 without bfloat16.
FURTHER = {("openvino", "half"), ("openvino", "int8"), ("torch", "half")}
FORMS = ("folded", "train")
GEMM_SIDE = 1024


@dataclass
class Case:
    """One network in one engine. Milliseconds a call, one a round."""

    variant: str
    size: int
    engine: str
    precision: str
    form: str
    gflop: float
    milliseconds: list[float] = field(default_factory=list)
    gemm_share: list[float] = field(default_factory=list)
    load_s: float | None = None
    memory_mb: float | None = None
    note: str = ""


def main(argv: Sequence[str]) -> int:
    """Build, take turns, report."""
    options = _parse(argv)
    torch.set_num_threads(options.threads)
    options.device = choose_device(options.device)
    cases = list(_cases(options))
    engines = [(case, engine) for case in cases if (engine := _build(case, options)) is not None]
    gemm = _measure(engines, options)
    if options.load:
        for case in cases:
            _load(case, options)
    repmixer = _engines_repmixer.measure(options.repmixer, options.repmixer_variant, options.rounds, options.threads)
    facts = {
        "threads": options.threads, "device": options.device, "batch": options.batch, "rounds": options.rounds,
        "gemm_gflops": float(np.median(gemm)), "load_average": os.getloadavg()[0], "torch": torch.__version__,
        "processor": _processor(),
    }  # fmt: skip
    text = _engines_report.table(facts, [asdict(case) for case in cases], repmixer)
    print(text)
    if options.json:
        content = {"facts": facts, "cases": [asdict(case) for case in cases], "repmixer": repmixer}
        write_json(options.json, content, indent=1)
    if options.output:
        words = " ".join(["scripts/benchmarks/run.py", "runtime", *argv])
        _engines_report.write(Path(options.output), words, facts, [asdict(case) for case in cases], repmixer, text)
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m scripts.benchmarks.engines", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--variants", nargs="+", default=["default"], metavar="V", help="default, fastvit_t8, ...")
    parser.add_argument("--sizes", nargs="+", type=int, default=[256], metavar="PX", help="of variants but default")
    parser.add_argument("--engines", nargs="+", default=["openvino", "torch"], choices=ENGINES)
    parser.add_argument("--precisions", nargs="+", default=["float32"], choices=PRECISIONS)
    parser.add_argument("--forms", nargs="+", default=["folded"], choices=FORMS, help="re-parameterized, as trained")
    parser.add_argument("--batch", type=int, default=1, choices=(1, 2), help="crops a call (1)")
    parser.add_argument("--rounds", type=int, default=20, help="turns (20)")
    parser.add_argument("--calls", type=int, default=20, help="calls a turn, their median counts (20)")
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--device", default="cpu", help="of PyTorch and ONNX Runtime: cpu, cuda, mps (cpu)")
    parser.add_argument("--no-load", dest="load", action="store_false", help="leave load time and memory out")
    parser.add_argument("--repmixer", nargs="*", type=int, default=[], metavar="PX", help="sides for RepMixer's gain")
    parser.add_argument("--repmixer-variant", default="fastvit_sa12", choices=BACKBONES)
    parser.add_argument("--output", metavar="FILE.md", help="write table and plot (images/runtime.png beside it)")
    parser.add_argument("--json", metavar="FILE", help="write every figure")
    options = parser.parse_args(argv)
    wrong = [name for name in options.variants if name != "default" and name not in BACKBONES]
    if wrong or min(options.rounds, options.calls, options.threads) < 1:
        raise HandMeshError(
            f"expected variants among default, {', '.join(BACKBONES)} and counts above 0, got {' '.join(argv)}"
        )
    if any(side % 32 or side < 32 for side in [*options.sizes, *options.repmixer]):
        raise HandMeshError(f"expected sizes that are multiples of 32, got {' '.join(argv)}; for example 256")
    return options


def _cases(options: argparse.Namespace) -> Iterator[Case]:
    for variant in options.variants:
        for size in options.sizes if variant != "default" else [0]:
            net = make_network(variant, size)
            gflop = flops(net.reparameterize()) / 1e9
            for engine in options.engines:
                for precision in options.precisions:
                    if precision == "float32" or (engine, precision) in FURTHER:
                        for form in options.forms if precision == "float32" else ["folded"]:
                            yield Case(variant, net.config.image_size, engine, precision, form, gflop)


def make_network(variant: str, size: int) -> HandMeshNet:
    """The shipped network, or one of random weights at a size, in its training form."""
    if variant == "default":
        return load_checkpoint("default")[0]
    torch.manual_seed(0)
    return HandMeshNet(ModelConfig(backbone=variant, image_size=size), load_mano("open")).eval()


def flops(net: HandMeshNet) -> float:
    """Floating-point operations (a multiply and an add are two) of convolutions and matrix products for one crop."""
    from torch.utils.flop_counter import FlopCounterMode

    size = net.config.image_size
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, size, size, 3, dtype=torch.uint8))
    return float(counter.get_total_flops())


def _build(case: Case, options: argparse.Namespace) -> Engine | None:
    """The engine of a case; None, and a note, where it cannot run here."""
    try:
        return build_engine(case.variant, case.size, case.engine, case.precision, case.form, options)
    except Exception as error:  # noqa: BLE001 - engines let errors of every kind through; others are worth a figure
        case.note = " ".join(str(error).split())[:100]
        print(f"{case.variant} {case.size} px in {case.engine}: {case.note}", file=sys.stderr)
        return None


def build_engine(
    variant: str, size: int, engine: str, precision: str, form: str, options: argparse.Namespace
) -> Engine:
    """The engine itself, without the fallback that would measure another one."""
    from handmesh.inference.engines.onnx_engine import OnnxEngine
    from handmesh.inference.engines.openvino_engine import OpenVinoEngine
    from handmesh.inference.engines.pytorch_engine import TorchEngine
    from handmesh.io.runtime.cpu_features import has_bfloat16

    net: Any = make_network(variant, size)
    if form == "folded":
        net.reparameterize()
    size = net.config.image_size
    if engine == "openvino":
        model = _quantized(net) if precision == "int8" else openvino_model(net, size, keep=False)
        hint = {"half": "mixed" if has_bfloat16() else "f16"}.get(precision, "f32")
        return OpenVinoEngine(model, options.threads, hint)
    if engine == "onnx":
        return OnnxEngine(onnx_bytes(net, size, keep=False), options.threads, options.device)
    return TorchEngine(net, options.device, half=precision == "half", compiled=engine == "torch-compile")


def _quantized(net: HandMeshNet) -> Any:
    from handmesh.inference.export.formats import Graph, openvino_graph
    from handmesh.inference.export.quantization import quantize

    size = net.config.image_size
    # Ranges of noise: the error is export's to measure, the speed is the same.
    noise = np.random.default_rng(0).integers(0, 256, (8, size, size, 3), dtype=np.uint8)
    return quantize(openvino_graph(Graph(net, size, {}, HandMeshOutput._fields, {})), noise, [])


def _measure(engines: list[tuple[Case, Engine]], options: argparse.Namespace) -> list[float]:
    """Fill in milliseconds and shares; the matrix product's GFLOP/s, one a round."""
    left = torch.randn(GEMM_SIDE, GEMM_SIDE)
    product = torch.empty_like(left)
    rng = np.random.default_rng(0)
    crops = {
        case.size: rng.integers(0, 256, (options.batch, case.size, case.size, 3), dtype=np.uint8) for case, _ in engines
    }
    for case, engine in engines:
        for _ in range(3):
            engine(crops[case.size])
    rates = []
    for turn in range(options.rounds + 1):
        seconds = min(timed(lambda: torch.mm(left, left, out=product), 5))
        rate = 2 * GEMM_SIDE**3 / seconds / 1e9
        for case, engine in engines:
            spent = float(np.median(timed(partial(engine, crops[case.size]), options.calls)))
            if turn:  # the first warms up
                case.milliseconds.append(1e3 * spent)
                case.gemm_share.append(options.batch * case.gflop / spent / rate)
        rates.append(rate)
    return rates[1:]


def timed(call: Callable[[], object], count: int) -> list[float]:
    """Seconds of each of ``count`` calls."""
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


_LOAD = """
import json, pathlib, resource, sys, time
sys.path[:0] = json.loads(sys.argv[1])
from scripts.benchmarks.engines import make_network
variant, size, name, threads, device = sys.argv[2:]
net = make_network(variant, int(size))
from handmesh.inference.engines.factory import make_engine
start = time.perf_counter()
lines = []
make_engine(net, name, device, threads=int(threads), keep=True, report=lines.append)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1 << 20)
status = pathlib.Path("/proc/self/status")
if status.is_file():  # on Linux ru_maxrss also counts what the parent was when it forked
    peak = int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
print(json.dumps({"load_s": time.perf_counter() - start, "memory_mb": peak, "note": " ".join(lines)}))
"""


def _load(case: Case, options: argparse.Namespace) -> None:
    """Load time of the engine alone, from a warm cache, and the largest memory of a process that does nothing else."""
    if case.form != "folded" or case.precision == "int8" or (case.engine, case.precision) == ("openvino", "half"):
        return
    name = case.engine + ("-half" if case.precision == "half" else "")
    words = [json.dumps(sys.path), case.variant, str(case.size), name, str(options.threads), options.device]
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", _LOAD, *words], capture_output=True, text=True,
                env={**os.environ, "HANDMESH_HOME": cache},
            )  # fmt: skip
    if done.returncode:
        case.note = (done.stderr.strip().splitlines() or ["the loading process failed"])[-1][:100]
        return
    answer = json.loads(done.stdout.splitlines()[-1])
    case.load_s, case.memory_mb, case.note = answer["load_s"], answer["memory_mb"], answer["note"]


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
