"""Whose requests are taken, how large and how long they may be: the guard around an app that would take anything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from handmesh.web.guard import LOOPBACK_NAMES, Guard, Limits

UPLOAD = "/gradio_api/upload"


async def greedy_app(scope: Any, receive: Any, send: Any) -> None:
    """Reads the whole body and says how long it was; like a web framework, makes a 500 of any error."""
    size = 0
    try:
        while True:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body", False):
                break
    except Exception:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"broken"})
        raise
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


async def hanging_app(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(3600)


class Visitor:
    """Sends one request to a guard and keeps the answer."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.messages: list[dict[str, Any]] = []

    async def ask(
        self,
        path: str = "/",
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: Sequence[bytes] = (b"",),
        pause_s: float = 0.0,
        takes: bool = True,
    ) -> int:
        """The answer's status, 0 for none."""
        words = {"host": "localhost:7860", **(headers or {})}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(name.encode(), value.encode()) for name, value in words.items()],
        }
        parts = list(body)

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(pause_s)
            if not parts:
                await asyncio.sleep(3600)
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

        async def send(message: Any) -> None:
            if not takes:
                await asyncio.sleep(3600)
            self.messages.append(dict(message))

        await self.guard(scope, receive, send)
        return int(self.messages[0]["status"]) if self.messages else 0

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.messages).decode()

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])


def ask(guard: Guard, *args: Any, **words: Any) -> tuple[int, str]:
    visitor = Visitor(guard)
    status = asyncio.run(visitor.ask(*args, **words))
    return status, visitor.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # a program, not a browser
        ({"origin": "http://localhost:7860"}, 200),
        ({"origin": "http://localhost:7860", "sec-fetch-site": "same-origin"}, 200),
        # A proxy that asks under its own name: the browser knows better.
        ({"origin": "https://hands.example.org", "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:9999", "sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": "http://[broken"}, 403),
    ],
)
def test_posts_come_from_the_page_itself(headers: dict[str, str], status: int) -> None:
    guard = Guard(greedy_app, LOOPBACK_NAMES)
    assert ask(guard, UPLOAD, "POST", headers)[0] == status
    assert ask(guard, "/live/frame", "POST", headers)[0] == status
    assert ask(guard, "/", "GET", headers)[0] == 200, "a link from elsewhere is no harm"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:7860", 200), ("127.0.0.1", 200), ("[::1]:7860", 200),
        ("evil.example:7860", 421), ("", 421), ("[::1", 421),
    ],
)  # fmt: skip
def test_a_local_page_is_not_asked_for_under_another_name(host: str, status: int) -> None:
    assert ask(Guard(greedy_app, LOOPBACK_NAMES), headers={"host": host})[0] == status
    assert ask(Guard(greedy_app, None), headers={"host": host})[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/proxy=https://evil.example/x", "/gradio_api/file=http://evil.example/x", "/monitoring",
        "/gradio_api/file=HTTPS://evil.example/x", "/gradio_api/process_recording", "/gradio_api/vibe-edit/",
        "/gradio_api/run/recover", "/login", "/../etc/passwd", "/docs",
    ],
)  # fmt: skip
def test_routes_that_the_page_does_not_need_are_not_there(path: str) -> None:
    assert ask(Guard(greedy_app), path)[0] == 404


def test_a_body_is_refused_before_it_is_read_or_when_it_grows_too_long() -> None:
    guard = Guard(greedy_app, limits=Limits(upload_bytes=2 << 20, body_bytes=1 << 20))
    status, text = ask(guard, UPLOAD, "POST", {"content-length": str(3 << 20)}, body=[b"x" * (3 << 20)])
    assert status == 413 and "at most 2 MB" in json.loads(text)["error"]
    half = b"x" * (1 << 20)
    assert ask(guard, UPLOAD, "POST", body=[half, half]) == (200, str(2 << 20))
    status, text = ask(guard, UPLOAD, "POST", body=[half, half, b"x"])
    assert status == 413 and "broken" not in text, "the app's own error is not what is said"
    assert ask(guard, "/live/frame", "POST", body=[half, b"x"])[0] == 413, "other bodies are shorter"
    assert ask(guard, UPLOAD, "POST", {"content-length": "-1"})[0] == 400


def test_all_bodies_together_are_limited_and_the_room_comes_back() -> None:
    guard = Guard(greedy_app, limits=Limits(receiving_bytes=150))

    async def three() -> list[int]:
        first, second, third = Visitor(guard), Visitor(guard), Visitor(guard)
        slow = asyncio.create_task(first.ask(UPLOAD, "POST", body=[b"x" * 100, b"x"], pause_s=0.2))
        await asyncio.sleep(0.3)
        crowded = await second.ask(UPLOAD, "POST", body=[b"x" * 100])
        return [await slow, crowded, await third.ask(UPLOAD, "POST", body=[b"x" * 100])]

    assert asyncio.run(three()) == [200, 503, 200]


def test_what_hangs_ends() -> None:
    quick = Limits(transfer_s=0.1, request_s=0.2)
    assert ask(Guard(greedy_app, limits=quick), UPLOAD, "POST", body=[b"x"] * 10, pause_s=0.05)[0] == 408
    assert ask(Guard(hanging_app, limits=quick), "/config")[0] == 504
    assert ask(Guard(greedy_app, limits=quick), "/config", takes=False)[0] == 0, "a visitor who does not read"


def test_the_heartbeat_of_an_open_tab_lasts() -> None:
    async def beating(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.3)
        await greedy_app(scope, receive, send)

    guard = Guard(beating, limits=Limits(request_s=0.1))
    assert ask(guard, "/gradio_api/heartbeat/abc")[0] == 200
    assert ask(guard, "/config")[0] == 504


def test_too_many_at_once_are_told_to_come_back() -> None:
    guard = Guard(hanging_app, limits=Limits(request_s=0.3, open_requests=2))

    async def three() -> list[int]:
        return list(await asyncio.gather(*(Visitor(guard).ask("/config") for _ in range(3))))

    assert sorted(asyncio.run(three())) == [503, 504, 504]


def test_every_answer_forbids_foreign_scripts_and_frames() -> None:
    visitor = Visitor(Guard(greedy_app))
    asyncio.run(visitor.ask())
    policy = visitor.headers[b"content-security-policy"].decode()
    assert "default-src 'self'" in policy and "frame-ancestors 'self'" in policy and "http" not in policy


def test_after_an_upload_the_disk_is_looked_at_even_if_it_failed() -> None:
    calls: list[int] = []

    async def look() -> None:
        calls.append(1)

    guard = Guard(greedy_app, limits=Limits(upload_bytes=10), after_upload=look)
    ask(guard, UPLOAD, "POST", body=[b"x"])
    ask(guard, UPLOAD, "POST", body=[b"x" * 9, b"x" * 9])
    ask(guard, "/config")
    assert len(calls) == 2


def test_there_is_no_websocket() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    asyncio.run(Guard(greedy_app)({"type": "websocket", "path": "/live/frame", "headers": []}, receive, send))
    assert [message["type"] for message in sent] == ["websocket.close"]
