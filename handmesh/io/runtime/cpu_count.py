"""How many CPU cores this process may use: fewer than the machine has in a container, a batch job or under taskset, or
where the environment variable HANDMESH_THREADS says so. Every pool of threads asks here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, MutableMapping
from functools import lru_cache
from pathlib import Path

from handmesh.errors import HandMeshError

#: The one setting for all pools.
SETTING = "HANDMESH_THREADS"
#: What each library reads when it is first imported: PyTorch and OpenMP, MKL, OpenBLAS, numba, OpenCV.
_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENCV_FOR_THREADS_NUM",
)  # fmt: skip


@lru_cache(maxsize=1)
def available_cores() -> int:
    """Cores by the smallest of affinity, control groups' CPU quota and HANDMESH_THREADS; at least 1.

    Where torchrun started several processes on this machine, each takes its share of the cores.

    Raises:
        HandMeshError: HANDMESH_THREADS is not a number above 0.
    """
    cores, quota, wanted = _affinity(), cpu_quota(), threads_wanted()
    if quota is not None:
        cores = min(cores, math.floor(quota))
    cores = max(1, cores // _processes_beside())
    return cores if wanted is None else min(cores, wanted)


def threads_wanted() -> int | None:
    """HANDMESH_THREADS; None where it is not set.

    Raises:
        HandMeshError: it is not a number above 0.
    """
    text = os.environ.get(SETTING, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise HandMeshError(f"expected {SETTING} to be a whole number of 1 or more, got {text!r}; set another or none")
    return int(text)


def threads_in_words() -> str:
    """How many threads every pool takes, and why, for the doctor."""
    quota, wanted = cpu_quota(), threads_wanted()
    reasons = [
        f"{_affinity()} CPU cores by affinity",
        "no quota" if quota is None else f"a quota of {quota:g}",
        f"{SETTING} not set" if wanted is None else f"{SETTING}={wanted}",
    ]
    return f"{available_cores()} for every pool ({', '.join(reasons)})"


def engine_threads() -> int:
    """Threads to ask an inference engine for: 0, its own choice, unless fewer are allowed than the cores it sees.

    Engines look at the cores and their affinity. Of a quota they know nothing: with more threads than it allows, all of
    them are stopped together for the rest of every period.
    """
    return available_cores() if available_cores() < _affinity() else 0


def limit_library_threads(environment: MutableMapping[str, str] = os.environ) -> None:
    """Tell libraries that are not imported yet how many threads are allowed, if fewer; what the user set stands."""
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


def _processes_beside() -> int:
    """Processes of this training run on this machine, as torchrun tells them: 1 without it."""
    text = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, int(text)) if text.isascii() and text.isdigit() else 1


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1
