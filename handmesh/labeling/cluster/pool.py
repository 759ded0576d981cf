"""A mountain of footage labelled on Ray: a pool of workers with a predictor each, recordings and a Parquet index out.

Ray Data hands out the pieces of work, restarts workers that die and does their piece again. The index is made from the
recordings that stand at the end, those of earlier runs too.
"""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from handmesh.errors import HandMeshError
from handmesh.io.files import work_folder
from handmesh.io.runtime.ray_cluster import ray_cluster
from handmesh.labeling.cluster.items import FootageItem, footage_items
from handmesh.labeling.cluster.worker import FootageJob, FootageLabeler

INDEX_NAME = "index.parquet"
#: More pieces of work than this share a task of Ray's: its driver holds them all.
_MAX_TASKS = 50_000
#: Of a row, what is of this run and not of the recording.
_OF_THIS_RUN = ("error", "is_new", "process")


@dataclass(frozen=True)
class Workers:
    """The pool.

    Attributes:
        count: how many; 0: as many as the cluster has room for.
        cpus: cores of each.
        gpus: GPUs of each, or a share of one: 0.25 puts four workers on a GPU.
    """

    count: int = 0
    cpus: int = 1
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.count < 0 or self.cpus < 1 or self.gpus < 0:
            raise HandMeshError(
                f"expected workers of 0 or more, at least one core and no less than 0 GPUs each, got {self.count}, "
                f"{self.cpus} and {self.gpus:g}"
            )


@dataclass
class FootageReport:
    """What came of a run: pieces of work done now and before, and why others failed, by name."""

    done: int = 0
    done_before: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)


def label_footage(
    job: FootageJob,
    workers: Workers | None = None,
    address: str | None = None,
    on_begin: Callable[[int], None] = lambda count: None,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
) -> FootageReport:
    """Label what is missing and write the index.

    Args:
        job: footage, output, and how to label.
        workers: the pool.
        address: of a Ray cluster; None starts one on this machine.
        on_begin: called with the number of pieces of work.
        on_row: called with the row of each piece that is done, new or not.

    Returns:
        The rows of the index, and what failed.

    Raises:
        HandMeshError: no footage, an output that cannot be written, no Ray.
    """
    workers = workers or Workers()
    items = footage_items(job.source.files(), str(job.source))
    if job.output.folder is not None:
        with work_folder(job.output.folder / "recording"):  # says now that it cannot be written
            pass
    report = FootageReport()
    with ray_cluster(address, workers.count * workers.cpus or None) as ray:
        on_begin(len(items))
        count = workers.count or _room(ray, workers)
        attempts = ray.remote(num_cpus=0, max_restarts=-1)(_Attempts).remote()
        job = replace(job, begin=partial(_begin, attempts))
        for row in _labelled(items, job, workers, count, is_local=address is None):
            if row["error"]:
                report.failures[row["source"]] = row["error"]
            else:
                report.rows.append(row)
                report.done += row["is_new"]
                report.done_before += not row["is_new"]
            on_row(row)
    seen = {row["source"] for row in report.rows} | set(report.failures)
    for item in items:
        if item.name not in seen:
            report.failures[item.name] = "its worker and what it had made were lost; run the same command again"
    if report.rows:
        write_index(report.rows, job)
    return report


class _Attempts:
    """Counts for all workers how often each piece of work was begun."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def begin(self, name: str) -> int:
        """How often, with this time."""
        self._counts[name] += 1
        return self._counts[name]


def _begin(attempts: Any, name: str) -> int:
    import ray

    count: int = ray.get(attempts.begin.remote(name))
    return count


def _room(ray: Any, workers: Workers) -> int:
    """How many workers the cluster has room for."""
    there = ray.cluster_resources()
    room = there.get("CPU", 0) // workers.cpus
    if workers.gpus:
        room = min(room, there.get("GPU", 0) // workers.gpus)
    if room < 1:
        raise HandMeshError(
            f"expected a cluster with {workers.cpus} cores and {workers.gpus:g} GPUs for a worker, got "
            f"{there.get('CPU', 0):g} and {there.get('GPU', 0):g}; ask for less (--cpus-per-worker, --gpus-per-worker)"
        )
    return int(room)


def _labelled(
    items: Sequence[FootageItem], job: FootageJob, workers: Workers, count: int, is_local: bool
) -> Iterator[dict[str, Any]]:
    """The rows of the items as they come, each once, whatever dies."""
    import ray.data as ray_data

    context = ray_data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    # What is lost with a machine for good is seen to be missing at the end, and ends no run.
    context.max_errored_blocks = -1
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    labeler: Any = FootageLabeler  # a class is what has Ray Data keep one in each worker
    tasks = min(len(items), _MAX_TASKS)
    rows = [{"item": item.to_json()} for item in items]
    size = min(count, tasks)
    # A shared cluster may have room for fewer now and for more later. One piece at a time: none waits behind a long
    # clip. Ray restarts a worker that dies and does its piece again; that is its default.
    pool = ray_data.ActorPoolStrategy(min_size=size if is_local else 1, max_size=size, max_tasks_in_flight_per_actor=1)
    labelled = ray_data.from_items(rows, override_num_blocks=tasks).map(
        labeler, fn_constructor_args=(job,), compute=pool, num_cpus=workers.cpus, num_gpus=workers.gpus or None
    )
    yield from labelled.iter_rows()


def write_index(rows: Sequence[dict[str, Any]], job: FootageJob) -> None:
    """One row a recording, sorted by its name, as a Parquet file beside the recordings; whole or not at all."""
    import pyarrow
    from pyarrow import parquet

    plain = [{name: value for name, value in row.items() if name not in _OF_THIS_RUN} for row in rows]
    table = pyarrow.Table.from_pylist(sorted(plain, key=lambda row: row["recording"]))
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / INDEX_NAME
        parquet.write_table(table, file)
        job.output.put(INDEX_NAME, file)
