"""A limit on what visitors leave on the disk: bytes, files and age; the oldest go first."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

#: An empty folder so young may be one that a file is about to be written into, seconds.
_NEW_FOLDER_S = 60.0


class _Entry(NamedTuple):
    modified_s: float
    size: int
    path: str


class FileQuota:
    """Keeps a folder and everything under it within a number of bytes, a number of files and an age."""

    def __init__(self, folder: Path, max_bytes: int, max_files: int, max_age_s: float) -> None:
        """Watch ``folder``.

        Args:
            folder: the folder; it need not exist yet.
            max_bytes: what all files together may take.
            max_files: how many files there may be.
            max_age_s: a file not written to for so long goes, even where there is space.
        """
        self.folder, self.max_bytes, self.max_files, self.max_age_s = folder, max_bytes, max_files, max_age_s
        self._lock = threading.Lock()
        self._in_use: dict[str, int] = {}

    @contextmanager
    def in_use(self, path: str | os.PathLike[str]) -> Iterator[None]:
        """Keep one file, however old, while the block runs."""
        name = os.path.realpath(path)
        with self._lock:
            self._in_use[name] = self._in_use.get(name, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._in_use[name] -= 1
                if not self._in_use[name]:
                    del self._in_use[name]

    def enforce(self) -> int:
        """Remove what is too old, then the oldest until the rest is within the limits; returns how many files went."""
        with self._lock:
            now = time.time()
            entries = sorted(self._entries())
            size, count, removed = sum(entry.size for entry in entries), len(entries), 0
            for entry in entries:
                is_over = size > self.max_bytes or count > self.max_files
                if not is_over and now - entry.modified_s <= self.max_age_s:
                    break
                if os.path.realpath(entry.path) in self._in_use or not _unlink(entry.path):
                    continue
                size, count, removed = size - entry.size, count - 1, removed + 1
            self._remove_empty_folders(now)
            return removed

    def _entries(self) -> Iterator[_Entry]:
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    known = os.stat(path, follow_symlinks=False)
                except OSError:
                    continue  # gone since it was listed
                yield _Entry(known.st_mtime, known.st_size, path)

    def _remove_empty_folders(self, now: float) -> None:
        for folder, _, _ in os.walk(self.folder, topdown=False):
            if Path(folder) == self.folder or Path(folder).parent == self.folder:
                continue  # uploads, results: whoever writes there counts on them
            try:
                if now - os.stat(folder).st_mtime > _NEW_FOLDER_S:
                    os.rmdir(folder)
            except OSError:
                continue  # not empty, or gone


def _unlink(path: str) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
