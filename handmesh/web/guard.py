"""What stands before the page: whose requests are taken, how large they may be and how long they may last.

An ASGI middleware around everything that is served, so that gradio's own routes are held to the same rules.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: What the page itself asks for. Gradio has more routes (proxies to other hosts, monitoring, editing): not served here.
_PATHS = re.compile(
    r"/|/config|/theme\.css|/favicon\.ico|/pwa_icon(/\d+)?|/manifest\.json|/robots\.txt|/(assets|static|svelte)/.+|/live/(frame|stop)"
    r"|/gradio_api/(upload|upload_progress|queue/(join|data)|info|startup-events|app_id|cancel|reset|theme\.css)/?"
    r"|/gradio_api/(heartbeat|call)/.+|/gradio_api/file=(?!(?i:https?:)).+"
)
#: The names of a server that listens on this machine alone.
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
#: The one request that lasts as long as a visitor's tab is open.
_ENDLESS = "/gradio_api/heartbeat/"
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    # The page talks to its own server and to nobody else, and is shown in nobody else's frame.
    (
        b"content-security-policy",
        b"default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; frame-ancestors 'self'; form-action 'self'",
    ),
]


@dataclass(frozen=True)
class Limits:
    """How much one visitor, and all of them together, may ask of the server."""

    upload_bytes: int = 50 << 20
    #: Bodies other than uploads: a frame of the live view, the words of a call.
    body_bytes: int = 2 << 20
    #: Bodies that are being received, all together.
    receiving_bytes: int = 256 << 20
    #: A body is received, and a part of an answer is taken by the visitor, within so many seconds.
    transfer_s: float = 60.0
    #: Everything but the heartbeat of an open tab ends after so many seconds.
    request_s: float = 1800.0
    open_requests: int = 400


class _Refusal(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Guard:
    """Wraps the page's app."""

    def __init__(
        self,
        app: App,
        hosts: frozenset[str] | None = None,
        limits: Limits | None = None,
        after_upload: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Compose the guard.

        Args:
            app: what is guarded.
            hosts: names that the server may be asked for by; None allows every name. A server of this machine alone
                has :data:`LOOPBACK_NAMES`: another site's name that a browser was made to believe is this machine
                (DNS rebinding) is not among them.
            limits: None for the usual ones.
            after_upload: called when an upload has ended, well or not.
        """
        self.app, self.hosts, self.limits = app, hosts, limits or Limits()
        self._after_upload = after_upload
        self._open = self._receiving = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it with a line of JSON.

        Args:
            scope, receive, send: ASGI's.
        """
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})  # no websocket is part of the page
        else:
            self._open += 1
            try:
                await _Exchange(self, scope, receive, send).run()
            finally:
                self._open -= 1

    def check(self, scope: Scope) -> None:
        """Raise unless the request is one that the page itself would make."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if self.hosts is not None and _host_name(host) not in self.hosts:
            raise _Refusal(421, f"expected a request for localhost, got one for {host[:80]!r}; allow it: --allow-host")
        if not _PATHS.fullmatch(scope["path"]):
            raise _Refusal(404, "no such page")
        if self._open > self.limits.open_requests:
            raise _Refusal(503, "too many visitors at once; try again in a minute")
        if scope["method"] not in ("GET", "HEAD"):
            # Browsers say where a request comes from: the new ones in the one header, all of them in the other.
            site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
            is_ours = site in ("same-origin", "none")
            if site is None:
                is_ours = origin is None or _net_location(origin) == host
            if not is_ours:
                raise _Refusal(403, "expected a request from this page, got one from another site")
        length = headers.get(b"content-length", "0")
        if not length.isdecimal():
            raise _Refusal(400, "expected the body's length as a number")
        if int(length) > self.most_bytes(scope):
            raise self.too_large(scope)

    def count_received(self, size: int) -> None:
        """Raise when all visitors together send more than is kept at once; negative when a body is done with."""
        self._receiving += size
        if size > 0 and self._receiving > self.limits.receiving_bytes:
            raise _Refusal(503, "too many uploads at once; try again in a minute")

    async def after(self, scope: Scope) -> None:
        """What follows a request."""
        if self._after_upload is not None and _is_upload(scope):
            await self._after_upload()

    def most_bytes(self, scope: Scope) -> int:
        """How long a request's body may be."""
        return self.limits.upload_bytes if _is_upload(scope) else self.limits.body_bytes

    def too_large(self, scope: Scope) -> _Refusal:
        """The refusal of a longer one."""
        most = self.most_bytes(scope) >> 20
        return _Refusal(413, f"expected at most {most} MB, got more; make the file smaller first")


class _Exchange:
    """One request and its answer, within the limits."""

    def __init__(self, guard: Guard, scope: Scope, receive: Receive, send: Send) -> None:
        self.guard, self.scope, self._receive, self._send = guard, scope, receive, send
        self._received = 0
        self._is_whole = self._has_begun = False
        self._refusal: _Refusal | None = None
        self._deadline_s = asyncio.get_running_loop().time() + guard.limits.transfer_s

    async def run(self) -> None:
        """Let the app answer, or refuse."""
        try:
            self.guard.check(self.scope)
            is_endless = self.scope["path"].startswith(_ENDLESS)
            answered = self.guard.app(self.scope, self._receive_within_limits, self._send_for_app)
            await asyncio.wait_for(answered, None if is_endless else self.guard.limits.request_s)
        except _Refusal as refusal:
            self._refusal = refusal
        except asyncio.TimeoutError:
            self._refusal = _Refusal(504, "this took too long and was given up; try again")
        except Exception:
            # The app may have met the refusal of the body as an error of its own; its other errors are its own.
            if self._refusal is None:
                raise
        finally:
            self.guard.count_received(-self._received)
            await self.guard.after(self.scope)
        if self._refusal is not None and not self._has_begun:
            await self._refuse(self._refusal)

    async def _receive_within_limits(self) -> Message:
        if self._is_whole:
            return await self._receive()  # what comes after a body is that the visitor left
        rest_s = self._deadline_s - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), max(rest_s, 0.001))
            size = len(message.get("body", b""))
            self._received += size
            self.guard.count_received(size)
            if self._received > self.guard.most_bytes(self.scope):
                raise self.guard.too_large(self.scope)
        except asyncio.TimeoutError as error:
            self._refusal = _Refusal(408, "the upload took too long; try again")
            raise self._refusal from error
        except _Refusal as refusal:
            self._refusal = refusal
            raise
        self._is_whole = not message.get("more_body", False)
        return message

    async def _send_for_app(self, message: Message) -> None:
        if self._refusal is None:
            await self._send_within_limits(message)

    async def _send_within_limits(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._has_begun = True
            message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
        # A visitor who does not take the answer is not waited for.
        await asyncio.wait_for(self._send(message), self.guard.limits.transfer_s)

    async def _refuse(self, refusal: _Refusal) -> None:
        body = json.dumps({"detail": refusal.reason, "error": refusal.reason}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if not self._is_whole:
            headers.append((b"connection", b"close"))  # the rest of the body is not read
        await self._send_within_limits({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self._send_within_limits({"type": "http.response.body", "body": body})


def _is_upload(scope: Scope) -> bool:
    return bool(scope["path"].rstrip("/") == "/gradio_api/upload")


def _net_location(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _host_name(host: str) -> str:
    """A Host header without its port and brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
