"""A page with a full queue in a real browser: what its visitor is told, and that it leaves with the next try."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handmesh.web import page as module
from handmesh.web.clip import load_tracker
from handmesh.web.decoder import PhotoDecoder
from handmesh.web.live import LiveSessions
from handmesh.web.page import EXAMPLES, build_page
from handmesh.web.quota import FileQuota
from scripts.benchmarks.web_page import Visitor

pytestmark = pytest.mark.slow


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    """The predictor of the page waits for this."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def port(
    browser_class: Any, server_of: Any, go_on: threading.Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[int]:
    """A page on which one photo may wait."""
    pytest.importorskip("gradio")
    from handmesh.web.server import build_app, make_server

    def recover(image: np.ndarray, fov_deg: float) -> list[Any]:
        go_on.wait(300)
        return []

    monkeypatch.setattr(module, "MAX_QUEUE", 1)
    quota, decoder = FileQuota(tmp_path / "app", 10_000_000, 60, 3600.0), PhotoDecoder()
    page = build_page(recover, decoder, quota, partial(load_tracker, {}))
    sessions = LiveSessions(lambda fov_deg: None)  # type: ignore[arg-type,return-value]
    with server_of(lambda port: make_server(build_app(page, sessions, quota), "127.0.0.1", port)) as number:
        yield number
        go_on.set()
    decoder.close()


def test_a_visitor_too_many_is_told_so_until_the_next_try(
    port: int, go_on: threading.Event, browser_class: Any, tmp_path: Path
) -> None:
    photo = EXAMPLES[0].path.read_bytes()
    for _ in range(2):  # one at work, one that waits
        threading.Thread(target=Visitor(port).recover, args=("a.jpg", photo), daemon=True).start()
        time.sleep(1.5)
    browser = browser_class(tmp_path / "profile")
    try:
        browser.open(f"http://127.0.0.1:{port}")
        browser.wait_for("return document.querySelector('#photo input[type=file]') !== null")
        browser.upload("#photo input[type=file]", EXAMPLES[1].path)
        browser.wait_for("return document.querySelector('#result [role=alert]')?.offsetParent")
        said = browser.run("return document.querySelector('#result').innerText")
        time.sleep(1)
        browser.screenshot("busy")
        assert "Many visitors wait" in said and "again in a minute" in said and "will come here" not in said
        go_on.set()
        time.sleep(2)
        browser.run("document.querySelector(\"#examples button[data-index='2']\").click()")
        browser.wait_for("return document.querySelector('#result').innerText.includes('No hand was found')")
        assert browser.run("return document.querySelector('.hm-busy') === null")
    finally:
        browser.close()
