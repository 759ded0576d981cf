"""Whether files that were kept still are what was written: a checksum of each, in one small file beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from handmesh.errors import HandMeshError
from handmesh.io.files import sha256_file, write_json

SUFFIX = ".sha256"


def record_of(file: Path) -> Path:
    """Where the checksums of a kept file, and of those that belong to it, are written."""
    return file.with_name(file.name + SUFFIX)


def record(files: Sequence[Path]) -> None:
    """Write the checksums of files of one folder beside the first of them.

    Raises:
        HandMeshError, OSError: they cannot be read, or the folder cannot be written.
    """
    sums = {file.name: sha256_file(file) for file in files}
    write_json(record_of(files[0]), sums)


def is_intact(file: Path) -> bool:
    """Whether a file and all that were recorded with it are there, byte for byte; False for one without a record."""
    try:
        sums = json.loads(record_of(file).read_text(encoding="utf-8"))
        return file.name in sums and all(
            os.path.basename(name) == name and sha256_file(file.with_name(name)) == digest
            for name, digest in sums.items()
        )
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, HandMeshError):
        return False
