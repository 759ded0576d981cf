"""A folder of clips and what is made of each: names that follow from the clip's own alone, and whether it is whole.

Because a name depends on nothing else, two runs, or two machines, never write one result under two names, nor two
results under one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from handmesh.errors import HandMeshError
from handmesh.io.video.clip_check import expect_whole
from handmesh.motion.formats.tables import RecordingHeader
from handmesh.motion.recording import Recording

#: Settings that do not decide whether a recording is made anew: engines differ by rounding, versions by what is written
#: in the header.
_MAY_DIFFER = "engine"


@dataclass(frozen=True)
class ClipTask:
    """One clip and its results.

    Attributes:
        name: the clip's path below the folder, with forward slashes.
        source: the clip.
        recording: its recording, ``name`` and ``.jsonl``.
        drawn: the annotated clip, ``name`` and ``-hands.mp4``; None where none is wanted.
    """

    name: str
    source: Path
    recording: Path
    drawn: Path | None = None


def recording_name(name: str) -> str:
    """The recording of a source, by the source's path below its folder: ``a/b.mov`` gives ``a/b.mov.jsonl``."""
    return f"{name}.jsonl"


def clip_tasks(folder: Path, clips: Iterable[Path], recordings: Path, drawn: Path | None) -> list[ClipTask]:
    """What is to be made of clips.

    Args:
        folder: that the clips lie in, or in folders below it.
        clips: the clips, in the order of the work.
        recordings: folder of the recordings, which gets the same folders below it.
        drawn: folder of the annotated clips; None for none.
    """
    tasks = []
    for clip in clips:
        name = PurePosixPath(clip.relative_to(folder).as_posix())
        picture = None if drawn is None else drawn / name.with_name(f"{name.name}-hands.mp4")
        tasks.append(ClipTask(str(name), clip, recordings / recording_name(str(name)), picture))
    return tasks


def whole_recording(path: Path, header: RecordingHeader) -> Recording | None:
    """The recording of an earlier run, if it is there to its last line and was made of the same clip in the same way.

    Args:
        path: where it would be.
        header: as it would be made now; version of the program, engine and what only the frames tell are passed over.
    """
    if not path.is_file():
        return None
    try:
        recording = Recording.load(path)
    except HandMeshError:
        return None
    return recording if recording.is_complete and is_same_run(recording.header, header) else None


def is_same_run(there: RecordingHeader, header: RecordingHeader) -> bool:
    """Whether two recordings are of one clip, smoothed alike, with the same weights and words about the camera."""

    def plain(each: RecordingHeader) -> RecordingHeader:
        settings = {name: text for name, text in each.settings.items() if name != _MAY_DIFFER}
        return replace(
            each, image_size=header.image_size, fov_deg=header.fov_deg, handmesh=header.handmesh, settings=settings
        )

    return plain(there) == plain(header)


def is_whole_clip(path: Path, frames: int) -> bool:
    """Whether a drawn clip is there, opens, and holds so many frames."""
    if not path.is_file():
        return False
    try:
        expect_whole(path, path, frames)
    except HandMeshError:
        return False
    return True
