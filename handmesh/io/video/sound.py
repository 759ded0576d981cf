"""The sound of one clip copied into another, packet by packet, without decoding it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from handmesh.io.video.clip_source import open_container

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet

#: Sound that players find in each kind of file; Matroska holds every kind.
_HELD = {
    ".mp4": {"aac", "mp3", "opus", "flac", "alac", "ac3", "eac3"},
    ".mov": {"aac", "mp3", "alac", "ac3", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_f32le"},
    ".webm": {"opus", "vorbis"},
    ".avi": {"mp3", "ac3", "pcm_s16le"},
}


class SoundCopy:
    """Copies the first sound of a clip. Enter it before the container gets its first packet.

    Attributes:
        packets: how many were copied.
        lost: why there is no sound although the clip has one; "" where there is none to lose.
    """

    def __init__(self, source: Path, container: OutputContainer, suffix: str) -> None:
        """Copy from one clip into another.

        Args:
            source: the clip with the sound.
            container: the clip being written.
            suffix: how its file's name ends (".mp4"), which decides what sound it can hold.
        """
        self.packets, self.lost = 0, ""
        self._source, self._container, self._suffix = source, container, suffix
        self._stack = ExitStack()
        self._next: Packet | None = None

    def __enter__(self) -> SoundCopy:
        import av

        try:
            opened = self._stack.enter_context(open_container(self._source))
        except av.error.FFmpegError:
            return self
        if not opened.streams.audio:
            return self
        original: AudioStream = opened.streams.audio[0]
        name = original.codec_context.name if original.codec_context else "unknown"
        if self._suffix in _HELD and name not in _HELD[self._suffix]:
            self.lost = f"its sound is {name}, which a {self._suffix} file cannot hold; write a .mkv to keep it"
            return self
        self._stream = self._container.add_stream_from_template(original)
        self._start_s = (opened.start_time or 0) / 1_000_000
        self._demuxer = opened.demux(original)
        self._advance()
        return self

    def copy_until(self, end_s: float) -> None:
        """Copy what is heard before ``end_s``, seconds from the clip's start."""
        while self._next is not None and self._time_s(self._next) < end_s:
            packet = self._next
            assert packet.time_base is not None and packet.dts is not None
            shift = round(self._start_s / packet.time_base)
            packet.pts, packet.dts = (packet.pts or packet.dts) - shift, packet.dts - shift
            packet.stream = self._stream
            if packet.dts >= 0:
                self._container.mux(packet)
                self.packets += 1
            self._advance()

    def _time_s(self, packet: Packet) -> float:
        assert packet.time_base is not None and packet.dts is not None
        return float(packet.dts * packet.time_base) - self._start_s

    def _advance(self) -> None:
        """The next packet that has a time; None at the end, and where the file is damaged."""
        import av

        self._next = None
        try:
            self._next = next((packet for packet in self._demuxer if packet.dts is not None), None)
        except av.error.FFmpegError as error:
            self.lost = f"its sound is damaged ({error.strerror}) and ends early"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
