"""``handmesh video FOLDER``: all clips done once, whatever fails, stops or dies on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handmesh.cli import video_folder
from handmesh.cli.commands import video
from handmesh.cli.video_folder import FolderRun
from handmesh.errors import HandMeshError
from handmesh.io.video.clip_check import expect_whole
from handmesh.io.video.video_writer import ClipWriter
from handmesh.motion.recording import Recording

FAKE = Path(__file__).with_name("fake_video.py")
FRAMES = 8


def write_clip(path: Path, shade: int, frames: int = FRAMES) -> None:
    with ClipWriter(path, 25) as writer:
        for number in range(frames):
            writer.write(np.full((96, 128, 3), shade + 5 * number, np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three clips, two of them of one stem and one a folder deeper, and a file that is no clip's."""
    for number, name in enumerate(("a.mkv", "a.mp4", "deep/b.mp4")):
        write_clip(tmp_path / "clips" / name, 40 + 50 * number)
    (tmp_path / "clips" / "notes.txt").write_text("hello")
    return tmp_path / "clips"


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch, picture_tracker: Any, tmp_path: Path) -> Any:
    monkeypatch.setattr(video, "load_tracker", lambda args, smoothing: picture_tracker)
    monkeypatch.chdir(tmp_path)
    return picture_tracker


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def recordings(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in files(folder).items() if name.endswith(".jsonl")}


def test_every_clip_gets_a_recording_and_a_drawn_clip_and_is_not_done_twice(
    tracker: Any, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert video.main([str(folder), "--output", "out"]) == 0
    drawn = {"a.mkv-hands.mp4", "a.mp4-hands.mp4", "deep/b.mp4-hands.mp4"}
    assert set(files(tmp_path / "out")) == drawn | {"a.mkv.jsonl", "a.mp4.jsonl", "deep/b.mp4.jsonl"}
    for name in drawn:
        expect_whole(tmp_path / "out" / name, tmp_path / name, FRAMES)
    assert len(tracker.asked) == 3 * FRAMES
    assert video.main([str(folder), "--output", "out"]) == 0 and len(tracker.asked) == 3 * FRAMES
    assert "3 were done before" in capsys.readouterr().err
    # Numbers alone: the same ones, in a folder of their own.
    assert video.main([str(folder), "--recording", "numbers"]) == 0
    assert files(tmp_path / "numbers") == recordings(tmp_path / "out")
    # And those of the command that is given one clip.
    assert video.main([str(folder / "deep/b.mp4"), "--recording", "one.jsonl"]) == 0
    assert (tmp_path / "one.jsonl").read_bytes() == files(tmp_path / "numbers")["deep/b.mp4.jsonl"]


def test_what_is_there_but_not_whole_or_made_otherwise_is_done_again(
    tracker: Any, folder: Path, tmp_path: Path
) -> None:
    words = [str(folder), "--output", "out"]
    assert video.main(words) == 0
    before = recordings(tmp_path / "out")
    target, drawn = tmp_path / "out/a.mp4.jsonl", tmp_path / "out/a.mkv-hands.mp4"
    lines = target.read_bytes().splitlines(keepends=True)
    target.write_bytes(b"".join(lines[:-1]))
    drawn.write_bytes(drawn.read_bytes()[:-200])
    (tmp_path / "out/deep/b.mp4-hands.mp4").unlink()
    tracker.asked = []
    assert video.main(words) == 0
    assert {name.split()[0] for name in tracker.asked} == {"a.mp4"}, "a clip to be drawn again is not followed again"
    assert recordings(tmp_path / "out") == before
    expect_whole(drawn, drawn, FRAMES)
    assert (tmp_path / "out/deep/b.mp4-hands.mp4").is_file()
    write_clip(folder / "a.mkv", 90)
    assert video.main(words) == 0 and recordings(tmp_path / "out")["a.mkv.jsonl"] != before["a.mkv.jsonl"]
    assert video.main([*words, "--no-smoothing"]) == 0
    assert Recording.load(target).header.smoothing == "none"


def test_a_bad_clip_is_named_and_stops_no_other(
    tracker: Any, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a0.mp4").write_bytes(b"no clip at all")
    smooth = video_folder.ClipPasses.smooth

    def fault(self: Any, raw: Recording) -> Recording:
        if raw.header.source == "b.mp4":
            raise ZeroDivisionError("of all things")
        return smooth(self, raw)

    monkeypatch.setattr(video_folder.ClipPasses, "smooth", fault)
    words = [str(folder), "--output", "out"]
    with pytest.raises(HandMeshError, match="2 of 4 that failed"):
        video.main(words)
    err = capsys.readouterr().err
    assert "a0.mp4: expected a clip" in err and "deep/b.mp4: ZeroDivisionError: of all things" in err
    # What was followed before it failed is kept, and taken up.
    assert set(recordings(tmp_path / "out")) == {"a.mkv.jsonl", "a.mp4.jsonl", "deep/b.mp4.part.jsonl"}
    monkeypatch.undo()
    monkeypatch.setattr(video, "load_tracker", lambda args, smoothing: tracker)
    monkeypatch.chdir(tmp_path)
    (folder / "a0.mp4").unlink()
    tracker.asked = []
    assert video.main(words) == 0 and tracker.asked == []
    assert set(recordings(tmp_path / "out")) == {"a.mkv.jsonl", "a.mp4.jsonl", "deep/b.mp4.jsonl"}


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_run_ends_with_the_recordings_of_an_uninterrupted_one(
    tracker: Any, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert video.main([str(folder), "--output", "whole"]) == 0
    words = [str(folder), "--output", "out"]
    root = str(Path(__file__).resolve().parents[2])
    killed = subprocess.run(
        [sys.executable, str(FAKE), str(FRAMES + 3), *words],
        env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = recordings(tmp_path / "out")
    assert "a.mp4.part.jsonl" in left and "a.mp4.jsonl" not in left and "deep/b.mp4.jsonl" not in left
    tracker.asked = []
    assert video.main(words) == 0
    assert "a.mp4: 3 frames are there already" in capsys.readouterr().err
    assert [name for name in tracker.asked if name.startswith("a.mp4")] == [f"a.mp4 {n}" for n in range(3, FRAMES)]
    assert recordings(tmp_path / "out") == recordings(tmp_path / "whole")
    assert set(files(tmp_path / "out")) == set(files(tmp_path / "whole"))
    for name in files(tmp_path / "out"):
        if name.endswith(".mp4"):
            expect_whole(tmp_path / "out" / name, tmp_path / name, FRAMES)


def test_a_request_to_end_leaves_nothing_half_done(tracker: Any, folder: Path, tmp_path: Path) -> None:
    run = tracker.run

    def stopped(source: Any, skip: int = 0, state: Any = None) -> Any:
        for frame in run(source, skip, state):
            yield frame
            if len(tracker.asked) == FRAMES + 4:
                signal.raise_signal(signal.SIGINT)

    tracker.run = stopped
    assert video.main([str(folder), "--output", "out"]) == 130
    assert "a.mp4.jsonl" not in files(tmp_path / "out") and not list((tmp_path / "out").rglob(".*"))
    tracker.run = run
    assert video.main([str(folder), "--output", "out"]) == 0
    assert len(recordings(tmp_path / "out")) == 3 and len(tracker.asked) == 3 * FRAMES


def test_overlapping_changes_no_number(
    tracker: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert video.main([str(folder), "--output", "overlapped"]) == 0
    monkeypatch.setattr(
        video_folder, "FolderRun", lambda passes, smoothing: FolderRun(passes, smoothing, overlap=False)
    )
    assert video.main([str(folder), "--output", "in-turn"]) == 0
    assert recordings(tmp_path / "in-turn") == recordings(tmp_path / "overlapped")


def test_bad_words_are_one_clear_error(tracker: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/x.png").write_bytes(b"")
    for words, match in (
        ([str(folder), "--output", "o.mp4"], "--output as a folder"),
        ([str(folder), "--recording", "r.jsonl"], "--recording as a folder"),
        ([str(folder), "--output", "file"], "--output as a folder"),
        ([str(folder), "--output", "file/out"], "file/out"),
        ([str(folder), "--output", str(folder)], "outside"),
        ([str(folder), "--output", str(folder / "out")], "outside"),
        (["photos", "--output", "out"], "handmesh predict"),
    ):
        with pytest.raises(HandMeshError, match=match):
            video.main(words)
    assert not tracker.asked and not (tmp_path / "out").exists()
