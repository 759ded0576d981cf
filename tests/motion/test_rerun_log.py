"""A .rrd file is read back by rerun's own reader: every entity at its own times, with the numbers that went in."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from handmesh.cli.commands import video
from handmesh.errors import HandMeshError
from handmesh.io.video.sources import ClipSource
from handmesh.io.video.video_writer import ClipWriter
from handmesh.motion.formats.rerun_log import RerunWriter
from handmesh.motion.recording import RecordedFrame, Recording


def rows_of(path: Path) -> dict[str, list[dict[str, Any]]]:
    """By entity, each row's components and times, in the order of time; static ones without a time."""
    chunks = pytest.importorskip("rerun.chunk", reason="needs rerun-sdk 0.40, with its reader of chunks")
    rows = defaultdict(list)
    for chunk in chunks.RrdReader(str(path)).stream():
        for row in chunk.to_record_batch().to_pylist():
            time = row.get("time")
            seconds = time.total_seconds() if hasattr(time, "total_seconds") else time
            rows[chunk.entity_path].append({**row, "time": seconds})
    return {name: sorted(each, key=lambda row: (row["time"] is not None, row["time"])) for name, each in rows.items()}


def one(row: dict[str, Any], component: str) -> np.ndarray:
    return np.asarray(row[component], np.float64)


@pytest.fixture(autouse=True)
def needs_rerun() -> None:
    pytest.importorskip("rerun", reason="needs the extra 'rerun'")


def test_every_frame_has_its_picture_hands_and_milliseconds_on_one_timeline(
    tmp_path: Path, frames: list[RecordedFrame]
) -> None:
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[:, :320] = (200, 30, 30)
    few = frames[:8]
    few[6] = RecordedFrame(few[6].index, few[6].timestamp_s, few[6].image_size, few[6].K, few[6].hands[:1])
    with RerunWriter(tmp_path / "r.rrd") as writer:
        for frame in few:
            writer.write(frame, picture, {"network": 2.0 + frame.index})
    assert [file.name for file in tmp_path.iterdir()] == ["r.rrd"]
    rows = rows_of(tmp_path / "r.rrd")
    times = [frame.timestamp_s for frame in few]
    for entity in ("/camera/picture", "/camera/boxes", "/camera/keypoints", "/hands/right_0/joints",
                   "/hands/right_0/bones", "/milliseconds/network"):  # fmt: skip
        np.testing.assert_allclose([row["time"] for row in rows[entity]], times, atol=1e-6)
        assert [row["frame"] for row in rows[entity]] == list(range(8))
    assert [row["frame"] for row in rows["/hands/left_4/joints"]] == [5, 7]
    assert [row["frame"] for row in rows["/hands/left_4"]] == [6], "a hand that is gone is cleared"
    assert [row["Scalars:scalars"] for row in rows["/milliseconds/network"]] == [[2.0 + n] for n in range(8)]
    faces, *meshes = rows["/hands/right_0/mesh"]
    hand = few[3].hands[0]
    assert np.asarray(faces["Mesh3D:triangle_indices"]).tolist() == np.asarray(hand.faces).tolist()
    np.testing.assert_array_equal(one(meshes[3], "Mesh3D:vertex_positions"), hand.vertices)
    np.testing.assert_allclose(np.linalg.norm(one(meshes[3], "Mesh3D:vertex_normals"), axis=1), 1, atol=1e-3)
    np.testing.assert_array_equal(one(rows["/hands/right_0/joints"][3], "Points3D:positions"), hand.joints)
    box = rows["/camera/boxes"][7]
    centres, halves = one(box, "Boxes2D:centers"), one(box, "Boxes2D:half_sizes")
    boxes = np.array([each.box_xyxy for each in few[7].hands])
    np.testing.assert_allclose(np.concatenate([centres - halves, centres + halves], 1), boxes, atol=1e-3)
    np.testing.assert_allclose(
        one(rows["/camera"][0], "Pinhole:image_from_camera").reshape(3, 3).T, few[0].K, atol=1e-4
    )
    blob = np.ravel(rows["/camera/picture"][2]["EncodedImage:blob"][0])
    encoded = np.frombuffer(blob.item() if blob.dtype.kind in "SO" else blob.astype(np.uint8).tobytes(), np.uint8)
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(decoded.astype(int) - picture).mean() < 3


def test_a_failure_leaves_no_file(tmp_path: Path, frames: list[RecordedFrame]) -> None:
    with pytest.raises(ZeroDivisionError), RerunWriter(tmp_path / "r.rrd") as writer:
        writer.write(frames[0], np.zeros((480, 640, 3), np.uint8))
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(HandMeshError, match="file"), RerunWriter(tmp_path / "file" / "r.rrd"):
        pass
    with pytest.raises(HandMeshError, match=r"\.rrd"):
        RerunWriter(tmp_path / "r.mp4")


def test_the_package_missing_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(HandMeshError, match=r"handmesh\[rerun\]"):
        RerunWriter(tmp_path / "r.rrd")


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch, picture_tracker: Any, tmp_path: Path) -> Path:
    """A clip, and ``handmesh video`` with a stand-in for the network."""
    monkeypatch.setattr(video, "load_tracker", lambda args, smoothing: picture_tracker)
    monkeypatch.chdir(tmp_path)
    with ClipWriter(tmp_path / "clip.mp4", 25) as writer:
        for number in range(5):
            writer.write(np.full((96, 128, 3), 40 * number, np.uint8))
    return tmp_path / "clip.mp4"


def test_video_writes_what_it_records(follow: Path, tmp_path: Path) -> None:
    assert video.main([str(follow), "--rerun", "r.rrd", "--recording", "r.jsonl"]) == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["clip.mp4", "r.jsonl", "r.rrd"]
    rows, recording = rows_of(tmp_path / "r.rrd"), Recording.load("r.jsonl")
    times = [frame.timestamp_s for frame in ClipSource(follow)]
    for track_id, track in recording.tracks().items():
        side = "right" if track.is_right else "left"
        joints = rows[f"/hands/{side}_{track_id}/joints"]
        np.testing.assert_allclose([row["time"] for row in joints], times, atol=1e-6)
        np.testing.assert_allclose([one(row, "Points3D:positions") for row in joints], track.hands.joints, atol=1e-6)
    assert len(rows["/milliseconds/network"]) == 5
    with pytest.raises(HandMeshError, match="one clip"):
        video.main([str(tmp_path), "--rerun", "r2.rrd"])
    assert video.main([str(follow), "--rerun", "alone.rrd"]) == 0
    assert not (tmp_path / "output").exists() and (tmp_path / "alone.rrd").is_file()


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs a limit on the size of files")
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, frames: list[RecordedFrame]) -> None:
    import resource

    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    before, threads = resource.getrlimit(resource.RLIMIT_FSIZE), threading.active_count()
    with pytest.raises(HandMeshError, match="expected to write .*r.rrd.*free some space"):
        with RerunWriter(tmp_path / "r.rrd") as writer:
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
            try:
                for _ in range(40):
                    writer.write(frames[0], noise)
                writer._stream.flush(timeout_sec=20.0)
                writer._pump.expect_written()
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
    # A thread that has been told to end may take a moment on a busy machine.
    end_s = time.monotonic() + 10
    while threading.active_count() > threads and time.monotonic() < end_s:
        time.sleep(0.01)
    assert threading.active_count() == threads


def test_a_writer_that_does_not_answer_is_not_waited_for(
    tmp_path: Path, frames: list[RecordedFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    def flush(*, timeout_sec: float) -> None:
        assert timeout_sec < 100
        raise RuntimeError("timed out")

    with pytest.raises(HandMeshError, match=r"r.rrd.*timed out"):
        with RerunWriter(tmp_path / "r.rrd") as writer:
            writer.write(frames[0], np.zeros((48, 64, 3), np.uint8))
            monkeypatch.setattr(writer._stream, "flush", flush)
    assert list(tmp_path.iterdir()) == []
