"""Chunks of a data set rendered on a Ray cluster; one whose process dies is rendered again, to the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from handmesh.errors import HandMeshError
from handmesh.io.runtime.ray_cluster import ray_cluster
from handmesh.synthesis.dataset.chunk_renderer import (
    ONE_THREAD,
    STALL_S,
    RenderJob,
    remove_scraps,
    render_chunk,
    stalled,
)

#: A chunk is begun at most so many times more; what kills more processes than that has another reason than bad luck.
MAX_RETRIES = 5
#: Chunks that are handed out, for each core of the cluster: a process never waits, and the driver holds few.
_PER_CORE = 3


def render_on_ray(
    job: RenderJob, chunks: Sequence[tuple[str, int]], address: str | None, workers: int | None,
    advance: Callable[[int], object],
) -> None:  # fmt: skip
    """Render chunks and wait for all of them.

    Args:
        job: its folder must be reachable from every machine of the cluster under the same path.
        chunks: split and first sample of each.
        address: of a Ray cluster; None starts one on this machine.
        workers: chunks at once at most; None: one for each core.
        advance: called with how many samples more are done.

    Raises:
        HandMeshError: no Ray, a process that keeps dying, no chunk within an hour, or what a process could not read
            or write.
    """
    with ray_cluster(address, workers) as ray:
        slots = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        remote = ray.remote(num_cpus=1, max_retries=MAX_RETRIES, runtime_env={"env_vars": ONE_THREAD})(render_chunk)
        most = slots if workers else slots * _PER_CORE
        waiting = list(reversed(chunks))
        running: list[Any] = []
        while waiting or running:
            while waiting and len(running) < most:
                running.append(remote.remote(job, *waiting.pop()))
            finished, running = ray.wait(running, num_returns=1, timeout=STALL_S)
            if not finished:
                raise stalled()
            try:
                advance(sum(ray.get(finished)))
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, HandMeshError):
                    raise HandMeshError(str(error.cause)) from None
                raise
            except ray.exceptions.RayError as error:
                raise HandMeshError(
                    f"expected the rendering processes to live, one was lost ({type(error).__name__}; out of memory?); "
                    "run the same command again to go on"
                ) from error
    remove_scraps(Path(job.root))
