"""Photos as frames, and the choice of a source by what it is: a camera, a clip, a photo or a folder of photos."""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from handmesh.errors import HandMeshError
from handmesh.io.images import is_photo, list_images, read_image
from handmesh.io.video.camera_source import STREAM_SCHEMES, CameraSource
from handmesh.io.video.clip_source import ClipSource
from handmesh.io.video.frames import Source, SourceFrame

_LOG = logging.getLogger("handmesh")

#: What a folder's clips are known by; a clip that is named itself may be called anything.
CLIP_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".wmv", ".mpg", ".mpeg", ".mts", ".3gp")
_EXPECTED = "expected a camera (0, /dev/video0, rtsp://...), a clip, a photo or a folder of photos"


def open_source(spec: int | str | os.PathLike[str]) -> Source:
    """The source a user means, by what it is.

    Args:
        spec: a path that exists (clip, photo, folder of photos, camera device), else a camera's number (0 or "0") or
            the address of a network camera (rtsp://, http://, ...). A folder called 2024 is a folder; the int 2024 is
            always a camera.

    Returns:
        The source, open.

    Raises:
        HandMeshError: nothing there, no such camera, not a clip, no photos in the folder.
    """
    if isinstance(spec, int):
        return CameraSource(spec)
    name = os.fspath(spec)
    path = Path(name).expanduser()
    mode = _mode(path)
    if mode is None:
        return _open_address(name)
    if stat.S_ISDIR(mode):
        return PhotoSource(list_images(path), str(path))
    if stat.S_ISCHR(mode):
        return CameraSource(_device_number(path))
    if not stat.S_ISREG(mode):
        raise HandMeshError(f"{_EXPECTED}, got {path}: it is no file; save what it gives to a file first")
    if is_photo(path):
        return PhotoSource([path], path.name)
    return ClipSource(path)


def list_clips(folder: str | os.PathLike[str]) -> list[Path]:
    """The clips of a folder and of the folders in it, by their suffixes, in the order of their names.

    Raises:
        HandMeshError: no such folder, or no clip in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise HandMeshError(f"expected a folder of clips, got {root}: no such folder; check the path")
    found = [
        path for path in sorted(root.rglob("*"))
        if path.suffix.lower() in CLIP_SUFFIXES and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]  # fmt: skip
    if not found:
        raise HandMeshError(
            f"expected clips ({', '.join(CLIP_SUFFIXES)}) in {root}, got none; photos are for: handmesh predict"
        )
    return found


def _mode(path: Path) -> int | None:
    """What lies at a path, None for nothing."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return None


def _open_address(name: str) -> Source:
    """A camera by its number or address; everything else is a file that is missing."""
    if name.isdecimal() and len(name) <= 4:
        return CameraSource(int(name))
    scheme = re.match(r"([a-z][a-z0-9+.-]*)://", name, re.IGNORECASE)
    if scheme and scheme[1].lower() in STREAM_SCHEMES:
        return CameraSource(name)
    if scheme:
        schemes = ", ".join(f"{each}://" for each in STREAM_SCHEMES)
        raise HandMeshError(f"{_EXPECTED}, got {name!r}; of addresses, {schemes} can be read")
    if name.startswith("/dev/"):
        raise HandMeshError(f"{_EXPECTED}, got {name!r}: no such device; see: handmesh webcam --list-cameras")
    raise HandMeshError(f"{_EXPECTED}, got {name!r}: no such file; check the path")


def _device_number(path: Path) -> int:
    """The number of a camera's device file, also when it is named by a link as in /dev/v4l/by-id."""
    match = re.fullmatch(r"/dev/video(\d+)", os.path.realpath(path))
    if match is None:
        raise HandMeshError(f"{_EXPECTED}, got {path}: a device, but no camera; see: handmesh webcam --list-cameras")
    return int(match[1])


class PhotoSource:
    """Photos, one after another. A damaged one among several is logged and skipped."""

    is_live, is_photos, fps = False, True, 0.0

    def __init__(self, files: list[Path], description: str) -> None:
        self.files, self.description, self.frame_count = files, description, len(files)

    def __iter__(self) -> Iterator[SourceFrame]:
        readable = 0
        for index, file in enumerate(self.files):
            try:
                image = read_image(file)
            except HandMeshError as error:
                if len(self.files) == 1:
                    raise
                _LOG.warning("skipped: %s", error)
                continue
            readable += 1
            yield SourceFrame(float(index), image, file.name, time.perf_counter())
        if not readable:
            raise HandMeshError(
                f"expected photos in {self.description}, got none that can be read; see the lines above"
            )

    def close(self) -> None:
        """Nothing is held."""
