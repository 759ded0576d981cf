"""A clip, frame by frame, as players show it: each at its own time, turned and mirrored by its display matrix."""

from __future__ import annotations

import gc
import logging
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError
from handmesh.io.video.frames import SourceFrame, plausible_fps
from handmesh.io.video.prefetch import PrefetchIterator

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_log = logging.getLogger("handmesh")
#: Frames decoded ahead of the one in work.
PREFETCH = 3
#: Packets at the start from whose times the rate is taken.
_RATE_PACKETS = 240
#: Larger frames are refused, as larger photos are: a few kilobytes of a clip can say 16384 x 16384.
MAX_PIXELS = 50_000_000
#: Matrices from YUV to RGB that FFmpeg's scaler knows by the number that a frame has: BT.709, FCC, BT.601 twice, 240M.
_MATRICES = (1, 4, 5, 6, 7)
#: Marks in a file's header of codecs that not every FFmpeg can decode, and what people call them.
_CODEC_MARKS = {
    b"av01": "AV1", b"V_AV1": "AV1", b"hvc1": "HEVC (H.265)", b"hev1": "HEVC (H.265)", b"V_MPEGH": "HEVC (H.265)",
    b"vvc1": "VVC (H.266)", b"apch": "ProRes", b"apcn": "ProRes", b"evc1": "EVC",
}  # fmt: skip


def open_container(path: Path) -> InputContainer:
    """A clip for reading; FFmpeg's errors pass through.

    Titles and names in it may be of any encoding. "file:" and an absolute path, since a name with a colon would be
    taken for a protocol. A playlist opens no URL.
    """
    import av

    return av.open(
        f"file:{path.absolute()}", metadata_errors="replace", options={"protocol_whitelist": "file"}
    )  # fmt: skip


class ClipSource:
    """Every frame of a clip, decoded ahead in a thread so that decoding and inference overlap.

    Attributes:
        path: the file.
        fps: mean frames a second over the first frames, by their own times; what the header says is often no rate.
        duration_s: length in seconds as the header says; 0 where it does not.
        frame_count: how many frames it has, counted by the header or estimated; 0 where it cannot be known.
        audio_codec: FFmpeg's name of its sound's codec, None for a silent clip.
    """

    is_live, is_photos = False, False

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the clip, take its rate from its first frames and decode one.

        Raises:
            HandMeshError: not a clip, a codec that cannot be decoded here, no frame in it, frames too large.
        """
        self.path = Path(path)
        self.description = self.path.name
        self._readings: list[PrefetchIterator[SourceFrame]] = []
        with self._open() as (container, stream):
            self.audio_codec = container.streams.audio[0].codec_context.name if container.streams.audio else None
            stated_fps = float(stream.average_rate or stream.guessed_rate or 0)
            length = Fraction(container.duration or 0, 1_000_000)
            if stream.duration and stream.time_base:
                length = stream.duration * stream.time_base
            self.duration_s = max(0.0, float(length))
            declared = stream.frames
            stamps = {packet.pts for packet in islice(container.demux(stream), _RATE_PACKETS)}
            times = sorted(stamp for stamp in stamps if stamp is not None)
            self.fps = plausible_fps(_rate(times, stream.time_base) or stated_fps)
        self.frame_count = declared or round(self.duration_s * self.fps)
        first = self._decode()
        if next(first, None) is None:
            raise self._error("no frame can be decoded")
        first.close()  # type: ignore[attr-defined]

    def __iter__(self) -> Iterator[SourceFrame]:
        frames = PrefetchIterator(self._decode(), PREFETCH, "clip decoder")
        self._readings.append(frames)
        try:
            for frame in frames:
                # A clip's frame is in hand when it is asked for: how far ahead it was decoded says nothing of latency.
                yield replace(frame, grabbed_s=time.perf_counter())
        finally:
            frames.close()
            self._readings.remove(frames)
            # PyAV's decoder, which holds a hundred megabytes of frames, is part of a cycle of references.
            gc.collect()

    def close(self) -> None:
        """End decoding threads of iterations that were left half-way."""
        for frames in list(self._readings):
            frames.close()

    def _decode(self) -> Iterator[SourceFrame]:
        previous_s = -1.0
        with self._open() as (container, stream):
            start_s = (container.start_time or 0) / 1_000_000
            stream.thread_type = "AUTO"
            for frame in self._frames(container, stream):
                if frame.width * frame.height > MAX_PIXELS:
                    raise self._error(f"its frames have {frame.width} x {frame.height} pixels")
                timestamp_s = -1.0 if frame.time is None else frame.time - start_s
                # Some containers give no times, or the same twice: then the rate has to do.
                if not timestamp_s > previous_s:
                    timestamp_s = 0.0 if previous_s < 0 else previous_s + 1 / self.fps
                previous_s = timestamp_s
                yield SourceFrame(timestamp_s, _as_shown(frame, stream.sample_aspect_ratio))

    def _frames(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        """Decoded frames; damaged parts are passed over, as players do, and counted."""
        import av

        damaged = 0
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                yield from stream.decode(packet)
            except av.error.EOFError:
                break
            except av.error.FFmpegError as error:
                damaged += 1
                if damaged > 1000 or not isinstance(error, av.error.InvalidDataError):
                    raise self._error(f"it ends in damage ({error.strerror})") from error
        if damaged:
            _log.warning("%s: %d damaged parts were passed over", self.description, damaged)

    @contextmanager
    def _open(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        """The container and its moving picture (not a cover); FFmpeg's faults as one line."""
        import av

        try:
            with open_container(self.path) as container:
                yield container, self._stream(container)
        except av.error.FFmpegError as error:
            raise self._error(f"it is no video that FFmpeg can read ({error.strerror})") from error

    def _stream(self, container: InputContainer) -> VideoStream:
        import av

        streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not streams:
            raise self._error("there is no moving picture in it")
        stream = streams[0]
        if not stream.codec_context:
            raise self._error(f"this machine's FFmpeg cannot decode {_codec_name(self.path)}")
        if stream.codec_context.width * stream.codec_context.height > MAX_PIXELS:
            raise self._error(f"its frames have {stream.codec_context.width} x {stream.codec_context.height} pixels")
        return stream

    def _error(self, reason: str) -> HandMeshError:
        return HandMeshError(
            f"expected a clip, got {self.path}: {reason}; convert it first (ffmpeg -i {self.path.name} out.mp4)"
        )


def _rate(times: list[int], time_base: Fraction | None) -> float:
    """Mean frames a second of rising time stamps, 0 for none."""
    if len(times) < 2 or not time_base:
        return 0.0
    return float((len(times) - 1) / ((times[-1] - times[0]) * time_base))


def _codec_name(path: Path) -> str:
    """What a clip's codec is called, by the marks in its header (at the end of the file in many an mp4)."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        header = file.read(1 << 16)
        file.seek(max(0, size - (1 << 20)))
        header += file.read(1 << 20)
    return next((name for mark, name in _CODEC_MARKS.items() if mark in header), "its codec")


def _as_shown(frame: VideoFrame, pixel_aspect: Fraction | None) -> NDArray[np.uint8]:
    """RGB (H, W, 3) uint8 with square pixels, turned and mirrored as the clip's display matrix says."""
    width = frame.width
    if pixel_aspect and Fraction(1, 4) <= pixel_aspect <= 4:
        width = max(1, round(width * pixel_aspect))
    # Said in full: not every version of PyAV takes what is left out from the frame.
    image: Any = frame.reformat(
        width=width, format="rgb24", src_colorspace=frame.colorspace if frame.colorspace in _MATRICES else None,
        src_color_range=frame.color_range, dst_color_range=2,
    ).to_ndarray()  # fmt: skip
    return apply_display_matrix(image, _display_matrix(frame))


def _display_matrix(frame: VideoFrame) -> tuple[int, ...]:
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    return struct.unpack("=9i", bytes(data)) if data is not None and len(bytes(data)) == 36 else ()


def apply_display_matrix(image: NDArray[np.uint8], matrix: tuple[int, ...]) -> NDArray[np.uint8]:
    """An image as a container's display matrix shows it, in quarter turns and mirrorings.

    Args:
        image: (H, W, 3).
        matrix: the nine numbers a, b, u, c, d, v, x, y, w of (x', y') = (a x + c y, b x + d y); () for none.

    Returns:
        The image turned, (H, W, 3) or (W, H, 3); other angles are taken for the nearest quarter turn.
    """
    if not matrix:
        return image
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    if abs(a) + abs(d) < abs(b) + abs(c):
        image = np.asarray(cv2.transpose(image))
        flip_x, flip_y = c < 0, b < 0
    else:
        flip_x, flip_y = a < 0, d < 0
    if flip_x or flip_y:
        image = np.asarray(cv2.flip(image, -1 if flip_x and flip_y else 1 if flip_x else 0))
    return image
