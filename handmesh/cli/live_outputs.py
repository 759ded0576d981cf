"""From a live source to a window, a clip, a recording, a stream, rerun's viewer, overlays of photos, or several."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from handmesh.cli.progress import Progress, say
from handmesh.cli.tracking import DEFAULT_FOLDER, clip_path
from handmesh.errors import HandMeshError
from handmesh.inference.predictor import results_model
from handmesh.inference.stage_clock import StageClock
from handmesh.inference.timing import LiveStats
from handmesh.inference.views import STILL_VIEWS
from handmesh.io.files import refuse_to_replace
from handmesh.io.images import write_image
from handmesh.io.runtime.stop_signals import StopSignals
from handmesh.io.video.frames import PacedSource
from handmesh.io.video.prefetch import PrefetchIterator
from handmesh.io.video.sources import ClipSource, PhotoSource, Source, open_source
from handmesh.io.video.video_writer import CLIP_SUFFIXES, MAX_STILL_S, ClipWriter
from handmesh.motion.clips import header_of
from handmesh.motion.formats.rerun_log import RerunWriter, expect_rerun
from handmesh.motion.recorder import RecordingWriter
from handmesh.motion.recording import RecordedFrame
from handmesh.motion.recording_files import expect_recording_name
from handmesh.motion.streams.live import LiveStream
from handmesh.motion.streams.targets import open_targets
from handmesh.rendering.live_view import LiveView
from handmesh.rendering.result_files import result_names, write_record
from handmesh.rendering.window import Window, why_no_window

if TYPE_CHECKING:
    from handmesh.inference.tracking.tracker import Frame, HandTracker

#: A window whose source is silent for so long gets its keys another way, seconds.
_SILENCE_S = 0.3


class LiveOutputs:
    """What the words of ``handmesh webcam`` ask for, from the source to every file; use as a context manager.

        with LiveOutputs(args) as outputs:
            tracker = load_tracker(args, smoothing=True)
            for frame in outputs.frames(tracker):
                outputs.put(frame, outputs.draw(frame))

    At the end of the block files are whole, also after Ctrl-C, SIGTERM or the window's q.

    Attributes:
        source: what the frames come from.
        view: draws, and holds what the window's keys have switched.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        """``args``: as parsed by :func:`handmesh.cli.commands.webcam.parse`."""
        self._args = args
        self.view = LiveView(
            args.opacity, args.outline, args.mirror, args.hud, smoothing=not args.no_smoothing, views=args.tta
        )
        self._stack, self._stop = ExitStack(), StopSignals()
        self._stats: LiveStats | None = None
        self._window: Window | None = None
        self._writer: ClipWriter | None = None
        self._recording: RecordingWriter | None = None
        self._rerun: RerunWriter | None = None
        self._stream: LiveStream | None = None

    @property
    def exit_code(self) -> int:
        """130 where a signal ended the run, else 0."""
        return 130 if self._stop.is_requested else 0

    def __enter__(self) -> LiveOutputs:
        """Open the source and check every name, address and the display.

        Raises:
            HandMeshError: a source that cannot be opened, a name that cannot be written, a stream's address that cannot
                be had, or an output that photos do not have.
        """
        args = self._args
        with ExitStack() as stack:
            stack.enter_context(self._stop)
            # Before the camera: what is wrong with an address is known at once.
            self._targets = stack.enter_context(open_targets(args.stream, say))
            self.source = find_source(args.source)
            stack.callback(self.source.close)
            self._record = expect_recording_name(args.recording) if args.recording else None
            self._log = expect_rerun(args.rerun) if args.rerun else None
            if isinstance(self.source, ClipSource):
                refuse_to_replace([self.source.path], [path for path in (self._record, self._log) if path])
            self._clip, self._has_window = None, False
            if isinstance(self.source, PhotoSource):
                self._photo_folder, self._photo_names = _photo_targets(self.source, args)
            else:
                self._has_window = not args.headless and _can_open_window()
                is_elsewhere = self._has_window or self._record or self._targets or self._log
                self._clip = clip_path(args.output, self.source) if args.output or not is_elsewhere else None
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        if kind is not None or self._stats is None:
            return
        if self._stream:
            say(f"streamed {self._stream.frame_count} frames")
        if self._writer and self._writer.lost_sound:
            say(f"{self._clip} is silent: {self._writer.lost_sound}")
        if self._stop.is_requested:
            say("stopped")
        for target in (self._clip, self._record, self._log):
            if target and target.is_file():
                say(f"wrote {target}")
        if isinstance(self.source, PhotoSource):
            say(f"wrote {self._stats.frames} pictures to {self._photo_folder}")
        say(self._stats.line())
        if self._args.stats:
            self._stats.save(self._args.stats)

    def frames(self, tracker: HandTracker) -> Iterator[Frame]:
        """Frames with their hands until the source ends or the user does.

        Three things overlap: the source grabs or decodes, the tracker understands, and whoever takes the frames draws,
        shows and writes them.
        """
        self._stats = LiveStats(tracker.predictor.engine.name)
        self._stack.enter_context(self._stop.deferred())
        if isinstance(self.source, PhotoSource):
            yield from self._photos(tracker)
            return
        self._open_files(tracker)
        # A stream's receivers live in real time, also where the frames are a clip's.
        source = PacedSource(self.source) if self._stream and not self.source.is_live else self.source
        ahead = self._stack.enter_context(PrefetchIterator(tracker.run(source), 1, "tracker"))
        # Runs first: a tracker that waits for its source ends when the source does.
        self._stack.callback(source.close)
        self._progress = self._stack.enter_context(
            Progress(source.description, source.frame_count, not self._has_window)
        )
        if source.is_live and self._clip:
            say(f"recording to {self._clip}; Ctrl-C ends it")
        self._start_s, size = time.perf_counter(), (0, 0)
        while not (self.view.is_over or self._stop.is_requested):
            try:
                frame = ahead.get(_SILENCE_S)
            except StopIteration:
                return
            if frame is None:
                # The window stays alive while a source is silent.
                if self._window:
                    self.view.press(self._window.poll())
                continue
            if size not in ((0, 0), frame.image.shape[1::-1]):
                say(f"{source.description} now gives {frame.image.shape[1]} x {frame.image.shape[0]} pixels")
            size, self._clock = frame.image.shape[1::-1], StageClock()
            yield frame
            tracker.smoothing = self.view.smoothing
            tracker.views = STILL_VIEWS if self.view.views else ()

    def draw(self, frame: Frame) -> NDArray[np.uint8]:
        """The frame with its hands drawn as the options and keys say; as it is where no output shows pictures."""
        if not (self._clip or self._has_window or isinstance(self.source, PhotoSource)):
            return frame.image
        with self._clock("draw"):
            return self.view.draw(frame.image, frame.hands, self._ids(frame))

    def put(self, frame: Frame, picture: NDArray[np.uint8]) -> None:
        """Send a frame to every output.

        Args:
            frame: of :meth:`frames`.
            picture: (H, W, 3) uint8 RGB, what the window and the clip show of it; labels and speed are added.
        """
        assert self._stats is not None
        clock, size = self._clock, frame.image.shape[1::-1]
        if self._stream or self._recording or self._rerun:
            row = RecordedFrame(self._stats.frames, frame.timestamp_s, (size[0], size[1]), frame.K, frame.hands)
            if self._stream:
                with clock("stream"):
                    self._stream.send(row, frame.grabbed_s)
            with clock("record"):
                if self._recording:
                    self._recording.write(row)
                if self._rerun:
                    self._rerun.write(row, frame.image, frame.stages_ms)
        shown = picture
        if self._window or self.view.hud_in_files:
            with clock("draw"):
                shown = self._annotated(picture, frame)
        if self._writer or isinstance(self.source, PhotoSource):
            with clock("write"):
                self._write(shown if self.view.hud_in_files else picture, frame)
        key = ""
        if self._window and self.source.is_live:
            with clock("show"):
                key = self._window.show(shown)
        # Counted when it is on the screen; a clip's frame then waits for its time, which is no latency.
        self._stats.add({**frame.stages_ms, **clock.stages_ms}, bool(frame.hands), size[0], size[1], frame.grabbed_s)
        self._progress.advance()
        if self._window:
            if not self.source.is_live:
                due_s = self._start_s + frame.timestamp_s - time.perf_counter()
                key = self._window.show(shown, int(due_s * 1000))
            self._obey(key, self._window, frame)

    def _photos(self, tracker: HandTracker) -> Iterator[Frame]:
        with Progress("photos", self.source.frame_count) as self._progress:
            for frame in tracker.run(self.source):
                if self._stop.is_requested:
                    break
                self._clock = StageClock()
                yield frame
                say(f"{frame.name}: {len(frame.hands)} hand{'s' if len(frame.hands) != 1 else ''}")

    def _open_files(self, tracker: HandTracker) -> None:
        """Those that need to know the tracker; all are closed by the end of the block."""
        enter = self._stack.enter_context
        self._writer = enter(_clip_writer(self._clip, self.source)) if self._clip else None
        self._window = enter(Window("handmesh")) if self._has_window else None
        self._rerun = enter(RerunWriter(self._log)) if self._log else None
        if not (self._record or self._targets):
            return
        model = results_model(tracker.predictor)
        header = header_of(
            self.source, model, smoothing="live" if tracker.smoothing else "none",
            is_fov_assumed=self._args.view.is_fov_assumed,
            settings={"checkpoint": self._args.checkpoint, "engine": tracker.predictor.engine.name},
        )  # fmt: skip
        self._recording = enter(RecordingWriter(self._record, header)) if self._record else None
        if self._targets:
            say(f"streaming to {', '.join(target.url for target in self._targets)}")
            self._stream = enter(LiveStream(self._targets, header, model))

    def _write(self, picture: NDArray[np.uint8], frame: Frame) -> None:
        if self._writer is None:
            write_image(self._photo_folder / f"{self._photo_names[frame.name]}.png", picture)
            return
        left_out_s = self._writer.write(picture, frame.timestamp_s)
        if left_out_s:
            say(f"{left_out_s:.0f} s without a new picture are left out of {self._clip}")

    def _ids(self, frame: Frame) -> list[int]:
        """Of the tracks; a photo's hands have none."""
        return list(range(len(frame.hands))) if isinstance(self.source, PhotoSource) else frame.ids

    def _annotated(self, drawn: NDArray[np.uint8], frame: Frame) -> NDArray[np.uint8]:
        is_timed = self._stats is not None and self._stats.frames and not isinstance(self.source, PhotoSource)
        lines = self._stats.lines() if self._stats is not None and is_timed else []
        return self.view.annotate(drawn, frame.hands, self._ids(frame), lines, bool(self._window))

    def _obey(self, key: str, window: Window, frame: Frame) -> None:
        """Do what a key says, and stay with this frame while it says pause."""
        self.view.press(key)
        while True:
            if self.view.wants_picture:
                _save(self.view.draw(frame.image, frame.hands, frame.ids), frame)
            if not self.view.is_paused or self.view.is_over or self._stop.is_requested:
                return
            drawn = self.view.draw(frame.image, frame.hands, frame.ids)
            self.view.press(window.show(self._annotated(drawn, frame), 40))


def find_source(spec: str | None) -> Source:
    """The source asked for; with none asked for, the first camera, or else a clip that the project renders itself.

    Args:
        spec: a camera's number or address, a clip, a photo or a folder of photos; None for none.

    Raises:
        HandMeshError: it cannot be opened.
    """
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


def _photo_targets(source: PhotoSource, args: argparse.Namespace) -> tuple[Path, dict[str, str]]:
    """The folder of the photos' overlays, and the name of each there without its ending."""
    for name, about in (("recording", "; their numbers come from: handmesh predict"), ("stream", ""), ("rerun", "")):
        if getattr(args, name):
            raise HandMeshError(
                f"expected a camera or a clip with --{name}, got photos ({source.description}){about}"
            )
    folder = Path(args.output or DEFAULT_FOLDER / "photos")
    if folder.suffix.lower() in CLIP_SUFFIXES or folder.is_file():
        raise HandMeshError(f"expected --output to be a folder for photos, got {folder}; name a folder")
    names = result_names(source.files)
    refuse_to_replace(source.files, (folder / f"{name}.png" for name in names.values()))
    return folder, names


def _clip_writer(clip: Path, source: Source) -> ClipWriter:
    """Of a camera, long silences are left out; a clip's frames stay where they are, under its own sound."""
    if isinstance(source, ClipSource):
        return ClipWriter(clip, source.fps, sound_from=source.path)
    return ClipWriter(clip, source.fps or 30.0, max_still_s=MAX_STILL_S)


def _save(picture: NDArray[np.uint8], frame: Frame) -> None:
    """The annotated picture and its hands as files, named by the moment."""
    name = DEFAULT_FOLDER / time.strftime("hands-%Y%m%d-%H%M%S")
    write_image(name.with_suffix(".png"), picture)
    write_record(name.with_suffix(".json"), frame.hands, frame.name)
    say(f"saved {name}.png and {name}.json")
