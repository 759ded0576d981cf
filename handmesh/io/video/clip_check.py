"""Whether a clip that was just written is whole: it opens, its first frame decodes, and it holds what was put in."""

from __future__ import annotations

from pathlib import Path

from handmesh.errors import HandMeshError
from handmesh.io.video.clip_source import open_container


def expect_whole(written: Path, name: Path, frames: int, sound_packets: int = 0) -> None:
    """Read a clip back before it gets its name.

    Args:
        written: the file as it is on the disk.
        name: what it is to be called, for the message.
        frames: how many frames were written.
        sound_packets: how many packets of sound were written.

    Raises:
        HandMeshError: it does not open, or holds fewer frames or less sound.
    """
    import av

    found = {"video": 0, "audio": 0}
    try:
        with open_container(written) as container:
            next(container.decode(video=0))
        with open_container(written) as container:
            for packet in container.demux():
                if packet.size and packet.stream.type in found:
                    found[packet.stream.type] += 1
    except (av.error.FFmpegError, StopIteration) as error:
        raise _broken(name, f"a clip that does not open again ({getattr(error, 'strerror', 'no frame')})") from error
    if found["video"] != frames:
        raise _broken(name, f"{found['video']} of {frames} frames in the file")
    if found["audio"] < sound_packets:
        raise _broken(name, f"{found['audio']} of {sound_packets} packets of sound in the file")


def _broken(name: Path, what: str) -> HandMeshError:
    return HandMeshError(f"expected to write {name}, got {what}; is the disk full? free some space and run it again")
