"""Files that are either whole or absent, their checksums, and where downloads are kept."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from handmesh.errors import HandMeshError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

#: Part of every temporary file's name, so that one left by a killed process is known.
_PART = "handmesh-"
_PART_NAME = re.compile(rf"^\..*\.{_PART}[a-z0-9_]{{8}}(\.\w+)?$")
#: Without file locks, a temporary file of this age is taken to be abandoned, seconds.
_ABANDONED_S = 86400.0
#: Folders already cleared by this process.
_cleared: set[Path] = set()


def cache_dir() -> Path:
    """Folder for fetched files: ``$HANDMESH_HOME``, else ``~/.cache/handmesh``. It is not created here.

    Raises:
        HandMeshError: no home folder is known, and HANDMESH_HOME names none.
    """
    home = os.environ.get("HANDMESH_HOME")
    if home:
        return user_path(home)
    try:
        return Path.home() / ".cache" / "handmesh"
    except RuntimeError as error:
        # A container may run as a user that has no entry and no HOME.
        raise HandMeshError(
            "expected a home folder to keep fetched files in, got none: neither HOME nor an entry for this user; "
            "set HANDMESH_HOME to a folder that can be written"
        ) from error


def user_path(path: str | os.PathLike[str]) -> Path:
    """The path a user typed, with ``~`` for a home folder.

    Raises:
        HandMeshError: ``~`` where no home folder is known, as in a container; a character that no path has.
    """
    if "\0" in os.fspath(path):
        raise HandMeshError(f"expected a path, got {os.fspath(path)!r}: a zero byte in it; check its spelling")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise HandMeshError(f"expected a path, got {path}: no home folder is known for it; write it out") from error


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path`` and move it there when the block ends without an error.

    The temporary name keeps the suffix, since writers choose a format by it. On an error the temporary file is
    removed and ``path`` stays as it was. Folders above ``path`` are made. Temporary files that a killed process left
    in the folder are removed first.

    Raises:
        HandMeshError: the folder cannot be made or written, or the disk is full.
    """
    target = Path(path)
    if "\0" in str(target):
        raise HandMeshError(f"expected to write a file, got the name {str(target)!r}: a zero byte in it; name another")
    temporary: Path | None = None
    handle = -1
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target.parent)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}.{_PART}", suffix=target.suffix, dir=target.parent)
        temporary = Path(name)
        handle = _hold(handle)
        yield temporary
        # mkstemp makes files private to the user; a finished result gets the usual permissions.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise HandMeshError(
            f"expected to write {target}, got: {error.strerror or error}; "
            "choose another folder or free some space, then run the command again"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if handle >= 0:
            os.close(handle)


def write_json(path: str | os.PathLike[str], content: object, indent: int | None = None) -> None:
    """Write a JSON file, whole or not at all.

    Args:
        path: the file.
        content: lists, dictionaries and plain values.
        indent: spaces, a line an entry; None for one line.

    Raises:
        HandMeshError: the folder cannot be made or written, or the disk is full.
    """
    with atomic_path(path) as part:
        part.write_text(json.dumps(content, indent=indent) + "\n", encoding="utf-8")


@contextmanager
def work_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary folder beside ``target``, for what is moved there when it is whole; removed at the end.

    Folders above ``target`` are made. What a killed process left there is removed first.

    Raises:
        HandMeshError: the folder cannot be made or written.
    """
    target = Path(target)
    handle = -1
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target.parent)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.stem}.{_PART}", dir=target.parent))
        if fcntl is not None:
            handle = _hold(os.open(folder, os.O_RDONLY))
    except OSError as error:
        raise HandMeshError(
            f"expected a folder to write to, got {target.parent}: {error.strerror or error}; name another"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if handle >= 0:
            os.close(handle)


def _hold(handle: int) -> int:
    """Lock an open temporary file for as long as it stays open: it is then known to be in use. Returns -1 if closed."""
    if fcntl is None:
        # Windows moves no open file; there the age of a file decides.
        os.close(handle)
        return -1
    with suppress(OSError):  # a file system without locks
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle


def _remove_abandoned(folder: Path) -> None:
    """Remove temporary files of processes that were killed; once a folder and process, since folders can be large."""
    folder = folder.absolute()  # a process may change its folder
    if folder in _cleared:
        return
    _cleared.add(folder)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _PART_NAME.search(entry.name) and not entry.is_symlink():
                with suppress(OSError):
                    _remove_if_abandoned(entry)


def _remove_if_abandoned(entry: os.DirEntry[str]) -> None:
    if fcntl is None:
        if time.time() - entry.stat().st_mtime > _ABANDONED_S:
            _remove(entry)
        return
    handle = os.open(entry.path, os.O_RDONLY)
    try:
        # Raises where another process, also one in another container, still writes it.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(entry)
    finally:
        os.close(handle)


def _remove(entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path)
    else:
        os.unlink(entry.path)


def refuse_to_replace(sources: Iterable[Path], results: Iterable[Path]) -> None:
    """HandMeshError when a result would take the place of a file that it is made from, however either is spelt."""
    originals = {_identity(source) for source in sources} - {None}
    for result in results:
        if _identity(result) in originals:
            raise HandMeshError(
                f"expected results to be other files than what they are made from, got {result} for both; "
                "name another place with --output"
            )


def _identity(path: Path) -> tuple[int, int] | None:
    """What names and links of one file have in common; None for no file."""
    try:
        known = path.stat()
    except OSError:
        return None
    return known.st_dev, known.st_ino


def sha256_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_ends(path: str | os.PathLike[str], block: int = 1 << 20) -> str:
    """SHA-256 of a file's length, its first and its last block: tells large files apart at once. 64 hex digits."""
    with open(path, "rb") as file:
        length = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(str(length).encode() + file.read(block))
        file.seek(max(block, length - block))
        digest.update(file.read(block))
    return digest.hexdigest()
