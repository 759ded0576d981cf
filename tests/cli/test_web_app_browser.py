"""The page in a real browser: a photo is uploaded, the overlay and the mesh are seen. Skips where Chromium is absent.

Speaks the WebDriver protocol (plain JSON over HTTP) to chromedriver, so nothing but the browser has to be installed.
HANDMESH_SCREENSHOT=FILE.png keeps the screenshot.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
_FILE_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name of an element's id

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")), reason="chromium and chromedriver are absent"
    ),
]


class Browser:
    """One headless Chromium session, 1400 x 900."""

    def __init__(self, folder: Path) -> None:
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.driver.stdout is not None
        banner = next(line for line in self.driver.stdout if "successfully on port" in line)
        self.base = f"http://127.0.0.1:{re.findall(r'on port ([0-9]+)', banner)[0]}/session"
        switches = [
            "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,900",
            "--use-angle=swiftshader", "--enable-unsafe-swiftshader", f"--user-data-dir={folder}",
        ]  # fmt: skip
        wanted = {
            "goog:chromeOptions": {"args": switches},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        self.base += "/" + self._call("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def _call(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return json.loads(answer.read())["value"]

    def open(self, url: str) -> None:
        self._call("/url", {"url": url})

    def run(self, script: str) -> Any:
        return self._call("/execute/sync", {"script": script, "args": []})

    def wait_for(self, script: str, seconds: float = 180.0) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := self.run(script):
                return value
            time.sleep(0.25)
        raise AssertionError(f"not within {seconds:.0f} s: {script}")

    def upload(self, selector: str, path: Path) -> None:
        element = self._call("/element", {"using": "css selector", "value": selector})[_FILE_ELEMENT]
        self._call(f"/element/{element}/value", {"text": str(path)})

    def requested_urls(self) -> list[str]:
        entries = [json.loads(entry["message"])["message"] for entry in self._call("/se/log", {"type": "performance"})]
        sent = [e["params"]["request"]["url"] for e in entries if e["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if url.startswith("http")]

    def screenshot(self) -> np.ndarray:
        from PIL import Image

        png = base64.b64decode(self._call("/screenshot"))
        if keep := os.environ.get("HANDMESH_SCREENSHOT"):
            Path(keep).write_bytes(png)
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))

    def close(self) -> None:
        self._call("", method="DELETE")  # the driver alone would leave the browser running
        self.driver.terminate()
        self.driver.wait(timeout=20)


@pytest.fixture(scope="module")
def browser(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Started after the server: without one there is nothing to look at."""
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real page with the shipped weights, as a user starts it, on a port of its own."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "demo/gradio_app.py", "--port", str(port)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines = [process.stdout.readline(), process.stdout.readline()]
    assert "open http" in lines[-1], lines
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(timeout=30)


def rendered_photo(folder: Path) -> Path:
    from handmesh.cli.web_app import make_examples

    return make_examples(folder, [1.0])[0]


def spread_in(browser: Browser, selector: str) -> float:
    """How much the colours differ in the middle of an element on the screen, away from its label and buttons."""
    script = (
        f"const r = document.querySelector('{selector}').getBoundingClientRect(); return [r.x, r.y, r.right, r.bottom]"
    )
    x0, y0, x1, y1 = browser.run(script)
    width, height = (x1 - x0) / 5, (y1 - y0) / 5
    picture = browser.screenshot()
    return float(picture[int(y0 + height) : int(y1 - height), int(x0 + width) : int(x1 - width)].std())


def test_an_uploaded_photo_shows_an_overlay_and_a_mesh(browser: Browser, server: str, tmp_path: Path) -> None:
    browser.open(server)
    browser.wait_for("return document.querySelector('#photo input[type=file]') !== null")
    browser.upload("#photo input[type=file]", rendered_photo(tmp_path))
    browser.wait_for("return (document.querySelector('#summary')?.innerText || '').includes('found')")
    browser.wait_for("return document.querySelector('#overlay img')?.naturalWidth > 0")
    browser.wait_for("return document.querySelector('#mesh canvas') !== null")
    # The software renderer of a headless browser takes its time to draw the mesh.
    end = time.monotonic() + 180
    while (spread := spread_in(browser, "#mesh canvas")) < 15 and time.monotonic() < end:
        time.sleep(1)
    assert spread >= 15, "the mesh's canvas shows one flat colour"
    assert spread_in(browser, "#overlay img") > 20
    foreign = [url for url in browser.requested_urls() if not url.startswith(server)]
    assert not foreign, f"the page asks the internet: {foreign}"


def test_a_bad_upload_is_said_in_the_page(browser: Browser, server: str, tmp_path: Path) -> None:
    bad = tmp_path / "holiday.png"
    bad.write_text("not a picture")
    browser.open(server)
    browser.wait_for("return document.querySelector('#photo input[type=file]') !== null")
    browser.upload("#photo input[type=file]", bad)
    browser.wait_for("return document.body.innerText.includes('holiday.png: not an image')")
