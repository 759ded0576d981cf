"""``handmesh label-footage``: clips and photos by the thousand labelled on a Ray cluster, or on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handmesh.cli.options import (
    CameraOptions,
    add_camera_options,
    add_hand_options,
    add_model_options,
    camera_options,
    expect_hand_options,
    model_options,
)
from handmesh.cli.progress import Progress, say
from handmesh.cli.tracking import add_smoothing_options, add_views_option, follow_with, run_settings
from handmesh.errors import CommandParser, HandMeshError

if TYPE_CHECKING:
    from handmesh.inference.tracking.tracker import HandTracker


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the words and label what is missing. Returns 0, or raises when something failed."""
    args = _parse(argv)
    from handmesh.io.storage import Storage
    from handmesh.labeling.cluster.pool import INDEX_NAME, Workers, label_footage
    from handmesh.labeling.cluster.worker import FootageJob

    workers = Workers(args.workers, args.cpus_per_worker, args.gpus_per_worker)
    make_tracker = partial(
        load_worker_tracker,
        model_options(args),
        args.view,
        args.max_hands,
        args.min_score,
        workers.cpus,
        workers.gpus > 0,
        args.tta,
    )
    source, output = Storage(args.source), Storage(args.output)
    folder, target = source.folder, output.folder
    if folder is not None and target is not None and folder.resolve() == target.resolve():
        raise HandMeshError(f"expected --output as another folder than the footage's, got {output}; name another")
    job = FootageJob(source, output, args.smoothing, args.view.is_fov_assumed, run_settings(args), make_tracker)
    say(args.view.describe())
    bars: list[Progress] = []

    def begin(count: int) -> None:
        bars.append(Progress(str(source), count, unit="recording"))

    def count(row: dict[str, Any]) -> None:
        bars[0].advance()
        if row["error"]:
            say(f"failed: {row['source']}: {row['error']}")
        elif row["unreadable_photos"]:
            say(f"{row['source']}: {row['unreadable_photos']} photos could not be read")

    try:
        report = label_footage(job, workers, args.ray, begin, count)
    finally:
        for bar in bars:
            bar.close()
    frames = sum(row["frames"] for row in report.rows)
    say(f"{report.done} recordings made, {report.done_before} were there, {len(report.failures)} failed")
    if report.rows:
        say(f"wrote {output}/{INDEX_NAME}: {len(report.rows)} recordings, {frames} frames")
    if report.failures:
        for name, reason in report.failures.items():
            say(f"  {name}: {reason}")
        raise HandMeshError(
            f"expected all footage in {source} to be labelled, got {len(report.failures)} pieces that failed, listed "
            "above; mend or remove them, then run the same command again"
        )
    return 0


def load_worker_tracker(
    model: dict[str, Any], view: CameraOptions, max_hands: int, min_score: float, cpus: int, has_gpu: bool,
    tta: bool = False,
) -> HandTracker:  # fmt: skip
    """A worker's tracker.

    Args:
        model: arguments of from_pretrained.
        view: the camera and the hand.
        max_hands: in a frame.
        min_score: least score of a hand.
        cpus: threads that it may use.
        has_gpu: the worker was given one, or a share.
        tta: as of follow_with.
    """
    import cv2

    from handmesh.inference.predictor import HandMeshPredictor

    cv2.setNumThreads(cpus)
    predictor = HandMeshPredictor.from_pretrained(**model, device="auto" if has_gpu else "cpu", threads=cpus)
    return follow_with(predictor, view, False, max_hands, min_score, tta)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog="handmesh label-footage",
        description="Hands in clips and photos by the thousand: a recording of each clip and of each 256 photos, and "
        "an index of them (index.parquet). Run again, it does what is missing.",
    )
    parser.add_argument("source", metavar="URI_OR_FOLDER", help="clips and photos, in it and in the folders below")
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="folder or URI that every machine of the cluster can write"
    )
    parser.add_argument("--ray", metavar="ADDRESS", help="a running cluster: auto, HOST:6379; default: this machine")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="default: as many as there is room for")
    parser.add_argument("--cpus-per-worker", type=int, default=1, metavar="N", help="cores of each (default 1)")
    parser.add_argument(
        "--gpus-per-worker", type=float, default=0.0, metavar="G", help="GPUs of each; 0.25: four share one (default 0)"
    )
    add_hand_options(parser)
    add_smoothing_options(parser)
    add_views_option(parser)
    add_camera_options(parser)
    add_model_options(parser)
    args = parser.parse_args(argv)
    expect_hand_options(args)
    args.view = camera_options(args)
    for name in ("checkpoint", "mano", "engine"):
        # A worker runs in a folder of its own.
        path = Path(getattr(args, name))
        if path.exists():
            setattr(args, name, str(path.absolute()))
    return args
