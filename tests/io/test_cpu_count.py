"""Pools and engines take the cores that a container's quota and the affinity leave, not those of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from handmesh.errors import HandMeshError
from handmesh.io.runtime import cpu_count
from handmesh.io.runtime.cpu_count import (
    available_cores,
    cpu_quota,
    engine_threads,
    limit_library_threads,
    threads_in_words,
)


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    available_cores.cache_clear()
    yield
    available_cores.cache_clear()


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "200000 100000",
          "sys/fs/cgroup/a/b/cpu.max": "max 1"}, 2),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "400000 100000",
          "sys/fs/cgroup/a/b/cpu.max": "50000 100000"}, 0.5),
        # A container sees the host's path and its own group as the mount.
        ({"proc/self/cgroup": "0::/system.slice/x\n", "sys/fs/cgroup/cpu.max": "300000 100000"}, 3),
        ({"proc/self/cgroup": "4:cpu,cpuacct:/box\n2:memory:/box\n", "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "250000",
          "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "100000"}, 2.5),
        ({"proc/self/cgroup": "4:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
          "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, None),
        ({"proc/self/cgroup": "0::/\nnonsense\n", "sys/fs/cgroup/cpu.max": "many\n"}, None),
    ],
)  # fmt: skip
def test_quotas_of_both_versions(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    assert cpu_quota(tree(tmp_path, files)) == quota


@pytest.mark.parametrize(
    ("quota", "affinity", "cores", "threads"),
    [(None, 8, 8, 0), (1.5, 8, 1, 1), (0.2, 8, 1, 1), (3.0, 8, 3, 3), (16.0, 8, 8, 0), (1.0, 1, 1, 0)],
)
def test_the_smaller_of_quota_and_affinity(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, affinity: int, cores: int, threads: int
) -> None:
    monkeypatch.delenv("HANDMESH_THREADS", raising=False)
    monkeypatch.setattr(cpu_count, "cpu_quota", lambda: quota)
    monkeypatch.setattr(cpu_count, "_affinity", lambda: affinity)
    assert available_cores() == cores and engine_threads() == threads
    environment = {"OMP_NUM_THREADS": "7"}
    limit_library_threads(environment)
    assert environment["OMP_NUM_THREADS"] == "7"
    assert environment.get("NUMBA_NUM_THREADS") == (str(threads) if threads else None)


@pytest.mark.parametrize(("processes", "cores"), [("2", 4), ("3", 2), ("16", 1), ("1", 8), ("0", 8), ("many", 8)])
def test_processes_of_one_run_share_the_cores(monkeypatch: pytest.MonkeyPatch, processes: str, cores: int) -> None:
    monkeypatch.delenv("HANDMESH_THREADS", raising=False)
    monkeypatch.setattr(cpu_count, "cpu_quota", lambda: None)
    monkeypatch.setattr(cpu_count, "_affinity", lambda: 8)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert available_cores() == cores
    environment = {"OMP_NUM_THREADS": "1"}  # torchrun sets this one alone; numba would take every core
    limit_library_threads(environment)
    assert environment.get("NUMBA_NUM_THREADS") == (str(cores) if cores < 8 else None)


@pytest.mark.parametrize(("value", "cores", "threads"), [("3", 3, 3), ("99", 4, 4), (" ", 4, 4)])
def test_one_setting_limits_every_pool(monkeypatch: pytest.MonkeyPatch, value: str, cores: int, threads: int) -> None:
    monkeypatch.setattr(cpu_count, "cpu_quota", lambda: 4.7)
    monkeypatch.setattr(cpu_count, "_affinity", lambda: 8)
    monkeypatch.setenv("HANDMESH_THREADS", value)
    environment: dict[str, str] = {}
    limit_library_threads(environment)
    assert available_cores() == cores and engine_threads() == threads
    assert len(environment) == 5 and set(environment.values()) == {str(threads)}
    assert threads_in_words().startswith(f"{cores} for every pool (8 CPU cores by affinity, a quota of 4.7, HAND")


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "²"])
def test_a_setting_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HANDMESH_THREADS", value)
    with pytest.raises(HandMeshError, match="HANDMESH_THREADS to be a whole number"):
        available_cores()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_the_affinity_counts() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_every_pool_asks_this_module() -> None:
    package = Path(cpu_count.__file__).resolve().parents[2]
    asking = [path for path in package.rglob("*.py") if "os.cpu_count" in path.read_text(encoding="utf-8")]
    assert asking == [package / "io" / "runtime" / "cpu_count.py"]
