"""A clip that plays everywhere, keeps time and sound, and is whole under its final name or not there at all."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError
from handmesh.io.files import atomic_path
from handmesh.io.video.clip_check import expect_whole
from handmesh.io.video.sound import SoundCopy

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream


class _Encoder(NamedTuple):
    """An encoder of FFmpeg's, its options and its colours."""

    name: str
    options: dict[str, str]
    pixels: str = "yuv420p"
    #: What a player takes the colours for: BT.709 with some head- and footroom, or JPEG's BT.601 without.
    matrix: int = 1
    is_full_range: bool = False


_H264 = _Encoder("libx264", {"preset": "superfast", "crf": "20"})
_OPENH264 = _Encoder("libopenh264", {"b": "6M"})
_VP9 = _Encoder("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "crf": "28", "b": "0", "row-mt": "1"})
_MJPEG = _Encoder("mjpeg", {"qmin": "3", "qmax": "3"}, "yuvj420p", 5, True)
#: For each kind of file the encoders that fit it, the best first; the first that this FFmpeg has is taken. All but
#: AVI's play in browsers.
_ENCODERS = {
    ".mp4": (_H264, _OPENH264, _VP9), ".mov": (_H264, _OPENH264), ".mkv": (_H264, _OPENH264, _VP9), ".webm": (_VP9,),
    ".avi": (_MJPEG,),
}  # fmt: skip
CLIP_SUFFIXES = tuple(_ENCODERS)
#: Times are kept to 1/90000 s, which divides every usual rate; AVI knows only whole frames of its rate.
_TIME_BASE = Fraction(1, 90_000)
#: Frames that wait for the encoder; more would only hide that it is too slow.
QUEUE_SIZE = 8
#: An encoder or a disk that gives no sign of life for so long is given up, seconds.
STALL_S = 300.0
#: Of a camera, a picture stands still for at most so long: it may be gone, or paused, for minutes.
MAX_STILL_S = 5.0
#: Smallest side of a clip's picture that every encoder takes; smaller ones get a black border.
_MIN_SIDE = 16


class ClipWriter:
    """Writes RGB frames to a clip at the times they were taken, encoding in a thread. Use as a context manager.

    Leaving the block normally or by Ctrl-C finishes the clip, verifies it (it opens, and holds every frame) and gives
    it its name; it is removed if it got no frame. Any other exception leaves nothing under the final name, and so does
    an encoder that fails or a disk that is full, which the next write or the end of the block raises (HandMeshError).
    Frames of another size than the first are scaled and padded to it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        fps: float = 30.0,
        *,
        sound_from: str | os.PathLike[str] | None = None,
        max_still_s: float | None = None,
    ) -> None:
        """A clip to be written.

        Args:
            path: .mp4, .mov or .mkv (H.264), .webm (VP9) or .avi (MJPEG).
            fps: its rate: exact for frames that come without times and in AVI, else what the header says.
            sound_from: a clip whose sound is copied unchanged, where this kind of file can hold it; :attr:`lost_sound`
                says why it cannot.
            max_still_s: a picture stands still for at most so many seconds, what goes beyond is left out; None: never.
        """
        self.path, self.fps, self.frame_count = Path(path), float(fps), 0
        if self.path.suffix.lower() not in CLIP_SUFFIXES:
            raise HandMeshError(
                f"expected a clip's name ending in one of {', '.join(CLIP_SUFFIXES)}, got {self.path.name}; add one"
            )
        self.lost_sound = ""
        self._sound_from = None if sound_from is None else Path(sound_from)
        self._max_still_s = max_still_s
        is_avi = self.path.suffix.lower() == ".avi"
        self._time_base = 1 / Fraction(self.fps).limit_denominator(1001) if is_avi else _TIME_BASE
        self._target: AbstractContextManager[Path] | None = None
        self._part = Path()
        # Not queue.Queue: Ctrl-C that comes while its Python code takes the lock leaves it locked, and the end waits
        # for ever. A SimpleQueue is one step of the interpreter. A token in _room is a free place.
        self._frames: queue.SimpleQueue[tuple[NDArray[np.uint8], int] | None] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(QUEUE_SIZE):
            self._room.put(None)
        self._encoder: threading.Thread | None = None
        self._failure: Exception | None = None
        self._size = (0, 0)
        self._cut_s = 0.0
        self._last_s: float | None = None
        self._last_ticks = -1

    def __enter__(self) -> ClipWriter:
        self._target = atomic_path(self.path)
        self._part = self._target.__enter__()
        return self

    def write(self, image: NDArray[np.uint8], timestamp_s: float | None = None) -> float:
        """Add a frame. The array may be reused by the caller afterwards.

        Args:
            image: (H, W, 3) uint8 RGB.
            timestamp_s: when it is shown, seconds, rising; None: 1 / fps after the frame before.

        Returns:
            The seconds that were left out before it, because nothing came for longer than ``max_still_s``.
        """
        if self._encoder is None:
            # Colours are kept for two by two pixels, so sides are even.
            self._size = tuple(max(_MIN_SIDE, side // 2 * 2) for side in image.shape[1::-1])  # type: ignore[assignment]
            self._encoder = threading.Thread(target=self._encode, name="clip encoder", daemon=True)
            self._encoder.start()
        left_out_s = 0.0
        if timestamp_s is None:
            timestamp_s = 0.0 if self._last_s is None else self._last_s + 1 / self.fps
        elif self._max_still_s is not None and self._last_s is not None:
            left_out_s = max(0.0, timestamp_s - self._last_s - self._max_still_s)
            self._cut_s += left_out_s
        elif self._max_still_s is not None:
            # A camera's clock runs before its first frame.
            self._cut_s = timestamp_s
        self._last_s = timestamp_s
        ticks = max(self._last_ticks + 1, round((timestamp_s - self._cut_s) / self._time_base))
        self._put(_fit(image, self._size), ticks)
        return left_out_s

    def _put(self, picture: NDArray[np.uint8], ticks: int) -> None:
        self._raise_failure()
        try:
            self._room.get(timeout=STALL_S)
        except queue.Empty:
            raise self._stalled() from None
        self._last_ticks = ticks
        self._frames.put((picture, ticks))
        self.frame_count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._target is not None
        is_end = kind is None or issubclass(kind, KeyboardInterrupt)
        with ExitStack() as discard:
            discard.callback(self._discard)
            if self._encoder is not None:
                self._frames.put(None)
                self._encoder.join(STALL_S)
                if self._encoder.is_alive():
                    self._failure = self._stalled()
            if is_end and self.frame_count and not self._failure:
                discard.pop_all()
                self._target.__exit__(None, None, None)
        if is_end:
            self._raise_failure()

    def _discard(self) -> None:
        assert self._target is not None
        with suppress(_Unwanted):
            # Any exception makes atomic_path throw the part away.
            self._target.__exit__(_Unwanted, _Unwanted(), None)

    def _encode(self) -> None:
        pictures = self._pictures()
        try:
            self._encode_all(pictures)
        except HandMeshError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - this thread's, raised where the clip is written
            reason = getattr(error, "strerror", None) or error
            self._failure = HandMeshError(
                f"expected to write {self.path}, got: {reason}; free some space or choose another name or folder"
            )
        # Whoever writes would wait for ever for room in a queue that nobody empties.
        for _ in pictures:
            pass

    def _pictures(self) -> Iterator[tuple[NDArray[np.uint8], int]]:
        for item in iter(self._frames.get, None):
            self._room.put(None)
            yield item

    def _encode_all(self, pictures: Iterator[tuple[NDArray[np.uint8], int]]) -> None:
        import av

        with ExitStack() as stack:
            container = stack.enter_context(av.open(f"file:{self._part.absolute()}", "w"))
            encoder = self._encoder_here()
            stream = self._add_stream(container, encoder)
            sound = None
            if self._sound_from:
                sound = stack.enter_context(SoundCopy(self._sound_from, container, self.path.suffix.lower()))
                self.lost_sound = sound.lost
            ticks, frames = 0, 0
            for picture, ticks in pictures:
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame = frame.reformat(
                    format=encoder.pixels, dst_colorspace=encoder.matrix, src_color_range=2,
                    dst_color_range=1 + encoder.is_full_range,
                )  # fmt: skip
                frame.pts, frame.time_base = ticks, self._time_base
                container.mux(stream.encode(frame))
                frames += 1
                if sound:
                    sound.copy_until(float(ticks * self._time_base))
            container.mux(stream.encode(None))
            if sound:
                sound.copy_until(float(ticks * self._time_base) + 1 / self.fps)
        with open(self._part, "rb") as file:
            os.fsync(file.fileno())
        expect_whole(self._part, self.path, frames, sound.packets if sound else 0)

    def _encoder_here(self) -> _Encoder:
        import av

        available = av.codec.codecs_available
        for encoder in _ENCODERS[self.path.suffix.lower()]:
            if encoder.name in available:
                return encoder
        raise HandMeshError(
            f"expected to write {self.path}, got an FFmpeg without an encoder for it; "
            "pip install --upgrade av, or use a name ending in .webm"
        )

    def _add_stream(self, container: OutputContainer, encoder: _Encoder) -> VideoStream:
        rate = Fraction(self.fps).limit_denominator(1001)
        stream = cast("VideoStream", container.add_stream(encoder.name, rate=rate, options=dict(encoder.options)))
        stream.width, stream.height = self._size
        stream.pix_fmt = encoder.pixels
        context = stream.codec_context
        context.time_base = self._time_base
        # What the colours mean is written down, so that every player shows the same ones.
        context.colorspace, context.color_range = encoder.matrix, 1 + encoder.is_full_range
        if encoder.matrix == 1:
            context.color_primaries = context.color_trc = 1
        return stream

    def _stalled(self) -> HandMeshError:
        return HandMeshError(
            f"expected to write {self.path}, got no answer from the encoder or the disk for {STALL_S:.0f} s; choose "
            "another folder, or smaller pictures"
        )

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


class _Unwanted(Exception):
    """Tells atomic_path to throw the part away; never leaves this module."""


def _fit(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A copy of the image at exactly size = (width, height): cropped by an odd pixel, or scaled and padded."""
    width, height = size
    if image.shape[1] - width in (0, 1) and image.shape[0] - height in (0, 1):
        return np.array(image[:height, :width], order="C")
    scale = min(width / image.shape[1], height / image.shape[0])
    inner = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    canvas = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, inner, interpolation=cv2.INTER_AREA)
    return canvas
