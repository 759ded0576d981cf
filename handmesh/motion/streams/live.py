"""A live stream: each frame's record with a sequence number, offered to every target at once, whoever reads it or not.

Sending never waits. A target drops what its receiver cannot hold; what comes next is the newest frame.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

from handmesh.mano.hand_model import HandModel
from handmesh.motion.formats.tables import RecordingHeader
from handmesh.motion.recorder import FrameRecords
from handmesh.motion.recording import RecordedFrame
from handmesh.motion.recording_files import dump_line

#: So long after the last hand, or the last picture, a stream says that it is stale, seconds.
STALE_S = 0.2
#: How long the end waits for the thread that fills silences, seconds.
_END_S = 5.0


@dataclass(frozen=True)
class StreamMessage:
    """One message of a stream.

    Attributes:
        header: the recording's header as a line of JSON, UTF-8, with its end of line.
        record: the frame's line as an object: a recording's keys, and ``sequence``, ``stale``, ``grabbed_unix_s``.
        line: ``record`` as a line of JSON.
        model: the hand model of the hands in it.
    """

    header: bytes
    record: dict[str, Any]
    line: bytes
    model: HandModel


class StreamTarget(Protocol):
    """Somewhere a stream goes."""

    #: Its address, for people.
    url: str

    def offer(self, message: StreamMessage) -> None:
        """Send the message, or keep it in place of one that waits; returns at once."""
        ...

    def close(self) -> None:
        """Let go of sockets and threads; idempotent."""
        ...


class LiveStream:
    """Frames as messages for targets; use as a context manager. The targets are closed by whoever opened them.

    While no picture comes (a camera that is blocked or paused) the last frame is offered again every STALE_S seconds,
    without hands and stale, so that a receiver can tell a silent camera from a hand that keeps still.
    """

    def __init__(self, targets: Sequence[StreamTarget], header: RecordingHeader, model: HandModel) -> None:
        """A stream that begins with its first frame.

        Args:
            targets: where it goes.
            header: as of a recording of the same frames; size and field of view are taken from the first frame.
            model: the hand model of the hands.
        """
        self._targets, self._records, self._model = targets, FrameRecords(header), model
        self._header = b""
        self._last: dict[str, Any] = {}
        self._sequence = self.frame_count = 0
        self._hand_s = 0.0
        self._sent_s = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._fill_silences, name="stream", daemon=True)

    def __enter__(self) -> LiveStream:
        self._watch.start()
        return self

    def send(self, frame: RecordedFrame, grabbed_s: float = 0.0) -> None:
        """Offer a frame to every target; returns without waiting for any of them.

        Args:
            frame: the frame, as it is recorded.
            grabbed_s: ``time.perf_counter()`` of its grab; 0 for now.
        """
        age_s = time.perf_counter() - grabbed_s if grabbed_s else 0.0
        grabbed_unix_s = round(time.time() - age_s, 6)
        with self._lock:
            if not self.frame_count:
                self._header = dump_line(self._records.header_of(frame).to_dict())
            if frame.hands or not self.frame_count:
                self._hand_s = frame.timestamp_s
            self.frame_count += 1
            is_stale = not frame.hands and frame.timestamp_s - self._hand_s >= STALE_S
            self._last = {"grabbed_unix_s": grabbed_unix_s, **self._records.record(frame)}
            self._offer(is_stale)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._watch.join(_END_S)

    def _offer(self, is_stale: bool) -> None:
        record = {"sequence": self._sequence, "stale": is_stale, **self._last}
        message = StreamMessage(self._header, record, dump_line(record), self._model)
        self._sequence += 1
        self._sent_s = time.monotonic()
        for target in self._targets:
            target.offer(message)

    def _fill_silences(self) -> None:
        wait_s = STALE_S
        while not self._ended.wait(wait_s):
            with self._lock:
                wait_s = STALE_S - (time.monotonic() - self._sent_s)
                if wait_s <= 0:
                    wait_s = STALE_S
                    if self.frame_count:
                        self._last = {**self._last, "hands": []}
                        self._offer(True)
