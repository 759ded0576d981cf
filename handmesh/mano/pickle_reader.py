"""MANO_RIGHT.pkl without chumpy and without running anything that the file says.

A pickle is a program: it names functions and calls them. This reader knows the dozen names that a MANO file
needs and gives each an inert stand-in of its own; any other name ends the reading. What comes out is plain
arrays. Knows the layout of the file (a Python 2 pickle of a dict with chumpy, scipy and NumPy objects
inside); does not know what the arrays mean (arrays.py checks that).
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from handmesh.errors import HandMeshError

MAX_FILE_BYTES = 64 * 2**20  # the original has 3.8 MB, 11 MB with everything dense
MAX_ARRAY_BYTES = 64 * 2**20
MAX_STEPS = 200_000  # the original takes a few hundred
_KINDS = "fiub"  # numbers and booleans; never objects, strings or records


class _Refused(Exception):
    """Something in the file that a MANO file does not need."""


# Everything a file can name is a class of ours with __setstate__: a function would let the file write to its
# attributes.


class _Stand:
    """An object of the file that stays data: remembers its state, does nothing."""

    state: dict[str, Any] = {}

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        # chumpy pickles a dict, scipy too; with slots it is a pair whose first part is the dict.
        first = state[0] if isinstance(state, tuple) and state else state
        self.state = first if isinstance(first, dict) else {}


class _Chumpy(_Stand):
    """chumpy.ch.Ch: an array in state["x"]."""


class _Select(_Stand):
    """chumpy.reordering.Select: entries state["idxs"] of state["a"], in the shape
    state["preferred_shape"]."""


class _Sparse(_Stand):
    """scipy.sparse csc_matrix: compressed columns."""


class _Dtype:
    """numpy.dtype: its name and byte order, both checked before NumPy sees them."""

    def __init__(self, name: Any, *_: Any) -> None:
        self.name, self.order = name, "="

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]

    def numpy(self) -> np.dtype[Any]:
        """The real dtype, for plain numbers only."""
        if not isinstance(self.name, str) or len(self.name) > 3:
            raise _Refused(f"an array of type {str(self.name)[:20]!r}")
        try:
            dtype = np.dtype(self.name).newbyteorder(self.order if self.order != "|" else "=")  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise _Refused(f"an array of type {self.name!r}") from None
        if dtype.kind not in _KINDS:
            raise _Refused(f"an array of type {self.name!r} (only numbers are read)")
        return dtype


class _Array:
    """numpy.ndarray: made from its declared shape only once its bytes are known to be that many."""

    def __init__(self, *_: Any) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise _Refused("an array without shape, type and data")
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple) or not all(type(n) is int for n in shape):
            raise _Refused("an array without shape and type")
        if isinstance(data, str):
            data = data.encode("latin1")
        kind = dtype.numpy()
        if not isinstance(data, bytes) or any(n < 0 for n in shape) or len(shape) > 4:
            raise _Refused("an array that is not plain numbers")
        if math.prod(shape) * kind.itemsize != len(data) or len(data) > MAX_ARRAY_BYTES:
            raise _Refused(f"an array of shape {shape} with {len(data)} bytes of data")
        self.value = np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")


class _Value:
    """Base of the stand-ins that give a plain value when called."""

    def __setstate__(self, _: Any) -> None:
        raise _Refused("a value with a state")


class _Reconstruct(_Value):
    """numpy's _reconstruct: an array still to be filled."""

    def __new__(cls, *_: Any) -> Any:
        return _Array()


class _Scalar(_Value):
    """numpy's scalar: a type and its bytes."""

    def __new__(cls, dtype: Any, data: Any = b"") -> Any:
        if isinstance(data, str):
            data = data.encode("latin1")
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes) or len(data) != dtype.numpy().itemsize:
            raise _Refused("a number without its bytes")
        return np.frombuffer(data, dtype.numpy())[0]


class _Encode(_Value):
    """_codecs.encode, by which Python 3 writes bytes for Python 2; that one codec only."""

    def __new__(cls, text: Any, codec: Any = "") -> Any:
        if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
            raise _Refused("text in an unusual codec")
        return text.encode("latin1")


class _Set(_Value):
    """set, as a tuple: nothing in a MANO file's sets is read."""

    def __new__(cls, items: Any = ()) -> Any:
        return tuple(items) if isinstance(items, list | tuple) else ()


_ALLOWED: dict[tuple[str, str], type] = {
    ("chumpy.ch", "Ch"): _Chumpy,
    ("chumpy.reordering", "Select"): _Select,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("__builtin__", "set"): _Set,
    ("builtins", "set"): _Set,
    ("_codecs", "encode"): _Encode,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Scalar for core in ("core", "_core")},
    **{(f"scipy.sparse.{module}", "csc_matrix"): _Sparse for module in ("csc", "_csc")},
}


class _Reader(pickle.Unpickler):
    """An unpickler to which only the names above exist."""

    def find_class(self, module_name: str, global_name: str) -> type:
        """Look the name up; nothing is ever imported."""
        found = _ALLOWED.get((module_name, global_name))
        if found is None:
            raise _Refused(f"the name {module_name[:60]}.{global_name[:60]}")
        return found

    def persistent_load(self, pid: Any) -> Any:
        """References to things outside the file are refused."""
        raise _Refused("a reference to something outside the file")


def _scan(data: bytes) -> None:
    """Walk through the pickle's instructions without following them, and refuse what would cost memory or
    leave it.

    The memo is an array in the C unpickler: one instruction with a huge number would have it allocate
    gigabytes.
    """
    for step, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if step > MAX_STEPS or (opcode.name.endswith("PUT") and int(argument or 0) > MAX_STEPS):
            raise _Refused("far more parts than a MANO file has")
        if opcode.name.startswith(("EXT", "PERSID", "BINPERSID", "NEXT_BUFFER")):
            raise _Refused("a reference to something outside the file")


def read_mano_pickle(path: str | Path) -> dict[str, Any]:
    """The arrays of a MANO pickle by key, dense float or integer; other entries (text, lists) are left out.

    Raises HandMeshError when the file is no such pickle, is cut off, is too large, or names anything that a
    MANO file does not need: nothing of it has been run then.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise HandMeshError(f"expected MANO_RIGHT.pkl at {path}, could not read it ({error.strerror})") from None
    if len(data) > MAX_FILE_BYTES:
        raise _error(path, f"more than {MAX_FILE_BYTES >> 20} MB")
    try:
        _scan(data)
        content = _Reader(io.BytesIO(data), encoding="latin1").load()
        if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
            raise _Refused("something else than a dictionary of names")
        arrays = {key: _dense(value) for key, value in content.items()}
    except _Refused as refusal:
        raise _error(path, str(refusal)) from None
    except (MemoryError, RecursionError) as error:
        raise _error(path, f"a structure too large to read ({type(error).__name__})") from None
    except Exception as error:  # a cut or foreign file can raise nearly anything inside the unpickler
        raise _error(path, f"no readable pickle ({type(error).__name__}: {str(error)[:80]})") from None
    return {key: value for key, value in arrays.items() if value is not None}


def _error(path: Path, found: str) -> HandMeshError:
    return HandMeshError(
        f"expected an unmodified MANO_RIGHT.pkl at {path}, found {found}; nothing in it was run; download it "
        "again from its owners (mano.is.tue.mpg.de)"
    )


def _dense(value: Any) -> np.ndarray | None:
    """A plain array of an entry, None for what is no array."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, _Chumpy):
        return _dense(value.state.get("x"))
    if isinstance(value, _Select):
        return _select(value)
    if isinstance(value, _Sparse):
        return _sparse(value)
    if isinstance(value, np.generic | int | float) and not isinstance(value, bool):
        return np.asarray(value)
    return None


def _select(value: _Select) -> np.ndarray:
    source, chosen = _dense(value.state.get("a")), _dense(value.state.get("idxs"))
    shape = value.state.get("preferred_shape")
    if source is None or chosen is None or not isinstance(shape, tuple | list):
        raise _Refused("a chumpy Select without its parts")
    if chosen.dtype.kind not in "iu" or chosen.size and not 0 <= int(chosen.min()) <= int(chosen.max()) < source.size:
        raise _Refused("a chumpy Select that points outside its array")
    if not all(isinstance(n, int | np.integer) for n in shape) or math.prod(int(n) for n in shape) != chosen.size:
        raise _Refused("a chumpy Select whose shape does not fit")
    return source.ravel()[chosen.ravel()].reshape([int(n) for n in shape])


def _sparse(value: _Sparse) -> np.ndarray:
    """Compressed columns to a dense matrix; every index is checked before it is used."""
    state = value.state
    shape = state.get("_shape", state.get("shape"))
    data, rows, starts = (_dense(state.get(key)) for key in ("data", "indices", "indptr"))
    if data is None or rows is None or starts is None or not isinstance(shape, tuple) or len(shape) != 2:
        raise _Refused("a sparse matrix without its parts")
    height, width = (int(n) if isinstance(n, int | np.integer) else -1 for n in shape)
    if height < 0 or width < 0 or height * width * 8 > MAX_ARRAY_BYTES or starts.shape != (width + 1,):
        raise _Refused(f"a sparse matrix of shape {shape}")
    if any(a.ndim != 1 or a.dtype.kind not in "iu" for a in (rows, starts)) or data.shape != rows.shape:
        raise _Refused("a sparse matrix whose parts do not fit")
    edges = starts.astype(np.int64)
    counts = edges[1:] - edges[:-1]
    is_whole = starts[0] == 0 and (counts >= 0).all() and starts[-1] == data.size
    if not is_whole or (data.size and not 0 <= int(rows.min()) <= int(rows.max()) < height):
        raise _Refused("a sparse matrix whose indices do not fit")
    dense = np.zeros((height, width))
    np.add.at(dense, (rows.astype(np.int64), np.repeat(np.arange(width), counts)), data)
    return dense
