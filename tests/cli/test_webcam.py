"""The live page with a stand-in for the network: clips, photos, statistics, Ctrl-C and bad options."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tqdm import tqdm

from handmesh.cli import live_outputs
from handmesh.cli.commands import webcam
from handmesh.errors import HandMeshError
from handmesh.geometry.camera import intrinsics_from_fov
from handmesh.inference.tracking.tracker import Frame
from handmesh.inference.views import STILL_VIEWS, Views
from handmesh.io.images import read_image, write_image
from handmesh.io.video import cameras
from handmesh.io.video.camera_source import CameraSource
from handmesh.io.video.sources import SourceFrame, open_source
from handmesh.io.video.video_writer import MAX_STILL_S, ClipWriter
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.hand_model import HandModel
from handmesh.motion.recording import Recording
from handmesh.rendering.live_view import LiveView
from handmesh.results import Hand


def make_hand(mano: ManoArrays, is_right: bool = True) -> Hand:
    model, eye = HandModel(mano), np.eye(3, dtype=np.float32)
    pose, betas = np.tile(eye, (15, 1, 1)), np.zeros(10, np.float32)
    vertices, joints = model.pose(is_right, eye, pose, betas)
    shift = np.array([0, 0, 0.5], np.float32) - vertices.mean(0)
    K = intrinsics_from_fov(96, 64).astype(np.float32)
    points = (joints + shift) @ K.T
    return Hand(
        vertices + shift, joints + shift, points[:, :2] / points[:, 2:], is_right, 0.9, model.faces(is_right), eye,
        pose, betas, shift, K, np.array([0, 0, 64, 64], np.float32),
    )  # fmt: skip


class FakeTracker:
    """Finds the same hand in every second frame."""

    smoothing = True
    views: Views = ()

    def __init__(self, hand: Hand, stop_after: int | None = None) -> None:
        self.hand, self.stop_after = hand, stop_after
        self.times: list[float] = []
        self.predictor = SimpleNamespace(engine=SimpleNamespace(name="fake engine"))

    def run(self, source: Any) -> Iterator[Frame]:
        for index, item in enumerate(source):
            if index == self.stop_after:
                # As from a terminal; no frame comes until the main thread has seen it.
                signal.raise_signal(signal.SIGINT)
                time.sleep(1.0)
            hands = [self.hand] if index % 2 == 0 else []
            self.times.append(item.timestamp_s)
            yield Frame(
                item.timestamp_s, item.image, hands, [0] * len(hands), {"read": 1.0, "network": 2.0}, item.name,
                item.grabbed_s,
            )  # fmt: skip


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch, open_mano: ManoArrays, tmp_path: Path) -> FakeTracker:
    fake = FakeTracker(make_hand(open_mano))
    monkeypatch.setattr(webcam, "load_tracker", lambda args, smoothing: fake)
    monkeypatch.chdir(tmp_path)
    return fake


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    with ClipWriter(tmp_path / "clip.mp4", 25) as writer:
        for _ in range(6):
            writer.write(np.full((64, 96, 3), 90, np.uint8))
    return tmp_path / "clip.mp4"


def test_a_clip_becomes_an_annotated_clip_and_numbers(tracker: FakeTracker, clip: Path, tmp_path: Path) -> None:
    code = webcam.main(["--source", str(clip), "--headless", "--output", "out.mp4", "--stats", "stats.json"])
    assert code == 0
    pictures = [frame.image for frame in open_source(tmp_path / "out.mp4")]
    assert len(pictures) == 6 and pictures[0].std() > 5
    stats = json.loads((tmp_path / "stats.json").read_text())
    assert list(stats) == ["frames", "frames_with_hands", "fps", "stages_ms", "engine", "resolution"]
    assert (stats["frames"], stats["frames_with_hands"], stats["resolution"]) == (6, 3, "96x64")
    assert {"read", "network", "draw", "write"} <= set(stats["stages_ms"]) and stats["stages_ms"]["network"] == 2.0
    assert stats["fps"] > 0 and stats["engine"] == "fake engine"


def test_without_a_display_a_clip_is_written_and_it_is_said(
    tracker: FakeTracker,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(live_outputs, "why_no_window", lambda: "libSM.so.6 is missing; sudo apt-get install -y libsm6")
    assert webcam.main(["--source", str(clip)]) == 0
    assert (tmp_path / "output" / "clip-hands.mp4").is_file()
    assert "libsm6" in capsys.readouterr().err


def test_files_hold_nothing_but_the_hands_unless_told(tracker: FakeTracker, clip: Path, tmp_path: Path) -> None:
    for name, words in (("bare", ()), ("hud", ("--hud",)), ("mirror", ("--mirror",)), ("line", ("--outline",))):
        assert webcam.main(["--source", str(clip), "--headless", "--output", f"{name}.mp4", *words]) == 0
    bare, hud, mirror, line = (
        [frame.image.astype(int) for frame in open_source(tmp_path / f"{name}.mp4")]
        for name in ("bare", "hud", "mirror", "line")
    )
    # The fake sees no hand in the second frame.
    assert np.abs(bare[1] - 90).max() < 6 < np.abs(hud[1] - 90).max()
    assert np.abs(mirror[0][:, ::-1] - bare[0]).mean() < 2 and np.abs(line[0] - bare[0]).max() > 60


def test_cameras_are_listed_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cameras, "list_cameras", lambda: [cameras.Camera(2, "HD Webcam", "/dev/video2")])
    assert webcam.main(["--list-cameras"]) == 0
    assert capsys.readouterr().out.split() == ["2", "HD", "Webcam", "/dev/video2"]
    monkeypatch.setattr(cameras, "list_cameras", lambda: [])
    assert webcam.main(["--list-cameras"]) == 0
    assert "no camera found" in capsys.readouterr().err


def test_ctrl_c_leaves_a_playable_clip_and_the_numbers(tracker: FakeTracker, clip: Path, tmp_path: Path) -> None:
    tracker.stop_after = 4
    code = webcam.main(["--source", str(clip), "--headless", "--output", "out.mp4", "--stats", "stats.json"])
    assert code == 130
    assert len(list(open_source(tmp_path / "out.mp4"))) == 4
    assert json.loads((tmp_path / "stats.json").read_text())["frames"] == 4


def test_a_folder_of_photos_becomes_a_folder_of_pictures(tracker: FakeTracker, tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg", "b.png"):
        write_image(tmp_path / "photos" / name, np.full((64, 96, 3), 90, np.uint8))
    code = webcam.main(["--source", "photos", "--headless", "--output", "out", "--stats", "out/stats.json"])
    assert code == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "a.png",
        "b.jpg.png",
        "b.png.png",
        "stats.json",
    ]
    assert read_image(tmp_path / "out" / "a.png").std() > 5 and read_image(tmp_path / "out" / "b.jpg.png").std() < 3
    assert json.loads((tmp_path / "out" / "stats.json").read_text())["frames_with_hands"] == 2


def test_sources_are_never_replaced_by_their_results(tracker: FakeTracker, clip: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "photos" / "a.png", np.full((64, 96, 3), 90, np.uint8))
    before = clip.read_bytes(), (tmp_path / "photos" / "a.png").read_bytes()
    with pytest.raises(HandMeshError, match=r"clip\.mp4 for both"):
        webcam.main(["--source", str(clip), "--headless", "--output", "photos/../clip.mp4"])
    with pytest.raises(HandMeshError, match=r"a\.png for both"):
        webcam.main(["--source", "photos", "--output", str(tmp_path / "photos")])
    assert (clip.read_bytes(), (tmp_path / "photos" / "a.png").read_bytes()) == before
    assert len(list(tmp_path.rglob("*"))) == 3


def test_a_window_obeys_keys(tracker: FakeTracker, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = iter(["m", "j", "f", "w", " ", "v", "s", " ", "q"])
    shown = []

    class FakeWindow:
        def __init__(self, title: str) -> None: ...

        def __enter__(self) -> FakeWindow:
            return self

        def __exit__(self, *_: object) -> None: ...

        def show(self, image: np.ndarray, wait_ms: int = 1) -> str:
            shown.append(image)
            return next(keys)

        def poll(self, wait_ms: int = 1) -> str:
            return ""

    monkeypatch.setattr(live_outputs, "why_no_window", lambda: None)
    monkeypatch.setattr(live_outputs, "Window", FakeWindow)
    assert webcam.main(["--source", str(clip)]) == 0
    assert len(shown) == 9 and tracker.smoothing is False and tracker.views == STILL_VIEWS
    assert not (tmp_path / "output" / "clip-hands.mp4").exists()
    saved = sorted(file.suffix for file in (tmp_path / "output").iterdir())
    assert saved == [".json", ".png"]


@pytest.mark.parametrize(
    "words",
    [
        ["--source", "missing.mp4"],
        ["--source", "97", "--headless"],
        ["--source", "{clip}", "--headless", "--output", "out.txt"],
        ["--source", "{clip}", "--fov", "400"],
        ["--source", "{clip}", "--camera", "missing.yaml"],
        ["--source", "{clip}", "--hand-length", "180"],
        ["--source", "{clip}", "--max-hands", "0"],
        ["--source", "{clip}", "--opacity", "1.5"],
        ["--source", "{clip}", "--min-score", "60"],
        ["--nonsense"],
    ],
)
def test_bad_options_are_one_clear_error(tracker: FakeTracker, clip: Path, tmp_path: Path, words: list[str]) -> None:
    with pytest.raises(HandMeshError, match="expected|unrecognized"):
        webcam.main([word.format(clip=clip) for word in words])
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


class ScriptedCamera:
    """A device that fails, blocks, changes its size and comes back, and is then unplugged."""

    script = {4: "fail", 8: "block", 12: "size"}
    last = 16

    def __init__(self, reads: list[int]) -> None:
        self.reads = reads

    def isOpened(self) -> bool:
        return True

    def get(self, _: int) -> float:
        return 25.0

    def release(self) -> None: ...

    def read(self) -> tuple[bool, Any]:
        time.sleep(0.02)
        self.reads.append(0)
        count = len(self.reads)
        action = self.script.get(count)
        if action == "fail" or count > self.last:
            return False, None
        if action == "block":
            time.sleep(0.3)
        return True, np.full((64, 96, 3) if count < 12 else (32, 48, 3), 90, np.uint8)


def test_a_troubled_camera_is_survived_and_the_recording_whole(
    tracker: FakeTracker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("handmesh.io.video.camera_source.QUIET_S", 0.1)
    reads: list[int] = []
    camera = CameraSource(0, opener=lambda _: ScriptedCamera(reads), loss_patience_s=0.6)
    monkeypatch.setattr(live_outputs, "open_source", lambda spec: camera)
    assert webcam.main(["--source", "0", "--headless", "--output", "out.mp4", "--stats", "stats.json"]) == 0
    said = caplog.text
    order = ["stopped giving pictures", "is back", "waiting for it", "is back", "ending"]
    places = [said.find(word) for word in order[:1]]
    for word in order[1:]:
        places.append(said.find(word, places[-1] + 1))
    assert all(place >= 0 for place in places) and places == sorted(places), said
    assert "now gives 48 x 32" in capsys.readouterr().err
    stats = json.loads((tmp_path / "stats.json").read_text())
    assert stats["frames"] >= 8 and stats["resolution"] == "various"
    # It gives up to 50 pictures a second and says 25, and was gone twice: what counts is the time that passed.
    written = [frame.timestamp_s for frame in open_source(tmp_path / "out.mp4")]
    np.testing.assert_allclose(written, np.array(tracker.times) - tracker.times[0], atol=1e-4)


@pytest.mark.parametrize("gap_s", [0.25, 60.0])
def test_a_slow_cameras_recording_takes_as_long_as_it_did(
    tracker: FakeTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    gap_s: float,
) -> None:  # fmt: skip
    times = np.cumsum([0.0, *[1 / 12] * 12, gap_s, *[1 / 50] * 50])

    class SlowCamera:
        """Gives 12 pictures a second, then none, then 50 a second; says that it gives 30."""

        description, is_live, is_photos, fps, frame_count = "camera 0", True, False, 30.0, 0

        def __iter__(self) -> Iterator[SourceFrame]:
            for index, timestamp_s in enumerate(times):
                yield SourceFrame(float(timestamp_s), np.full((64, 96, 3), 3 * index, np.uint8))

        def close(self) -> None: ...

    monkeypatch.setattr(live_outputs, "open_source", lambda spec: SlowCamera())
    monkeypatch.setattr(LiveView, "draw", lambda self, image, *_: image.copy())
    assert webcam.main(["--source", "0", "--headless", "--output", "out.mp4"]) == 0
    frames = list(open_source(tmp_path / "out.mp4"))
    # Every picture is there at its time; a silence is kept up to its limit.
    shown = np.where(times > times[12], times - max(0.0, gap_s - MAX_STILL_S), times)
    assert len(frames) == len(times)
    np.testing.assert_allclose([frame.timestamp_s for frame in frames], shown, atol=1e-4)
    np.testing.assert_allclose([frame.image.mean() for frame in frames], 3 * np.arange(len(times)), atol=3)
    assert ("55 s without a new picture are left out" in capsys.readouterr().err) == (gap_s == 60)


def test_no_thread_is_left(
    tracker: FakeTracker, clip: Path, monkeypatch: pytest.MonkeyPatch, open_mano: ManoArrays
) -> None:
    monkeypatch.setattr(tqdm, "monitor_interval", 0)  # a thread of its own, once for the process
    before = set(threading.enumerate())
    assert webcam.main(["--source", str(clip), "--headless", "--output", "a.mp4"]) == 0
    tracker.stop_after = 2
    assert webcam.main(["--source", str(clip), "--headless", "--output", "b.mp4"]) == 130
    tracker.predictor.model, tracker.predictor.transfer = HandModel(open_mano), None
    words = ["--stream", "udp://:5005", "--stream", f"ws://:{free_port()}"]
    assert webcam.main(["--source", str(clip), "--headless", *words]) == 130
    tracker.stop_after = None
    camera = CameraSource(0, opener=lambda _: ScriptedCamera([]), loss_patience_s=0.1)
    monkeypatch.setattr(live_outputs, "open_source", lambda spec: camera)
    assert webcam.main(["--source", "0", "--headless", "--output", "c.mp4"]) == 0
    assert set(threading.enumerate()) == before


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_ENDLESS = """
import sys, time
import numpy as np
from types import SimpleNamespace
from handmesh.cli import live_outputs
from handmesh.cli.commands import webcam
from handmesh.io.video.camera_source import CameraSource

class Device:
    isOpened = lambda self: True
    get = lambda self, _: 25.0
    release = lambda self: None
    def read(self):
        time.sleep(0.01)
        return True, np.full((64, 96, 3), 90, np.uint8)

class Tracker:
    smoothing, predictor = True, SimpleNamespace(engine=SimpleNamespace(name="fake engine"))
    def run(self, source):
        for index, item in enumerate(source):
            if index == 20:
                print("twenty frames", file=sys.stderr, flush=True)
            yield SimpleNamespace(
                timestamp_s=item.timestamp_s, image=item.image, hands=[], ids=[], stages_ms={},
                grabbed_s=item.grabbed_s,
            )

webcam.load_tracker = lambda args, smoothing: Tracker()
live_outputs.open_source = lambda spec: CameraSource(0, opener=lambda _: Device())
sys.exit(webcam.main(["--source", "0", "--headless", "--output", "out.mp4", "--stats", "stats.json"]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_a_running_program_ends_when_told_to(tmp_path: Path, told: signal.Signals, killed_after: Any) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(webcam.__file__).parents[2])}
    # A suite that was itself started in the background hands on that Ctrl-C is to be ignored.
    program = subprocess.Popen(
        [sys.executable, "-c", _ENDLESS], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert program.stderr is not None
    with killed_after(program):
        assert any("twenty frames" in line for line in iter(program.stderr.readline, ""))
    program.send_signal(told)
    _, said = program.communicate(timeout=30)
    assert program.returncode == 130 and "Traceback" not in said and "wrote out.mp4" in said
    assert json.loads((tmp_path / "stats.json").read_text())["frames"] >= 15
    assert len(list(open_source(tmp_path / "out.mp4"))) >= 4


def test_a_camera_is_recorded_too(
    tracker: FakeTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_mano: ManoArrays
) -> None:
    camera = CameraSource(0, opener=lambda _: ScriptedCamera([]), loss_patience_s=0.1)
    monkeypatch.setattr(live_outputs, "open_source", lambda spec: camera)
    tracker.predictor.model, tracker.predictor.transfer = HandModel(open_mano), None
    assert webcam.main(["--source", "0", "--headless", "--recording", "r.jsonl"]) == 0
    recording = Recording.load("r.jsonl")
    assert [file.name for file in tmp_path.iterdir()] == ["r.jsonl"]
    assert recording.frames.timestamp_s.tolist() == tracker.times and recording.header.smoothing == "live"
    assert recording.hands.frame_row.tolist() == list(range(0, len(tracker.times), 2))
    assert np.abs(recording.vertices(0, 0) - tracker.hand.vertices).max() < 1e-5
    with pytest.raises(HandMeshError, match="photos"):
        write_image(tmp_path / "photos" / "a.png", np.zeros((8, 8, 3), np.uint8))
        monkeypatch.setattr(live_outputs, "open_source", open_source)
        webcam.main(["--source", "photos", "--recording", "p.jsonl"])


def test_a_clip_is_streamed_as_it_is_recorded(
    tracker: FakeTracker, clip: Path, tmp_path: Path, open_mano: ManoArrays, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker.predictor.model, tracker.predictor.transfer = HandModel(open_mano), None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        url = f"udp://127.0.0.1:{receiver.getsockname()[1]}"
        start_s = time.perf_counter()
        words = ["--source", str(clip), "--headless", "--recording", "r.jsonl", "--stream", url]
        assert webcam.main([*words, "--stats", "stats.json"]) == 0
        # Six frames at 25 a second: as a camera gives them, though nobody looks.
        assert time.perf_counter() - start_s > 5 / 25 - 0.01
        lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_bytes().splitlines()]
        messages = []
        while len(messages) < len(lines) or messages[-1].get("index") != 5:
            message = json.loads(receiver.recv(65536))
            if message not in messages[:1]:
                messages.append(message)
    said = capsys.readouterr().err
    assert f"streaming to {url}" in said and "streamed 6 frames" in said
    assert "stream" in json.loads((tmp_path / "stats.json").read_text())["stages_ms"]
    assert lines[0].pop("frame_count") == 6 and messages[0] == lines[0]
    # On a busy machine silences between frames are filled; what is left are the frames.
    frames = list({message["index"]: message for message in reversed(messages[1:])}.values())[::-1]
    assert [message["sequence"] for message in messages[1:]] == list(range(len(messages) - 1))
    for message, line in zip(frames, lines[1:], strict=True):
        assert {name: message[name] for name in line} == line
    assert not list(tmp_path.glob("**/*.mp4"))[1:]


def test_a_bad_stream_is_refused_before_the_camera_opens(
    tracker: FakeTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_outputs, "open_source", lambda spec: pytest.fail("the camera was opened"))
    for url, says in (("ftp://:1", "no such kind"), ("udp://no-such-host.invalid:1", "can be found")):
        with pytest.raises(HandMeshError, match=says):
            webcam.main(["--source", "0", "--headless", "--stream", url])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(HandMeshError, match="another program"):
            webcam.main(["--source", "0", "--headless", "--stream", f"ws://:{taken.getsockname()[1]}"])
    write_image(tmp_path / "photos" / "a.png", np.zeros((8, 8, 3), np.uint8))
    monkeypatch.setattr(live_outputs, "open_source", open_source)
    with pytest.raises(HandMeshError, match="with --stream, got photos"):
        webcam.main(["--source", "photos", "--stream", "udp://:5005"])


def test_frames_go_to_a_file_of_reruns_viewer(tracker: FakeTracker, clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    assert webcam.main(["--source", str(clip), "--headless", "--rerun", "r.rrd"]) == 0
    assert (tmp_path / "r.rrd").read_bytes()[:3] == b"RRF" and not list(tmp_path.glob("*.mp4.*"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "r.rrd"]
