"""Samples to batches for training: crops, repeatable randomness, order, worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, cast

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from handmesh.config import Config
from handmesh.data.crop_parameters import CropParameters
from handmesh.data.crops import plain_crop, random_crop
from handmesh.data.sample import Batch, CropSample, Sample
from handmesh.errors import HandMeshError

Key = tuple[int, int]  # (epoch, index)
#: A batch that does not come for so long is waiting for a disk or a worker that is gone, seconds.
STALL_S = 900.0


class SampleSource(Protocol):
    """Where labelled pictures come from: a folder, a packed file, a renderer.

    `is_endless` (optional, False when absent): every index up to len() is a new sample and none need come
    twice.
    """

    def __len__(self) -> int: ...

    def sample(self, index: int) -> Sample:
        """The sample with this number: the same each time, as data/sample.py describes them."""
        ...


class HandDataset(Dataset[CropSample]):
    """Crops of a source's samples: augmented for training, plain otherwise.

    Indexed by (epoch, index), or by index alone for epoch 0. size: of the crops in pixels, 0 for the network's.
    """

    def __init__(self, source: SampleSource, config: Config, train: bool, size: int = 0) -> None:
        """Crops of a source.

        Args:
            source: gives the samples.
            config: of the run.
            train: augmented crops; else plain ones.
            size: side of the crops, pixels; 0 for the network's.
        """
        self.source, self.config, self.train = source, config, train
        self.size = size or config.model.image_size

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: int | Key) -> CropSample:
        """The crop of one sample."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        data, size = self.config.data, self.size
        sample = self.source.sample(index)
        if not self.train:
            return plain_crop(sample, size, data.crop_padding, data.perspective, data.augment.upright)
        rng = np.random.default_rng((self.config.seed, epoch, index))
        return random_crop(sample, rng, data.augment, size, data.crop_padding, data.perspective)


class StepBatches(Sampler[list[Key]]):
    """The batches of steps first..last-1 as lists of (epoch, index), the same however a run is cut into
    pieces.

    Each epoch is a permutation of the source seeded by (seed, epoch); a batch may reach into the next epoch.
    An endless source is walked straight on. With several processes each takes its slice of the global batch.
    """

    def __init__(
        self,
        source: SampleSource,
        batch_size: int,
        steps: tuple[int, int],
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Plan the batches of some steps.

        Args:
            source: gives the samples.
            batch_size: of all processes together.
            steps: first, and one past the last.
            seed: of the order.
            rank, world: number of this process, and how many there are.

        Raises:
            HandMeshError: an empty source, or a batch size that the processes cannot share equally.
        """
        super().__init__()
        if batch_size % world:
            raise HandMeshError(f"expected a batch size divisible by {world} processes, got {batch_size}")
        if not len(source):
            raise HandMeshError("expected at least one sample to train on, got an empty source")
        self.length, self.is_endless = len(source), bool(getattr(source, "is_endless", False))
        self.batch_size, self.steps, self.seed, self.rank, self.world = batch_size, steps, seed, rank, world

    def __len__(self) -> int:
        return self.steps[1] - self.steps[0]

    def __iter__(self) -> Iterator[list[Key]]:
        share = self.batch_size // self.world
        epoch, order = -1, np.empty(0, np.int64)
        for step in range(*self.steps):
            first = step * self.batch_size + self.rank * share
            keys: list[Key] = []
            for position in range(first, first + share):
                wanted, place = divmod(position, self.length)
                if self.is_endless:
                    keys.append((wanted, place))
                    continue
                if wanted != epoch:
                    epoch, order = wanted, np.random.default_rng((self.seed, wanted)).permutation(self.length)
                keys.append((epoch, int(order[place])))
            yield keys


class MixtureSource:
    """Several sources as one, each with its weight's share of the indices, none of its samples left out.

    The length is the least at which the largest source, for its weight, is walked through once; the others come round
    again as often as their weights ask. A source without end lends at least ENDLESS_SHARE samples.
    """

    is_endless = False
    ENDLESS_SHARE = 1 << 20

    def __init__(self, sources: Sequence[Any], weights: Sequence[float]) -> None:
        if len(sources) != len(weights) or not sources or min(weights) <= 0:
            raise HandMeshError("expected one positive weight for each data source of a mixture")
        self.sources = list(sources)
        shares = np.asarray(weights, np.float64) / np.sum(weights)
        sizes = [
            self.ENDLESS_SHARE if getattr(source, "is_endless", False) else len(source) for source in self.sources
        ]
        length = max(size / share for size, share in zip(sizes, shares, strict=True))
        # Which source an index belongs to, and its place there: one block a source; the order of training shuffles.
        self._ends = np.cumsum(np.maximum(np.round(length * shares), 1).astype(np.int64))

    def __len__(self) -> int:
        return int(self._ends[-1])

    def sample(self, index: int) -> Sample:
        """A sample of the source that this index belongs to."""
        source, place = self.find(index)
        sample: Sample = source.sample(place)
        return {**sample, "index": index}

    def find(self, index: int) -> tuple[Any, int]:
        """The source that an index belongs to, and the sample's number there."""
        which = int(np.searchsorted(self._ends, index, side="right"))
        place = index - (int(self._ends[which - 1]) if which else 0)
        source = self.sources[which]
        return source, place % len(source)

    def fingerprint(self) -> str:
        """A name for the mixture in checkpoints, made of its sources' own."""
        parts = (source.fingerprint() if hasattr(source, "fingerprint") else "rendered" for source in self.sources)
        return "mixture " + ", ".join(f"{part} x {count}" for part, count in zip(parts, np.diff([0, *self._ends])))


class StridedSubset:
    """``count`` samples of a source, spread evenly; the first ones where it is endless. All when count is 0."""

    is_endless = False

    def __init__(self, source: SampleSource, count: int) -> None:
        self.source, self.count = source, min(count, len(source)) if count > 0 else len(source)
        self._stride = 1 if getattr(source, "is_endless", False) else len(source) / self.count

    def __len__(self) -> int:
        return self.count

    def sample(self, index: int) -> Sample:
        """A sample of the source."""
        return self.source.sample(int(index * self._stride))


def collate(samples: Sequence[Any]) -> Batch:
    """Stack samples' arrays along a new first axis, as tensors.

    Raises HandMeshError for whole pictures of several sizes, which no batch can hold.
    """
    sizes = {s["image"].shape for s in samples if "image" in s}
    if len(sizes) > 1:
        raise HandMeshError(
            f"expected pictures of one size with data.augment.on_device=true, got {' and '.join(map(str, sizes))}; "
            "set it to false, or render at the size of the folders' pictures (data.render_size)"
        )
    rows = cast("Sequence[dict[str, np.ndarray]]", samples)
    batch = {key: torch.from_numpy(np.stack([row[key] for row in rows])) for key in rows[0] if key != "crop_parameters"}
    drawn = [sample["crop_parameters"] for sample in samples if "crop_parameters" in sample]
    return cast(Batch, {**batch, "crop_parameters": CropParameters.stack(drawn)} if drawn else batch)


def to_device(batch: Batch, device: torch.device | str) -> Batch:
    """The batch on a device, without waiting for it."""
    values = cast("dict[str, torch.Tensor | CropParameters]", batch)
    return cast(Batch, {name: value.to(device, non_blocking=True) for name, value in values.items()})


def make_loader(
    dataset: Dataset[Any], batches: Sampler[list[Key]] | int, workers: int = 0, pin_memory: bool = False
) -> DataLoader[Any]:
    """A loader of batches.

    With workers, OpenCV's own threads are switched off in this process: a worker forked from a process with a live
    OpenCV thread pool hangs at its first use (or even when it tries to resize the pool).

    Args:
        dataset: gives the crops, or the pictures of scenes.
        batches: a :class:`StepBatches`, or a batch size: the whole data set in order.
        workers: processes; 0 loads in this one.
        pin_memory: as of torch's DataLoader.
    """
    if workers:
        cv2.setNumThreads(0)
    common: dict[str, Any] = {
        "num_workers": workers,
        "collate_fn": collate,
        "pin_memory": pin_memory,
        "prefetch_factor": 4 if workers else None,
        "timeout": STALL_S if workers else 0,
    }
    if isinstance(batches, int):
        return DataLoader(dataset, batch_size=batches, **common)
    return DataLoader(dataset, batch_sampler=batches, **common)


def iterate(loader: DataLoader[Any]) -> Iterator[Batch]:
    """The loader's batches.

    Raises:
        HandMeshError: a worker's own, as one line without its traceback; or no batch came for ``STALL_S``.
    """
    try:
        yield from loader
    except HandMeshError as error:
        raise HandMeshError(str(error).rsplit("HandMeshError: ", 1)[-1].strip()) from None
    except RuntimeError as error:
        if "timed out" not in str(error):
            raise
        raise HandMeshError(
            f"expected a batch within {STALL_S / 60:.0f} minutes, got none from any worker; is the disk there? "
            "data.workers=0 loads in the training process itself"
        ) from error
