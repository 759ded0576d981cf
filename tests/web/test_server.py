"""The served page without a browser: a photo through gradio's own client, the live view, and what is refused."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from handmesh.io.images import read_image, write_image
from handmesh.web.clip import load_tracker
from handmesh.web.decoder import PhotoDecoder
from handmesh.web.guard import LOOPBACK_NAMES, Limits
from handmesh.web.live import LiveSessions
from handmesh.web.page import EXAMPLES
from handmesh.web.quota import FileQuota

ROOT = Path(__file__).resolve().parents[2]
UPLOAD_BYTES = 300_000
Recover = Callable[..., Any]


class Served(NamedTuple):
    url: str
    folder: Path


class FakeTracker:
    def __init__(self, predictor: Any, fov_deg: float) -> None:
        self.predictor, self.fov_deg = predictor, fov_deg

    def step(self, image: np.ndarray, timestamp_s: float) -> Any:
        return self.predictor(image, self.fov_deg)


@pytest.fixture(scope="module")
def served(predictor: Any, server_of: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page with a fake predictor on a port of its own, small limits, connections that may idle for a second."""
    pytest.importorskip("gradio")
    from handmesh.web import server as module
    from handmesh.web.page import build_page

    folder = tmp_path_factory.mktemp("app")
    quota = FileQuota(folder, 2_000_000, 60, 3600.0)
    decoder = PhotoDecoder()
    page = build_page(predictor, decoder, quota, partial(load_tracker, {}))
    sessions = LiveSessions(lambda fov_deg: FakeTracker(predictor, fov_deg), max_sessions=1)
    app = module.build_app(page, sessions, quota, LOOPBACK_NAMES, Limits(upload_bytes=UPLOAD_BYTES, transfer_s=20.0))
    patch = pytest.MonkeyPatch()
    patch.setattr(module, "IDLE_CONNECTION_S", 1.0)
    with server_of(lambda port: module.make_server(app, "127.0.0.1", port)) as port:
        yield Served(f"http://127.0.0.1:{port}", folder)
    patch.undo()
    decoder.close()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "my photo.png"
    write_image(path, np.full((240, 320, 3), 90, np.uint8))
    return path


@pytest.fixture(scope="module")
def recover(served: Served) -> Recover:
    """A photo and a field of view to the page through gradio's own client; its answer comes back."""
    from gradio_client import Client, handle_file

    client = Client(served.url, verbose=False, analytics_enabled=False, httpx_kwargs={"timeout": 120})

    def ask(photo: Any, fov_deg: object = 60) -> Any:
        given = photo if isinstance(photo, dict) else handle_file(photo)
        # Heartbeats keep the connection alive, so that its own time limit never ends a wait in the queue.
        return client.submit(given, fov_deg, api_name="/recover").result(timeout=120)

    return ask


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def post(served: Served, path: str, body: bytes, headers: dict[str, str] | None = None) -> Answer:
    connection = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=60)
    connection.request("POST", path, body, headers or {})
    answer = connection.getresponse()
    return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def test_a_client_gets_the_result_and_its_files(recover: Recover, photo: Path, predictor: Any) -> None:
    result, mesh, overlay, glb, record = recover(photo, 75)
    assert predictor.calls[-1] == 75
    assert "2 hands found" in result
    assert Path(mesh).read_bytes()[:4] == Path(glb).read_bytes()[:4] == b"glTF"
    assert read_image(overlay).shape == (240, 320, 3)
    assert len(json.loads(Path(record).read_text())["hands"]) == 2


def test_a_typed_field_of_view_out_of_range_is_clamped(recover: Recover, photo: Path, predictor: Any) -> None:
    for typed, used in ((500, 120.0), (1, 20.0), (None, 60.0)):
        assert "2 hands found" in recover(photo, typed)[0]
        assert predictor.calls[-1] == used


def test_the_examples_are_there_and_hold_what_they_say(served: Served) -> None:
    for example in EXAMPLES:
        with urllib.request.urlopen(f"{served.url}/gradio_api/file={example.path}", timeout=60) as answer:
            assert answer.read() == example.path.read_bytes()
        assert max(read_image(example.path).shape) <= 640


def test_what_is_wrong_with_an_upload_is_said_in_the_page(
    served: Served, recover: Recover, tmp_path: Path
) -> None:
    (tmp_path / "notes.png").write_text("not a picture")
    result = recover(tmp_path / "notes.png")[0]
    assert 'role="alert"' in result and "notes.png: not an image" in result and str(served.folder) not in result


@pytest.mark.parametrize("path", ["https://example.org/hand.jpg", "HTTP://example.org/hand.jpg", "/etc/hostname"])
def test_only_uploads_are_read(path: str, served: Served, predictor: Any) -> None:
    calls = len(predictor.calls)
    words = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, 60]}
    kind = {"Content-Type": "application/json"}
    status, _, body = post(served, "/gradio_api/call/recover", json.dumps(words).encode(), kind)
    assert status == 200
    event = json.loads(body)["event_id"]
    with urllib.request.urlopen(f"{served.url}/gradio_api/call/recover/{event}", timeout=60) as answer:
        text = answer.read().decode()
    assert "event: error" in text and "event: complete" not in text
    assert len(predictor.calls) == calls


def test_too_large_an_upload_is_refused_and_leaves_nothing(served: Served) -> None:
    line = b"--b\r\nContent-Disposition: form-data; name=files; filename=x.png\r\n\r\n"
    body = line + b"x" * UPLOAD_BYTES + b"\r\n--b--\r\n"
    before = sum(path.stat().st_size for path in served.folder.rglob("*") if path.is_file())
    status, _, text = post(served, "/gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=b"})
    assert status == 413 and "make the file smaller" in json.loads(text)["error"]
    after = sum(path.stat().st_size for path in served.folder.rglob("*") if path.is_file())
    assert after <= before + UPLOAD_BYTES


def test_the_disk_stays_within_the_quota(served: Served) -> None:
    for number in range(12):
        content = np.random.default_rng(number).bytes(UPLOAD_BYTES - 1000)
        body = (
            b"--b\r\nContent-Disposition: form-data; name=files; filename=x.png\r\n\r\n" + content + b"\r\n--b--\r\n"
        )
        status, _, _ = post(served, "/gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=b"})
        assert status == 200
    # The folder is swept after the answer has gone out.
    deadline = time.monotonic() + 20
    while True:
        sizes = []
        for path in served.folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                sizes += [path.stat().st_size] if path.is_file() else []
        if sum(sizes) <= 2_000_000 or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    assert 0 < sum(sizes) <= 2_000_000 and len(sizes) <= 60


def test_another_site_s_page_cannot_post(served: Served) -> None:
    for path in ("/gradio_api/upload", "/gradio_api/queue/join", "/live/frame"):
        assert post(served, path, b"{}", {"Origin": "https://evil.example"})[0] == 403
    assert post(served, "/gradio_api/queue/join", b"{}", {"Host": "evil.example"})[0] == 421


def test_a_frame_comes_back_as_a_picture_with_its_hands(served: Served, predictor: Any) -> None:
    image = np.full((120, 160, 3), 90, np.uint8)
    image[:, :80] = (200, 20, 20)
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=95)
    status, headers, body = post(served, "/live/frame?session=a&fov=500", out.getvalue())
    assert status == 200 and predictor.calls[-1] == 120.0
    shown = np.asarray(Image.open(io.BytesIO(body)))
    assert shown.shape == (120, 160, 3) and shown[2, 2, 0] > 150 > shown[2, -3, 0]
    assert [hand["side"] for hand in json.loads(headers["x-handmesh"])["hands"]] == ["right", "left"]
    status, _, body = post(served, "/live/frame?session=b", out.getvalue())
    assert status == 503 and "at most 1 cameras" in json.loads(body)["error"]
    assert post(served, "/live/stop?session=a", b"")[0] == 204
    assert post(served, "/live/frame?session=b", out.getvalue())[0] == 200
    assert post(served, "/live/frame?session=b", b"no jpeg")[0] == 400


@pytest.mark.parametrize(
    "half", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"GET /config HTTP/1.1\r\nHost: localhost\r\n\r\n"]
)
def test_a_connection_on_which_nothing_happens_is_closed(half: bytes, served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(half)
        while connection.recv(1 << 16):
            pass  # an answer; then the end
        assert connection.recv(1) == b""


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "demo/gradio_app.py", "--port", str(port)],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: expected 127.0.0.1:")
    assert not list(tmp_path.glob("handmesh-app-*")), "the temporary folder goes with the server"
