"""A split of FreiHAND as one memory-mapped file: images decoded once, annotations as arrays, checksums.

Opening it costs no JSON parsing, reading a sample no JPEG decoding, and worker processes share its pages. It is a copy:
the folder stays the original, and a pack made from other annotations is refused.

Not a safetensors file: its writer wants every array in memory, where FreiHAND's pictures take 20 GB and are written
here as they are decoded. Reading a picture costs the same (19 to 22 microseconds, for 24 to 30).
"""

from __future__ import annotations

import itertools
import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from tqdm import tqdm

from handmesh.data.freihand import REQUIRED, Annotations, FreiHandDataset
from handmesh.data.sample import Sample
from handmesh.errors import HandMeshError, reason_of
from handmesh.io.files import atomic_path, user_path
from handmesh.io.runtime.worker_threads import map_in_threads

_MAGIC = b"HMPACK1\n"
_LABELS = ("K", "scale", "joints", "vertices", "mano", "has_3d")
_BLOCK = 64  # images written at a time, and the unit of checksums


def pack_path(root: str | Path, split: str) -> Path:
    """Where a split's pack lies: beside its annotations."""
    return user_path(root) / f"{split}.pack"


def pack_split(root: str | Path, split: str, with_bar: bool = False) -> Path:
    """Write SPLIT.pack into a folder in FreiHAND's layout.

    Needs as much disk as the decoded images: 150 kB each at 224 pixels.

    Args:
        root: the folder.
        split: "training" or "evaluation".
        with_bar: show progress on stderr.

    Returns:
        The pack's path.

    Raises:
        HandMeshError: something is wrong with the folder, or with the disk; nothing half-written keeps the name.
    """
    dataset = FreiHandDataset(root, split)
    labels = {name: getattr(dataset.annotations, name) for name in _LABELS}
    arrays: dict[str, dict[str, Any]] = {}
    path = pack_path(root, split)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(_MAGIC)
        for name, array in labels.items():
            if array is not None:
                arrays[name] = _write_array(file, array.dtype, array.shape, iter([array]))
        shape = (len(dataset), *dataset.image_shape)
        arrays["images"] = _write_array(file, np.dtype(np.uint8), shape, _decoded(dataset, with_bar))
        description = {
            "split": split,
            "versions": dataset.versions,
            "fingerprint": dataset.fingerprint(),
            "annotation_bytes": _annotation_bytes(dataset.root, split),
            "arrays": arrays,
        }
        text = json.dumps(description).encode()
        file.write(text + struct.pack("<Q", len(text)) + _MAGIC)
    return path


def open_split(root: str | Path, split: str, hands_mean: np.ndarray | None = None) -> FreiHandDataset:
    """The split of a folder: from its pack when there is one, else from its files.

    Args:
        root, split, hands_mean: as of :class:`FreiHandDataset`.

    Raises:
        HandMeshError: as the constructors of both.
    """
    if pack_path(root, split).is_file():
        return PackedDataset(root, split, hands_mean)
    return FreiHandDataset(root, split, hands_mean)


class PackedDataset(FreiHandDataset):
    """The same samples as FreiHandDataset, from the pack; without masks."""

    def __init__(self, root: str | Path, split: str = "training", hands_mean: np.ndarray | None = None) -> None:
        """Map the pack into memory.

        Args:
            root, split, hands_mean: as of :class:`FreiHandDataset`.

        Raises:
            HandMeshError: the pack is cut, damaged in its labels, or older than the annotations.
        """
        self.root, self.split = user_path(root), split
        self.path = pack_path(root, split)
        self._description = _read_description(self.path)
        if self._description["annotation_bytes"] != _annotation_bytes(self.root, split):
            raise self._error("other annotations than the folder's")
        arrays = {name: self._map(name) for name in self._description["arrays"]}
        for name in arrays.keys() & set(_LABELS):
            self._check_sum(name, arrays[name])
        self.annotations = Annotations(**{name: arrays.get(name) for name in _LABELS})  # type: ignore[arg-type]
        self.versions = tuple(self._description["versions"])
        self._images = arrays["images"]
        self.image_shape = self._images.shape[1:]
        self._mano = None if hands_mean is None else self._unpack_mano(np.asarray(hands_mean, np.float64))

    def sample(self, index: int, with_mask: bool = False) -> Sample:
        """As FreiHandDataset.sample; the mask is read from the folder where asked for."""
        sample: Sample = {**self.labels(index), "image": np.array(self._images[index])}
        return self._with_mask(sample, index) if with_mask else sample

    def fingerprint(self) -> str:
        """That of the folder when it was packed."""
        return str(self._description["fingerprint"])

    def verify(self) -> None:
        """Read everything and compare checksums; HandMeshError when a byte differs."""
        self._check_sum("images", self._images)

    def _map(self, name: str) -> np.ndarray:
        try:
            entry = self._description["arrays"][name]
            return np.memmap(self.path, entry["dtype"], "r", entry["offset"], tuple(entry["shape"]))
        except (OSError, ValueError, TypeError, LookupError, OverflowError) as error:
            raise self._error(f"no array {name} ({reason_of(error)})") from None

    def _check_sum(self, name: str, array: np.ndarray) -> None:
        checksum = 0
        for start in range(0, len(array), _BLOCK):
            checksum = zlib.crc32(np.ascontiguousarray(array[start : start + _BLOCK]).data, checksum)
        if checksum != self._description["arrays"][name]["crc32"]:
            raise self._error(f"other bytes in its {name} than were written")

    def _error(self, found: str) -> HandMeshError:
        return _pack_error(self.path, found)


def _pack_error(path: Path, found: str) -> HandMeshError:
    return HandMeshError(f"expected a whole pack at {path}, found {found}; delete it, or run 'handmesh pack' again")


def _read_description(path: Path) -> dict[str, Any]:
    tail = struct.calcsize("<Q") + len(_MAGIC)
    try:
        with open(path, "rb") as file:
            is_ours = file.read(len(_MAGIC)) == _MAGIC
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - tail, 0))
            length, end = file.read(8), file.read()
            if not is_ours or end != _MAGIC:
                raise _pack_error(path, "a cut or foreign file")
            file.seek(size - tail - struct.unpack("<Q", length)[0])
            description = json.loads(file.read(struct.unpack("<Q", length)[0]))
    except (OSError, ValueError, struct.error, RecursionError) as error:
        raise _pack_error(path, f"an unreadable file ({reason_of(error)})") from None
    wanted = {"arrays": dict, "versions": list, "annotation_bytes": dict}
    if not isinstance(description, dict) or not all(
        isinstance(description.get(key), kind) for key, kind in wanted.items()
    ):
        raise _pack_error(path, "another description")
    return description


def _write_array(
    file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...], parts: Iterator[np.ndarray]
) -> dict[str, Any]:
    file.write(b"\0" * (-file.tell() % 4096))
    entry = {"dtype": dtype.str, "shape": list(shape), "offset": file.tell()}
    checksum = 0
    for part in parts:
        data = np.ascontiguousarray(part, dtype).data
        checksum = zlib.crc32(data, checksum)
        file.write(data)
    return {**entry, "crc32": checksum}


def _decoded(dataset: FreiHandDataset, with_bar: bool) -> Iterator[np.ndarray]:
    """All images in order, a block at a time; decoded on all cores."""

    def image(index: int) -> np.ndarray:
        return np.asarray(dataset.sample(index)["image"])

    images = map_in_threads(image, range(len(dataset)))
    with tqdm(total=len(dataset), desc=f"packing {dataset.split}", disable=not with_bar) as bar:
        while block := list(itertools.islice(images, _BLOCK)):
            bar.update(len(block))
            yield np.stack(block)


def _annotation_bytes(root: Path, split: str) -> dict[str, int]:
    """Sizes of the annotation files that are there: a cheap sign that they are those that were packed."""
    paths = {key: root / f"{split}_{key}.json" for key in (*REQUIRED[split], "has_3d")}
    return {key: path.stat().st_size for key, path in paths.items() if path.is_file()}
