"""Where a stream goes: ``udp://HOST:PORT``, ``ws://HOST:PORT`` or ``osc://HOST:PORT``, and how datagrams get there."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from handmesh.errors import HandMeshError

SCHEMES = ("udp", "ws", "osc")
#: What a URL without a host means: this machine alone.
LOOPBACK = "127.0.0.1"
#: The most that a UDP datagram over IPv4 can carry, bytes.
MAX_DATAGRAM_BYTES = 65_507
_EXPECTED = "expected --stream as udp://HOST:PORT, ws://HOST:PORT or osc://HOST:PORT (no HOST: this machine alone)"


@dataclass(frozen=True)
class StreamAddress:
    """A stream's URL in its parts.

    Attributes:
        scheme: one of SCHEMES.
        host: name or number: where datagrams go, or what a WebSocket server listens on.
        port: 1 to 65535 (0 for a WebSocket server: any that is free).
    """

    scheme: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """The whole as a URL, an IPv6 number in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @staticmethod
    def parse(url: str) -> StreamAddress:
        """The parts of a URL.

        Raises:
            HandMeshError: another scheme, no port or one that is none, or something after the port.
        """
        scheme, separator, _ = url.partition("://")
        if not separator or scheme.lower() not in SCHEMES:
            raise HandMeshError(f"{_EXPECTED}, got {url!r}: no such kind of stream")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise HandMeshError(f"{_EXPECTED}, got {url!r}: no host and port (1 to 65535)") from None
        if not port:
            raise HandMeshError(f"{_EXPECTED}, got {url!r}: it names no port; add one, such as {scheme}://:8765")
        if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
            raise HandMeshError(f"{_EXPECTED}, got {url!r}: nothing may come before the host or after the port")
        return StreamAddress(scheme.lower(), parts.hostname or LOOPBACK, port)

    def resolve(self) -> tuple[socket.AddressFamily, Any]:
        """The family and the address of a socket for it.

        Raises:
            HandMeshError: no such host.
        """
        kind = socket.SOCK_STREAM if self.scheme == "ws" else socket.SOCK_DGRAM
        try:
            family, _, _, _, place = socket.getaddrinfo(self.host, self.port, type=kind)[0]
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise HandMeshError(
                f"expected a host that can be found, got {self.host!r} in {self.url} ({reason}); check its spelling, "
                "or name its number"
            ) from None
        return family, place


class DatagramSocket:
    """Sends datagrams to one address and never waits: what the system cannot hold is dropped."""

    def __init__(self, address: StreamAddress, report: Callable[[str], None]) -> None:
        """Resolve the host. ``report`` gets one line when sending begins to fail.

        Raises:
            HandMeshError: no such host.
        """
        family, self._place = address.resolve()
        self._url, self._report, self._has_failed = address.url, report, False
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        # A whole network may listen, where somebody named its address.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)

    def send(self, data: bytes) -> bool:
        """Send, or drop what cannot be sent now. False: this system sends no datagram of that size."""
        try:
            self._socket.sendto(data, self._place)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                return False
            if not self._has_failed:
                self._report(f"{self._url} cannot be reached now ({error.strerror or error}); trying on")
            self._has_failed = True
            return True
        self._has_failed = False
        return True

    def close(self) -> None:
        """Let go of the socket; idempotent."""
        self._socket.close()
