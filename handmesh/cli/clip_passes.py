"""The two passes of ``handmesh video`` over a clip: follow the hands, then smooth, draw and write."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handmesh.cli.tracking import run_settings
from handmesh.inference.predictor import results_model
from handmesh.inference.stage_clock import StageClock
from handmesh.inference.timing import LiveStats
from handmesh.inference.tracking.tracker import Frame, HandTracker
from handmesh.io.runtime.stop_signals import StopSignals
from handmesh.io.video.sources import ClipSource
from handmesh.motion.clips import draw_clip, header_of, record_clip, smoothed
from handmesh.motion.formats.rerun_log import RerunWriter
from handmesh.motion.formats.tables import RecordingHeader
from handmesh.motion.recording import RecordedFrame, Recording
from handmesh.rendering.live_view import LiveView


class Stopped(Exception):
    """The user asked to end: what is half done keeps no final name."""


class ClipPasses:
    """Both passes with one tracker; a request to end raises :class:`Stopped` out of either.

    The passes may run in two threads, the second over one clip while the first is over the next.
    """

    def __init__(self, tracker: HandTracker, args: argparse.Namespace, stats: LiveStats, stop: StopSignals) -> None:
        """Prepare both passes.

        Args:
            tracker: follows the hands of one clip after another.
            args: of add_run_options, with ``smoothing``.
            stats: counts the frames of both passes.
            stop: asked before each frame.
        """
        self.tracker, self.model = tracker, results_model(tracker.predictor)
        self._args, self._stats, self._stop = args, stats, stop
        #: Of the frames of the latest clip that were followed in this run, for rerun.
        self._stages_ms: dict[int, Mapping[str, float]] = {}
        self._settings = {**run_settings(args), "engine": tracker.predictor.engine.name}

    def header(self, source: ClipSource, smoothing: str = "none") -> RecordingHeader:
        """What decides about the numbers of this clip's recording: of other settings no run is taken up."""
        is_assumed = self._args.view.is_fov_assumed
        return header_of(source, self.model, smoothing=smoothing, is_fov_assumed=is_assumed, settings=self._settings)

    def record(
        self, source: ClipSource, part: Path, advance: Callable[[int], None], resumed: Callable[[int], None]
    ) -> Recording:
        """The first pass: every frame as the network sees it.

        Args:
            source: the clip.
            part: the unfinished recording, which an interrupted run is taken up from.
            advance: called with how many frames more are done.
            resumed: called with how many are there already, if any.

        Raises:
            HandMeshError: as of record_clip.
        """
        self._stages_ms = {}
        there = 0

        def take_up(frames: int) -> None:
            nonlocal there
            there = frames
            resumed(frames)

        def count(frame: Frame) -> None:
            self._stages_ms[there + len(self._stages_ms)] = frame.stages_ms
            self._stats.add(frame.stages_ms, bool(frame.hands), *frame.image.shape[1::-1])
            advance(1)
            self.expect_to_go_on()

        return record_clip(source, self.tracker, part, self.header(source), count, take_up)

    def smooth(self, raw: Recording) -> Recording:
        """What is drawn and kept of the first pass."""
        return smoothed(raw.of_model(self.model), self._args.smoothing)

    def draw(self, result: Recording, source: ClipSource, clip: Path, advance: Callable[[int], None]) -> str:
        """The second pass: the annotated clip.

        Args:
            result: what :meth:`smooth` gave.
            source: the clip.
            clip: the file to write.
            advance: called with how many frames more are done.

        Returns:
            Why it is silent where the source is not, or nothing.
        """
        args = self._args
        view = LiveView(args.opacity, args.outline, args.mirror, args.hud)

        def draw(image: NDArray[np.uint8], frame: RecordedFrame) -> NDArray[np.uint8]:
            ids = [hand.track_id or 0 for hand in frame.hands]
            picture = view.draw(image, frame.hands, ids)
            return view.annotate(picture, frame.hands, ids) if view.hud_in_files else picture

        def drawn(clock: StageClock) -> None:
            self._stats.add_stages(clock.stages_ms)
            advance(1)
            self.expect_to_go_on()

        return draw_clip(result, source, clip, draw, args.view.calibration, drawn)

    def log(self, result: Recording, source: ClipSource, path: Path, advance: Callable[[int], None]) -> None:
        """The clip, its hands and the milliseconds of the first pass for rerun's viewer.

        Args:
            result: what :meth:`smooth` gave.
            source: the clip, whose first pass was this object's latest.
            path: the .rrd file to write.
            advance: called with how many frames more are done.
        """
        camera = self._args.view.calibration
        with RerunWriter(path) as writer:
            for row, item in zip(range(len(result.frames)), source):
                image = item.image if camera is None else camera.undistort(item.image)
                writer.write(result.frame(row), image, self._stages_ms.get(row))
                advance(1)
                self.expect_to_go_on()

    def expect_to_go_on(self) -> None:
        """Raises :class:`Stopped` once the user has asked to end."""
        if self._stop.is_requested:
            raise Stopped
