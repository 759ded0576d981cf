"""What a MANO pickle's objects become: inert stand-ins that hold plain data, and the dense arrays made of them.

A name of the file is looked up here and nowhere else: chumpy, scipy and NumPy are never asked for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAX_BYTES = 64 * 2**20  # of all arrays together, those that selections and sparse matrices become among them
_MAX_DEPTH = 4  # an array in a chumpy object in a selection is 3
_KINDS = "fiub"  # numbers and booleans; never objects, strings or records


class Refused(Exception):
    """Something in the file that a MANO file does not need."""


@dataclass(frozen=True)
class Name:
    """A function or class that the file names; ``make`` gives what stands for the result of a call."""

    make: Callable[..., Any]


@dataclass(eq=False)
class Object:
    """A chumpy or scipy object, which stays data: it remembers its state."""

    state: dict[str, Any] = field(default_factory=dict)

    def build(self, state: Any) -> None:
        """Take the state that the pickle gives."""
        # chumpy pickles a dict, scipy too; with slots it is a pair whose first part is the dict.
        first = state[0] if isinstance(state, tuple) and state else state
        self.state = first if isinstance(first, dict) else {}


class Chumpy(Object):
    """chumpy.ch.Ch: an array in state["x"]."""


class Select(Object):
    """chumpy.reordering.Select: entries state["idxs"] of state["a"], in the shape state["preferred_shape"]."""


class Sparse(Object):
    """scipy.sparse csc_matrix: compressed columns."""


class Dtype:
    """numpy.dtype: its name and byte order, both checked before NumPy sees them."""

    def __init__(self, name: Any) -> None:
        self.name, self.order = name, "="

    def build(self, state: Any) -> None:
        """Take the state that the pickle gives, checked."""
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]

    def numpy(self) -> np.dtype[Any]:
        """The real dtype, for plain numbers only."""
        if not isinstance(self.name, str) or len(self.name) > 3:
            raise Refused(f"an array of type {str(self.name)[:20]!r}")
        try:
            dtype = np.dtype(self.name).newbyteorder(self.order if self.order != "|" else "=")  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise Refused(f"an array of type {self.name!r}") from None
        if dtype.kind not in _KINDS:
            raise Refused(f"an array of type {self.name!r} (only numbers are read)")
        return dtype


class Array:
    """numpy.ndarray: made from its declared shape only once its bytes are known to be that many."""

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def build(self, state: Any) -> None:
        """Take the state that the pickle gives, checked."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise Refused("an array without shape, type and data")
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, Dtype) or not isinstance(shape, tuple) or not all(type(n) is int for n in shape):
            raise Refused("an array without shape and type")
        if isinstance(data, str):
            data = data.encode("latin1")
        kind = dtype.numpy()
        if not isinstance(data, bytes) or any(n < 0 for n in shape) or len(shape) > 4:
            raise Refused("an array that is not plain numbers")
        if math.prod(shape) * kind.itemsize != len(data):
            raise Refused(f"an array of shape {shape} with {len(data)} bytes of data")
        self.value = np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")


def _scalar(dtype: Any = None, data: Any = b"", *_: Any) -> Any:
    """numpy's scalar: a type and its bytes."""
    if isinstance(data, str):
        data = data.encode("latin1")
    if not isinstance(dtype, Dtype) or not isinstance(data, bytes) or len(data) != dtype.numpy().itemsize:
        raise Refused("a number without its bytes")
    return np.frombuffer(data, dtype.numpy())[0]


def _encode(text: Any = None, codec: Any = "", *_: Any) -> bytes:
    """_codecs.encode, by which Python 3 writes bytes for Python 2; that one codec only."""
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        raise Refused("text in an unusual codec")
    return text.encode("latin1")


NAMES: dict[tuple[str, str], Name] = {
    ("chumpy.ch", "Ch"): Name(lambda *_: Chumpy()),
    ("chumpy.reordering", "Select"): Name(lambda *_: Select()),
    ("numpy", "ndarray"): Name(lambda *_: Array()),
    ("numpy", "dtype"): Name(lambda name=None, *_: Dtype(name)),
    # Nothing in a MANO file's sets is read.
    ("__builtin__", "set"): Name(lambda *_: None),
    ("builtins", "set"): Name(lambda *_: None),
    ("_codecs", "encode"): Name(_encode),
    **{(f"numpy.{core}.multiarray", "_reconstruct"): Name(lambda *_: Array()) for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): Name(_scalar) for core in ("core", "_core")},
    **{(f"scipy.sparse.{module}", "csc_matrix"): Name(lambda *_: Sparse()) for module in ("csc", "_csc")},
}


def look_up(words: tuple[Any, ...]) -> Name:
    """What stands for a module's name in the file; Refused for every other one."""
    if len(words) != 2 or not all(type(word) is str for word in words):
        raise Refused("a name that is none")
    found = NAMES.get(words)  # type: ignore[arg-type]
    if found is None:
        raise Refused(f"the name {'.'.join(word[:60] for word in words)}")
    return found


class Budget:
    """Bytes that arrays, texts and dense copies may still take, together."""

    def __init__(self) -> None:
        self.left = MAX_BYTES

    def take(self, count: int) -> None:
        """Use up so many, or refuse the file."""
        self.left -= count
        if self.left < 0:
            raise Refused(f"more than {MAX_BYTES >> 20} MB of arrays")


def dense_array(value: Any, budget: Budget, depth: int = 1) -> np.ndarray | None:
    """A plain array of an entry.

    Args:
        value: what was read: an array, chumpy's, scipy's sparse one, or a number.
        budget: of the bytes that may be made dense.
        depth: how many arrays this one is inside of, itself counted.

    Returns:
        None for what is no array.

    Raises:
        Refused: nested deeper than a MANO file has it, too large, or of parts that do not fit together.
    """
    if depth > _MAX_DEPTH:
        raise Refused("arrays inside arrays, deeper than a MANO file has them")
    if isinstance(value, Array):
        return value.value
    if isinstance(value, Chumpy):
        return dense_array(value.state.get("x"), budget, depth + 1)
    if isinstance(value, Select):
        return _select(value, budget, depth + 1)
    if isinstance(value, Sparse):
        return _sparse(value, budget, depth + 1)
    if isinstance(value, np.generic | int | float) and not isinstance(value, bool):
        return np.asarray(value)
    return None


def _select(value: Select, budget: Budget, depth: int) -> np.ndarray:
    source, chosen = (dense_array(value.state.get(key), budget, depth) for key in ("a", "idxs"))
    shape = value.state.get("preferred_shape")
    if source is None or chosen is None or not isinstance(shape, tuple | list):
        raise Refused("a chumpy Select without its parts")
    if chosen.dtype.kind not in "iu" or chosen.size and not 0 <= int(chosen.min()) <= int(chosen.max()) < source.size:
        raise Refused("a chumpy Select that points outside its array")
    if not all(isinstance(n, int | np.integer) for n in shape) or math.prod(int(n) for n in shape) != chosen.size:
        raise Refused("a chumpy Select whose shape does not fit")
    # The source is copied too where it is stored by columns.
    budget.take(source.nbytes + chosen.size * (source.itemsize + chosen.itemsize))
    return source.ravel()[chosen.ravel()].reshape([int(n) for n in shape])


def _sparse(value: Sparse, budget: Budget, depth: int) -> np.ndarray:
    """Compressed columns to a dense matrix; every index is checked before it is used."""
    state = value.state
    shape = state.get("_shape", state.get("shape"))
    data, rows, starts = (dense_array(state.get(key), budget, depth) for key in ("data", "indices", "indptr"))
    if data is None or rows is None or starts is None or not isinstance(shape, tuple) or len(shape) != 2:
        raise Refused("a sparse matrix without its parts")
    height, width = (int(n) if isinstance(n, int | np.integer) else -1 for n in shape)
    if height < 0 or width < 0 or height * width * 8 > MAX_BYTES or starts.shape != (width + 1,):
        raise Refused(f"a sparse matrix of shape {shape}")
    if any(a.ndim != 1 or a.dtype.kind not in "iu" for a in (rows, starts)) or data.shape != rows.shape:
        raise Refused("a sparse matrix whose parts do not fit")
    budget.take(height * width * 8 + 24 * (rows.size + starts.size))
    edges = starts.astype(np.int64)
    counts = edges[1:] - edges[:-1]
    is_whole = starts[0] == 0 and (counts >= 0).all() and starts[-1] == data.size
    if not is_whole or (data.size and not 0 <= int(rows.min()) <= int(rows.max()) < height):
        raise Refused("a sparse matrix whose indices do not fit")
    dense = np.zeros((height, width))
    np.add.at(dense, (rows.astype(np.int64), np.repeat(np.arange(width), counts)), data)
    return dense
