"""Recordings in the making: hands as the lines of a file, frame by frame, so that a killed program loses none."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError
from handmesh.geometry.quaternion import to_quaternion
from handmesh.motion.formats.tables import (
    DECIMALS,
    FRAME_COLUMNS,
    HAND_COLUMNS,
    Column,
    RecordingHeader,
    tables_from_columns,
)
from handmesh.motion.recording import RecordedFrame, Recording
from handmesh.motion.recording_files import (
    Lines,
    dump_line,
    expect_recording_name,
    load_tables,
    part_path,
    save_tables,
)
from handmesh.results import Hand

_ROTATIONS = ("global_orient", "hand_pose")


class RecordingWriter:
    """Writes a recording line by line; use as a context manager.

    Until the block ends the lines are in :func:`part_path`, each whole as soon as its frame is written: a killed
    program leaves a recording that can be read, and taken up again. At the end of the block, also by Ctrl-C, they get
    their final name; after another exception they stay where they are.
    """

    def __init__(self, path: str | os.PathLike[str], header: RecordingHeader) -> None:
        """A recording at ``path`` (.jsonl or .npz). Size and field of view of the header are taken from the first
        frame.
        """
        self.path = expect_recording_name(path)
        self._lines = LineWriter(part_path(self.path), header)

    def __enter__(self) -> RecordingWriter:
        if self._lines.path.exists():
            raise HandMeshError(
                f"expected no unfinished recording, got {self._lines.path} of a program that was killed; rename it to "
                "keep it (it can be read as it is), or delete it"
            )
        return self

    def write(self, frame: RecordedFrame) -> None:
        """Add a frame (HandMeshError when the disk is full)."""
        self._lines.write(frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        if (kind is None or issubclass(kind, KeyboardInterrupt)) and self._lines.frame_count:
            finish(self._lines.path, self.path)


class FrameRecords:
    """Frames as the lines of a recording have them, one after another: quaternions keep their signs along a track."""

    def __init__(self, header: RecordingHeader, there: Lines | None = None) -> None:
        """``there``: the lines before, None for none."""
        self._header = header
        self._before: dict[int, dict[str, NDArray[np.float64]]] = {}
        if there is not None and there.counts:
            last = there.hands[-1]
            for row in range(len(last["track_id"]) - there.counts[-1], len(last["track_id"])):
                self._before[int(last["track_id"][row])] = {name: last[name][row] for name in _ROTATIONS}

    def header_of(self, first: RecordedFrame) -> RecordingHeader:
        """The header, with the size and the field of view of the first frame."""
        focal_px = float(first.K[0, 0])
        fov_deg = float(np.degrees(2 * np.arctan(max(first.image_size) / 2 / focal_px)))
        return replace(self._header, image_size=first.image_size, fov_deg=round(fov_deg, 4))

    def record(self, frame: RecordedFrame) -> dict[str, Any]:
        """The line of the next frame, as an object."""
        rows = [hand_record(hand, place, self._before) for place, hand in enumerate(frame.hands)]
        self._before = {row["track_id"]: {name: row[name] for name in _ROTATIONS} for row in rows}
        return {
            "index": frame.index,
            "timestamp_s": float(frame.timestamp_s),
            "image_size": list(frame.image_size),
            "K": np.asarray(frame.K, np.float64),
            "hands": rows,
        }


class LineWriter:
    """The lines of a recording, appended to a file, each in one piece."""

    def __init__(self, path: Path, header: RecordingHeader, there: Lines | None = None) -> None:
        """Begin, or go on with, a recording.

        Args:
            path: the file.
            header: its first line.
            there: what the file holds already; what is left of a line after that is cut off. None: begin anew.
        """
        self.path, self.frame_count = path, 0 if there is None else len(there.counts)
        self._records = FrameRecords(header, there)
        self._file: BinaryIO | None = None
        if there is not None and there.counts:
            os.truncate(path, there.whole_bytes)

    def write(self, frame: RecordedFrame, state: object = None) -> None:
        """Add a frame; ``state`` is what the tracker needs to go on after it, and is dropped when all is done."""
        lines = []
        if self.frame_count == 0:
            lines.append(dump_line(self._records.header_of(frame).to_dict()))
        line = self._records.record(frame)
        if state is not None:
            line["tracker"] = state
        lines.append(dump_line(line))
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open(self.path, "ab" if self.frame_count else "wb", buffering=0)  # noqa: SIM115 - closed by close()
            self._file.write(b"".join(lines))
        except OSError as error:
            raise HandMeshError(
                f"expected to write {self.path}, got: {error.strerror or error}; choose another folder or free some "
                "space, then run the command again"
            ) from error
        self.frame_count += 1

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None


def hand_record(
    hand: Hand, place: int = 0, before: Mapping[int, Mapping[str, NDArray[np.float64]]] | None = None
) -> dict[str, Any]:
    """A hand as a frame's line has it.

    Args:
        hand: the hand.
        place: its place among the frame's hands, which is its track's number where it has none.
        before: by track, the quaternions of the frame before, for the sign.

    Returns:
        numbers and float64 arrays by the names of HAND_COLUMNS, rounded to what is written.
    """
    track_id = place if hand.track_id is None else hand.track_id
    signs = (before or {}).get(track_id, {})
    record: dict[str, Any] = {
        "track_id": track_id, "is_right": bool(hand.is_right), "is_predicted": bool(hand.is_predicted),
    }  # fmt: skip
    for name in ("score", "box_xyxy", "keypoints_2d", "confidence", "joints", "translation", "scale"):
        value = np.round(np.asarray(getattr(hand, name), np.float64), DECIMALS[name])
        record[name] = value if value.ndim else float(value)
    for name in _ROTATIONS:
        record[name] = np.round(to_quaternion(getattr(hand, name), signs.get(name)), DECIMALS[name])
    record["betas"] = np.round(np.asarray(hand.betas, np.float64), DECIMALS["betas"])
    return record


def finish(part: Path, path: Path) -> None:
    """Give a recording whose last line is written its final name, without what only the tracker needed."""
    save_tables(load_tables(part), path)
    part.unlink(missing_ok=True)


def recording_of(header: RecordingHeader, frames: Sequence[RecordedFrame]) -> Recording:
    """A recording of frames that are in memory, with the numbers that a file of them would have."""
    before: dict[int, dict[str, NDArray[np.float64]]] = {}
    rows, frame_rows = [], []
    for place, frame in enumerate(frames):
        here = [hand_record(hand, number, before) for number, hand in enumerate(frame.hands)]
        before = {row["track_id"]: {name: row[name] for name in _ROTATIONS} for row in here}
        rows += here
        frame_rows += [place] * len(here)
    plain_frames = [{name: getattr(frame, name) for name in FRAME_COLUMNS} for frame in frames]
    tables = tables_from_columns(
        _stacked(plain_frames, FRAME_COLUMNS), _stacked(rows, HAND_COLUMNS), np.asarray(frame_rows, np.int64),
        HandMeshError,
    )  # fmt: skip
    return Recording(header, *tables)


def _stacked(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Column]) -> dict[str, NDArray[Any]]:
    return {
        name: np.asarray([row[name] for row in rows], column.dtype).reshape(-1, *column.shape)
        for name, column in columns.items()
    }
