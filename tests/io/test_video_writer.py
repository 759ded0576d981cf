"""Laws of written clips: every frame at its time, colours and sound as they were, whole or absent whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.io.video import clip_check, video_writer
from handmesh.io.video.sources import open_source
from handmesh.io.video.video_writer import CLIP_SUFFIXES, MAX_STILL_S, ClipWriter

ROOT = Path(__file__).parents[2]


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def gray(level: int, width: int = 64, height: int = 48) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


@pytest.mark.parametrize("suffix", CLIP_SUFFIXES)
def test_every_frame_is_there_at_its_time_in_its_colour(suffix: str, tmp_path: Path) -> None:
    # As a phone's clip: 30 a second, then slower in the dark, then faster.
    times = np.cumsum([0.0, *[1 / 30] * 10, *[1 / 12] * 5, *[1 / 60] * 6])
    with ClipWriter(tmp_path / f"a{suffix}", 60) as writer:
        for index, time_s in enumerate(times):
            writer.write(np.full((48, 64, 3), (200, 30, 10 * index), np.uint8), float(time_s))
    frames = list(open_source(tmp_path / f"a{suffix}"))
    rounding_s = {".avi": 1 / 60, ".mkv": 1e-3, ".webm": 1e-3}.get(suffix, 1e-5)
    assert len(frames) == len(times)
    np.testing.assert_allclose([frame.timestamp_s for frame in frames], times, atol=rounding_s)
    for index, frame in enumerate(frames):
        assert np.abs(frame.image.mean((0, 1)) - (200, 30, 10 * index)).max() < 8


def test_what_is_written_is_what_browsers_play(tmp_path: Path) -> None:
    for name, codec in (("a.mp4", "h264"), ("a.webm", "vp9")):
        with ClipWriter(tmp_path / name) as writer:
            for index in range(5):
                writer.write(gray(40 * index))
        with av.open(str(tmp_path / name)) as container:
            context = container.streams.video[0].codec_context
            assert (context.name, context.pix_fmt, context.colorspace) == (codec, "yuv420p", 1)


def test_frames_without_times_follow_the_rate(tmp_path: Path) -> None:
    with ClipWriter(tmp_path / "a.mp4", 30000 / 1001) as writer:
        for index in range(30):
            writer.write(gray(index))
    clip = open_source(tmp_path / "a.mp4")
    times = [frame.timestamp_s for frame in clip]
    np.testing.assert_allclose(times, np.arange(30) * 1001 / 30000, atol=2e-5)
    assert clip.fps == pytest.approx(30000 / 1001, rel=1e-3) and clip.frame_count == 30


def test_a_cameras_silence_is_shortened_and_said(tmp_path: Path) -> None:
    with ClipWriter(tmp_path / "a.mp4", 30, max_still_s=MAX_STILL_S) as writer:
        left_out = [writer.write(gray(40 * index), time_s) for index, time_s in enumerate((2.0, 2.1, 62.1, 62.2))]
    assert left_out == [0, 0, pytest.approx(60 - MAX_STILL_S), 0]
    times = [frame.timestamp_s for frame in open_source(tmp_path / "a.mp4")]
    np.testing.assert_allclose(times, [0, 0.1, 0.1 + MAX_STILL_S, 0.2 + MAX_STILL_S], atol=1e-4)


def test_frames_of_other_sizes_are_fitted(tmp_path: Path) -> None:
    with ClipWriter(tmp_path / "a.mp4", 25) as writer:
        for shape in ((49, 65), (98, 130), (20, 20)):
            writer.write(np.full((*shape, 3), 128, np.uint8))
    assert [frame.image.shape for frame in open_source(tmp_path / "a.mp4")] == [(48, 64, 3)] * 3
    with ClipWriter(tmp_path / "tiny.mp4", 25) as writer:
        writer.write(np.full((1, 3, 3), 128, np.uint8))
    assert len(list(open_source(tmp_path / "tiny.mp4"))) == 1


def make_clip_with_sound(path: Path, codec: str = "aac") -> Path:
    """Two seconds of pictures at 25 a second and a tone."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream(codec, rate=48000)
        for index in range(50):
            frame = av.VideoFrame.from_ndarray(gray(index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(96000) / 48000)).astype(np.float32)
        for start in range(0, 96000 - 960, 960):
            samples = av.AudioFrame.from_ndarray(np.stack([tone[start : start + 960]] * 2), "fltp", "stereo")
            samples.sample_rate, samples.pts, samples.time_base = 48000, start, Fraction(1, 48000)
            container.mux(audio.encode(samples))
        container.mux(audio.encode(None))
    return path


def sound_of(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        packets = container.demux(audio=0) if container.streams.audio else []
        return [(round(float(p.dts * p.time_base), 3), bytes(p)) for p in packets if p.size]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_sound_is_copied_packet_for_packet_at_its_time(suffix: str, tmp_path: Path) -> None:
    clip = open_source(make_clip_with_sound(tmp_path / "in.mp4"))
    assert clip.audio_codec == "aac"  # type: ignore[attr-defined]
    with ClipWriter(tmp_path / f"out{suffix}", 25, sound_from=tmp_path / "in.mp4") as writer:
        for frame in clip:
            writer.write(frame.image, frame.timestamp_s)
    before, after = sound_of(tmp_path / "in.mp4"), sound_of(tmp_path / f"out{suffix}")
    assert not writer.lost_sound and len(after) > 80
    kept = [packet for packet in before if packet[0] >= 0][: len(after)]
    assert [data for _, data in after] == [data for _, data in kept]
    np.testing.assert_allclose([t for t, _ in after], [t for t, _ in kept], atol=2e-3)


def test_sound_that_cannot_be_held_is_said_and_ends_with_the_pictures(tmp_path: Path) -> None:
    make_clip_with_sound(tmp_path / "in.mp4")
    with ClipWriter(tmp_path / "out.webm", 25, sound_from=tmp_path / "in.mp4") as writer:
        writer.write(gray(0))
    assert "aac" in writer.lost_sound and ".webm" in writer.lost_sound and not sound_of(tmp_path / "out.webm")
    with ClipWriter(tmp_path / "short.mp4", 25, sound_from=tmp_path / "in.mp4") as writer:
        for index in range(12):
            writer.write(gray(0), index / 25)
    assert sound_of(tmp_path / "short.mp4")[-1][0] <= 13 / 25
    with ClipWriter(tmp_path / "silent.mp4", 25, sound_from=tmp_path / "out.webm") as writer:
        writer.write(gray(0))
    assert writer.lost_sound == "" and not sound_of(tmp_path / "silent.mp4")


def test_a_clip_survives_ctrl_c_and_vanishes_on_errors(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), ClipWriter(tmp_path / "stopped.mp4", 25) as writer:
        for _ in range(5):
            writer.write(gray(0))
        raise KeyboardInterrupt
    assert len(list(open_source(tmp_path / "stopped.mp4"))) == 5
    with pytest.raises(ZeroDivisionError), ClipWriter(tmp_path / "failed.mp4", 25) as writer:
        writer.write(gray(0))
        raise ZeroDivisionError
    with ClipWriter(tmp_path / "empty.mp4", 25):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["stopped.mp4"]
    with pytest.raises(HandMeshError, match="mp4"):
        ClipWriter(tmp_path / "a.txt", 25)
    assert not threads_named("clip encoder")


class FailingStream:
    """A stream of which one step raises."""

    def __init__(self, step: str) -> None:
        self.step = step

    def encode(self, frame: object) -> list[object]:
        if self.step == ("flush" if frame is None else "encode"):
            raise RuntimeError("disk on fire")
        return []


@pytest.mark.parametrize("step", ["open", "encode", "flush", "verify"])
@pytest.mark.parametrize("count", [1, 100])
def test_an_encoder_that_fails_is_an_error_not_a_hang(
    step: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("disk on fire")

    if step in ("encode", "flush"):
        monkeypatch.setattr(ClipWriter, "_add_stream", lambda *_: FailingStream(step))
    else:
        monkeypatch.setattr(*((ClipWriter, "_add_stream") if step == "open" else (os, "fsync")), fail)
    raised: list[BaseException] = []

    def write_all() -> None:
        try:
            with ClipWriter(tmp_path / "a.mp4", 25) as writer:
                for _ in range(count):
                    writer.write(gray(0))
        except BaseException as error:
            raised.append(error)

    # A thread of its own: should it hang, the test fails and ends.
    thread = threading.Thread(target=write_all, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive() and isinstance(raised[0], HandMeshError) and "disk on fire" in str(raised[0])
    assert not list(tmp_path.iterdir()) and not threads_named("clip encoder")


@pytest.mark.parametrize("count", [1, 20])
def test_an_encoder_that_never_answers_is_given_up(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end, or when no further frame finds room."""
    go_on = threading.Event()
    monkeypatch.setattr(ClipWriter, "_add_stream", lambda *_: go_on.wait(60))
    monkeypatch.setattr(video_writer, "STALL_S", 0.2)
    try:
        with pytest.raises(HandMeshError, match="no answer from the encoder"), ClipWriter(tmp_path / "a.mp4") as writer:
            for _ in range(count):
                writer.write(gray(0))
    finally:
        go_on.set()
    assert not list(tmp_path.iterdir())


def test_a_clip_that_lost_frames_or_sound_is_no_clip(tmp_path: Path) -> None:
    path = make_clip_with_sound(tmp_path / "a.mp4")
    clip_check.expect_whole(path, path, 50, 80)
    with pytest.raises(HandMeshError, match="50 of 51 frames"):
        clip_check.expect_whole(path, path, 51)
    with pytest.raises(HandMeshError, match="packets of sound"):
        clip_check.expect_whole(path, path, 50, 1000)
    (tmp_path / "cut.mp4").write_bytes(path.read_bytes()[:5000])
    with pytest.raises(HandMeshError, match="does not open again"):
        clip_check.expect_whole(tmp_path / "cut.mp4", path, 50)


_ON_A_FULL_DISK = """
import os, resource, sys
import numpy as np
from handmesh.errors import HandMeshError
from handmesh.io.video.video_writer import ClipWriter
from handmesh.io.video.sources import open_source

resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
noise = np.random.default_rng(0)
for count in (1, 3, 4, 5, 6, 40):
    try:
        with ClipWriter(sys.argv[1]) as writer:
            for _ in range(count):
                writer.write(noise.integers(0, 255, (120, 160, 3), dtype=np.uint8))
        assert count < 40 and len(list(open_source(sys.argv[1]))) == count
        os.unlink(sys.argv[1])
    except HandMeshError as error:
        assert "File too large" in str(error) and sys.argv[1] in str(error), error
        assert count > 1
    assert not os.listdir(os.path.dirname(sys.argv[1]))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs a limit on the size of files")
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_full_disk_is_an_error_and_leaves_nothing(suffix: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _ON_A_FULL_DISK, str(tmp_path / f"a{suffix}")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0 and not done.stderr, done.stderr


_INTERRUPTED = """
import random, signal, sys
import numpy as np
from handmesh.io.video.video_writer import ClipWriter

signal.signal(signal.SIGALRM, signal.default_int_handler)
picture, chance = np.zeros((16, 16, 3), np.uint8), random.Random(0)
for _ in range(150):
    try:
        with ClipWriter(sys.argv[1], 25.0) as writer:
            writer.write(picture)
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-4, 2e-3))
            while True:
                writer.write(picture)
    except KeyboardInterrupt:
        pass
print("ended")
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer's signal")
def test_ctrl_c_at_any_moment_ends_a_clip(tmp_path: Path) -> None:
    """queue.Queue is left locked by one in some hundred of these."""
    command = [sys.executable, "-c", _INTERRUPTED, str(tmp_path / "clip.avi")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert done.stdout == "ended\n", done.stderr
    assert not [name for name in os.listdir(tmp_path) if name != "clip.avi"]
