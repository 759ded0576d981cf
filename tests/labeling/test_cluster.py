"""Footage on Ray: a worker that is killed in the middle loses and doubles nothing; what is done is not done again."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handmesh.cli.commands import label_footage as command
from handmesh.cli.commands import video
from handmesh.errors import HandMeshError
from handmesh.io.images import write_image
from handmesh.io.storage import Storage
from handmesh.io.video.video_writer import ClipWriter
from handmesh.labeling.cluster import items
from handmesh.labeling.cluster.items import FootageItem, footage_items
from handmesh.labeling.cluster.pool import INDEX_NAME, Workers, label_footage
from handmesh.labeling.cluster.worker import MAX_ATTEMPTS, FootageJob, FootageLabeler
from handmesh.motion.recording import Recording

FRAMES = 6
has_ray = all(importlib.util.find_spec(name) for name in ("ray", "pyarrow"))
needs_pyarrow = pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs the extra 'cluster'")
needs_ray = pytest.mark.skipif(not has_ray or sys.platform == "win32", reason="needs the extra 'cluster'")


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the stand-ins, importable by its name here and in the workers."""
    here = Path(__file__).resolve()
    monkeypatch.syspath_prepend(str(here.parent))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here.parents[2]), str(here.parent)]))
    return importlib.import_module("fake_tracker")


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    """Four clips, one of which is none, and five photos, one of which is none."""
    folder = tmp_path / "footage"
    for number, name in enumerate(("a.mp4", "b.mp4", "deep/a.mp4")):
        with ClipWriter(folder / name, 25) as writer:
            for frame in range(FRAMES):
                writer.write(np.full((96, 128, 3), 30 + 60 * number + 4 * frame, np.uint8))
    (folder / "bad.mp4").write_bytes(b"no clip")
    for number in range(4):
        write_image(folder / "photos" / f"{number}.png", np.full((96, 128, 3), 20 + 50 * number, np.uint8))
    (folder / "photos" / "1a.jpg").write_bytes(b"no photo")
    return folder


def job_of(footage: Path, output: Path, make_tracker: Any) -> FootageJob:
    return FootageJob(Storage(str(footage)), Storage(str(output)), "offline", True, {"weights": "w"}, make_tracker)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def index_of(folder: Path) -> list[dict[str, Any]]:
    from pyarrow import parquet

    return parquet.read_table(folder / INDEX_NAME).to_pylist()


def test_a_piece_of_work_has_one_name_whatever_else_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "PHOTOS_PER_ITEM", 2)
    files = {"a.mp4": 9, "a.mov": 9, "photos-00000.mp4": 9, "1.jpg": 3, "x/1.JPG": 3, "x/2.png": 3, "x/3.png": 4,
             "x/notes.txt": 1}  # fmt: skip
    pieces = footage_items(files, "here")
    assert [item.name for item in pieces] == [
        "a.mov", "a.mp4", "photos-00000.mp4", "photos-00000", "x/photos-00000", "x/photos-00001",
    ]  # fmt: skip
    assert pieces[4].photos == ("x/1.JPG", "x/2.png") and pieces[5].photos == ("x/3.png",)
    assert len({item.recording for item in pieces}) == len(pieces)
    assert all(FootageItem.from_json(item.to_json()) == item for item in pieces)
    for item in pieces:
        assert item in footage_items({**files, "z.mp4": 1, "y/9.jpg": 2}, "here")
    changed = footage_items({**files, "x/3.png": 5}, "here")
    assert changed[4] == pieces[4] and changed[5].name == pieces[5].name and changed[5] != pieces[5]
    with pytest.raises(HandMeshError, match="none; name the folder"):
        footage_items({"notes.txt": 1}, "here")


@needs_pyarrow
def test_a_worker_does_what_the_command_for_a_folder_does(
    fakes: Any, footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Ray: the numbers are those of ``handmesh video FOLDER``, and a piece that is whole is left."""
    tracker = fakes.make_tracker()
    monkeypatch.setattr(video, "load_tracker", lambda args, smoothing: tracker)
    monkeypatch.setattr(command, "run_settings", lambda args: {"weights": "w"})
    monkeypatch.setattr("handmesh.cli.clip_passes.run_settings", lambda args: {"weights": "w"})
    (footage / "bad.mp4").unlink()
    assert video.main([str(footage), "--recording", str(tmp_path / "alone")]) == 0
    output = tmp_path / "out"
    worker = FootageLabeler(job_of(footage, output, lambda: tracker))
    items = footage_items(Storage(str(footage)).files(), "here")
    rows = [worker({"item": item.to_json()}) for item in items]
    assert [row["error"] for row in rows] == [""] * 4 and all(row["is_new"] for row in rows)
    got = contents(output)
    assert {name: got[name] for name in got if "photos" not in name} == contents(tmp_path / "alone")
    photos = Recording.load(output / "photos/photos-00000.jsonl")
    names = json.loads(photos.header.settings["photos"])
    assert names == ["0.png", "1.png", "1a.jpg", "2.png", "3.png"]
    assert photos.frames.index.tolist() == [0, 1, 3, 4] and photos.header.smoothing == "none"
    assert rows[3]["unreadable_photos"] == 1 and rows[3]["frames"] == 4 and rows[0]["tracks"] == 2
    seen = tracker.seen
    again = [worker({"item": item.to_json()}) for item in items]
    assert tracker.seen == seen and not any(row["is_new"] for row in again)
    (output / "a.mp4.jsonl").write_bytes(b"".join(got["a.mp4.jsonl"].splitlines(keepends=True)[:-1]))
    assert worker({"item": items[0].to_json()})["is_new"] and contents(output) == got
    write_image(footage / "photos" / "2.png", np.full((50, 50, 3), 7, np.uint8))
    changed = footage_items(Storage(str(footage)).files(), "here")
    assert worker({"item": changed[3].to_json()})["is_new"]


@needs_pyarrow
def test_footage_that_kills_its_workers_is_given_up(fakes: Any, footage: Path, tmp_path: Path) -> None:
    job = job_of(footage, tmp_path / "out", fakes.make_tracker)
    worker = FootageLabeler(FootageJob(*[getattr(job, each) for each in ("source", "output", "smoothing",
                            "is_fov_assumed", "settings", "make_tracker")], lambda name: MAX_ATTEMPTS + 1))  # fmt: skip
    assert "every worker that began it died" in worker({"item": FootageItem("a.mp4").to_json()})["error"]


@needs_ray
def test_a_worker_killed_in_the_middle_loses_and_doubles_nothing(fakes: Any, footage: Path, tmp_path: Path) -> None:
    (tmp_path / "kill").mkdir()
    (tmp_path / "kill" / "b.mp4").touch()
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    alone = FootageLabeler(job_of(footage, calm, fakes.make_tracker))
    items = footage_items(Storage(str(footage)).files(), "here")
    wanted = [alone({"item": item.to_json()}) for item in items]
    job = job_of(footage, killed, partial(fakes.make_tracker, str(tmp_path / "kill")))
    from handmesh.io.runtime.ray_cluster import ray_cluster

    with ray_cluster(cpus=2):
        report = label_footage(job, Workers(2))
        assert not list((tmp_path / "kill").iterdir()), "no worker was killed"
        assert (report.done, report.done_before, list(report.failures)) == (4, 0, ["bad.mp4"])
        assert "expected a clip" in report.failures["bad.mp4"]
        assert len({row["process"] for row in report.rows}) >= 2, "one process did it all"
        assert str(os.getpid()) not in {row["process"].split(":")[1] for row in report.rows}
        got = contents(killed)
        index = got.pop(INDEX_NAME)
        assert got == contents(calm)
        rows = index_of(killed)
        assert [row["recording"] for row in rows] == sorted(got)
        by_name = {row["recording"]: row for row in wanted}
        assert all(row[key] == by_name[row["recording"]][key] for row in rows for key in row)
        # A second run finds everything, and does what is missing.
        (killed / "deep/a.mp4.jsonl").unlink()
        again = label_footage(job, Workers(1))
        assert (again.done, again.done_before) == (1, 3)
        assert contents(killed) == {**got, INDEX_NAME: index}


def test_bad_words_are_one_clear_error(footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "file").write_text("")
    out = ["--output", str(tmp_path / "out")]
    for words, match in (
        ([], "URI_OR_FOLDER"),
        ([str(footage)], "--output"),
        ([str(footage), *out, "--workers", "-1"], "workers"),
        ([str(footage), *out, "--cpus-per-worker", "0"], "core"),
        ([str(footage), *out, "--max-hands", "0"], "--max-hands"),
        ([str(footage), *out], r"handmesh\[cluster\]"),
        ([str(tmp_path / "none"), *out], "no such folder"),
        ([str(footage), "--output", str(tmp_path / "file/out")], "file"),
        ([str(footage), "--output", str(footage)], "another folder"),
    ):
        with pytest.raises(HandMeshError, match=match):
            command.main(words)
    assert not (tmp_path / "out" / INDEX_NAME).exists()


@pytest.fixture(autouse=True)
def no_ray_left() -> Iterator[None]:
    yield
    ray = sys.modules.get("ray")
    assert ray is None or not ray.is_initialized()
