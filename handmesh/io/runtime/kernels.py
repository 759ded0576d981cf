"""Numba's decorators, imported once it is set where compiled kernels are kept.

Numba looks for a place beside the source or in the home folder and raises at import where it can write to neither, as
in a container that runs as a user of its own.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

from handmesh.errors import HandMeshError
from handmesh.io.files import cache_dir

_PACKAGE = Path(__file__).resolve().parents[2]


def keep_kernels(package: Path = _PACKAGE, environment: MutableMapping[str, str] = os.environ) -> None:
    """Name :func:`cache_dir` as the place for compiled kernels, where they cannot lie beside their source.

    Args:
        package: the folder of the sources.
        environment: what numba reads; what the user set stands.

    Raises:
        HandMeshError: neither can be written.
    """
    if environment.get("NUMBA_CACHE_DIR") or os.access(package, os.W_OK):
        return
    folder = cache_dir() / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HandMeshError(
            f"expected a folder for compiled and fetched files, got {folder.parent}: {error.strerror}; "
            "set HANDMESH_HOME to a folder that can be written"
        ) from error
    environment["NUMBA_CACHE_DIR"] = str(folder)


keep_kernels()
from numba import njit, prange  # noqa: E402

__all__ = ["keep_kernels", "njit", "prange"]
