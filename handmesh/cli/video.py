"""``handmesh video CLIP``: the hands of a clip recorded, smoothed as a whole, and drawn on every frame of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handmesh.cli.progress import Progress, say
from handmesh.cli.tracking import add_run_options, clip_path, expect_run_options, load_tracker, results_model
from handmesh.errors import CommandParser, HandMeshError
from handmesh.inference.stage_clock import StageClock
from handmesh.inference.timing import LiveStats
from handmesh.inference.tracker import Frame, HandTracker
from handmesh.io.files import refuse_to_replace, sha256_file
from handmesh.io.sources import ClipSource, open_source
from handmesh.io.stop_signals import StopSignals
from handmesh.models.checkpoint_path import find_checkpoint
from handmesh.motion.clips import draw_clip, header_of, record_clip, smoothed
from handmesh.motion.recording import RecordedFrame
from handmesh.motion.recording_files import expect_recording_name, part_path
from handmesh.rendering.live_view import LiveView


class _Stopped(Exception):
    """The user asked to end: what is half done keeps no final name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the words, record, smooth, draw. Returns the exit code; the same words take an interrupted run up."""
    args = _parse(argv)
    code = 0
    with StopSignals() as stop, closing(open_source(args.source)) as source:
        if not isinstance(source, ClipSource):
            raise HandMeshError(
                f"expected a clip, got {args.source}; photos are for: handmesh predict, cameras for: handmesh webcam"
            )
        record = expect_recording_name(args.recording) if args.recording else None
        clip = clip_path(args.output, source) if args.output or not record else None
        refuse_to_replace([source.path], [target for target in (clip, record) if target])
        tracker = load_tracker(args, smoothing=False)
        stats = LiveStats(tracker.predictor.engine.name)
        try:
            with stop.deferred():
                _run(source, tracker, clip, record, args, stats, stop)
        except _Stopped:
            say("stopped; the same command goes on from here")
            code = 130
    if stats.frames:
        say(stats.line())
    if args.stats:
        stats.save(args.stats)
    return code


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog="handmesh video",
        description="The hands in every frame of a clip: drawn on it, recorded, or both. Interrupted, the same command "
        "goes on where it was.",
    )
    parser.add_argument("source", metavar="CLIP")
    add_run_options(parser)
    how = parser.add_mutually_exclusive_group()
    for name, kind, about in (
        ("--offline", "offline", "smooth without lag, fill short gaps, one shape a hand (default)"),
        ("--live-filter", "live", "smooth as the webcam does: no frame knows of a later one"),
        ("--no-smoothing", "none", "each frame as the network gives it"),
    ):
        how.add_argument(name, dest="smoothing", action="store_const", const=kind, help=about)
    parser.set_defaults(smoothing="offline")
    args = parser.parse_args(argv)
    expect_run_options(args)
    return args


def _run(
    source: ClipSource, tracker: HandTracker, clip: Path | None, record: Path | None, args: argparse.Namespace,
    stats: LiveStats, stop: StopSignals,
) -> None:  # fmt: skip
    """Both passes; what they leave has its final name only when it is whole."""
    part, model = part_path(record or clip or source.path), results_model(tracker.predictor)
    header = header_of(source, model, is_fov_assumed=args.view.is_fov_assumed, settings=_settings(args, tracker))

    def resume(count: int) -> None:
        say(f"{part} has {count} frames already: going on")
        progress.advance(count)

    def count(frame: Frame) -> None:
        stats.add(frame.stages_ms, bool(frame.hands), *frame.image.shape[1::-1])
        progress.advance()
        if stop.is_requested:
            raise _Stopped

    with Progress(source.description, source.frame_count) as progress:
        raw = record_clip(source, tracker, part, header, count, resume)
    result = smoothed(raw.of_model(model), args.smoothing)
    if clip:
        view = LiveView(args.opacity, args.outline, args.mirror, args.hud)

        def draw(image: NDArray[np.uint8], frame: RecordedFrame) -> NDArray[np.uint8]:
            ids = [hand.track_id or 0 for hand in frame.hands]
            picture = view.draw(image, frame.hands, ids)
            return view.annotate(picture, frame.hands, ids) if view.hud_in_files else picture

        def drawn(clock: StageClock) -> None:
            stats.add_stages(clock.stages_ms)
            drawing.advance()
            if stop.is_requested:
                raise _Stopped

        with Progress(f"drawing {clip.name}", len(result.frames)) as drawing:
            lost_sound = draw_clip(result, source, clip, draw, args.view.calibration, drawn)
        say(f"wrote {clip}" + (f", silent: {lost_sound}" if lost_sound else ""))
    if record:
        result.save(record)
        say(f"wrote {record}: {len(result.frames)} frames, {len(result.tracks())} hands")
    part.unlink(missing_ok=True)


def _settings(args: argparse.Namespace, tracker: HandTracker) -> dict[str, str]:
    """What decides about the numbers of the first pass, besides the clip: of other settings no run is taken up."""
    return {
        "weights": sha256_file(find_checkpoint(args.checkpoint))[:16],
        "engine": tracker.predictor.engine.name,
        "max_hands": str(args.max_hands),
        "camera": args.view.describe(),
        "hand_length_m": str(args.view.hand_length_m),
    }
