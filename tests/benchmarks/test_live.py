"""The benchmarks of the live pipeline measure what they say: on a stand-in tracker, and on motions of known lag."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.inference.tracking.tracker import Frame
from handmesh.io.video.sources import ClipSource
from handmesh.io.video.video_writer import ClipWriter


class FakeTracker:
    """Sees no hand, in no time."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.predictor = SimpleNamespace(engine=SimpleNamespace(name="fake engine"))

    def run(self, source: Any) -> Iterator[Frame]:
        for item in source:
            yield Frame(item.timestamp_s, item.image, [], [], {"network": 2.0}, "", item.grabbed_s)


@pytest.fixture
def live(script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = script("benchmarks.live")
    monkeypatch.setattr(module, "HandTracker", FakeTracker)
    monkeypatch.setattr(module.HandMeshPredictor, "from_pretrained", lambda *_, **__: None)
    monkeypatch.setattr(module, "start_up_s", lambda args: 1.25)
    monkeypatch.setattr(module, "WARM_UP", 3)
    return module


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    with ClipWriter(tmp_path / "clip.mp4", 50) as writer:
        for index in range(6):
            writer.write(np.full((64, 96, 3), 30 * index, np.uint8))
    return tmp_path / "clip.mp4"


def test_live_writes_every_number(live: ModuleType, clip: Path, tmp_path: Path) -> None:
    assert live.main(["--source", str(clip), "--frames", "10", "--json", str(tmp_path / "out.json")]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert {"frames", "frames_with_hands", "fps", "stages_ms", "engine", "resolution"} <= set(found)
    assert found["frames"] == 10 and found["resolution"] == "96x64" and found["engine"] == "fake engine"
    assert found["fps"] > 0 and found["fps_without_drawing"] > 0 and found["start_up_s"] == 1.25
    assert 0 < found["latency_ms"] <= found["latency_p95_ms"] and {"network", "draw"} <= set(found["stages_ms"])


def test_a_soak_counts_frames_memory_and_threads(live: ModuleType, clip: Path, tmp_path: Path) -> None:
    assert live.main(["--source", str(clip), "--soak", "40", "--json", str(tmp_path / "out.json")]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["frames"] == 40 and len(found["memory_mb"]) == live.LOOKS and found["threads_left"] == []


def test_a_looped_clip_gives_every_frame_and_time_goes_on(live: ModuleType, clip: Path) -> None:
    frames = list(live.Loop(ClipSource(clip), 15))
    assert np.allclose([frame.timestamp_s for frame in frames], np.arange(15) / 50, atol=1e-3)
    assert np.array_equal(frames[2].image, frames[8].image)


def test_bad_words(live: ModuleType, tmp_path: Path) -> None:
    for words in (["--frames", "0"], ["--source", str(tmp_path)], ["--source", "missing.mp4"]):
        with pytest.raises(HandMeshError, match="expected"):
            live.main(words)


def test_lag_and_jitter_of_known_motions(script: Callable[[str], ModuleType]) -> None:
    smoothing = script("experiments.smoothing")
    fps, times = 30.0, np.arange(240) / 30
    motion = np.stack([np.sin(2 * times), np.cos(3 * times)], axis=-1)[:, None]
    late = np.stack([np.sin(2 * (times - 0.012)), np.cos(3 * (times - 0.012))], axis=-1)[:, None]
    assert smoothing.lag_ms(late, motion, motion, fps) == pytest.approx(12, abs=0.3)
    noise = np.random.default_rng(0).normal(0, 1, (4000, 1, 2))
    # White noise: second differences have variance 1 + 4 + 1, on each of two axes.
    assert smoothing.rms_acceleration(noise, fps) == pytest.approx(np.sqrt(12) * fps**2, rel=0.05)
    # Of a white spectrum, the part above the corner is left.
    assert smoothing.high_passed(noise, fps) == pytest.approx(np.sqrt(2 * (1 - 4 / 15)), rel=0.1)
    assert smoothing.high_passed(motion, fps) < 0.02


def test_a_network_besides_sees_every_crop_in_its_size_and_answers_nothing(live: ModuleType) -> None:
    seen: list[tuple[int, ...]] = []

    class Engine:
        def __init__(self, name: str, answer: str) -> None:
            self.name, self.answer, self.any_size = name, answer, True

        def __call__(self, images: np.ndarray) -> str:
            seen.append(images.shape)
            return self.answer

    own = live.Besides(Engine("own", "kept"), Engine("other", "dropped"), 64)
    assert own(np.zeros((2, 32, 32, 3), np.uint8)) == "kept" and own.name == "own + other"
    assert sorted(seen) == [(2, 32, 32, 3), (2, 64, 64, 3)]
