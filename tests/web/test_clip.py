"""A visitor's clip: drawn, recorded, animated; too long or no clip at all is said; a child that hangs is ended."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.geometry.camera import intrinsics_from_fov
from handmesh.inference.tracking.tracker import Frame
from handmesh.io.video.clip_source import ClipSource
from handmesh.io.video.video_writer import ClipWriter
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.hand_model import HandModel
from handmesh.motion.recording import Recording
from handmesh.web import clip as module
from handmesh.web.clip import ClipFiles, ClipProgress, ClipResult, process_clip, run_clip
from handmesh.web.clip_tab import clip_html, progress_html


class FakeTracker:
    """The predictor's two hands in every frame, as two tracks."""

    smoothing = True

    def __init__(self, predictor: Any, mano: ManoArrays) -> None:
        self.find = predictor
        self.predictor = SimpleNamespace(model=HandModel(mano), transfer=None)

    def state(self) -> dict[str, Any]:
        return {}

    def run(self, source: Any, skip: int = 0, state: Any = None) -> Iterator[Frame]:
        for item in source:
            hands = [replace(hand, track_id=number) for number, hand in enumerate(self.find(item.image, 60.0))]
            K = intrinsics_from_fov(item.image.shape[1], item.image.shape[0], 60.0)
            yield Frame(item.timestamp_s, item.image, hands, [0, 1][: len(hands)], {}, "", 0.0, K)


@pytest.fixture
def tracker(predictor: Any, open_mano: ManoArrays) -> Any:
    return FakeTracker(predictor, open_mano)


def write_clip(path: Path, frames: int = 8, grey: int = 90) -> Path:
    with ClipWriter(path, 25) as writer:
        for _ in range(frames):
            writer.write(np.full((120, 160, 3), grey, np.uint8))
    return path


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


def test_a_clip_becomes_a_drawn_clip_a_recording_and_animations(tracker: Any, tmp_path: Path, results: Path) -> None:
    said: list[ClipProgress] = []
    done = process_clip(str(write_clip(tmp_path / "my clip.mp4")), tracker, results, said.append)
    names = sorted(file.name for file in results.iterdir())
    assert names == [f"my-clip-hands.{suffix}" for suffix in ("bvh", "glb", "jsonl", "mp4")]
    drawn = list(ClipSource(done.files.clip))
    assert len(drawn) == done.frames == 8 and done.seconds == pytest.approx(8 / 25, abs=0.01)
    assert all((np.abs(frame.image.astype(int) - 90) > 25).mean() > 0.02 for frame in drawn), "meshes on every frame"
    recording = Recording.load(done.files.recording)
    assert len(recording.frames) == 8 and len(recording.tracks()) == 2 and recording.header.smoothing == "offline"
    assert sorted(hand["side"] for hand in done.hands) == ["left", "right"]
    assert {hand["side"]: hand["color"] for hand in done.hands} == {"right": "#4892ff", "left": "#68d45c"}
    assert done.files.glb is not None and done.files.glb.read_bytes()[:4] == b"glTF"
    assert done.files.bvh is not None and done.files.bvh.read_text().startswith("HIERARCHY")
    stages = [step.stage for step in said]
    assert stages.count("Following the hands") == stages.count("Drawing the clip") == 8
    assert all(0 <= step.done <= step.total for step in said)


def test_without_a_hand_there_is_the_clip_and_nothing_to_animate(tracker: Any, tmp_path: Path, results: Path) -> None:
    tracker.find = lambda image, fov_deg: []
    done = process_clip(str(write_clip(tmp_path / "a.mp4")), tracker, results, lambda step: None)
    assert done.files.glb is None and done.files.bvh is None and done.hands == []
    page = clip_html(done)
    assert "No hand was found" in page and "GLB" not in page and "a-hands.mp4" in page


def test_too_long_a_clip_is_refused(
    tracker: Any, tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_clip(tmp_path / "a.mp4", 12)
    monkeypatch.setattr(module, "MAX_FRAMES", 10)
    with pytest.raises(HandMeshError, match="10 frames"):
        process_clip(str(clip), tracker, results, lambda step: None)
    monkeypatch.setattr(module, "MAX_FRAMES", 100)
    monkeypatch.setattr(module, "MAX_FRAME_PIXELS", 100)
    with pytest.raises(HandMeshError, match="megapixels"):
        process_clip(str(clip), tracker, results, lambda step: None)
    assert not list(results.glob("*.mp4"))


def test_a_child_that_hangs_is_ended(tmp_path: Path, results: Path) -> None:
    start_s = time.monotonic()
    # Where the tracker should be made, the child sleeps for the field of view's 120 seconds.
    with pytest.raises(HandMeshError, match="a.mp4 to be done within 8 s"):
        list(run_clip(str(tmp_path / "a.mp4"), 120.0, results, time.sleep, time_limit_s=8.0))
    assert time.monotonic() - start_s < 60


def test_a_child_that_dies_is_one_sentence(tmp_path: Path, results: Path) -> None:
    # Signal 9 instead of a tracker: as a decoder that crashes, or a system out of memory.
    with pytest.raises(HandMeshError, match="a.mp4, which breaks its reader"):
        list(run_clip(str(tmp_path / "a.mp4"), 9, results, signal.raise_signal, time_limit_s=120.0))


def test_what_is_no_clip_is_said_without_the_folder(tmp_path: Path, results: Path) -> None:
    (tmp_path / "a.mp4").write_text("not a clip")
    with pytest.raises(HandMeshError, match="a.mp4") as error:
        list(run_clip(str(tmp_path / "a.mp4"), 60.0, results, partial(module.load_tracker, {})))
    assert str(tmp_path) not in str(error.value)


def test_the_page_plays_the_clip_and_offers_every_file() -> None:
    files = ClipFiles(*(Path(f"/x/results/a-hands.{suffix}") for suffix in ("mp4", "jsonl", "glb", "bvh")))
    hands = [{"side": "right", "color": "#4892ff", "seconds": 1.5}]
    page = clip_html(ClipResult('"><script>.mp4', 2.0, 50, hands, "Opus in MP4", files))
    assert "<video controls" in page and "1 hand found" in page and "Right hand" in page and "Opus" in page
    assert "--hm-tint: #4892ff" in page, "the entry has its mesh's colour"
    assert all(f'href="gradio_api/file={file}"' in page for file in files)
    assert "<script>" not in page
    assert 'max="50" value="7"' in progress_html(ClipProgress("Drawing the clip", 7, 50))
    assert "<progress" not in progress_html(ClipProgress("Loading the model", 0, 1))
