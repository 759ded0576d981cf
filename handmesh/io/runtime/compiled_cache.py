"""OpenVINO's compiled models, kept: compiling takes a fifth to a half of a second each, reading a twentieth.

A kept model is named by all that decides it (the model, the options, the runtime, the processor) and begins with the
checksum of its bytes: one that was changed is not read.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handmesh.errors import HandMeshError
from handmesh.io.files import atomic_path, cache_dir

_LOG = logging.getLogger("handmesh")

_SUFFIX = ".blob"
_DIGEST_BYTES = 32
#: Models kept; the least recently used go.
MAX_KEPT = 20


def kept_file(core: Any, name: str, options: Mapping[str, Any]) -> Path:
    """Where a compiled model is kept, whether it is there or not.

    Args:
        core: an ov.Core.
        name: of the model, by its content.
        options: properties that it is compiled with.
    """
    processor = [core.get_property("CPU", word) for word in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
    build = core.get_versions("CPU")["CPU"].build_number
    words = (build, processor, name, sorted(options.items()))
    return cache_dir() / "compiled" / f"{hashlib.sha256(repr(words).encode()).hexdigest()[:_DIGEST_BYTES]}{_SUFFIX}"


def read_compiled(core: Any, file: Path, options: Mapping[str, Any]) -> Any | None:
    """The compiled model of a file, or None where there is none or it cannot be used.

    Args:
        core: an ov.Core.
        file: written by :func:`keep_compiled`.
        options: properties that it was compiled with.
    """
    try:
        content = file.read_bytes()
        digest, model = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(model).digest() != digest:
            return None
        os.utime(file)  # what was not used for long goes first
        return core.import_model(model, "CPU", dict(options))
    except (OSError, RuntimeError) as error:
        _LOG.debug("%s is compiled anew: %s", file, error)
        return None


def keep_compiled(compiled: Any, file: Path) -> None:
    """Write a compiled model for :func:`read_compiled`; where that cannot be, it is compiled each time."""
    try:
        model = compiled.export_model().getvalue()
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as part:
            part.write_bytes(hashlib.sha256(model).digest() + model)
        kept = sorted(file.parent.glob(f"*{_SUFFIX}"), key=lambda each: each.stat().st_mtime, reverse=True)
        for old in kept[MAX_KEPT:]:
            old.unlink(missing_ok=True)
    except (OSError, RuntimeError, HandMeshError) as error:
        _LOG.debug("a compiled model is not kept: %s", error)
