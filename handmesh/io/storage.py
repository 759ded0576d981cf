"""A folder on this machine or in an object store, by its path or URI: list, fetch, and put files whole or not at all.

Through pyarrow's file systems: paths, file://, s3://, gs://, hdfs:// and what else they know.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from handmesh.errors import HandMeshError, reason_of
from handmesh.io.files import atomic_path, user_path

_BLOCK = 1 << 20


class Storage:
    """Can be sent to other processes; each connects by itself."""

    def __init__(self, place: str) -> None:
        """A folder by its path, or by a URI such as ``s3://bucket/clips``. Nothing is opened yet."""
        # Another process may run in another folder.
        self.place = place if "://" in place else str(user_path(place).absolute())
        self._opened: tuple[Any, str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"place": self.place, "_opened": None}

    def __str__(self) -> str:
        return self.place

    @property
    def folder(self) -> Path | None:
        """The folder where it is one of this machine (or of a file system that all machines share)."""
        from pyarrow import fs

        filesystem, root = self._open()
        return Path(root) if isinstance(filesystem, fs.LocalFileSystem) else None

    def files(self) -> dict[str, int]:
        """Size in bytes of every file in it and in the folders below, by its path with forward slashes, sorted; what
        begins with a dot is left out.

        Raises:
            HandMeshError: no such folder, or one that cannot be read.
        """
        from pyarrow import fs

        filesystem, root = self._open()
        with self._faults("a folder of footage"):
            if filesystem.get_file_info(root).type != fs.FileType.Directory:
                raise HandMeshError(f"expected a folder of footage, got {self.place}: no such folder; check the path")
            found = filesystem.get_file_info(fs.FileSelector(root, recursive=True))
        names = {info.path[len(root) :].lstrip("/"): int(info.size) for info in found if info.type == fs.FileType.File}
        return {name: names[name] for name in sorted(names) if not any(p.startswith(".") for p in name.split("/"))}

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        from pyarrow import fs

        filesystem, root = self._open()
        with self._faults(name):
            return bool(filesystem.get_file_info(f"{root}/{name}").type == fs.FileType.File)

    def fetch(self, name: str, scratch: Path) -> Path:
        """The file on this machine: itself where it is here, else a copy in the folder ``scratch`` under its own name.

        Raises:
            HandMeshError: it cannot be read.
        """
        folder = self.folder
        if folder is not None:
            return folder / name
        filesystem, root = self._open()
        target = scratch / name.rsplit("/", 1)[-1]
        with self._faults(name), filesystem.open_input_stream(f"{root}/{name}") as remote, open(target, "wb") as file:
            shutil.copyfileobj(remote, file, _BLOCK)
        return target

    def sha256_ends(self, name: str) -> str:
        """:func:`handmesh.io.files.sha256_ends` of a file, of which no more than both ends are read."""
        filesystem, root = self._open()
        with self._faults(name), filesystem.open_input_file(f"{root}/{name}") as file:
            length = int(file.size())
            digest = hashlib.sha256(str(length).encode() + file.read(_BLOCK))
            file.seek(min(max(_BLOCK, length - _BLOCK), length))
            digest.update(file.read(_BLOCK))
        return digest.hexdigest()

    def put(self, name: str, file: Path) -> None:
        """Copy a file there: whole under its name, or not at all; one that is there is replaced.

        Raises:
            HandMeshError: it cannot be written.
        """
        folder = self.folder
        if folder is not None:
            with atomic_path(folder / name) as part:
                shutil.copyfile(file, part)
            return
        filesystem, root = self._open()
        target = f"{root}/{name}"
        above, _, last = target.rpartition("/")
        part_name = f"{above}/.{last}.{uuid.uuid4().hex}"
        with self._faults(name):
            filesystem.create_dir(above, recursive=True)
            with open(file, "rb") as local, filesystem.open_output_stream(part_name) as remote:
                shutil.copyfileobj(local, remote, _BLOCK)
            filesystem.move(part_name, target)

    def _open(self) -> tuple[Any, str]:
        """pyarrow's file system and the folder's path in it."""
        if self._opened is None:
            try:
                from pyarrow import fs
            except ImportError as error:
                raise HandMeshError(
                    'expected the package pyarrow, got none; pip install "handmesh[cluster]"'
                ) from error
            if "://" not in self.place:
                self._opened = fs.LocalFileSystem(), self.place
            else:
                with self._faults("a folder"):
                    filesystem, root = fs.FileSystem.from_uri(self.place)
                self._opened = filesystem, root.rstrip("/")
        return self._opened

    @contextmanager
    def _faults(self, what: str) -> Iterator[None]:
        """pyarrow's errors (OSError, ValueError) as one line."""
        try:
            yield
        except (OSError, ValueError) as error:
            reason = reason_of(error)
            raise HandMeshError(
                f"expected {what} in {self.place}, got: {reason}; check the address and rights"
            ) from error
