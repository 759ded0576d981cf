"""A stream over WebSocket: a server that many clients may read, each at its own pace.

asyncio runs in a thread of its own. Of every client only its latest frame waits: one that reads slowly gets fewer
frames, one that stops reading holds up nobody else.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import socket
import threading
from typing import TYPE_CHECKING

from handmesh.errors import HandMeshError
from handmesh.motion.streams.address import LOOPBACK, StreamAddress
from handmesh.motion.streams.live import StreamMessage

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

#: What the system may keep for a client that is slow to read, bytes: some frames, not seconds of them.
_SEND_BUFFER_BYTES = 32_768
#: How long a client may take to say goodbye, seconds.
_CLOSE_S = 0.5
#: How long the server may take to listen, and to end with all of its clients, seconds.
_START_S = 30.0
#: No client has anything to say; longer messages end its connection, bytes.
_MAX_INCOMING_BYTES = 4096


class WebSocketTarget:
    """Listens on an address; whoever connects gets the header, then each frame as a text message."""

    def __init__(self, address: StreamAddress) -> None:
        """Listen, at once.

        Raises:
            HandMeshError: websockets is not installed, no such host, or a port that is in use or not allowed.
        """
        try:
            import websockets.asyncio.server  # noqa: F401
        except ImportError as error:
            raise HandMeshError(
                f"expected the package websockets for {address.url}, got: {error}; pip install 'handmesh[stream]'"
            ) from error
        address.resolve()
        self._address, self.port = address, address.port
        self._latest: StreamMessage | None = None
        self._news: set[asyncio.Event] = set()
        self._failure: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        is_up = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._listen(is_up)), name=f"stream {address.url}", daemon=True
        )
        self._thread.start()
        if not is_up.wait(_START_S):
            self._failure = TimeoutError(f"not listening after {_START_S:.0f} s")
        if self._failure is not None:
            self._thread.join(_CLOSE_S)
            raise _refusal(address, self._failure)
        self.url = StreamAddress(address.scheme, address.host, self.port).url

    def offer(self, message: StreamMessage) -> None:
        """Make this the frame that every client gets next."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._put, message)

    def close(self) -> None:
        """Say goodbye to every client, stop listening; idempotent."""
        loop, self._loop = self._loop, None
        if loop is not None and self._end is not None:
            loop.call_soon_threadsafe(self._end.set)
        self._thread.join(_START_S)

    async def _listen(self, is_up: threading.Event) -> None:
        from websockets.asyncio.server import serve

        # A client that does not keep to the protocol is its own trouble, and no traceback on this terminal.
        silent = logging.getLogger("handmesh.streams.websocket")
        silent.setLevel(logging.CRITICAL + 1)
        try:
            server = await serve(
                self._serve, self._address.host, self._address.port, origins=[None, _pages_of(self._address.host)],
                compression=None, close_timeout=_CLOSE_S, max_size=_MAX_INCOMING_BYTES, write_limit=0, logger=silent,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - this thread's, raised by the one that waits for it
            self._failure = error
            is_up.set()
            return
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self.port = next(iter(server.sockets)).getsockname()[1]
        is_up.set()
        async with server:
            await self._end.wait()

    def _put(self, message: StreamMessage) -> None:
        self._latest = message
        for news in self._news:
            news.set()

    async def _serve(self, client: ServerConnection) -> None:
        """One client, until it goes: the frames that come while it is being sent one are replaced by the newest."""
        from websockets.exceptions import ConnectionClosed

        wire = client.transport.get_extra_info("socket")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        news = asyncio.Event()
        self._news.add(news)
        # That a client has gone is news too.
        gone = asyncio.ensure_future(client.wait_closed())
        gone.add_done_callback(lambda _: news.set())
        try:
            if self._latest is None:
                await news.wait()
            if self._latest is not None:
                await client.send(self._latest.header.decode())
            while True:
                await news.wait()
                news.clear()
                if gone.done() or self._latest is None:
                    return
                await client.send(self._latest.line.decode())
        except ConnectionClosed:
            return
        finally:
            self._news.discard(news)
            gone.cancel()


def _pages_of(host: str) -> re.Pattern[str]:
    """Web pages that may read the stream: of this machine and of the host it listens on, no stranger's."""
    hosts = "|".join(re.escape(each) for each in ("localhost", LOOPBACK, "[::1]", host, f"[{host}]"))
    return re.compile(rf"https?://({hosts})(:\d+)?")


def _refusal(address: StreamAddress, error: Exception) -> HandMeshError:
    if getattr(error, "errno", None) == errno.EADDRINUSE:
        return HandMeshError(
            f"expected a free port for {address.url}, got one that another program listens on; end that program, or "
            f"name another port, such as {address.scheme}://:{address.port + 1 if address.port < 65535 else 8765}"
        )
    reason = getattr(error, "strerror", None) or error
    return HandMeshError(
        f"expected an address of this machine that it may listen on, got {address.url} ({reason}); name a host of "
        "this machine (0.0.0.0 for all of its networks) and a port above 1023"
    )
