"""``handmesh video FOLDER``: every clip of a folder, one clip followed while the one before is drawn and encoded."""

from __future__ import annotations

import argparse
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from handmesh.cli.clip_passes import ClipPasses, Stopped
from handmesh.cli.progress import Progress, say
from handmesh.cli.tracking import DEFAULT_FOLDER
from handmesh.errors import HandMeshError
from handmesh.io.files import work_folder
from handmesh.io.video.sources import ClipSource, list_clips
from handmesh.io.video.video_writer import CLIP_SUFFIXES
from handmesh.motion.clip_folder import ClipTask, clip_tasks, is_whole_clip, whole_recording
from handmesh.motion.recording import Recording
from handmesh.motion.recording_files import RECORDING_SUFFIXES, part_path

#: Clips that are followed and wait to be drawn; more would hold more recordings in memory and save no time.
QUEUE_SIZE = 1

T = TypeVar("T")
_log = logging.getLogger("handmesh")


class _Opened(NamedTuple):
    """A clip that can be read, and its recording where an earlier run left it whole."""

    task: ClipTask
    source: ClipSource
    there: Recording | None


def find_tasks(folder: Path, args: argparse.Namespace) -> list[ClipTask]:
    """The clips of a folder and where their results go, by ``--output`` and ``--recording``.

    Raises:
        HandMeshError: no clip there, or targets that are no folders, cannot be written, or lie among the clips.
    """
    drawn = Path(args.output) if args.output else None if args.recording else DEFAULT_FOLDER
    recordings = Path(args.recording) if args.recording else drawn or DEFAULT_FOLDER
    for option, target, suffixes in (
        ("--output", drawn, CLIP_SUFFIXES), ("--recording", recordings, RECORDING_SUFFIXES)
    ):  # fmt: skip
        if target and (target.suffix.lower() in suffixes and not target.is_dir() or target.is_file()):
            raise HandMeshError(f"expected {option} as a folder, since {folder} is one, got {target}; name a folder")
    if drawn and folder.resolve() in (drawn.resolve(), *drawn.resolve().parents):
        raise HandMeshError(
            f"expected --output outside of {folder}, got {drawn}: the next run would take drawn clips for its own; "
            "name another folder"
        )
    tasks = clip_tasks(folder, list_clips(folder), recordings, drawn)
    for target in {recordings, drawn or recordings}:
        with work_folder(target / "clip"):  # says now, and not after the first hour, that it cannot be written
            pass
    return tasks


class FolderRun:
    """Clips through both passes; what fails is named and left, what is whole is passed over.

    Attributes:
        failures: names of the clips that failed, and why.
        done, done_before: how many clips were finished now, and how many an earlier run had finished.
    """

    def __init__(self, passes: ClipPasses, smoothing: str, overlap: bool = True) -> None:
        """A run over clips.

        Args:
            passes: do the work.
            smoothing: one of SMOOTHINGS, as the recordings are to be.
            overlap: draw a clip in a second thread while the next one is followed.
        """
        self._passes, self._smoothing, self._overlap = passes, smoothing, overlap
        self.failures: dict[str, str] = {}
        self.done = self.done_before = 0

    def run(self, tasks: Sequence[ClipTask]) -> None:
        """Do what is missing.

        Raises:
            Stopped: the user asked to end; nothing is half written under a final name.
        """
        opened = self._unfinished(tasks)
        total = sum(each.source.frame_count for each in opened)
        with Progress(f"{len(opened)} clips", total) as progress, ThreadPoolExecutor(1, "clip writer") as writer:
            waiting: deque[Future[bool | None]] = deque()
            for number, each in enumerate(opened, 1):
                label = f"{number} of {len(opened)}: {each.task.name}"
                progress.describe(label)
                raw = self._attempt(each.task, partial(self._follow, each, progress.advance))
                if raw is None:
                    continue
                finish = partial(self._attempt, each.task, partial(self._write, each, raw, label, progress.advance))
                if not self._overlap:
                    finish()
                    continue
                waiting.append(writer.submit(finish))
                while len(waiting) > QUEUE_SIZE:
                    waiting.popleft().result()
            while waiting:
                waiting.popleft().result()

    def _unfinished(self, tasks: Sequence[ClipTask]) -> list[_Opened]:
        """The clips with something to do; those that are no clips are named now."""
        opened = []
        with Progress("looking at the clips", len(tasks), unit="clip") as progress:
            for task in tasks:
                self._passes.expect_to_go_on()
                each = self._attempt(task, partial(self._look_at, task))
                progress.advance()
                if each is None:
                    continue
                if each.there and (task.drawn is None or is_whole_clip(task.drawn, len(each.there.frames))):
                    part_path(task.recording).unlink(missing_ok=True)
                    self.done_before += 1
                else:
                    opened.append(each)
        return opened

    def _look_at(self, task: ClipTask) -> _Opened:
        source = ClipSource(task.source)
        return _Opened(task, source, whole_recording(task.recording, self._passes.header(source, self._smoothing)))

    def _follow(self, each: _Opened, advance: Callable[[int], None]) -> Recording:
        """The first pass, or what an earlier run has of it."""
        if each.there is not None:
            return each.there

        def count(frames: int) -> None:
            # A frame counts as done after its last pass.
            if each.task.drawn is None:
                advance(frames)

        def resumed(frames: int) -> None:
            say(f"{each.task.name}: {frames} frames are there already, going on")
            count(frames)

        return self._passes.record(each.source, part_path(each.task.recording), count, resumed)

    def _write(self, each: _Opened, raw: Recording, label: str, advance: Callable[[int], None]) -> bool:
        """The results of a clip; the recording comes last, so that where it is, everything is."""
        task, lost_sound = each.task, ""
        result = raw.of_model(self._passes.model) if each.there else self._passes.smooth(raw)
        if task.drawn:
            lost_sound = self._passes.draw(result, each.source, task.drawn, advance)
        if not each.there:
            result.save(task.recording)
        part_path(task.recording).unlink(missing_ok=True)
        self.done += 1
        silent = f"; the drawn clip is silent: {lost_sound}" if lost_sound else ""
        say(f"{label}: {len(result.frames)} frames, {len(result.tracks())} hands{silent}")
        return True

    def _attempt(self, task: ClipTask, step: Callable[[], T]) -> T | None:
        """What a step gives, None after it failed: of thousands of clips one must not end a night's run."""
        try:
            return step()
        except Stopped:
            raise
        except HandMeshError as error:
            self._fail(task, str(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours or of a decoder's; the next clip may do without
            _log.exception("%s", task.name)
            self._fail(task, f"{type(error).__name__}: {error}")
        return None

    def _fail(self, task: ClipTask, reason: str) -> None:
        self.failures[task.name] = reason
        say(f"failed: {reason}")


def run_folder(folder: Path, args: argparse.Namespace, passes: ClipPasses, tasks: Sequence[ClipTask]) -> None:
    """Every clip of a folder.

    Args:
        folder: for the messages.
        args: of ``handmesh video``.
        passes: do the work.
        tasks: as of :func:`find_tasks`.

    Raises:
        Stopped: the user asked to end.
        HandMeshError: some clips failed; they are listed on stderr, and all others are done.
    """
    run = FolderRun(passes, args.smoothing)
    run.run(tasks)
    say(f"{run.done} clips done, {run.done_before} were done before, {len(run.failures)} failed")
    if run.failures:
        for name, reason in run.failures.items():
            say(f"  {name}: {reason}")
        raise HandMeshError(
            f"expected every clip of {folder} to be done, got {len(run.failures)} of {len(tasks)} that failed, listed "
            "above; mend or remove them, then run the same command again"
        )
