"""A Ray cluster to run on: one that is there, or one of this machine's processes for as long as a block runs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from handmesh.errors import HandMeshError, reason_of

#: Shared memory of a cluster of this machine alone: what passes through it here are names and numbers, no pictures.
_OBJECT_STORE_BYTES = 256 << 20


@contextmanager
def ray_cluster(address: str | None = None, cpus: int | None = None) -> Iterator[ModuleType]:
    """The module ``ray``, connected; it is left at the end unless it was connected before.

    Args:
        address: of a running cluster ("auto", "HOST:6379", "ray://HOST:10001"); None starts one on this machine.
        cpus: how many workers of one core a cluster on this machine has room for; None: as many as it has cores.

    Raises:
        HandMeshError: Ray is not installed, or no cluster answers.
    """
    try:
        import ray
    except ImportError as error:
        raise HandMeshError('expected the package ray, got none; pip install "handmesh[cluster]"') from error
    if ray.is_initialized():
        yield ray
        return
    # Nobody who labels private footage expects to be counted somewhere.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    words: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        words |= {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
    try:
        ray.init(address=address or "local", **words)
    except Exception as error:  # Ray lets errors of every kind through
        reason = reason_of(error, 160)
        where = f"a Ray cluster at {address}" if address else "to start Ray on this machine"
        raise HandMeshError(f"expected {where}, got: {reason}; see: ray status, or leave --ray out") from error
    try:
        yield ray
    finally:
        ray.shutdown()
