"""Lists of equal-shaped entries in a JSON file, as one array, quickly, with every bad entry named.

FreiHAND's vertex file is 1.5 GB of text: the json module would need minutes and 10 GB for it. The numbers are
parsed in bulk here, and what stands between them is held against the shape asked for; only where that fails is the
file read by the json module, to say exactly what is wrong.
"""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from handmesh.errors import HandMeshError, reason_of

_CHUNK = 1 << 24
#: A larger file is not read by the json module to name its faults: that takes ten times the file in memory.
_MAX_SLOW_BYTES = 64 * 2**20
#: What a sign of the file is: part of a number (0), a bracket, a comma, or nothing that belongs there (?).
_CLASSES = bytes(
    sign if sign in b"[]," else ord("0") if sign in b"0123456789+-.eE" else ord("?") for sign in range(256)
)
_SPACES = b" \t\r\n"
_IMPOSSIBLE = (b"0[", b"]0", b"][", b",,", b"[,", b",]")
_BRACKETS_TO_SPACES = bytes.maketrans(b"[]", b"  ")


def read_json_array(path: str | Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read a JSON list of n entries of the given shape as (n, *shape) float64.

    An entry may carry additional axes of length one ([[61 numbers]] for shape (61,)). Raises HandMeshError
    for a missing, truncated or malformed file, and names the entries that have another shape, NaN, infinity
    or null.
    """
    path = Path(path)
    if not path.is_file():
        raise HandMeshError(f"expected {path}, found no such file; check the folder's name and its download")
    array, whole = _parse_fast(path, shape)
    faults: dict[str, list[int]] = {}
    if array is None and path.stat().st_size > _MAX_SLOW_BYTES:
        raise HandMeshError(
            f"expected a JSON list of entries of shape {shape} and finite numbers in {path}, got something else from "
            f"entry {whole} on; repair or re-download it"
        )
    if array is None:
        array, faults = _parse_slow(path, shape)
    # By its own size: of an empty list -1 could stand for anything.
    rows = array.reshape(len(array), math.prod(shape))
    infinite = set(np.flatnonzero(~np.isfinite(rows).all(axis=1)).tolist())
    infinite -= {index for ids in faults.values() for index in ids}
    if infinite:
        faults["NaN or infinity"] = sorted(infinite)
    if faults:
        listed = ", ".join(f"{fault} in {name_ids(ids)}" for fault, ids in faults.items())
        raise HandMeshError(
            f"expected entries of shape {shape} and finite numbers in {path}, got {listed}; repair or re-download it"
        )
    return array


def name_ids(ids: Any, shown: int = 8) -> str:
    """'entry 3' or '12 entries (3, 9, 20, ...)': a readable list of ids that does not flood the screen."""
    ids = [int(i) for i in ids]
    if len(ids) == 1:
        return f"entry {ids[0]}"
    listed = ", ".join(str(i) for i in ids[:shown]) + (", ..." if len(ids) > shown else "")
    return f"{len(ids)} entries ({listed})"


def _parse_fast(path: Path, shape: tuple[int, ...]) -> tuple[np.ndarray | None, int]:
    """All numbers of the file in order, or None when it is not proved to be a list of entries of that shape.

    Besides, how many entries were whole before the piece of the file in which the proof ended.
    """
    parts: list[np.ndarray] = []
    skeleton = _Skeleton(shape)
    rest = b""
    with open(path, "rb") as handle, warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            while block := handle.read(_CHUNK):
                skeleton.add(block)
                text = rest + block
                cut = text.rfind(b",")
                if cut < 0:
                    rest = text
                    continue
                parts.append(_numbers(text[:cut]))
                rest = text[cut + 1 :]
            count = skeleton.close()
            if count:
                parts.append(_numbers(rest))
        except (ValueError, DeprecationWarning):
            return None, skeleton.whole_entries
    flat = np.concatenate(parts) if parts else np.zeros(0)
    # One number in each place: two side by side, or none, would have been an error above.
    return flat.reshape(count, *shape) if flat.size == count * math.prod(shape) else None, 0


class _Skeleton:
    """The brackets and commas of a list of entries, held against those that the shape asks for.

    Counting them proves nothing: [[1,2],[3,4,5,6]] has as many as two entries of shape (3,). What is left of an entry
    without its numbers is the same text for every entry.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        entry = b""
        for side in reversed(shape):
            entry = b"[" + b",".join([entry] * side) + b"]"
        # An entry may carry an axis of length one around it; which of the two it is, the first one says.
        self._entries = [entry, b"[" + entry + b"]"]
        self._seen = 0
        self._held = self._last = b""
        self._has_numbers = False

    def add(self, block: bytes) -> None:
        """Take in the next piece of the file; ValueError where it does not fit."""
        signs = block.translate(_CLASSES, _SPACES)
        joined = self._last + signs
        # A number stands between a bracket or a comma and the next comma or bracket, and nowhere else.
        if b"?" in signs or any(pair in joined for pair in _IMPOSSIBLE):
            raise ValueError("no list of numbers")
        self._last = joined[-1:]
        self._has_numbers |= b"0" in signs
        self._held += signs.translate(None, b"0")
        if self._seen == 0 and self._held:
            if self._held[:1] != b"[":
                raise ValueError("no list")
            self._held, self._seen = self._held[1:], 1
        # The last bracket closes the list and is no part of an entry: one sign is kept back until there is another.
        self._compare(self._held[:-1])
        self._held = self._held[-1:]

    def _compare(self, signs: bytes) -> None:
        start = self._seen - 1
        fitting = [entry for entry in self._entries if _repeats(signs, entry + b",", start)]
        if not fitting:
            raise ValueError("entries of another shape")
        self._entries = fitting
        self._seen += len(signs)

    @property
    def whole_entries(self) -> int:
        """How many entries have been seen whole so far."""
        return max(self._seen - 1, 0) // (len(self._entries[0]) + 1) if self._entries else 0

    def close(self) -> int:
        """How many entries there were; ValueError where the list is not closed behind a whole one."""
        if self._held != b"]":
            raise ValueError("no whole list")
        length = self._seen - 1
        if not length:
            # Brackets with nothing in between; of scalars there may be one, whose place needs no sign.
            if self._has_numbers and self._entries[0]:
                raise ValueError("entries of another shape")
            return int(self._has_numbers)
        for entry in self._entries:
            if (length + 1) % (len(entry) + 1) == 0:
                return (length + 1) // (len(entry) + 1)
        raise ValueError("the last entry is not whole")


def _repeats(signs: bytes, period: bytes, start: int) -> bool:
    """Whether the signs are the endless repetition of ``period`` from its sign number ``start`` on."""
    phase = start % len(period)
    expected = period * (len(signs) // len(period) + 2)
    return signs == expected[phase : phase + len(signs)]


def _numbers(text: bytes) -> np.ndarray:
    plain = text.translate(_BRACKETS_TO_SPACES).decode("ascii")
    if not plain.strip():  # a comma too many: NumPy reads -1 there
        raise ValueError("no number")
    return np.fromstring(plain, sep=",")


def _parse_slow(path: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, dict[str, list[int]]]:
    """The entries, NaN where they do not fit, and the faults of those with their places."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError, MemoryError) as error:
        raise HandMeshError(
            f"expected a whole JSON file at {path}, it is truncated or malformed ({reason_of(error)}); "
            "download it again"
        ) from None
    if not isinstance(content, list):
        raise HandMeshError(f"expected a JSON list in {path}, got {type(content).__name__}; download it again")
    array = np.full((len(content), *shape), np.nan)
    faults: dict[str, list[int]] = {}
    for index, entry in enumerate(content):
        try:
            value = np.asarray(entry, dtype=np.float64)
            if _holds_text(entry):
                raise ValueError("text that NumPy would take for numbers")
        except (TypeError, ValueError, OverflowError, RecursionError):
            faults.setdefault("something that is no array of numbers", []).append(index)
            continue
        if value.shape != shape and value.shape != (1, *shape):
            faults.setdefault(f"shape {value.shape}", []).append(index)
        else:
            array[index] = value.reshape(shape)
    return array, faults


def _holds_text(entry: Any) -> bool:
    """Whether there is a string or truth value in nested lists, which NumPy would turn into numbers."""
    if isinstance(entry, list):
        return any(map(_holds_text, entry))
    return isinstance(entry, str | bool)
