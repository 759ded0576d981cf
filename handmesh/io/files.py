"""Files that are either whole or absent, their checksums, and where downloads are kept.

Knows paths and bytes; knows nothing of what is in them.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from handmesh.errors import HandMeshError


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
    removed and ``path`` stays as it was. Folders above ``path`` are made.

    Raises:
        HandMeshError: the folder cannot be made or written, or the disk is full.
    """
    target = Path(path)
    if "\0" in str(target):
        raise HandMeshError(f"expected to write a file, got the name {str(target)!r}: a zero byte in it; name another")
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}.", suffix=target.suffix, dir=target.parent)
        os.close(handle)
        temporary = Path(name)
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
