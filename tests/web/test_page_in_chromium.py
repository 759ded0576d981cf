"""The page in a real browser: photo, 3D, errors, a camera that is not mirrored. Skips where Chromium is absent.

The camera is Chromium's own fake one, which plays a file. HANDMESH_SCREENSHOTS=FOLDER keeps screenshots.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from handmesh.io.images import read_image, write_image
from handmesh.io.video.video_writer import ClipWriter
from handmesh.motion.recording import Recording
from handmesh.web.page import EXAMPLES

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def camera_picture() -> np.ndarray:
    """What the fake camera sees: a right hand at the left, (480, 640, 3) RGB."""
    hand = read_image(EXAMPLES[0].path)
    picture = np.full((480, 640, 3), 110, np.uint8)
    picture[30 : 30 + hand.shape[0], 10 : 10 + hand.shape[1]] = hand
    return picture


@pytest.fixture(scope="module")
def browser(
    server: str, browser_class: Any, camera_picture: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Started after the server: without one there is nothing to look at."""
    folder = tmp_path_factory.mktemp("chromium")
    good, jpeg = cv2.imencode(".jpg", camera_picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert good
    (folder / "camera.mjpeg").write_bytes(jpeg.tobytes() * 5)
    switches = (
        "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={folder / 'camera.mjpeg'}",
    )  # fmt: skip
    browser = browser_class(folder / "profile", switches)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def server(browser_class: Any, killed_after: Any) -> Iterator[str]:
    """The real page with the shipped weights, as a user starts it, on a port of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "demo/gradio_app.py", "--port", str(port)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        with killed_after(process):
            lines = [process.stdout.readline(), process.stdout.readline()]
        assert "open http" in lines[-1], lines
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        with killed_after(process, 30.0):
            process.wait(timeout=60)


@pytest.fixture(scope="module")
def page(browser: Any, server: str) -> Any:
    """Opened once: each test goes on where the one before it ended, as a visitor would."""
    browser.open(server)
    browser.wait_for("return document.querySelector('#photo input[type=file]') !== null")
    return browser


def bounds(browser: Any, selector: str) -> list[float]:
    """Left, top, right and bottom of an element in the window, pixels."""
    script = f"const r = document.querySelector('{selector}').getBoundingClientRect()"
    corners: list[float] = browser.run(f"{script}; return [r.x, r.y, r.right, r.bottom]")
    return corners


def spread_in(browser: Any, selector: str) -> float:
    """How much the colours differ in the middle of an element on the screen, away from its label and buttons."""
    browser.run(f"document.querySelector('{selector}').scrollIntoView({{block: 'center'}})")
    x0, y0, x1, y1 = bounds(browser, selector)
    width, height = (x1 - x0) / 5, (y1 - y0) / 5
    picture = browser.screenshot()
    return float(picture[int(y0 + height) : int(y1 - height), int(x0 + width) : int(x1 - width)].std())


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """Mean of the absolute differences of two pictures, 0..255; the second is brought to the first's size."""
    other = cv2.resize(second, (first.shape[1], first.shape[0]), interpolation=cv2.INTER_AREA)
    return float(np.abs(first.astype(int) - other.astype(int)).mean())


def test_before_a_photo_the_page_says_what_will_come(page: Any) -> None:
    page.screenshot("empty")
    assert "result will come here" in page.run("return document.querySelector('#result').innerText")
    assert page.run("return document.querySelector('#files').offsetParent === null"), "no downloads of nothing"
    missing = page.run("return [...document.querySelectorAll('main img')].filter((img) => !img.alt).length")
    assert missing == 0, "pictures without a text for who cannot see them"


def test_a_bad_upload_is_said_in_the_page_and_leaves_with_the_next_photo(page: Any, tmp_path: Path) -> None:
    bad = tmp_path / "holiday.png"
    bad.write_text("not a picture")
    page.upload("#photo input[type=file]", bad)
    said = "document.querySelector('#result [role=alert]')?.innerText"
    page.wait_for(f"return {said}?.includes('holiday.png: not an image')")
    page.screenshot("error")
    page.click("#examples button[data-index='2']")
    page.wait_for("return document.querySelector('#result .hm-compare img.hm-over')?.naturalWidth > 0")
    assert page.run("return document.querySelector('#result [role=alert]') === null")


def test_the_result_lies_over_the_photo_with_a_mesh_to_turn(page: Any, server: str) -> None:
    assert "2 hands found" in page.run("return document.querySelector('#result').innerText")
    photo, overlay = (page.pixels(f"document.querySelectorAll('.hm-compare img')[{i}]") for i in (0, 1))
    assert photo.shape == overlay.shape and difference(photo, read_image(EXAMPLES[2].path)) < 3
    assert 2 < difference(photo, overlay) < 60, "meshes are drawn on the photo, and on it alone"
    images = "[...document.querySelectorAll('.hm-compare img')]"
    boxes = page.run(f"return {images}.map((img) => JSON.stringify(img.getBoundingClientRect()))")
    assert boxes[0] == boxes[1], "one lies exactly over the other"
    assert all(page.run("return [...document.querySelectorAll('.hm-compare img')].map((img) => img.alt)"))
    page.wait_for("return document.querySelector('#mesh canvas') !== null")
    # The software renderer of a headless browser takes its time to draw the mesh.
    end = time.monotonic() + 120
    while (spread := spread_in(page, "#mesh canvas")) < 12 and time.monotonic() < end:
        time.sleep(1)
    page.screenshot("result")
    assert spread >= 12, "the mesh's canvas shows one flat colour"
    x0, y0, x1, y1 = map(int, bounds(page, "#mesh canvas"))
    view = page.screenshot()[y0 + 40 : y1, x0:x1].astype(int)
    blue, green = view[..., 2] - view[..., 0] > 60, view[..., 1] - view[..., [0, 2]].max(axis=-1) > 40
    assert blue.sum() > 500 and green.sum() > 500, "each in its colour of the picture and the list"
    assert np.nonzero(blue)[1].mean() < np.nonzero(green)[1].mean(), "seen from where the camera was, as in the picture"
    foreign = [url for url in page.requested_urls() if not url.startswith((server, "data:", "blob:"))]
    assert not foreign, f"the page asks the internet: {foreign}"


def test_on_a_phone_nothing_is_cut_off_and_the_result_follows_the_photo(page: Any) -> None:
    page.emulate(390, 844)
    page.wait_for("return innerWidth === 390")
    page.run("scrollTo(0, 0)")
    page.screenshot("phone")
    assert page.run("return document.documentElement.scrollWidth <= 390")
    names = ["#photo", "#result", "#fov"]
    tops = [page.run(f"return document.querySelector('{name}').getBoundingClientRect().top") for name in names]
    assert tops == sorted(tops) and tops[1] < 844, "the result is on the first screen"
    page.emulate(0, 0)


def test_a_typed_field_of_view_is_used_and_clamped(page: Any) -> None:
    page.run(
        """const box = document.querySelector('#fov input[type=number]'); box.focus(); box.value = '500';
        box.dispatchEvent(new Event('input', {bubbles: true})); box.blur();"""
    )
    page.wait_for("return document.querySelector('.hm-note')?.innerText.includes('field of view 120 degrees')")
    assert page.run("return document.querySelector('#result [role=alert]') === null")


def test_the_photo_camera_does_not_mirror(page: Any, camera_picture: np.ndarray) -> None:
    remove = "[...document.querySelectorAll('#photo button')].find((b) => /remove|clear/i.test(b.ariaLabel || b.title))"
    page.run(f"{remove}.click()")
    page.wait_for(f"return document.querySelector('.hm-empty') && !{remove}")
    page.click("#photo button[aria-label='Capture from camera']")
    page.wait_for("""return document.querySelector("#photo [title='grant webcam access'] button") !== null""")
    page.click("#photo [title='grant webcam access'] button")
    page.wait_for("return document.querySelector('#photo video')?.videoWidth > 0")
    time.sleep(2)
    page.run("document.querySelector(\"#photo button[aria-label='capture photo']\").click()")
    page.wait_for("return document.querySelector('.hm-note')?.innerText.includes('640 x 480')")
    page.wait_for("return document.querySelector('.hm-compare img')?.naturalWidth === 640")
    page.screenshot("captured")
    taken = page.pixels("document.querySelector('.hm-compare img')")
    assert difference(taken, camera_picture) < 0.3 * difference(taken, camera_picture[:, ::-1])
    assert page.run("return document.querySelector('#result .hm-hands').innerText").startswith("Right hand")


def test_the_live_view_draws_on_what_the_camera_sees_and_mirrors_only_what_is_shown(
    page: Any, camera_picture: np.ndarray, tmp_path: Path
) -> None:
    page.run("[...document.querySelectorAll('button[role=tab]')].find((e) => e.innerText.includes('Live')).click()")
    page.wait_for("return document.querySelector('#live-start')?.offsetParent")
    page.screenshot("live-empty")
    page.click("#live-start")
    page.wait_for("return document.querySelectorAll('#live-hands li').length > 0")
    assert page.run("return document.querySelector('#live-hands').innerText").startswith("Right hand")
    page.screenshot("live")
    mirrored = page.pixels("document.getElementById('live-picture')")
    assert difference(mirrored, camera_picture[:, ::-1]) < 0.6 * difference(mirrored, camera_picture)
    page.click("#live-mirror")
    time.sleep(3)
    page.wait_for("return document.querySelectorAll('#live-hands li').length > 0")
    shown = page.pixels("document.getElementById('live-picture')")
    assert page.run("return document.querySelector('#live-hands').innerText").startswith("Right hand")
    # The command line's own drawing of the same picture.
    write_image(tmp_path / "camera.png", camera_picture)
    subprocess.run(
        [sys.executable, "-m", "handmesh", "predict", str(tmp_path / "camera.png"), "--output", str(tmp_path / "out")],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=120,
    )  # fmt: skip
    drawn = read_image(tmp_path / "out" / "camera.png")
    # The command writes side and score beside the hand besides.
    assert difference(shown, drawn) < 0.6 * difference(shown, camera_picture), "the same mesh in the same place"
    assert difference(shown, drawn) < 0.6 * difference(shown, drawn[:, ::-1])
    page.click("#live-stop")
    assert page.run("return document.getElementById('live').dataset.state") == "idle"


def test_a_clip_is_followed_plays_and_is_offered_with_its_motion(
    page: Any, server: str, camera_picture: np.ndarray, tmp_path: Path
) -> None:
    with ClipWriter(tmp_path / "wave.mp4", 25) as writer:
        for shift in range(0, 60, 4):
            writer.write(np.roll(camera_picture, shift, axis=1))
    page.run("[...document.querySelectorAll('button[role=tab]')].find((e) => e.innerText.includes('Clip')).click()")
    page.wait_for("return document.querySelector('#clip input[type=file]') !== null")
    page.screenshot("clip-empty")
    page.upload("#clip input[type=file]", tmp_path / "wave.mp4")
    page.wait_for("return document.querySelector('#clip-result .hm-message') !== null")
    page.screenshot("clip-progress")
    page.wait_for("return document.querySelector('#clip-result video')?.readyState >= 2")
    assert "1 hand found" in page.run("return document.querySelector('#clip-result').innerText")
    film = "document.querySelector('#clip-result video')"
    page.run(f"{film}.muted = true; {film}.play()")
    page.wait_for(f"return {film}.currentTime > 0.1")
    page.screenshot("clip")
    assert page.run(f"return [{film}.videoWidth, {film}.videoHeight]") == [640, 480]
    assert page.run(f"return {film}.duration") == pytest.approx(15 / 25, abs=0.02)
    links = page.run("return [...document.querySelectorAll('.hm-downloads a')].map((a) => [a.href, a.download])")
    assert [name for _, name in links] == [f"wave-hands.{kind}" for kind in ("mp4", "jsonl", "glb", "bvh")]
    for url, name in links:
        assert url.startswith(server)
        with urllib.request.urlopen(url, timeout=60) as answer:
            (tmp_path / name).write_bytes(answer.read())
    assert len(Recording.load(tmp_path / "wave-hands.jsonl").frames) == 15
    assert (tmp_path / "wave-hands.glb").read_bytes()[:4] == b"glTF"
    assert (tmp_path / "wave-hands.bvh").read_text().startswith("HIERARCHY")
