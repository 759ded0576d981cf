"""Recordings as files: JSON lines that are written frame by frame, and NPZ for fast reading of the same numbers.

JSON lines: the header, then a line a frame. NPZ: the header as JSON bytes, then one array a column, stored as it is. A
file is read as if a stranger had made it: shapes are proven, and no more memory is taken than the file itself is long.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from handmesh.errors import HandMeshError, reason_of
from handmesh.io.files import atomic_path
from handmesh.motion.formats.tables import (
    FORMAT,
    FRAME_COLUMNS,
    HAND_COLUMNS,
    SMOOTHINGS,
    VERSION,
    Column,
    RecordingHeader,
    Tables,
    concatenate_columns,
    empty_columns,
    tables_from_columns,
)

RECORDING_SUFFIXES = (".jsonl", ".npz")
#: Of one line; a hand with every digit takes 6 kB, so that 64 hands and the state of a tracker fit in.
MAX_LINE_BYTES = 1 << 20
#: Lines that are turned into arrays at once.
_CHUNK = 512
#: What zipfile and the header of an .npy raise for damaged files.
_UNREADABLE = (ValueError, EOFError, KeyError, TypeError, RuntimeError, zipfile.BadZipFile, MemoryError)


def part_path(path: str | os.PathLike[str]) -> Path:
    """Where a recording stays while it is being written: ``clip.part.jsonl`` for clip.jsonl, clip.npz or clip.mp4."""
    return Path(path).with_suffix(".part.jsonl")


def expect_recording_name(path: str | os.PathLike[str]) -> Path:
    """The path, if its ending is one that recordings have.

    Raises:
        HandMeshError: it is not.
    """
    target = Path(path)
    if target.suffix.lower() not in RECORDING_SUFFIXES:
        raise HandMeshError(f"expected a recording's name ending in .jsonl or .npz, got {target.name}; add one")
    return target


def save_tables(recording: Tables, path: str | os.PathLike[str]) -> None:
    """Write it whole to ``path`` (.jsonl or .npz).

    Raises:
        HandMeshError: another ending, or a place that cannot be written.
    """
    target = expect_recording_name(path)
    with atomic_path(target) as part, open(part, "wb") as file:
        if target.suffix.lower() == ".npz":
            arrays: dict[str, NDArray[Any]] = {
                "header": np.frombuffer(orjson.dumps(_finished_header(recording)), np.uint8),
                "frame_row": np.asarray(recording.hands.frame_row, np.int64),
            }
            for prefix, columns, table in (("frame", FRAME_COLUMNS, recording.frames),
                                           ("hand", HAND_COLUMNS, recording.hands)):  # fmt: skip
                arrays |= {f"{prefix}_{name}": np.asarray(getattr(table, name), column.dtype)
                           for name, column in columns.items()}  # fmt: skip
            np.savez(file, **arrays)  # type: ignore[arg-type]
        else:
            file.writelines(_lines_of(recording))


def _lines_of(recording: Tables) -> Iterator[bytes]:
    yield dump_line(_finished_header(recording))
    bounds = np.searchsorted(recording.hands.frame_row, np.arange(len(recording.frames) + 1))
    for row in range(len(recording.frames)):
        line = {name: _plain(getattr(recording.frames, name)[row]) for name in FRAME_COLUMNS}
        line["hands"] = [
            {name: _plain(getattr(recording.hands, name)[hand]) for name in HAND_COLUMNS}
            for hand in range(bounds[row], bounds[row + 1])
        ]
        yield dump_line(line)


def _finished_header(recording: Tables) -> dict[str, Any]:
    """The header of a file that is written whole: it says how many lines follow, so that none is missed unnoticed."""
    return {**recording.header.to_dict(), "frame_count": len(recording.frames)}


def _plain(value: Any) -> Any:
    return np.ascontiguousarray(value) if isinstance(value, np.ndarray) else value.item()


def dump_line(content: dict[str, Any]) -> bytes:
    """An object as a line of JSON; every number keeps its last bit."""
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)


def load_tables(path: str | os.PathLike[str]) -> Tables:
    """Read a recording's file; see :meth:`handmesh.Recording.load`."""
    file = Path(path).expanduser()
    if not file.is_file():
        part = part_path(file)
        there = f" (but {part}, which was not finished)" if part.is_file() else ""
        raise HandMeshError(f"expected a recording, got {file}: no such file{there}; check the path")

    def wrong(reason: str) -> HandMeshError:
        return HandMeshError(
            f"expected a recording of handmesh, got {file}: {reason}; make one with: handmesh video CLIP --recording "
            "NAME.jsonl"
        )

    if file.suffix.lower() == ".npz":
        return _load_npz(file, wrong)
    reading = read_lines(file, wrong)
    frames, hands = (concatenate_columns(parts, columns) for parts, columns in
                     ((reading.frames, FRAME_COLUMNS), (reading.hands, HAND_COLUMNS)))  # fmt: skip
    rows = np.repeat(np.arange(len(reading.counts)), reading.counts)
    is_complete = reading.is_complete and reading.expected_frames in (None, len(reading.counts))
    return Tables(reading.header, *tables_from_columns(frames, hands, rows, wrong), is_complete)


class Lines:
    """What the lines of a file hold.

    Attributes:
        header: the first line.
        frames, hands: columns of the lines, in parts.
        counts: hands of each frame.
        state: the tracker's, of the last line.
        whole_bytes: length of the file up to the end of its last whole line.
        is_complete: nothing comes after that.
        expected_frames: how many there are, as the header of a finished recording says; None in an unfinished one.
    """

    def __init__(self, header: RecordingHeader, expected_frames: int | None = None) -> None:
        self.header, self.expected_frames = header, expected_frames
        self.frames: list[dict[str, NDArray[Any]]] = []
        self.hands: list[dict[str, NDArray[Any]]] = []
        self.counts: list[int] = []
        self.state: Any = None
        self.whole_bytes = 0
        self.is_complete = True


def read_lines(path: Path, wrong: Callable[[str], HandMeshError]) -> Lines:
    """Read JSON lines to the last whole one; ``wrong`` makes the error out of a reason."""
    with open(path, "rb") as file:
        first = file.readline(MAX_LINE_BYTES)
        if not first.endswith(b"\n"):
            raise wrong("its first line is no header")
        content = _parse(first, 1, wrong)
        lines = Lines(header_from_dict(content, wrong), content.get("frame_count"))
        lines.whole_bytes = len(first)
        frames: list[dict[str, Any]] = []
        number = 1
        while line := file.readline(MAX_LINE_BYTES):
            number += 1
            if not line.endswith(b"\n"):
                if len(line) == MAX_LINE_BYTES:
                    raise wrong(f"line {number} is longer than {MAX_LINE_BYTES >> 20} MB")
                lines.is_complete, number = False, number - 1
                break
            frame = _parse(line, number, wrong)
            if not isinstance(frame.get("hands"), list):
                raise wrong(f"line {number} has no list of hands")
            frames.append(frame)
            lines.counts.append(len(frame["hands"]))
            lines.state = frame.pop("tracker", None)
            lines.whole_bytes += len(line)
            if len(frames) == _CHUNK:
                _add_chunk(lines, frames, number, wrong)
        _add_chunk(lines, frames, number, wrong)
    return lines


def _parse(line: bytes, number: int, wrong: Callable[[str], HandMeshError]) -> dict[str, Any]:
    try:
        content = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise wrong(f"line {number} is no JSON ({reason_of(error)})") from None
    if not isinstance(content, dict):
        raise wrong(f"line {number} is no JSON object")
    return content


def _add_chunk(
    lines: Lines, frames: list[dict[str, Any]], last: int, wrong: Callable[[str], HandMeshError]
) -> None:  # fmt: skip
    """The frames of the latest lines as columns, at the end of the others."""
    first = last - len(frames) + 1
    hands, numbers = [], []
    for number, frame in enumerate(frames, first):
        hands += frame["hands"]
        numbers += [number] * len(frame["hands"])
    lines.frames.append(_columns(frames, range(first, last + 1), FRAME_COLUMNS, wrong))
    lines.hands.append(_columns(hands, numbers, HAND_COLUMNS, wrong))
    frames.clear()


def _columns(
    rows: Sequence[Any], numbers: Sequence[int], columns: Mapping[str, Column], wrong: Callable[[str], HandMeshError]
) -> dict[str, NDArray[Any]]:
    """Objects as one array a key; ``numbers`` are the lines they come from, for the error."""
    if not rows:
        return empty_columns(columns)
    found = {}
    for name, column in columns.items():
        try:
            array = _array([row[name] for row in rows], column)
        except (KeyError, TypeError):
            array = None
        if array is None:
            place = next(number for row, number in zip(rows, numbers, strict=True) if not _fits(row, name, column))
            raise wrong(f"line {place} has no {name} of shape {column.shape}")
        found[name] = array
    return found


def _fits(row: Any, name: str, column: Column) -> bool:
    return isinstance(row, dict) and name in row and _array([row[name]], column) is not None


def _array(values: list[Any], column: Column) -> NDArray[Any] | None:
    """Values of a column, or None where one is of another type or shape."""
    kinds = {np.bool_: "b", np.int64: "i"}.get(column.dtype, "fi")
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError):
        return None
    # A truth value among numbers turns into one without a word, and so does a number among words.
    if array.dtype.kind not in kinds or array.shape[1:] != column.shape:
        return None
    return array.astype(column.dtype)


def header_from_dict(content: dict[str, Any], wrong: Callable[[str], HandMeshError]) -> RecordingHeader:
    """The header of a file, checked; ``wrong`` makes the error out of a reason."""
    if content.get("format") != FORMAT:
        raise wrong(f"it does not begin with the format {FORMAT}")
    version = content.get("version")
    if isinstance(version, int) and version > VERSION:
        raise HandMeshError(
            f"expected a recording of version {VERSION} or older, got version {version}; install a newer handmesh: "
            "pip install --upgrade handmesh"
        )
    if version != VERSION:
        raise wrong(f"it names no version ({version!r})")
    try:
        header = RecordingHeader(**{each.name: content[each.name] for each in fields(RecordingHeader)})
        size = tuple(int(side) for side in header.image_size)
        joints = np.asarray(header.rest_joints, np.float64)
        if len(size) != 2 or joints.shape != (16, 3) or not np.isfinite(joints).all():
            raise ValueError("sizes")
        texts = (header.source, header.source_fingerprint, header.hand_model, header.hand_model_fingerprint,
                 header.handmesh, *header.settings, *header.settings.values())  # fmt: skip
        if not all(isinstance(text, str) for text in texts) or header.smoothing not in SMOOTHINGS:
            raise ValueError("texts")
        numbers = float(header.fps), float(header.fov_deg)
        if not (0 < numbers[0] < 1e6 and 0 < numbers[1] < 180):
            raise ValueError("numbers")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise wrong(f"its header is not whole ({reason_of(error)})") from None
    return replace(
        header, image_size=(size[0], size[1]), rest_joints=tuple(tuple(row) for row in joints.tolist()),
        fps=numbers[0], fov_deg=numbers[1], is_fov_assumed=bool(header.is_fov_assumed),
    )  # fmt: skip


def _load_npz(path: Path, wrong: Callable[[str], HandMeshError]) -> Tables:
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.file_size > path.stat().st_size for member in archive.infolist()):
                raise ValueError("it claims to hold more than it does")
            content = orjson.loads(_member(archive, "header", Column(np.uint8)).tobytes())
            header = header_from_dict(content, wrong)
            frames = {name: _member(archive, f"frame_{name}", column) for name, column in FRAME_COLUMNS.items()}
            hands = {name: _member(archive, f"hand_{name}", column) for name, column in HAND_COLUMNS.items()}
            rows = _member(archive, "frame_row", Column(np.int64))
    except (*_UNREADABLE, OSError) as error:
        raise wrong(f"it cannot be read ({reason_of(error)})") from None
    if len({len(rows), *map(len, hands.values())}) > 1 or len({len(column) for column in frames.values()}) > 1:
        raise wrong("its columns have different lengths")
    return Tables(header, *tables_from_columns(frames, hands, rows, wrong))


def _member(archive: zipfile.ZipFile, name: str, column: Column) -> NDArray[Any]:
    """One array of an archive. What its header claims is held against its length before any memory is taken."""
    member = archive.getinfo(f"{name}.npy")
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed, which recordings are not")
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)  # type: ignore[no-untyped-call]
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read(file)  # type: ignore[no-untyped-call]
        if dtype != np.dtype(column.dtype) or is_fortran or tuple(shape[1:]) != column.shape or not shape:
            raise ValueError(f"{name} has shape {shape} of {dtype}")
        count = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if not 0 <= count <= member.file_size:
            raise ValueError(f"{name} is shorter than it claims")
        data = file.read(count)
    return np.frombuffer(data, dtype).reshape(shape)
