"""``handmesh video``: a clip recorded and drawn, killed and taken up again, with a stand-in for the network."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from handmesh.cli.commands import video
from handmesh.errors import HandMeshError
from handmesh.geometry.camera import intrinsics_from_fov
from handmesh.inference.tracking.tracker import Frame
from handmesh.io.video.sources import open_source
from handmesh.io.video.video_writer import ClipWriter
from handmesh.mano.hand_model import HandModel
from handmesh.motion.recording import RecordedFrame, Recording
from handmesh.motion.recording_files import part_path


class FakeTracker:
    """Gives the made-up hands of each frame; its state is the number of frames seen."""

    smoothing = True

    def __init__(self, model: HandModel, frames: list[RecordedFrame]) -> None:
        self.frames, self.count, self.stop_at = frames, 0, -1
        self.asked: list[int] = []
        self.predictor = SimpleNamespace(engine=SimpleNamespace(name="fake engine"), model=model, transfer=None)

    def state(self) -> dict[str, Any]:
        return {"count": self.count}

    def run(self, source: Any, skip: int = 0, state: dict[str, Any] | None = None) -> Iterator[Frame]:
        self.count = state["count"] if state else 0
        for index, item in enumerate(source):
            if index < skip:
                continue
            if index + 1 == self.stop_at:
                signal.raise_signal(signal.SIGINT)
            assert index == self.count
            self.asked.append(index)
            self.count += 1
            yield Frame(
                item.timestamp_s, item.image, list(self.frames[index].hands), [], {"network": 2.0}, "", 0.0,
                intrinsics_from_fov(640, 480),
            )  # fmt: skip


@pytest.fixture
def tracker(
    monkeypatch: pytest.MonkeyPatch, model: HandModel, make_frames: Callable[..., list[RecordedFrame]], tmp_path: Path
) -> FakeTracker:
    fake = FakeTracker(model, make_frames(count=12, fps=25.0))
    monkeypatch.setattr(video, "load_tracker", lambda args, smoothing: fake)
    monkeypatch.chdir(tmp_path)
    return fake


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    with ClipWriter(tmp_path / "clip.mp4", 25) as writer:
        for _ in range(12):
            writer.write(np.full((480, 640, 3), 90, np.uint8))
    return tmp_path / "clip.mp4"


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_clip_becomes_a_drawn_clip_a_recording_and_numbers(tracker: FakeTracker, clip: Path, tmp_path: Path) -> None:
    words = ["--output", "o.mp4", "--recording", "r.jsonl", "--stats", "s.json"]
    assert video.main([str(clip), *words]) == 0
    assert names(tmp_path) == ["clip.mp4", "o.mp4", "r.jsonl", "s.json"]
    pictures = [frame.image for frame in open_source(tmp_path / "o.mp4")]
    assert len(pictures) == 12 and pictures[0].std() > 5
    stats = json.loads((tmp_path / "s.json").read_text())
    assert stats["frames"] == 12 and {"network", "draw", "write"} <= set(stats["stages_ms"])
    recording = Recording.load("r.jsonl")
    assert recording.header.smoothing == "offline" and len(recording.frames) == 12 and len(recording.tracks()) == 2
    assert "tracker" not in (tmp_path / "r.jsonl").read_text()
    assert not tracker.smoothing
    np.testing.assert_allclose(recording.frames.timestamp_s, np.arange(12) / 25, atol=1e-3)


def test_a_recording_alone_writes_no_clip_and_each_smoothing_is_named(
    tracker: FakeTracker, clip: Path, tmp_path: Path
) -> None:
    for word, smoothing in (("--no-smoothing", "none"), ("--live-filter", "live"), ("--offline", "offline")):
        assert video.main([str(clip), "--recording", f"{smoothing}.npz", word]) == 0
        assert Recording.load(f"{smoothing}.npz").header.smoothing == smoothing
    assert names(tmp_path) == ["clip.mp4", "live.npz", "none.npz", "offline.npz"]
    raw = Recording.load("none.npz")
    for hand in tracker.frames[7].hands:
        assert np.abs(raw.vertices(hand.track_id, 7) - hand.vertices).max() < 1e-5


def test_an_interrupted_run_goes_on_with_the_same_numbers(
    tracker: FakeTracker, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert video.main([str(clip), "--recording", "whole.jsonl"]) == 0
    tracker.stop_at, tracker.asked = 7, []
    assert video.main([str(clip), "--recording", "r.jsonl", "--output", "o.mp4"]) == 130
    assert names(tmp_path) == ["clip.mp4", "r.part.jsonl", "whole.jsonl"]
    with open(tmp_path / "r.part.jsonl", "ab") as file:
        file.write(b'{"index": 7, "ha')
    assert len(Recording.load("r.part.jsonl").frames) == 7
    tracker.stop_at = -1
    assert video.main([str(clip), "--recording", "r.jsonl", "--output", "o.mp4"]) == 0
    assert "7 frames already" in capsys.readouterr().err and tracker.asked == list(range(12))
    assert (tmp_path / "r.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert len(list(open_source(tmp_path / "o.mp4"))) == 12 and not part_path("r.jsonl").exists()


def test_the_part_of_another_run_is_not_taken_up(tracker: FakeTracker, clip: Path, tmp_path: Path) -> None:
    tracker.stop_at = 7
    assert video.main([str(clip), "--recording", "r.jsonl"]) == 130
    tracker.stop_at, tracker.asked = -1, []
    assert video.main([str(clip), "--recording", "r.jsonl", "--max-hands", "1"]) == 0
    assert tracker.asked == list(range(12))
    (tmp_path / "r.part.jsonl").write_bytes(b"no recording at all")
    assert video.main([str(clip), "--recording", "r.jsonl"]) == 0


def test_bad_words_are_one_clear_error(tracker: FakeTracker, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for words, match in (
        ([], "CLIP_OR_FOLDER"),
        (["missing.mp4"], "no such file"),
        (["folder"], "expected clips"),
        ([str(clip), "--output", "o.txt"], "clip"),
        ([str(clip), "--recording", "r.txt"], r"\.jsonl or \.npz"),
        ([str(clip), "--output", "clip.mp4"], "for both"),
        ([str(clip), "--live-filter", "--no-smoothing"], "not allowed"),
    ):
        with pytest.raises(HandMeshError, match=match):
            video.main(words)
    assert names(tmp_path) == ["clip.mp4", "folder"]
