"""A part of a rendered data set: the samples of one chunk, drawn and written by whichever process gets it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2

from handmesh.data.freihand_writer import sample_entries, write_pictures
from handmesh.data.scenes import scene_line, write_scene_pictures
from handmesh.errors import HandMeshError
from handmesh.io.files import atomic_path
from handmesh.mano.arrays import load_mano
from handmesh.synthesis.generator import DATASET_VERSION, SampleGenerator
from handmesh.synthesis.kinds import KINDS
from handmesh.synthesis.scenes import SceneGenerator

#: Kinds of pictures by name: of one hand each in FreiHAND's layout, or whole scenes (data/scenes.py).
SCENES = "scenes"
PICTURES: dict[str, type[SampleGenerator]] = {**KINDS, SCENES: SceneGenerator}
#: Samples that are rendered and counted together.
CHUNK = 32
#: Evaluation samples have numbers that no training sample reaches, so the two splits share no pose and no picture.
FIRST_EVALUATION = 1 << 28
#: Folder of the labels of finished chunks, until all are there.
PARTS = ".parts"
#: So long, in seconds, no chunk may take on any machine: a process is waiting for something that does not come.
STALL_S = 3600.0
#: One thread a process: the processes are the parallelism, and sums must not depend on a thread count.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Plan:
    """All that decides what a data set holds; kept beside it as synth.json."""

    train: int
    evaluation: int
    seed: int
    size: int
    hand: str  # fingerprint of the hand model
    backgrounds: str  # fingerprint of the folder of backgrounds, "" for none
    dataset_version: int = DATASET_VERSION
    pictures: str = "full"  # one of PICTURES
    gestures: tuple[str, ...] = ()  # that poses are made of; none for all

    def count(self, split: str, first: int) -> int:
        """Samples of the chunk of a split that begins at sample ``first``."""
        return min(CHUNK, (self.train if split == "training" else self.evaluation) - first)


class RenderJob(NamedTuple):
    """The set's folder, its plan, the hand model as load_mano takes it, and the folder of backgrounds."""

    root: str
    plan: Plan
    mano: str
    backgrounds: str | None


def shard_path(root: Path, split: str, first: int) -> Path:
    """The labels of a chunk: where they are, its pictures are whole.

    Args:
        root: the set's folder.
        split: "training" or "evaluation".
        first: number of the chunk's first sample.
    """
    return root / PARTS / f"{split}_{first:08d}.jsonl"


def remove_scraps(root: Path) -> None:
    """Remove what processes left half written that did not live to do it themselves."""
    for suffix in ("jpg", "png"):
        for scrap in root.rglob(f".*.{suffix}"):
            scrap.unlink(missing_ok=True)


class ChunkRenderer:
    """Renders chunks one after another, in one thread."""

    def __init__(self, job: RenderJob) -> None:
        cv2.setNumThreads(1)
        arrays = load_mano(job.mano)
        self._root, self._plan, self._mean = Path(job.root), job.plan, arrays.hands_mean
        make = PICTURES[job.plan.pictures]
        self._generator = make(arrays, job.plan.seed, job.plan.size, job.backgrounds, gestures=job.plan.gestures)

    def render(self, split: str, first: int) -> int:
        """Render, write and count the samples of one chunk; its labels come last."""
        count = self._plan.count(split, first)
        offset = FIRST_EVALUATION if split == "evaluation" else 0
        lines = []
        for index in range(first, first + count):
            lines.append(json.dumps(self._write(split, index, offset + index), separators=(",", ":")))
        with atomic_path(shard_path(self._root, split, first)) as path:
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return count

    def _write(self, split: str, index: int, number: int) -> dict[str, Any]:
        """Write the pictures of one sample under its index in the split; returns its labels."""
        if isinstance(self._generator, SceneGenerator):
            scene = self._generator.scene(number)
            write_scene_pictures(self._root, split, index, scene)
            return scene_line(index, scene)
        sample = self._generator.sample(number)
        write_pictures(self._root, split, index, sample)
        return sample_entries(sample, self._mean)


def stalled() -> HandMeshError:
    """What is raised when no chunk was done within ``STALL_S``."""
    return HandMeshError(
        f"expected {CHUNK} pictures within {STALL_S / 60:.0f} minutes, got none from any process; is the disk or the "
        "cluster there? run the same command again to go on"
    )


@lru_cache(maxsize=1)
def _renderer(job: RenderJob) -> ChunkRenderer:
    return ChunkRenderer(job)


def render_chunk(job: RenderJob, split: str, first: int) -> int:
    """Render one chunk with a renderer that the process keeps.

    Args:
        job: the set.
        split: "training" or "evaluation".
        first: number of the chunk's first sample.

    Returns:
        How many samples it has.
    """
    return _renderer(job).render(split, first)
