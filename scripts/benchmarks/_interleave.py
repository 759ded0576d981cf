"""Commands of this checkout, several at a time: what scripts that train many networks share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from handmesh.errors import HandMeshError
from handmesh.io.runtime.cpu_count import available_cores

ROOT = Path(__file__).resolve().parents[2]
_THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
T = TypeVar("T")


def call(command: list[str], threads: int, log: Path | None = None) -> None:
    """Run a command with so many threads and this checkout's package; its words are added to a log when one is given.

    Raises HandMeshError: it ended with another exit code than 0.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, **dict.fromkeys(_THREADS, str(threads)), "PYTHONPATH": path}
    if log is None:
        done = subprocess.run(command, env=environment)
    else:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a", encoding="utf-8") as file:
            done = subprocess.run(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
    if done.returncode:
        what = " ".join(command[1:4])
        raise HandMeshError(f"expected {what} ... to succeed, got exit code {done.returncode}; see {log or 'above'}")


def train(settings: dict[str, Any], jobs: int, log: Path) -> None:
    """Train with configs/smoke.yaml and these settings, one of ``jobs`` runs side by side.

    A run whose settings["output"] holds a state is gone on with.
    """
    is_begun = (Path(str(settings["output"])) / "last" / "state.safetensors").is_file()
    words = [f"{key}={value}" for key, value in settings.items()]
    command = [sys.executable, "-m", "handmesh", "train", str(ROOT / "configs" / "smoke.yaml"), *words]
    # One thread a run: side by side they do more than one run on all cores.
    call([*command, f"resume={str(is_begun).lower()}"], max((available_cores()) // jobs, 1), log)


def synth(folder: Path, words: list[str]) -> Path:
    """Render a set with ``handmesh synth`` and pack it, unless that was done; returns its folder."""
    cores = available_cores()
    # A complete set returns at once, one that was begun otherwise is refused there.
    call([sys.executable, "-m", "handmesh", "synth", "--out", str(folder), *words], cores)
    if not (folder / "training.pack").is_file():
        call([sys.executable, "-m", "handmesh", "pack", str(folder)], cores)
    return folder


def side_by_side(work: Callable[[T], Any], items: Iterable[T], jobs: int) -> list[Any]:
    """Results of work(item) in the items' order, so many at a time; after a failure nothing more begins."""
    with ThreadPoolExecutor(jobs) as pool:
        try:
            return list(pool.map(work, items))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
