"""A data set on disk, rendered by several processes: single hands in FreiHAND's layout, or scenes (data/scenes.py).

Pictures are written as they come, each whole or not at all; labels go to one shard per chunk of samples, written when
all pictures of the chunk stand. A run that was stopped goes on where the shards end, and what it writes does not depend
on how many processes write it. The JSON files come last: a folder that has them is complete.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from handmesh.data.freihand import RENDERED_PLAN
from handmesh.data.freihand_writer import write_annotations
from handmesh.data.scenes import LABELS, write_scene_labels
from handmesh.errors import HandMeshError
from handmesh.io.files import atomic_path, user_path
from handmesh.io.runtime.cpu_count import available_cores
from handmesh.mano.arrays import load_mano
from handmesh.mano.prior.gestures import check_gestures
from handmesh.synthesis.backgrounds.pool import Backgrounds
from handmesh.synthesis.dataset.chunk_renderer import (
    CHUNK,
    FIRST_EVALUATION,
    ONE_THREAD,
    PARTS,
    PICTURES,
    SCENES,
    STALL_S,
    Plan,
    RenderJob,
    remove_scraps,
    render_chunk,
    shard_path,
    stalled,
)
from handmesh.synthesis.dataset.ray_rendering import render_on_ray

_PLAN = RENDERED_PLAN
#: What a plan on disk does not mention.
_UNSAID: dict[str, Any] = {"pictures": "full", "gestures": ()}


def write_dataset(
    out: str | os.PathLike[str],
    train: int = 2000,
    evaluation: int = 400,
    seed: int = 0,
    size: int = 224,
    workers: int | None = None,
    backgrounds: str | os.PathLike[str] | None = None,
    mano: str = "open",
    progress: bool = True,
    pictures: str = "full",
    gestures: Iterable[str] = (),
    on_ray: bool = False,
    ray_address: str | None = None,
) -> Path:
    """Render labelled right hands into a folder in FreiHAND's layout, or scenes with their hands.

    The same arguments give the same bytes, whatever ``workers``. A stopped run is taken up again by the same call; a
    complete one returns at once.

    Args:
        out: the folder.
        train, evaluation: samples of each split.
        seed: of everything that is drawn.
        size: side of the pictures, pixels.
        workers: processes; None: one per core.
        backgrounds: a folder of photos and .hdr maps; None for drawn scenes alone.
        mano: the hand model, as load_mano takes it.
        progress: show a progress bar on stderr.
        pictures: "full"; "grasps" for hands that hold things (grasps.py); simpler ones to begin with and to compare
            with: "plain", "basic" (baseline_generators.py);
            "scenes" for whole pictures with up to four hands, of which ``size`` is the longer side (scenes.py).
        gestures: names of gestures (docs/training.md lists them) that poses are made of, where not of all.
        on_ray: render on a Ray cluster instead of in processes of this machine alone.
        ray_address: of that cluster; None starts one on this machine.

    Returns:
        The folder.

    Raises:
        HandMeshError: numbers out of range, an unknown gesture, a folder that holds something else, an unwritable
            folder, a full disk, no Ray.
    """
    if train < 0 or evaluation < 0 or train + evaluation == 0 or max(train, evaluation) >= FIRST_EVALUATION:
        raise HandMeshError(f"expected a number of samples of 1 or more, got train={train}, eval={evaluation}")
    if not 32 <= size <= 1024:
        raise HandMeshError(f"expected a picture size between 32 and 1024 pixels, got {size}")
    if pictures not in PICTURES:
        raise HandMeshError(f"expected pictures to be one of {', '.join(PICTURES)}, got {pictures!r}")
    if seed < 0 or (workers is not None and workers < 1):
        raise HandMeshError(f"expected a seed of 0 or more and at least one worker, got {seed} and {workers}")
    root = user_path(out)
    folder = None if backgrounds is None else str(user_path(backgrounds).resolve())
    # Here as well as in the workers, whose errors arrive as a broken pool.
    behind = Backgrounds(seed, folder).fingerprint
    hand, named = load_mano(mano).fingerprint(), check_gestures(gestures)
    plan = Plan(train, evaluation, seed, size, hand, behind, pictures=pictures, gestures=named)
    if _begin(root, plan):
        return root
    chunks = [(split, first) for split, first in _chunks(plan) if not shard_path(root, split, first).exists()]
    done = train + evaluation - sum(plan.count(split, first) for split, first in chunks)
    bar = tqdm(total=train + evaluation, initial=done, unit="sample", desc=root.name, disable=not progress)
    try:
        job = RenderJob(str(root.absolute()), plan, mano, folder)
        if on_ray and chunks:
            render_on_ray(job, chunks, ray_address, workers, bar.update)
        elif chunks:
            _render(job, chunks, workers or available_cores(), bar)
        bar.set_postfix_str("writing annotations")
    finally:
        bar.close()
    for split, count in (("training", train), ("evaluation", evaluation)):
        if count:
            write_labels = write_scene_labels if pictures == SCENES else write_annotations
            write_labels(root, split, _read_shards(root, plan, split))
    shutil.rmtree(root / PARTS, ignore_errors=True)
    return root


def _begin(root: Path, plan: Plan) -> bool:
    """Make the folder and its plan, or check an old one; True when the set is complete already."""
    path = root / _PLAN
    facts = {key: value for key, value in asdict(plan).items() if _UNSAID.get(key) != value}
    content = json.dumps(facts, indent=1) + "\n"
    if path.is_file():
        # Sets of earlier versions have the other name.
        old = path.read_text(encoding="utf-8").replace('"recipe"', '"dataset_version"')
        if old != content:
            raise HandMeshError(
                f"expected {path} to describe the set asked for, found another: {_difference(old, plan)}; "
                "choose another folder or delete that one"
            )
        splits = [name for name, count in (("training", plan.train), ("evaluation", plan.evaluation)) if count]
        last = "{}/" + LABELS if plan.pictures == SCENES else "{}_K.json"
        complete = all((root / last.format(split)).is_file() for split in splits)
        if complete and not (root / PARTS).exists():
            return True
        remove_scraps(root)
        return False
    if root.is_dir() and any(root.iterdir()):
        raise HandMeshError(f"expected a new or empty folder, {root} holds something else; choose another folder")
    with atomic_path(path) as temporary:
        temporary.write_text(content, encoding="utf-8")
    return False


def _difference(old: str, plan: Plan) -> str:
    """What a set on disk is beside what was asked for, in words."""
    try:
        found = {**_UNSAID, **json.loads(old)}
        found["gestures"] = tuple(found["gestures"])
    except (ValueError, TypeError):
        return "its plan cannot be read"
    asked = asdict(plan)
    keys = [key for key in asked if found.get(key) != asked[key]]
    words = [f"{key} {found.get(key)!r} where {asked[key]!r} is asked for" for key in keys]
    if "dataset_version" in keys:
        words.append("this version of handmesh renders other pictures than the one that began the set")
    return ", ".join(words) or "its plan is written otherwise"


def _chunks(plan: Plan) -> Iterator[tuple[str, int]]:
    for split, count in (("training", plan.train), ("evaluation", plan.evaluation)):
        for first in range(0, count, CHUNK):
            yield split, first


def _read_shards(root: Path, plan: Plan, split: str) -> Iterator[dict[str, Any]]:
    for name, first in _chunks(plan):
        if name == split:
            with open(shard_path(root, split, first), encoding="utf-8") as file:
                yield from map(json.loads, file)


def _render(job: RenderJob, chunks: list[tuple[str, int]], workers: int, bar: tqdm[Any]) -> None:
    """Hand the chunks out to processes, a few at a time, and wait for all of them."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(min(workers, len(chunks)), multiprocessing.get_context("spawn"))
    try:
        queue = iter(chunks)
        running: set[Future[int]] = set()
        while True:
            while len(running) < 3 * workers and (chunk := next(queue, None)) is not None:
                running.add(pool.submit(render_chunk, job, *chunk))
            if not running:
                break
            finished, running = wait(running, STALL_S, FIRST_COMPLETED)
            if not finished:
                for process in set(multiprocessing.active_children()) - others:
                    process.kill()
                raise stalled()
            for future in finished:
                bar.update(future.result(timeout=0))
    except BrokenProcessPool as error:
        raise HandMeshError(
            "expected the rendering processes to live, one was killed (out of memory?); "
            "run the same command again to go on, with fewer workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
