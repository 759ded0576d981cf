"""``handmesh webcam``: a camera, a clip or photos in; a window, a clip, a recording, a stream or pictures out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from handmesh.cli.progress import Progress, say
from handmesh.cli.tracking import (
    DEFAULT_FOLDER,
    add_run_options,
    clip_path,
    expect_run_options,
    load_tracker,
    results_model,
)
from handmesh.errors import CommandParser, HandMeshError
from handmesh.inference.stage_clock import StageClock
from handmesh.inference.timing import LiveStats
from handmesh.io.files import refuse_to_replace
from handmesh.io.frames import PacedSource
from handmesh.io.images import write_image
from handmesh.io.prefetch import Ahead
from handmesh.io.sources import ClipSource, PhotoSource, Source, open_source
from handmesh.io.stop_signals import StopSignals
from handmesh.io.video_writer import CLIP_SUFFIXES, MAX_STILL_S, ClipWriter
from handmesh.motion.clips import header_of
from handmesh.motion.recorder import RecordingWriter
from handmesh.motion.recording import RecordedFrame
from handmesh.motion.recording_files import expect_recording_name
from handmesh.motion.streams.live import LiveStream, StreamTarget
from handmesh.motion.streams.targets import open_targets
from handmesh.motion.tables import RecordingHeader
from handmesh.rendering.live_view import LiveView
from handmesh.rendering.result_files import result_names, write_record
from handmesh.rendering.window import Window, why_no_window

if TYPE_CHECKING:
    from handmesh.inference.tracker import Frame, HandTracker

#: A window whose source is silent for so long gets its keys another way, seconds.
_SILENCE_S = 0.3


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the words, load the model, run until the source ends or the user does. Returns the exit code."""
    args = _parse(argv)
    if args.list_cameras:
        return _print_cameras()
    # Before the camera: what is wrong with an address is known at once.
    with StopSignals() as stop, open_targets(args.stream, say) as targets, closing(_open(args.source)) as source:
        is_photos = isinstance(source, PhotoSource)
        record = _recording_path(args.recording, source)
        if is_photos and targets:
            raise HandMeshError(f"expected a camera or a clip with --stream, got photos ({source.description})")
        has_window = not (args.headless or is_photos) and _can_open_window()
        is_silent = is_photos or ((has_window or record or targets) and not args.output)
        clip = None if is_silent else clip_path(args.output, source)
        tracker = _load(args)
        stats = LiveStats(tracker.predictor.engine.name)
        view = LiveView(args.opacity, args.outline, args.mirror, args.hud, smoothing=tracker.smoothing)
        with stop.deferred():
            if isinstance(source, PhotoSource):
                _annotate_photos(tracker, source, Path(args.output or DEFAULT_FOLDER / "photos"), view, stats, stop)
            else:
                header = _header(tracker, source, args) if record or targets else None
                writer = RecordingWriter(record, header) if record and header else None
                stream = _stream(targets, tracker, header) if targets and header else None
                _run_live(tracker, source, clip, has_window, view, stats, stop, writer, stream)
    if stop.is_requested:
        say("stopped")
    for target in (clip, record):
        if target and target.is_file():
            say(f"wrote {target}")
    say(stats.line())
    if args.stats:
        stats.save(args.stats)
    return 130 if stop.is_requested else 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(prog="handmesh webcam", description="Hand meshes live: from a camera, a clip or photos.")
    parser.add_argument(
        "--source", help="camera number or address (rtsp://...), clip, photo or folder; default: camera 0 if any"
    )
    parser.add_argument("--list-cameras", action="store_true", help="print this machine's cameras and end")
    parser.add_argument("--headless", action="store_true", help="no window, also where there is a display")
    add_run_options(parser)
    parser.add_argument(
        "--stream", action="append", default=[], metavar="URL",
        help="send every frame's hands: udp://HOST:PORT, ws://HOST:PORT or osc://HOST:PORT (VMC), this machine where "
        "HOST is left out; may be given more than once; alone, no clip",
    )  # fmt: skip
    parser.add_argument("--no-smoothing", action="store_true", help="each frame as the network gives it")
    args = parser.parse_args(argv)
    expect_run_options(args)
    return args


def _print_cameras() -> int:
    from handmesh.io.cameras import list_cameras

    cameras = list_cameras()
    for camera in cameras:
        note = "" if camera.is_permitted else "  no permission: sudo usermod -aG video $USER, then log in again"
        print(f"{camera.number:>3}  {camera.name}  {camera.device}{note}".rstrip())
    if not cameras:
        say("no camera found; plug one in, or give a clip: handmesh webcam --source clip.mp4")
    return 0


def _open(spec: str | None) -> Source:
    """The source asked for; with none asked for, the first camera, or else a clip that the project renders itself."""
    if spec is not None:
        return open_source(spec)
    try:
        return open_source(0)
    except HandMeshError:
        from handmesh.synthesis.demo_clip import demo_clip, demo_clip_path

        made = "" if demo_clip_path().is_file() else " (rendering it now, half a minute, once)"
        say(f"no camera: using a clip of the open hand that this project renders itself{made}")
        return open_source(demo_clip())


def _can_open_window() -> bool:
    reason = why_no_window()
    if reason:
        say(f"no window: {reason}; writing a clip instead")
    return reason is None


def _load(args: argparse.Namespace) -> HandTracker:
    return load_tracker(args, not args.no_smoothing)


def _recording_path(recording: str | None, source: Source) -> Path | None:
    if recording is None:
        return None
    if isinstance(source, PhotoSource):
        raise HandMeshError(
            f"expected a camera or a clip with --recording, got photos ({source.description}); their numbers come "
            "from: handmesh predict"
        )
    target = expect_recording_name(recording)
    if isinstance(source, ClipSource):
        refuse_to_replace([source.path], [target])
    return target


def _header(tracker: HandTracker, source: Source, args: argparse.Namespace) -> RecordingHeader:
    """Of the recording and of the stream."""
    return header_of(
        source, results_model(tracker.predictor), smoothing="live" if tracker.smoothing else "none",
        is_fov_assumed=args.view.is_fov_assumed,
        settings={"checkpoint": args.checkpoint, "engine": tracker.predictor.engine.name},
    )  # fmt: skip


def _stream(targets: list[StreamTarget], tracker: HandTracker, header: RecordingHeader) -> LiveStream:
    say(f"streaming to {', '.join(target.url for target in targets)}")
    return LiveStream(targets, header, results_model(tracker.predictor))


def _run_live(
    tracker: HandTracker, source: Source, clip: Path | None, has_window: bool, view: LiveView, stats: LiveStats,
    stop: StopSignals, recording: RecordingWriter | None = None, stream: LiveStream | None = None,
) -> None:  # fmt: skip
    """Frames to the window, the clip, the recording, the stream, or several of them, until the source ends or the user
    does.

    Three things overlap: the source grabs or decodes, the tracker understands, and here it is drawn, shown, written.
    """
    # A stream's receivers live in real time, also where the frames are a clip's.
    frames_from = PacedSource(source) if stream and not source.is_live else source
    with ExitStack() as stack:
        writer = stack.enter_context(_writer(clip, source)) if clip else None
        window = stack.enter_context(Window("handmesh")) if has_window else None
        if recording:
            stack.enter_context(recording)
        if stream:
            stack.enter_context(stream)
        frames = stack.enter_context(Ahead(tracker.run(frames_from), 1, "tracker"))
        # Runs first: a tracker that waits for its source ends when the source does.
        stack.callback(frames_from.close)
        progress = stack.enter_context(Progress(source.description, source.frame_count, not window))
        if source.is_live and writer:
            say(f"recording to {clip}; Ctrl-C ends it")
        start_s, size = time.perf_counter(), (0, 0)
        for frame in _as_they_come(frames, window, view, stop):
            if size not in ((0, 0), frame.image.shape[1::-1]):
                say(f"{source.description} now gives {frame.image.shape[1]} x {frame.image.shape[0]} pixels")
            size, clock, key = frame.image.shape[1::-1], StageClock(), ""
            if stream or recording:
                row = RecordedFrame(stats.frames, frame.timestamp_s, (size[0], size[1]), frame.K, frame.hands)
                if stream:
                    with clock("stream"):
                        stream.send(row, frame.grabbed_s)
                if recording:
                    with clock("record"):
                        recording.write(row)
            with clock("draw"):
                # A recording or a stream alone needs no picture.
                drawn = view.draw(frame.image, frame.hands, frame.ids) if writer or window else frame.image
                is_annotated = window or (writer and view.hud_in_files)
                picture = _annotated(drawn, frame, view, stats, bool(window)) if is_annotated else drawn
            if writer:
                with clock("write"):
                    left_out_s = writer.write(picture if view.hud_in_files else drawn, frame.timestamp_s)
                if left_out_s:
                    say(f"{left_out_s:.0f} s without a new picture are left out of {clip}")
            if window and source.is_live:
                with clock("show"):
                    key = window.show(picture)
            # Counted when it is on the screen; a clip's frame then waits for its time, which is no latency.
            stats.add({**frame.stages_ms, **clock.stages_ms}, bool(frame.hands), *size, frame.grabbed_s)
            progress.advance()
            if window:
                if not source.is_live:
                    due_s = start_s + frame.timestamp_s - time.perf_counter()
                    key = window.show(picture, int(due_s * 1000))
                _obey(key, window, frame, view, stats, stop)
                tracker.smoothing = view.smoothing
    if stream:
        say(f"streamed {stream.frame_count} frames")
    if writer and writer.lost_sound:
        say(f"{clip} is silent: {writer.lost_sound}")


def _writer(clip: Path, source: Source) -> ClipWriter:
    """Of a camera, long silences are left out; a clip's frames stay where they are, under its own sound."""
    if isinstance(source, ClipSource):
        return ClipWriter(clip, source.fps, sound_from=source.path)
    return ClipWriter(clip, source.fps or 30.0, max_still_s=MAX_STILL_S)


def _as_they_come(frames: Ahead[Frame], window: Window | None, view: LiveView, stop: StopSignals) -> Iterator[Frame]:
    """Frames until they end or the user does; the window stays alive while a source is silent."""
    while not (view.is_over or stop.is_requested):
        try:
            frame = frames.get(_SILENCE_S)
        except StopIteration:
            return
        if frame is not None:
            yield frame
        elif window:
            view.press(window.poll())


def _annotated(
    drawn: NDArray[np.uint8], frame: Frame, view: LiveView, stats: LiveStats, has_keys: bool
) -> NDArray[np.uint8]:
    return view.annotate(drawn, frame.hands, frame.ids, stats.lines() if stats.frames else [], has_keys)


def _obey(key: str, window: Window, frame: Frame, view: LiveView, stats: LiveStats, stop: StopSignals) -> None:
    """Do what a key says, and stay with this frame while it says pause."""
    view.press(key)
    while True:
        if view.wants_picture:
            _save(view.draw(frame.image, frame.hands, frame.ids), frame)
        if not view.is_paused or view.is_over or stop.is_requested:
            return
        drawn = view.draw(frame.image, frame.hands, frame.ids)
        view.press(window.show(_annotated(drawn, frame, view, stats, True), 40))


def _save(picture: NDArray[np.uint8], frame: Frame) -> None:
    """The annotated picture and its hands as files, named by the moment."""
    name = DEFAULT_FOLDER / time.strftime("hands-%Y%m%d-%H%M%S")
    write_image(name.with_suffix(".png"), picture)
    write_record(name.with_suffix(".json"), frame.hands, frame.name)
    say(f"saved {name}.png and {name}.json")


def _annotate_photos(
    tracker: HandTracker, source: PhotoSource, folder: Path, view: LiveView, stats: LiveStats, stop: StopSignals
) -> None:
    """A picture with its hands drawn on it for every photo."""
    if folder.suffix.lower() in CLIP_SUFFIXES or folder.is_file():
        raise HandMeshError(f"expected --output to be a folder for photos, got {folder}; name a folder")
    names = result_names(source.files)
    refuse_to_replace(source.files, (folder / f"{name}.png" for name in names.values()))
    with Progress("photos", source.frame_count) as progress:
        for frame in tracker.run(source):
            if stop.is_requested:
                break
            clock, ids = StageClock(), list(range(len(frame.hands)))
            with clock("draw"):
                picture = view.draw(frame.image, frame.hands, ids)
                if view.hud_in_files:
                    picture = view.annotate(picture, frame.hands, ids)
            with clock("write"):
                write_image(folder / f"{names[frame.name]}.png", picture)
            stats.add({**frame.stages_ms, **clock.stages_ms}, bool(frame.hands), *frame.image.shape[1::-1])
            progress.advance()
            say(f"{frame.name}: {len(frame.hands)} hand{'s' if len(frame.hands) != 1 else ''}")
    say(f"wrote {stats.frames} pictures to {folder}")
