"""A recording as another file: animation (.glb, .bvh), a table (.csv), or a recording again (.jsonl, .npz)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from handmesh.errors import HandMeshError
from handmesh.io.files import atomic_path, refuse_to_replace
from handmesh.motion.formats.bvh import write_bvh
from handmesh.motion.formats.gltf import write_gltf
from handmesh.motion.offline import smooth_offline
from handmesh.motion.recording import Recording
from handmesh.motion.recording_files import RECORDING_SUFFIXES
from handmesh.skeleton import JOINT_NAMES, MANO_JOINT_NAMES

SUFFIXES = (".glb", ".bvh", ".csv", *RECORDING_SUFFIXES)


def convert(
    source: str | Path, output: str | Path, mano: str | Path = "open", track_id: int | None = None,
    offline: bool = False,
) -> str:  # fmt: skip
    """Write a recording in the format that the output's name ends in.

    Args:
        source: the recording (.jsonl or .npz).
        output: a name ending in one of SUFFIXES.
        mano: the hand model of the recording: "open", or the path of a MANO file.
        track_id: only this track; None for all.
        offline: smooth it first, as ``handmesh video`` does with clips.

    Returns:
        One line about what was written.

    Raises:
        HandMeshError: no recording, no such track, another hand model, a name or a place that cannot be.
    """
    target = Path(output)
    if target.suffix.lower() not in SUFFIXES:
        raise HandMeshError(f"expected --output ending in one of {', '.join(SUFFIXES)}, got {target.name}; add one")
    refuse_to_replace([Path(source)], [target])
    recording = Recording.load(source, mano)
    if offline:
        recording = smooth_offline(recording)
    if target.suffix.lower() in (".glb", ".bvh"):
        write = write_gltf if target.suffix.lower() == ".glb" else write_bvh
        about = write(recording, target, track_id)
    else:
        if track_id is not None:
            recording = recording.with_hands(recording.track(track_id).hands)
        if target.suffix.lower() == ".csv":
            write_csv(recording, target)
        else:
            recording.save(target)
        about = f"{len(recording.frames)} frames, {len(recording.hands)} hands in them"
    cut = "" if recording.is_complete else f" ({source} was cut off: to its last whole line)"
    return f"wrote {target}: {about}{cut}"


def write_csv(recording: Recording, path: Path) -> None:
    """One row a hand in a frame; the columns are named after the joints, metres and pixels as in the recording."""
    with atomic_path(path) as part, open(part, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_names())
        frames, hands = recording.frames, recording.hands
        for row, frame in enumerate(hands.frame_row):
            plain: list[Any] = [
                int(frames.index[frame]), float(frames.timestamp_s[frame]), int(hands.track_id[row]),
                "right" if hands.is_right[row] else "left", int(hands.is_predicted[row]),
            ]  # fmt: skip
            numbers = [np.ravel(getattr(hands, name)[row]).tolist() for name in _NUMBERS]
            writer.writerow([*plain, *(value for part_of in numbers for value in part_of)])


_NUMBERS = ("score", "scale", "box_xyxy", "translation", "joints", "keypoints_2d", "confidence", "global_orient",
            "hand_pose", "betas")  # fmt: skip


def _names() -> list[str]:
    def each(names: tuple[str, ...], kind: str, axes: str) -> Iterator[str]:
        return (f"{name}_{kind}{axis}" for name in names for axis in axes)

    return [
        "frame", "timestamp_s", "track_id", "side", "is_predicted", "score", "scale", "box_x0", "box_y0", "box_x1",
        "box_y1", "translation_x", "translation_y", "translation_z", *each(JOINT_NAMES, "", "xyz"),
        *each(JOINT_NAMES, "px_", "xy"), *(f"{name}_confidence" for name in JOINT_NAMES),
        *each(("global_orient", *MANO_JOINT_NAMES[1:]), "q", "xyzw"), *(f"beta_{number}" for number in range(10)),
    ]  # fmt: skip
