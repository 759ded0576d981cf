"""The record: both files keep every bit, meshes come back, and what is damaged, foreign or newer is one clear error."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import handmesh
from handmesh.errors import HandMeshError
from handmesh.geometry.quaternion import to_matrix
from handmesh.motion.formats.tables import FrameTable, HandTable, RecordingHeader
from handmesh.motion.recorder import LineWriter, RecordingWriter
from handmesh.motion.recording import RecordedFrame, Recording
from handmesh.motion.recording_files import MAX_LINE_BYTES, part_path, read_lines
from handmesh.results import Hand


def same(one: Recording, other: Recording) -> bool:
    """Whether every number of two recordings has the same bits."""
    pairs = [(one.frames, other.frames, FrameTable), (one.hands, other.hands, HandTable)]
    return one.header == other.header and all(
        getattr(a, each.name).dtype == getattr(b, each.name).dtype
        and getattr(a, each.name).tobytes() == getattr(b, each.name).tobytes()
        for a, b, table in pairs
        for each in fields(table)
    )


def write(path: Path, header: RecordingHeader, frames: list[RecordedFrame]) -> Recording:
    with RecordingWriter(path, header) as writer:
        for frame in frames:
            writer.write(frame)
    return Recording.load(path)


@pytest.fixture
def lines(tmp_path: Path, header: RecordingHeader, frames: list[RecordedFrame]) -> Path:
    write(tmp_path / "r.jsonl", header, frames[:8])
    return tmp_path / "r.jsonl"


def test_lines_and_npz_hold_the_same_bits(
    tmp_path: Path, header: RecordingHeader, frames: list[RecordedFrame], recording: Recording
) -> None:
    streamed = write(tmp_path / "a.jsonl", header, frames)
    assert same(streamed, recording) and sorted(file.name for file in tmp_path.iterdir()) == ["a.jsonl"]
    streamed.save(tmp_path / "b.npz")
    Recording.load(tmp_path / "b.npz").save(tmp_path / "c.jsonl")
    assert same(Recording.load(tmp_path / "b.npz"), streamed)
    assert (tmp_path / "c.jsonl").read_bytes() == (tmp_path / "a.jsonl").read_bytes()
    # Also numbers with every digit, as another program may write them.
    rng = np.random.default_rng(0)
    noisy = streamed.hands.joints + rng.normal(0, 1e-3, streamed.hands.joints.shape)
    every_digit = replace(streamed, hands=replace(streamed.hands, joints=noisy))
    every_digit.save(tmp_path / "d.jsonl")
    assert same(handmesh.Recording.load(tmp_path / "d.jsonl"), every_digit)
    assert write(tmp_path / "e.npz", header, frames).frames.timestamp_s[3] == frames[3].timestamp_s
    assert not part_path(tmp_path / "e.npz").exists()


def test_a_line_is_a_frame_with_hands_as_hand_has_them(lines: Path, frames: list[RecordedFrame]) -> None:
    head, *rest = [json.loads(line) for line in lines.read_text().splitlines()]
    assert head["format"] == "handmesh-recording" and head["version"] == 1 and "camera" in head["frame"]
    assert head["image_size"] == [640, 480] and head["fov_deg"] == pytest.approx(60) and len(head["joint_names"]) == 21
    for line, frame in zip(rest, frames, strict=False):
        assert (line["index"], line["timestamp_s"]) == (frame.index, frame.timestamp_s)
        for row, hand in zip(line["hands"], frame.hands, strict=True):
            assert set(row) <= {each.name for each in fields(Hand)}
            assert row["track_id"] == hand.track_id and row["is_right"] == hand.is_right
            np.testing.assert_allclose(row["joints"], hand.joints, atol=1e-6)
            np.testing.assert_allclose(row["keypoints_2d"], hand.keypoints_2d, atol=1e-3)
            np.testing.assert_allclose(to_matrix(np.array(row["hand_pose"])), hand.hand_pose, atol=1e-6)


def test_meshes_come_back_as_they_were_drawn(recording: Recording, frames: list[RecordedFrame]) -> None:
    for index in (0, 17, 39):
        for hand, back in zip(frames[index].hands, recording.frame(index).hands, strict=True):
            assert np.abs(recording.vertices(hand.track_id, index) - hand.vertices).max() < 1e-5
            for name in ("vertices", "joints", "translation", "global_orient", "hand_pose", "betas"):
                np.testing.assert_allclose(getattr(back, name), getattr(hand, name), atol=1e-5)
            assert back.track_id == hand.track_id and (back.faces == hand.faces).all()
    assert list(recording.tracks()) == [0, 4] and len(recording.track(4)) == 35
    assert recording.track(4).frame_index[0] == 5 and not recording.track(4).is_right


def test_quaternions_never_jump(recording: Recording) -> None:
    for track in recording.tracks().values():
        for name in ("global_orient", "hand_pose"):
            values = getattr(track.hands, name)
            assert ((values[1:] * values[:-1]).sum(-1) > 0.5).all()
    # The right hand turns through more than half a turn: with w kept positive it would have jumped.
    assert (recording.track(0).hands.global_orient[:, 3] < 0).any() or (
        recording.track(4).hands.global_orient[:, 3] < 0
    ).any()


def test_a_file_cut_anywhere_is_read_to_its_last_whole_line(lines: Path, tmp_path: Path) -> None:
    whole, data = Recording.load(lines), lines.read_bytes()
    header_length = data.index(b"\n") + 1
    for cut in np.linspace(header_length, len(data) - 1, 40).astype(int):
        (tmp_path / "cut.jsonl").write_bytes(data[:cut])
        recording = Recording.load(tmp_path / "cut.jsonl")
        assert len(recording.frames) == data[:cut].count(b"\n") - 1
        assert not recording.is_complete
        assert recording.hands.joints.tobytes() == whole.hands.joints[: len(recording.hands)].tobytes()
    with pytest.raises(HandMeshError, match="first line"):
        (tmp_path / "cut.jsonl").write_bytes(data[: header_length - 1])
        Recording.load(tmp_path / "cut.jsonl")


def test_an_interrupted_writer_goes_on_where_it_was(
    tmp_path: Path, header: RecordingHeader, frames: list[RecordedFrame]
) -> None:
    part = tmp_path / "r.part.jsonl"
    first = LineWriter(part, header)
    for frame in frames[:20]:
        first.write(frame, {"n": frame.index})
    first.close()
    with open(part, "ab") as file:
        file.write(b'{"index": 20, "timest')
    there = read_lines(part, HandMeshError)
    assert there.state == {"n": 19} and not there.is_complete
    second = LineWriter(part, there.header, there)
    for frame in frames[20:]:
        second.write(frame)
    second.close()
    assert same(Recording.load(part), write(tmp_path / "whole.jsonl", header, frames))


def test_a_failed_program_leaves_its_part_and_none_is_written_over(
    tmp_path: Path, header: RecordingHeader, frames: list[RecordedFrame]
) -> None:
    with pytest.raises(ZeroDivisionError), RecordingWriter(tmp_path / "r.jsonl", header) as writer:
        writer.write(frames[0])
        raise ZeroDivisionError
    assert [file.name for file in tmp_path.iterdir()] == ["r.part.jsonl"]
    assert len(Recording.load(tmp_path / "r.part.jsonl").frames) == 1
    with pytest.raises(HandMeshError, match="rename it"), RecordingWriter(tmp_path / "r.jsonl", header):
        pass
    with pytest.raises(HandMeshError, match=r"r\.part\.jsonl, which was not finished"):
        Recording.load(tmp_path / "r.jsonl")
    (tmp_path / "r.part.jsonl").unlink()
    with pytest.raises(KeyboardInterrupt), RecordingWriter(tmp_path / "r.jsonl", header) as writer:
        writer.write(frames[0])
        raise KeyboardInterrupt
    assert [file.name for file in tmp_path.iterdir()] == ["r.jsonl"]


def changed(lines: Path, place: int, **values: Any) -> None:
    """Replace keys of a line (0 is the header), or with None take them out; in a frame, of its first hand."""
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    target = rows[place]
    for name, value in values.items():
        inner = target["hands"][0] if place and name not in target else target
        inner[name] = value
        if value is None:
            del inner[name]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("place", "values", "match"),
    [
        (0, {"version": 2}, "newer handmesh: pip"),
        (0, {"version": "1"}, "version"),
        (0, {"format": "other"}, "format"),
        (0, {"rest_joints": [[0, 0, 0]]}, "header"),
        (0, {"fps": None}, "header"),
        (0, {"smoothing": "much"}, "header"),
        (3, {"joints": [[0, 0, 0]] * 20}, "line 4 has no joints of shape"),
        (3, {"joints": [["a", 0, 0]] * 21}, "line 4 has no joints"),
        (3, {"betas": None}, "line 4 has no betas"),
        (3, {"is_right": 1}, "line 4 has no is_right"),
        (3, {"track_id": 1.5}, "line 4 has no track_id"),
        (3, {"track_id": 10**30}, "line 4 has no track_id"),
        (3, {"track_id": -1}, "track_id"),
        (3, {"score": 7}, "score"),
        (3, {"scale": 0}, "scale"),
        (3, {"global_orient": [0, 0, 0, 0]}, "quaternion"),
        (3, {"hands": 5}, "hands"),
        (3, {"hands": [5]}, "line 4"),
        (3, {"index": 0}, "rise"),
        (3, {"timestamp_s": 0.0}, "rise"),
        (3, {"K": [[0, 0, 0], [0, 1, 0], [0, 0, 1]]}, "K"),
        (3, {"image_size": [0, 5]}, "image_size"),
    ],
)
def test_what_no_recording_holds_is_named(lines: Path, place: int, values: dict[str, Any], match: str) -> None:
    changed(lines, place, **values)
    with pytest.raises(HandMeshError, match=match):
        Recording.load(lines)


def test_bombs_and_foreign_files_are_refused(tmp_path: Path, lines: Path, recording: Recording) -> None:
    head = lines.read_bytes().split(b"\n")[0] + b"\n"
    for name, content, match in (
        ("long.jsonl", head + b" " * (MAX_LINE_BYTES + 1), "longer"),
        ("deep.jsonl", head + b"[" * 100_000 + b"\n", "no JSON"),
        ("nan.jsonl", head + b'{"index": NaN}\n', "no JSON"),
        ("random.jsonl", os.urandom(5000), "expected a recording"),
        ("empty.jsonl", b"", "first line"),
        ("text.npz", b"hello", "cannot be read"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(HandMeshError, match=match):
            Recording.load(tmp_path / name)
    with pytest.raises(HandMeshError, match="no such file"):
        Recording.load(tmp_path / "missing.jsonl")
    with pytest.raises(HandMeshError, match=r"\.jsonl or \.npz"):
        recording.save(tmp_path / "r.txt")
    recording.save(tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as arrays:
        content = dict(arrays)
    # An array of a terabyte that is some kilobytes when compressed, one that only claims to be, and another type.
    np.savez_compressed(tmp_path / "packed.npz", **content)
    with pytest.raises(HandMeshError, match="compressed"):
        Recording.load(tmp_path / "packed.npz")
    np.savez(tmp_path / "type.npz", **{**content, "hand_joints": content["hand_joints"].astype(np.float32)})
    with pytest.raises(HandMeshError, match="float32"):
        Recording.load(tmp_path / "type.npz")
    np.savez(tmp_path / "rows.npz", **{**content, "hand_score": content["hand_score"][:-1]})
    with pytest.raises(HandMeshError, match="different lengths"):
        Recording.load(tmp_path / "rows.npz")
    with zipfile.ZipFile(tmp_path / "good.npz") as old, zipfile.ZipFile(tmp_path / "claim.npz", "w") as new:
        for member in old.namelist():
            data = old.read(member)
            if member == "hand_score.npy":
                data = data.replace(b"(75,), }" + b" " * 9, b"(99999999999,), }")
            new.writestr(member, data)
    with pytest.raises(HandMeshError, match="cannot be read"):
        Recording.load(tmp_path / "claim.npz")


def test_another_hand_model_and_hands_that_are_not_there(tmp_path: Path, lines: Path, fake_mano: Any) -> None:
    fake_mano.save_npz(tmp_path / "fake.npz")
    other = handmesh.Recording.load(lines, mano=tmp_path / "fake.npz")
    with pytest.raises(HandMeshError, match="--mano"):
        other.vertices(0, 0)
    mine = handmesh.Recording.load(lines)
    with pytest.raises(HandMeshError, match="track of clip.mp4"):
        mine.track(17)
    with pytest.raises(HandMeshError, match="frames 5 to 7"):
        mine.vertices(4, 0)
