"""Lists of equal-shaped entries in a JSON file, as one array, quickly, with every bad entry named.

FreiHAND's vertex file is 1.5 GB of text: the json module would need minutes and 10 GB for it. The numbers are
parsed in bulk here; only when the counts do not add up is the file read by the json module, to say exactly
what is wrong. Knows nothing of hands.
"""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from handmesh.errors import HandMeshError

_CHUNK = 1 << 24
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
    array = _parse_fast(path, shape)
    faults: dict[str, list[int]] = {}
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


def _parse_fast(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """All numbers of the file in order, or None when the counts do not prove the expected structure."""
    parts: list[np.ndarray] = []
    opened = closed = 0
    rest = b""
    with open(path, "rb") as handle, warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            while block := handle.read(_CHUNK):
                opened, closed = opened + block.count(b"["), closed + block.count(b"]")
                text = rest + block
                cut = text.rfind(b",")
                if cut < 0:
                    rest = text
                    continue
                parts.append(_numbers(text[:cut]))
                rest = text[cut + 1 :]
            parts.append(_numbers(rest))
        except (ValueError, DeprecationWarning):
            return None
    flat = np.concatenate(parts)
    per_entry = math.prod(shape)
    count, remainder = divmod(flat.size, per_entry)
    # Brackets of one entry: a scalar has none, (3,) one pair, (21, 3) 22 pairs.
    pairs = sum(math.prod(shape[:axis]) for axis in range(len(shape)))
    if remainder or opened != closed or opened not in (1 + count * pairs, 1 + count * (pairs + 1)):
        return None
    return flat.reshape(count, *shape)


def _numbers(text: bytes) -> np.ndarray:
    plain = text.translate(_BRACKETS_TO_SPACES).decode("ascii")
    if not plain.strip():  # an empty list, or a comma too many: NumPy reads -1 there
        raise ValueError("no number")
    return np.fromstring(plain, sep=",")


def _parse_slow(path: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, dict[str, list[int]]]:
    """The entries, NaN where they do not fit, and the faults of those with their places."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise HandMeshError(
            f"expected a whole JSON file at {path}, it is truncated or malformed ({error}); download it again"
        ) from None
    if not isinstance(content, list):
        raise HandMeshError(f"expected a JSON list in {path}, got {type(content).__name__}; download it again")
    array = np.full((len(content), *shape), np.nan)
    faults: dict[str, list[int]] = {}
    for index, entry in enumerate(content):
        try:
            value = np.asarray(entry, dtype=np.float64)
        except (TypeError, ValueError):
            faults.setdefault("something that is no array of numbers", []).append(index)
            continue
        if value.shape != shape and value.shape != (1, *shape):
            faults.setdefault(f"shape {value.shape}", []).append(index)
        else:
            array[index] = value.reshape(shape)
    return array, faults
