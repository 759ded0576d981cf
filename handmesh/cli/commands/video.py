"""``handmesh video CLIP_OR_FOLDER``: the hands of clips recorded, smoothed as a whole, and drawn on every frame."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from handmesh.cli.clip_passes import ClipPasses, Stopped
from handmesh.cli.progress import Progress, say
from handmesh.cli.tracking import add_run_options, add_smoothing_options, clip_path, expect_run_options, load_tracker
from handmesh.cli.video_folder import find_tasks, run_folder
from handmesh.errors import CommandParser, HandMeshError
from handmesh.inference.timing import LiveStats
from handmesh.io.files import refuse_to_replace
from handmesh.io.runtime.stop_signals import StopSignals
from handmesh.io.video.sources import ClipSource, open_source
from handmesh.motion.formats.rerun_log import expect_rerun
from handmesh.motion.recording_files import expect_recording_name, part_path

#: What is left to do once the model is loaded.
Work = Callable[[ClipPasses], None]


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the words, record, smooth, draw. Returns the exit code; the same words take an interrupted run up."""
    args = _parse(argv)
    code = 0
    with StopSignals() as stop, ExitStack() as stack:
        prepare = _prepare_folder if Path(args.source).expanduser().is_dir() else _prepare_clip
        work = prepare(args, stack)
        tracker = load_tracker(args, smoothing=False)
        stats = LiveStats(tracker.predictor.engine.name)
        try:
            with stop.deferred():
                work(ClipPasses(tracker, args, stats, stop))
        except Stopped:
            say("stopped; the same command goes on from here")
            code = 130
        finally:
            if stats.frames:
                say(stats.line())
                if args.stats:
                    stats.save(args.stats)
    return code


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog="handmesh video",
        description="The hands in every frame of a clip, or of every clip of a folder: drawn on it, recorded, or both. "
        "Interrupted, the same command goes on where it was; of a folder, what is done is passed over.",
    )
    parser.add_argument("source", metavar="CLIP_OR_FOLDER", help="with a folder, --output and --recording are folders")
    add_run_options(parser)
    parser.add_argument("--rerun", metavar="FILE.rrd", help="write picture, meshes and milliseconds for rerun's viewer")
    add_smoothing_options(parser)
    args = parser.parse_args(argv)
    expect_run_options(args)
    return args


def _prepare_folder(args: argparse.Namespace, stack: ExitStack) -> Work:
    folder = Path(args.source).expanduser()
    if args.rerun:
        raise HandMeshError(f"expected one clip with --rerun, got the folder {folder}; name a clip in it")
    tasks = find_tasks(folder, args)
    return lambda passes: run_folder(folder, args, passes, tasks)


def _prepare_clip(args: argparse.Namespace, stack: ExitStack) -> Work:
    source = stack.enter_context(closing(open_source(args.source)))
    if not isinstance(source, ClipSource):
        raise HandMeshError(
            f"expected a clip, got {args.source}; photos are for: handmesh predict, cameras for: handmesh webcam"
        )
    record = expect_recording_name(args.recording) if args.recording else None
    log = expect_rerun(args.rerun) if args.rerun else None
    clip = clip_path(args.output, source) if args.output or not (record or log) else None
    refuse_to_replace([source.path], [target for target in (clip, record, log) if target])
    return lambda passes: _run(source, passes, clip, record, log)


def _run(source: ClipSource, passes: ClipPasses, clip: Path | None, record: Path | None, log: Path | None) -> None:
    """Both passes; what they leave has its final name only when it is whole."""
    part = part_path(record or clip or log or source.path)

    def resume(count: int) -> None:
        say(f"{part} has {count} frames already: going on")
        progress.advance(count)

    with Progress(source.description, source.frame_count) as progress:
        raw = passes.record(source, part, progress.advance, resume)
    result = passes.smooth(raw)
    if clip:
        with Progress(f"drawing {clip.name}", len(result.frames)) as drawing:
            lost_sound = passes.draw(result, source, clip, drawing.advance)
        say(f"wrote {clip}" + (f", silent: {lost_sound}" if lost_sound else ""))
    if log:
        with Progress(f"writing {log.name}", len(result.frames)) as logging:
            passes.log(result, source, log, logging.advance)
        say(f"wrote {log}; to see it: rerun {log}")
    if record:
        result.save(record)
        say(f"wrote {record}: {len(result.frames)} frames, {len(result.tracks())} hands")
    part.unlink(missing_ok=True)
