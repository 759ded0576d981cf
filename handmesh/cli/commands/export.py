"""``handmesh export``: options in; a verified file and a few lines of what it is out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from handmesh.cli.progress import Progress
from handmesh.errors import CommandParser, HandMeshError

if TYPE_CHECKING:
    from handmesh.inference.export.exporter import Exported

ABOUT = """\
Turn a checkpoint into a file for another runtime: uint8 crops in, vertices, joints, rotations and the rest out. The
file is read back and compared on 16 pictures with the checkpoint in its training form; one that differs by more than
the bound is not kept.

  --format onnx                                 model.onnx; demo/onnx_example.py runs it with onnxruntime and numpy
  --format openvino --output out/hand.xml       hand.xml and hand.bin; runs here too: --engine out/hand.xml
  --format openvino --int8 --pictures photos/   eight bits, ranges measured on your own photos
  --format coreml                               written and converted anywhere, run and verified only on a Mac
  --format torchscript
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, export, print what came of it."""
    parser = CommandParser(
        prog="handmesh export", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--format", required=True, choices=("onnx", "openvino", "torchscript", "coreml"))
    parser.add_argument("--output", metavar="FILE", help="default: model with the format's suffix, in this folder")
    parser.add_argument("--checkpoint", default="default", help="weights: a file, a run's folder, or 'default'")
    parser.add_argument("--mano", default="open", metavar="FILE", help="hand model: 'open' or a MANO file")
    parser.add_argument(
        "--with-hand", action="store_true",
        help="put a licensed hand's arrays into the file too (mind its licence); without it, such a hand stays out and "
        "the file gives parameters only",
    )  # fmt: skip
    parser.add_argument("--int8", action="store_true", help="quantize the backbone (OpenVINO, needs nncf)")
    parser.add_argument("--pictures", metavar="DIR", help="photos of hands to try on and quantize with; else rendered")
    parser.add_argument("--calibration", type=int, default=300, metavar="N", help="crops to quantize with (300)")
    parser.add_argument("--bound", type=float, metavar="MM", help="difference allowed (0.1; --int8: mean, 3)")
    options = parser.parse_args(argv)
    if options.calibration < 1 or (options.bound is not None and not options.bound > 0):
        raise HandMeshError("expected --calibration and --bound above 0; leave them out for the usual ones")
    from handmesh.inference.export.exporter import export_checkpoint  # torch, after the words are known to be right

    # Reading the checkpoint, and what exporter.py reports.
    with Progress("reading the checkpoint", total=5 if options.int8 else 4, unit="step") as bar:

        def report(line: str) -> None:
            tqdm.write(line, file=sys.stdout)
            sys.stdout.flush()
            bar.describe(line)
            bar.advance()

        result = export_checkpoint(
            options.checkpoint, options.format, options.output or "model", mano=options.mano,
            with_hand=True if options.with_hand else None, int8=options.int8, pictures=options.pictures,
            calibration=options.calibration, bound_mm=options.bound, report=report,
        )  # fmt: skip
        bar.advance()
    print(summary(result, options.format, options.int8))


def summary(result: Exported, format_name: str, int8: bool) -> str:
    """What was written, how near it is, how fast, and what may be done with it.

    Args:
        result: of the export.
        format_name: as of ``--format``.
        int8: whether it was quantized, which bounds the mean error in place of the largest.
    """
    lines = [f"{result.file}: {result.megabytes:.1f} MB for {result.runtime}"]
    if result.largest_mm is None:
        lines.append(f"not verified: {result.runtime} runs on a Mac only; export it there to have it compared")
    else:
        lines.append(
            f"vertices at most {result.largest_mm:.4f} mm from the checkpoint's ({result.mean_mm:.4f} on average), "
            f"bound {result.bound_mm:g}{' on average' if int8 else ''}"
        )
        lines.append(
            f"{result.milliseconds:.1f} ms a picture; the checkpoint in PyTorch, training form, "
            f"{result.checkpoint_milliseconds:.1f} ms"
        )
    if not result.contains_hand:
        lines.append("the hand model is not inside: the file gives rotations and betas (--with-hand for the mesh)")
    elif format_name in ("onnx", "openvino", "torchscript"):
        lines.append(f"use it: handmesh webcam --engine {Path(result.file)}")
    return "\n".join(lines)
