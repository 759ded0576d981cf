"""A stream as datagrams: the header once a second, and each frame, as a line of JSON each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from handmesh.motion.recording_files import dump_line
from handmesh.motion.streams.address import MAX_DATAGRAM_BYTES, DatagramSocket, StreamAddress
from handmesh.motion.streams.live import StreamMessage

#: A receiver that comes later waits for the header for so long at most, seconds.
HEADER_PERIOD_S = 1.0


class UdpTarget:
    """Sends every message to one address, whether somebody listens there or not."""

    def __init__(self, address: StreamAddress, report: Callable[[str], None]) -> None:
        """Resolve the host. ``report`` gets lines about what cannot be sent.

        Raises:
            HandMeshError: no such host.
        """
        self.url = address.url
        self._socket, self._report = DatagramSocket(address, report), report
        self._header_s = -HEADER_PERIOD_S
        self._max_bytes, self._has_left_out = MAX_DATAGRAM_BYTES, False

    def offer(self, message: StreamMessage) -> None:
        """Send the frame now, the header before it when that is due."""
        now_s = time.monotonic()
        if now_s - self._header_s >= HEADER_PERIOD_S:
            self._socket.send(message.header)
            self._header_s = now_s
        line, left_out = fitting_line(message.record, message.line, self._max_bytes)
        while line and not self._socket.send(line):
            # Some systems send less than the protocol allows; what they send is found out once.
            self._max_bytes = len(line) - 1
            line, left_out = fitting_line(message.record, line, self._max_bytes)
        if left_out and not self._has_left_out:
            self._report(f"{self.url}: more hands than fit into a datagram; the least certain ones are left out")
            self._has_left_out = True

    def close(self) -> None:
        """Let go of the socket; idempotent."""
        self._socket.close()


def fitting_line(record: dict[str, Any], line: bytes, max_bytes: int) -> tuple[bytes, int]:
    """A frame's line that is short enough: hands of the lowest score are left out, and ``hands_left_out`` counts them.

    Args:
        record: the frame's line as an object.
        line: the same as JSON.
        max_bytes: the longest that the line may be.

    Returns:
        the line, empty where not even a frame without hands fits, and how many hands are left out.
    """
    hands, left_out = list(record["hands"]), 0
    while len(line) > max_bytes:
        if not hands:
            return b"", left_out
        del hands[min(range(len(hands)), key=lambda place: float(hands[place]["score"]))]
        left_out += 1
        line = dump_line({**record, "hands": hands, "hands_left_out": left_out})
    return line, left_out
