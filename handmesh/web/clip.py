"""A visitor's clip: followed, smoothed and drawn in a process of its own, with limits on its length and on the time."""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError
from handmesh.io.video.clip_source import ClipSource
from handmesh.motion.clips import draw_clip, header_of, record_clip, smoothed
from handmesh.motion.formats.bvh import write_bvh
from handmesh.motion.formats.gltf import write_gltf
from handmesh.motion.recording import RecordedFrame
from handmesh.rendering.colors import TrackColors
from handmesh.rendering.overlay import draw_hands
from handmesh.web.results import plain_stem

if TYPE_CHECKING:
    from handmesh.inference.stage_clock import StageClock
    from handmesh.inference.tracking.tracker import Frame, HandTracker

MAX_SECONDS, MAX_FRAMES, MAX_FRAME_PIXELS = 30.0, 1800, 9_000_000
#: A clip that is not done by then is given up, seconds.
TIME_LIMIT_S = 600.0
#: Progress is reported this often at most, seconds.
_REPORT_S = 0.3


class ClipProgress(NamedTuple):
    """How far a clip is."""

    stage: str
    done: int
    total: int


class ClipFiles(NamedTuple):
    """What was made of a clip."""

    clip: Path
    recording: Path
    glb: Path | None  # None where there is no hand to animate
    bvh: Path | None


class ClipResult(NamedTuple):
    """What a clip gave; ``hands`` has the side, the colour (#rrggbb) and the seconds in view of each track."""

    name: str
    seconds: float
    frames: int
    hands: list[dict[str, Any]]
    lost_sound: str
    files: ClipFiles


MakeTracker = Callable[[float], "HandTracker"]
Report = Callable[[ClipProgress], None]


def load_tracker(options: dict[str, Any], fov_deg: float) -> HandTracker:
    """A tracker of from_pretrained's options for a camera of that field of view."""
    from handmesh.inference.predictor import HandMeshPredictor
    from handmesh.inference.tracking.tracker import HandTracker

    return HandTracker(HandMeshPredictor.from_pretrained(**options), smoothing=False, fov_deg=fov_deg)


def process_clip(path: str, tracker: HandTracker, folder: Path, report: Report) -> ClipResult:
    """Follow the hands through a clip and write drawn clip, recording, GLB and BVH.

    Args:
        path: the clip.
        tracker: follows the hands.
        folder: an empty folder for the results.
        report: called with the progress, often.

    Raises:
        HandMeshError: not a clip, one that is too long or too large, or results that could not be written.
    """
    with closing(ClipSource(path)) as source:
        total = min(source.frame_count or MAX_FRAMES, MAX_FRAMES)
        if source.duration_s > MAX_SECONDS + 1 or source.frame_count > MAX_FRAMES:
            raise HandMeshError(
                f"expected a clip of at most {MAX_SECONDS:.0f} seconds and {MAX_FRAMES} frames, got "
                f"{source.duration_s:.0f} seconds and {source.frame_count}; cut it first, or use: handmesh video"
            )
        from handmesh.inference.predictor import results_model

        model = results_model(tracker.predictor)
        done = 0

        def followed(frame: Frame) -> None:
            nonlocal done
            done += 1
            if done > MAX_FRAMES or frame.timestamp_s > MAX_SECONDS + 1:  # headers may say anything
                raise HandMeshError(f"expected a clip of at most {MAX_SECONDS:.0f} seconds, got more; cut it first")
            if frame.image.shape[0] * frame.image.shape[1] > MAX_FRAME_PIXELS:
                raise HandMeshError(f"expected frames of at most {MAX_FRAME_PIXELS / 1e6:.0f} megapixels, got more")
            report(ClipProgress("Following the hands", done, max(total, done)))

        header = header_of(source, model, is_fov_assumed=False)
        part = folder / ".frames.part.jsonl"
        recording = smoothed(record_clip(source, tracker, part, header, followed).of_model(model), "offline")
        part.unlink(missing_ok=True)
        stem = folder / f"{plain_stem(path)}-hands"
        files = ClipFiles(stem.with_suffix(".mp4"), stem.with_suffix(".jsonl"), None, None)
        lost_sound, colors = _draw(recording, source, files.clip, report)
        recording.save(files.recording)
        tracks = recording.tracks()
        if tracks:
            files = files._replace(glb=stem.with_suffix(".glb"), bvh=stem.with_suffix(".bvh"))
            report(ClipProgress("Writing the animation", 0, 1))
            write_gltf(recording, stem.with_suffix(".glb"))
            write_bvh(recording, stem.with_suffix(".bvh"))
        times_s = np.asarray(recording.frames.timestamp_s, np.float64)
        hands = [
            {
                "side": "right" if np.mean(track.hands.is_right) >= 0.5 else "left",
                "color": colors.get(number, ""),
                "seconds": round(len(track) / max(source.fps, 1.0), 2),
            }
            for number, track in tracks.items()
        ]
        seconds = float(times_s[-1]) + 1 / max(source.fps, 1.0) if len(times_s) else 0.0
        return ClipResult(Path(path).name, seconds, len(times_s), hands, lost_sound, files)


def _draw(recording: Any, source: ClipSource, output: Path, report: Report) -> tuple[str, dict[int, str]]:
    """Draw the clip: why it is silent where it was not, and each track's colour, #rrggbb, as it was first drawn."""
    colors, count, first = TrackColors(), 0, dict[int, str]()

    def draw(image: NDArray[np.uint8], frame: RecordedFrame) -> NDArray[np.uint8]:
        ids = [hand.track_id or 0 for hand in frame.hands]
        tints = colors(frame.hands, ids)
        for number, tint in zip(ids, tints, strict=True):
            first.setdefault(number, "#{:02x}{:02x}{:02x}".format(*tint))
        return draw_hands(image, frame.hands, colors=tints)

    def drawn(_: StageClock) -> None:
        nonlocal count
        count += 1
        report(ClipProgress("Drawing the clip", count, max(len(recording.frames), count)))

    return draw_clip(recording, source, output, draw, on_frame=drawn), first


def run_clip(
    path: str, fov_deg: float, folder: Path, make_tracker: MakeTracker, time_limit_s: float = TIME_LIMIT_S
) -> Generator[ClipProgress | ClipResult, None, None]:
    """:func:`process_clip` in a child process, so that a clip that hangs, grows or crashes its decoder harms nobody.

    Leaving the iteration early ends the child.

    Args:
        path: the clip.
        fov_deg: the camera's field of view over the longer side, degrees.
        folder: a new folder for the results goes here; it must exist.
        make_tracker: makes the tracker from the field of view, in the child: a function of some module, or a partial.
        time_limit_s: for all of it.

    Yields:
        The progress, and at last the result.

    Raises:
        HandMeshError: as of process_clip, naming the file alone and not its folder; or the time was up.
    """
    place = Path(tempfile.mkdtemp(prefix="clip-", dir=folder))
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe(duplex=False)
    words = (theirs, path, str(place), partial(make_tracker, fov_deg))
    process = context.Process(target=_work, args=words, daemon=True)
    process.start()
    theirs.close()
    deadline_s, name = time.monotonic() + time_limit_s, Path(path).name
    try:
        while True:
            if not pipe.poll(max(0.0, deadline_s - time.monotonic())):
                raise HandMeshError(f"expected {name} to be done within {time_limit_s:.0f} s, it is not; cut it first")
            message = json.loads(pipe.recv_bytes())
            if "error" in message:
                raise HandMeshError(message["error"].replace(str(path), name))
            if "result" in message:
                result = message["result"]
                clip, recording, glb, bvh = result.pop("files")
                animation = (Path(glb), Path(bvh)) if glb and bvh else (None, None)
                yield ClipResult(**result, files=ClipFiles(Path(clip), Path(recording), *animation))
                return
            yield ClipProgress(**message)
    except (EOFError, OSError) as error:
        raise HandMeshError(f"expected a clip, got {name}, which breaks its reader; convert it to MP4 first") from error
    finally:
        process.kill()
        process.join(10.0)
        pipe.close()


def _work(pipe: Connection, path: str, folder: str, make_tracker: Callable[[], HandTracker]) -> None:
    """The child: progress, then a result or an error, as JSON."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to handle
    reported_s = 0.0

    def report(progress: ClipProgress) -> None:
        nonlocal reported_s
        if time.monotonic() - reported_s > _REPORT_S:
            reported_s = time.monotonic()
            pipe.send_bytes(json.dumps(progress._asdict()).encode())

    try:
        report(ClipProgress("Loading the model", 0, 1))
        result = process_clip(path, make_tracker(), Path(folder), report)
        files: Sequence[str | None] = [None if file is None else str(file) for file in result.files]
        pipe.send_bytes(json.dumps({"result": {**result._asdict(), "files": files}}).encode())
    except HandMeshError as error:
        pipe.send_bytes(json.dumps({"error": str(error)}).encode())
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything at all
        text = f"expected a clip, got {path}: {type(error).__name__}; convert it to MP4 first"
        pipe.send_bytes(json.dumps({"error": text}).encode())
