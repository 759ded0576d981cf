"""A clip in two passes: every frame recorded as the network sees it, then drawn from the recording after its smoothing.

The first pass can be killed and taken up again: each line of the unfinished recording holds what the tracker needs to
go on, so that the numbers are those of one run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from handmesh._version import __version__
from handmesh.errors import HandMeshError
from handmesh.inference.stage_clock import StageClock
from handmesh.io.calibration import CameraCalibration
from handmesh.io.files import sha256_ends
from handmesh.io.video.sources import ClipSource, Source
from handmesh.io.video.video_writer import ClipWriter
from handmesh.mano.hand_model import HandModel
from handmesh.motion.formats.tables import RecordingHeader
from handmesh.motion.offline import smooth_live, smooth_offline
from handmesh.motion.recorder import LineWriter
from handmesh.motion.recording import RecordedFrame, Recording
from handmesh.motion.recording_files import Lines, read_lines
from handmesh.rendering.overlay import draw_hands

if TYPE_CHECKING:
    from handmesh.inference.tracking.tracker import Frame, HandTracker


def header_of(
    source: Source, model: HandModel, *, smoothing: str = "none", is_fov_assumed: bool = True,
    settings: Mapping[str, str] | None = None,
) -> RecordingHeader:  # fmt: skip
    """The header of a recording of this source; the first frame adds its size and field of view.

    Args:
        source: the clip or camera.
        model: the hand model of the predictor.
        smoothing: one of SMOOTHINGS, as the hands will be written.
        is_fov_assumed: nobody described the camera.
        settings: what else decides about the numbers, by name.
    """
    rest_joints = (model.arrays.J_regressor @ model.arrays.v_template).round(6)
    return RecordingHeader(
        source=source.description,
        source_fingerprint=sha256_ends(source.path)[:16] if isinstance(source, ClipSource) else "",
        fps=source.fps or 30.0,
        is_fov_assumed=is_fov_assumed,
        hand_model=model.arrays.name,
        hand_model_fingerprint=model.arrays.fingerprint(),
        rest_joints=tuple(tuple(row) for row in rest_joints.tolist()),
        smoothing=smoothing,
        settings=dict(settings or {}),
        handmesh=__version__,
    )


def record_clip(
    source: ClipSource,
    tracker: HandTracker,
    part: Path,
    header: RecordingHeader,
    on_frame: Callable[[Frame], None] = lambda frame: None,
    on_resume: Callable[[int], None] = lambda count: None,
) -> Recording:
    """Follow the hands through a clip, unsmoothed, line by line into a file; an unfinished one is taken up again.

    Args:
        source: the clip.
        tracker: the tracker; its smoothing is switched off.
        part: the file, kept when this is interrupted (see :func:`handmesh.motion.recording_files.part_path`). One of
            another clip, or made with other settings, is replaced.
        header: as of :func:`header_of`.
        on_frame: called with each new frame once its line is written.
        on_resume: called with the number of frames that are there already, if any.

    Returns:
        The recording of all frames, smoothing "none".

    Raises:
        HandMeshError: a file that cannot be written.
    """
    there = _unfinished(part, header)
    count = len(there.counts) if there else 0
    if count:
        on_resume(count)
    tracker.smoothing = False
    lines = LineWriter(part, header, there)
    try:
        for frame in tracker.run(source, skip=count, state=there.state if there else None):
            size = (frame.image.shape[1], frame.image.shape[0])
            row = RecordedFrame(lines.frame_count, frame.timestamp_s, size, frame.K, frame.hands)
            lines.write(row, tracker.state())
            on_frame(frame)
    finally:
        lines.close()
    return Recording.load(part)


def _unfinished(part: Path, header: RecordingHeader) -> Lines | None:
    """The lines that an interrupted run with the same header left, with a tracker's state; None for none."""
    if not part.is_file():
        return None
    try:
        there = read_lines(part, HandMeshError)
    except HandMeshError:
        return None
    known = replace(there.header, image_size=header.image_size, fov_deg=header.fov_deg)
    return there if known == header and there.state is not None else None


def smoothed(recording: Recording, smoothing: str) -> Recording:
    """The recording filtered as ``smoothing`` (one of SMOOTHINGS) says."""
    return {"none": lambda it: it, "live": smooth_live, "offline": smooth_offline}[smoothing](recording)


def draw_clip(
    recording: Recording,
    source: ClipSource,
    output: Path,
    draw: Callable[[NDArray[np.uint8], RecordedFrame], NDArray[np.uint8]] | None = None,
    camera: CameraCalibration | None = None,
    on_frame: Callable[[StageClock], None] = lambda clock: None,
) -> str:
    """Write the clip with its recorded hands drawn on every frame, at the frames' own times and with its sound.

    Args:
        recording: of this clip.
        source: the clip.
        output: the clip to write.
        draw: makes the picture out of a frame's (H, W, 3) uint8 RGB and its hands; None: the meshes over the picture.
        camera: the calibration that the hands were placed with; its distortion is undone.
        on_frame: called for each frame with the milliseconds of drawing and writing it.

    Returns:
        Why the clip is silent where the source is not, or nothing.

    Raises:
        HandMeshError: another hand model, or a file that cannot be written.
    """
    with ClipWriter(output, source.fps, sound_from=source.path) as writer:
        for row, item in enumerate(source):
            clock = StageClock()
            with clock("draw"):
                image = item.image if camera is None else camera.undistort(item.image)
                if row < len(recording.frames):
                    frame = recording.frame(row)
                    image = draw_hands(image, frame.hands) if draw is None else draw(image, frame)
            with clock("write"):
                writer.write(image, item.timestamp_s)
            on_frame(clock)
    return writer.lost_sound
