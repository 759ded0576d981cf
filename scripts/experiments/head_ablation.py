#!/usr/bin/env python3
"""What each part of the head is worth: ``python -m scripts.experiments.head_ablation --output FOLDER``, one table out.

From the FastViT paper's head on, one part more in each row, to the whole head: the same rendered data, the same images
seen, the same schedule, several seeds. Every run's result is kept under FOLDER/runs, and a run that was cut off goes on
where it was: the same command again continues a killed ablation. The table is FOLDER/table.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from handmesh.errors import CommandParser, HandMeshError, run_command
from handmesh.io.files import atomic_path, write_json
from handmesh.io.runtime.cpu_count import available_cores
from scripts.benchmarks._interleave import side_by_side, synth, train

#: Row, its file's name, and what it changes beside the row above.
PARTS: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("the paper's head: one pooled feature", "paper", {"model.head": "pooled", "data.perspective": False}),
    ("+ the crop as a virtual camera", "camera", {"data.perspective": True}),
    ("+ a token a joint, from under its heatmap", "tokens", {"model.head": "aligned", "model.blocks": 0}),
    ("+ messages along the kinematic tree", "messages", {"model.blocks": 2}),
    ("+ a refinement at the projected mesh", "refinement", {"model.refinements": 1}),
    ("+ direct vertices in training: all", "all", {"train.loss.direct_vertices": 5.0}),
)
#: The same for every row. Mild augmentation: few images are seen.
COMMON: dict[str, object] = {
    "data.source": "freihand", "data.workers": 0, "data.val_samples": 0, "data.augment.rotation_deg": 10.0,
    "data.augment.full_circle": 0.0, "data.augment.scale": 0.15, "data.augment.shift": 0.05,
    "data.augment.colour": 0.5, "data.augment.degrade": 0.05, "train.learning_rate": 2e-3, "train.ema": 0.99,
    "train.log_every": 50, "train.shares_every": 0, "train.pictures": 0, "train.tensorboard": False,
    "train.device": "auto",
}  # fmt: skip


def main() -> None:
    args = parse()
    data = args.data or make_data(args)
    rows = [row for row in PARTS if not args.only or row[1] in args.only.split(",")]
    wanted = [(part, seed) for seed in range(args.seeds) for _, part, _ in rows]
    print(f"{len(wanted)} runs of {args.steps * args.batch} images each, {args.jobs} at a time", flush=True)
    side_by_side(lambda job: run(args, data, *job), wanted, args.jobs)
    text = table(args, rows)
    with atomic_path(args.output / "table.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"{text}\nwrote {args.output / 'table.md'}")


def parse() -> argparse.Namespace:
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs and the table")
    parser.add_argument("--data", type=Path, help="a set in FreiHAND's layout; made under --output when not given")
    parser.add_argument("--train", type=int, default=44000, help="pictures to render for training (default 44000)")
    parser.add_argument("--eval", type=int, default=800, help="pictures to render for scoring (default 800)")
    parser.add_argument("--data-seed", type=int, default=5, help="seed of the rendered set (default 5)")
    parser.add_argument("--pictures", default="plain", help="kind of the set: plain (learnt from soonest), full, basic")
    parser.add_argument("--render-size", type=int, default=128, help="side of the set's pictures")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each row (default 3)")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=64, help="side of the crop in pixels")
    parser.add_argument("--width", type=int, default=128, help="channels of the head's tokens")
    parser.add_argument("--stride", type=int, default=4, help="stride of the heatmaps")
    parser.add_argument("--backbone", default="fastvit_t8")
    parser.add_argument("--jobs", type=int, default=available_cores(), help="runs side by side (default: all cores)")
    parser.add_argument("--only", default="", help=f"rows, by commas: {', '.join(part for _, part, _ in PARTS)}")
    args = parser.parse_args()
    unknown = set(filter(None, args.only.split(","))) - {part for _, part, _ in PARTS}
    if unknown or min(args.seeds, args.steps, args.batch, args.jobs) < 1:
        raise HandMeshError(f"expected known rows and sizes of at least 1, got {', '.join(unknown)}; see --help")
    return args


def make_data(args: argparse.Namespace) -> Path:
    """Render the set and pack it, unless that was done."""
    words = ["--train", str(args.train), "--eval", str(args.eval), "--seed", str(args.data_seed)]
    words += ["--size", str(args.render_size), "--pictures", args.pictures]
    return synth(args.output / "data", words)


def settings(args: argparse.Namespace, part: str) -> dict[str, object]:
    """What a row changes, with all that the rows above it changed."""
    chosen = dict(COMMON)
    for _, name, changes in PARTS:
        chosen.update(changes)
        if name == part:
            break
    sizes = {
        "model.backbone": args.backbone, "model.image_size": args.size, "model.width": args.width,
        "model.heatmap_stride": args.stride, "train.steps": args.steps, "train.batch_size": args.batch,
        "train.warmup_steps": args.steps // 10, "train.validate_every": args.steps,
        "train.save_every": max(args.steps // 4, 1),
    }  # fmt: skip
    return {**chosen, **sizes}


def run(args: argparse.Namespace, data: Path, part: str, seed: int) -> None:
    """Train one row with one seed, or go on with it; nothing when its result is there."""
    folder, result = args.output / "runs" / f"{part}-{seed}", result_path(args, part, seed)
    chosen = {**settings(args, part), "data.root": data, "seed": seed, "output": folder}
    if result.is_file():
        if json.loads(result.read_text())["settings"] != {key: str(value) for key, value in chosen.items()}:
            raise HandMeshError(f"expected {result} to be of these options, got others; give another --output")
        return
    train(chosen, args.jobs, folder.with_suffix(".log"))
    scores, facts = scores_of(folder)
    content = {"part": part, "seed": seed, **scores, **facts, "settings": {k: str(v) for k, v in chosen.items()}}
    write_json(result, content, indent=1)
    print(f"{part:>12}, seed {seed}: PA-MPJPE {scores['pa_mpjpe']:.2f} mm", flush=True)


def result_path(args: argparse.Namespace, part: str, seed: int) -> Path:
    path: Path = args.output / "runs" / f"{part}-{seed}.json"
    return path


def scores_of(folder: Path) -> tuple[dict[str, float], dict[str, Any]]:
    """What a finished run's checkpoint says of itself, and how many parameters it has."""
    from handmesh.models.checkpoint import load_checkpoint

    net, header = load_checkpoint(folder / "last")
    facts = {"parameters": sum(p.numel() for p in net.parameters()), "revision": header["git_revision"]}
    return header["metrics"], {**facts, "data": header["data_fingerprint"]}


def table(args: argparse.Namespace, rows: list[tuple[str, str, dict[str, object]]]) -> str:
    """The results as a markdown table: mean and standard deviation over seeds, and the change from the first row."""
    found = {
        part: [json.loads(result_path(args, part, seed).read_text()) for seed in range(args.seeds)]
        for _, part, _ in rows
    }
    first = found[rows[0][1]]
    base = float(np.mean([r["pa_mpjpe"] for r in first]))
    lines = [
        f"`python -m scripts.experiments.head_ablation {' '.join(sys.argv[1:])}` at {first[0]['revision']}: "
        f"{args.backbone}, {args.size} px, {args.steps * args.batch} images seen a run, {args.seeds} seeds; "
        f"scored on rendered hands (trained on "
        f"{first[0]['data']}), where one mean pose has {first[0]['mean_pose_pa_mpjpe']:.1f} mm PA-MPJPE.",
        "",
        "| head | PA-MPJPE mm | PA-MPVPE mm | against the first | million parameters |",
        "|---|---|---|---|---|",
    ]
    for title, part, _ in rows:
        cells = []
        for key in ("pa_mpjpe", "pa_mpvpe"):
            values = [r[key] for r in found[part]]
            cells.append(f"{np.mean(values):.2f} ± {np.std(values, ddof=1 if len(values) > 1 else 0):.2f}")
        change = float(np.mean([r["pa_mpjpe"] for r in found[part]])) / base - 1
        size = found[part][0]["parameters"] / 1e6
        lines.append(f"| {title} | {cells[0]} | {cells[1]} | {change:+.1%} | {size:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_command(main)
