"""How many CPU cores this process may use: fewer than the machine has in a container, a batch job or under taskset."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, MutableMapping
from functools import lru_cache
from pathlib import Path

#: What each library reads when it is first imported.
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@lru_cache(maxsize=1)
def available_cores() -> int:
    """Cores by the smaller of the process's affinity and its control groups' CPU quota; at least 1."""
    quota = cpu_quota()
    cores = _affinity()
    return cores if quota is None else max(1, min(cores, math.floor(quota)))


def engine_threads() -> int:
    """Threads to ask an inference engine for: 0, its own choice, unless a quota allows fewer than the cores it sees.

    Engines look at the cores and their affinity. Of a quota they know nothing: with more threads than it allows, all of
    them are stopped together for the rest of every period.
    """
    return available_cores() if available_cores() < _affinity() else 0


def limit_library_threads(environment: MutableMapping[str, str] = os.environ) -> None:
    """Tell libraries that are not imported yet how many threads a quota allows; what the user set stands."""
    if engine_threads():
        for name in _VARIABLES:
            environment.setdefault(name, str(engine_threads()))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Cores' worth of time a period that the control groups of this process allow, versions 1 and 2; None for no limit.

    Args:
        root: where /proc and /sys are.
    """
    limits = list(_limits(root))
    return min(limits) if limits else None


def _limits(root: Path) -> Iterator[float]:
    mount = root / "sys/fs/cgroup"
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return
    for group in groups:
        number, _, path = group.partition(":")
        controllers, _, path = path.partition(":")
        if number == "0":
            for folder in _upwards(mount, path):
                yield from _version_2(folder / "cpu.max")
        elif "cpu" in controllers.split(","):
            for folder in _upwards(mount / "cpu", path):
                yield from _version_1(folder)


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """The group's folder and those above it: each may set a limit. Inside a container its own is the mount itself."""
    folder = mount / path.lstrip("/")
    while True:
        yield folder
        if folder == mount or mount not in folder.parents:
            return
        folder = folder.parent


def _version_2(file: Path) -> Iterator[float]:
    try:
        quota, period = file.read_text(encoding="ascii").split()
        if quota != "max" and int(period) > 0:
            yield int(quota) / int(period)
    except (OSError, ValueError):
        return


def _version_1(folder: Path) -> Iterator[float]:
    try:
        quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        if quota > 0 and period > 0:
            yield quota / period
    except (OSError, ValueError):
        return


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1
