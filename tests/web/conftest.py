"""What the page's tests share: a predictor without a network, and a real browser."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handmesh.geometry.camera import intrinsics_from_fov, project_points
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.layers.numpy_layer import pose_vertices
from handmesh.results import Hand

_FILE_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name of an element's id


@contextlib.contextmanager
def serve(make: Callable[[int], Any]) -> Iterator[int]:
    """A server in a thread, at a free port, which is given; it has ended when the block has.

    Args:
        make: gives the server (uvicorn's) of a port.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    server = make(port)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 120
    while not server.started and time.monotonic() < end:
        time.sleep(0.05)
    assert server.started
    yield port
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive(), "the server ends though pages were open"


@pytest.fixture(scope="session")
def server_of() -> Callable[..., Any]:
    """:func:`serve`, for modules that cannot import this one."""
    return serve


class FakePredictor:
    """Finds one right and one left hand in every picture that is not black."""

    def __init__(self, mano: ManoArrays) -> None:
        self.mano = mano
        self.calls: list[float] = []
        self.images: list[np.ndarray] = []

    def __call__(self, image: np.ndarray, fov_deg: float) -> list[Hand]:
        self.calls.append(fov_deg)
        self.images.append(image)
        if not image.any():
            return []
        height, width = image.shape[:2]
        K = intrinsics_from_fov(width, height, fov_deg)
        return [self._hand(K, is_right, score) for is_right, score in ((True, 0.7), (False, 0.9))]

    def _hand(self, K: np.ndarray, is_right: bool, score: float) -> Hand:
        # Fingers up, palm to the camera.
        orient = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], np.float32)
        pose = np.tile(np.eye(3, dtype=np.float32), (15, 1, 1))
        vertices, joints = pose_vertices(self.mano, orient, pose, np.zeros(10, np.float32))
        side = 1.0 if is_right else -1.0
        shift = np.array([0.08 * side, 0.02, 0.5], np.float32)
        flip = np.array([side, 1.0, 1.0], np.float32)
        faces = self.mano.faces if is_right else self.mano.faces[:, ::-1]
        vertices, joints = vertices * flip + shift, joints * flip + shift
        keypoints = project_points(joints, K)
        return Hand(
            vertices=vertices.astype(np.float32),
            joints=joints.astype(np.float32),
            keypoints_2d=keypoints.astype(np.float32),
            is_right=is_right,
            score=score,
            faces=faces.astype(np.int32),
            global_orient=orient,
            hand_pose=pose,
            betas=np.zeros(10, np.float32),
            translation=shift,
            K=K.astype(np.float32),
            box_xyxy=np.r_[keypoints.min(0), keypoints.max(0)].astype(np.float32),
        )


@pytest.fixture(scope="module")
def predictor(open_mano: ManoArrays) -> FakePredictor:
    return FakePredictor(open_mano)


class Browser:
    """One headless Chromium session, driven over the WebDriver protocol (plain JSON over HTTP to chromedriver)."""

    killed_after: Any  # the fixture of that name

    def __init__(self, folder: Path, switches: tuple[str, ...] = ()) -> None:
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.driver.stdout is not None
        #: How long a wait may take; halved by each in vain, so that a dead page fails all its tests soon.
        self.patience_s = 120.0
        with self.killed_after(self.driver):
            banner = next((line for line in self.driver.stdout if "successfully on port" in line), "")
        assert banner, "chromedriver did not start"
        self.base = f"http://127.0.0.1:{re.findall(r'on port ([0-9]+)', banner)[0]}/session"
        usual = [
            "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,900", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--use-angle=swiftshader", "--enable-unsafe-swiftshader", f"--user-data-dir={folder}",
        ]  # fmt: skip
        wanted = {
            "goog:chromeOptions": {"args": [*usual, *switches]},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        self.base += "/" + self._call("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def _call(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120) as answer:
            return json.loads(answer.read())["value"]

    def open(self, url: str) -> None:
        self._call("/url", {"url": url})

    def run(self, script: str) -> Any:
        return self._call("/execute/sync", {"script": script, "args": []})

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def wait_for(self, script: str) -> Any:
        seconds = self.patience_s
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := self.run(script):
                return value
            time.sleep(0.25)
        self.patience_s /= 2
        raise AssertionError(f"not within {seconds:.0f} s: {script}")

    def upload(self, selector: str, path: Path) -> None:
        element = self._call("/element", {"using": "css selector", "value": selector})[_FILE_ELEMENT]
        self._call(f"/element/{element}/value", {"text": str(path)})

    def pixels(self, expression: str) -> np.ndarray:
        """What an image, video or canvas of the page holds, (H, W, 3) uint8 RGB, whatever its style does to it."""
        script = f"""const from = {expression};
            const canvas = document.createElement('canvas');
            canvas.width = from.naturalWidth || from.width; canvas.height = from.naturalHeight || from.height;
            canvas.getContext('2d').drawImage(from, 0, 0); return canvas.toDataURL('image/png')"""
        return _decode(self.run(script).split(",")[1])

    def emulate(self, width: int, height: int) -> None:
        """A phone's screen of that many pixels; 0, 0 ends it."""
        if width:
            screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
            self._call("/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": screen})
        else:
            self._call("/goog/cdp/execute", {"cmd": "Emulation.clearDeviceMetricsOverride", "params": {}})

    def requested_urls(self) -> list[str]:
        entries = [json.loads(entry["message"])["message"] for entry in self._call("/se/log", {"type": "performance"})]
        sent = [e["params"]["request"]["url"] for e in entries if e["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if url.startswith("http")]

    def screenshot(self, name: str = "") -> np.ndarray:
        """The window; kept as NAME.png in the folder HANDMESH_SCREENSHOTS, where that is set."""
        picture = self._call("/screenshot")
        if name and (keep := os.environ.get("HANDMESH_SCREENSHOTS")):
            Path(keep, f"{name}.png").write_bytes(base64.b64decode(picture))
        return _decode(picture)

    def close(self) -> None:
        try:
            self._call("", method="DELETE")  # the driver alone would leave the browser running
        finally:
            self.driver.terminate()
            with self.killed_after(self.driver, 30.0):
                self.driver.wait(timeout=60)


def _decode(data: str) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


@pytest.fixture(scope="session")
def browser_class(killed_after: Any) -> type[Browser]:
    """Skips where Chromium is absent."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("chromium and chromedriver are absent")
    Browser.killed_after = staticmethod(killed_after)
    return Browser
