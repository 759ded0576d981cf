"""MANO_RIGHT.pkl without chumpy and without running anything that the file says.

A pickle is a program for a stack machine: it names functions and calls them. Here its instructions are read one by one
by a machine that knows a few dozen of them, holds plain data only, and counts steps and bytes: nothing is imported,
nothing is hashed but short strings, and every step can be interrupted. The file is a Python 2 pickle of a dict with
chumpy, scipy and NumPy objects inside; what its arrays mean is checked by arrays.py.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from handmesh.errors import HandMeshError
from handmesh.mano.pickle_objects import Array, Budget, Dtype, Name, Object, Refused, dense_array, look_up

MAX_FILE_BYTES = 16 * 2**20  # the original has 3.8 MB, 11 MB with everything dense
MAX_STEPS = 20_000  # the original takes a few hundred
MAX_NAME = 64  # characters of a key
#: Instructions whose argument is the value itself.
_CONSTANTS = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8",
})  # fmt: skip
_LITERALS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": list,
}  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """Follows the instructions of a pickle. A file that copies, drops or shares by tricks of the stack is refused."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        """What the pickle describes, made of plain data and the stand-ins above."""
        for step, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if step > MAX_STEPS:
                raise Refused("far more parts than a MANO file has")
            if opcode.name == "STOP":
                return self._pop()
            self._follow(opcode.name, argument)
        raise Refused("a file that is cut off")

    def _follow(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            if isinstance(argument, int) and argument.bit_length() > 64:
                raise Refused("a number of more than 64 bits")
            self._stack.append(argument)
        elif name in _LITERALS:
            self._stack.append(_LITERALS[name]())
        elif name in ("PROTO", "FRAME"):
            pass
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self._memo[len(self._memo) if argument is None else argument] = self._top()
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            if argument not in self._memo:
                raise Refused("a part that was never kept")
            self._stack.append(self._memo[argument])
        elif name == "MARK":
            self._marks.append(len(self._stack))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            words = tuple(argument.split(" ")) if argument is not None else tuple(reversed((self._pop(), self._pop())))
            self._stack.append(look_up(words))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, called = self._pop(), self._pop()
            if not isinstance(called, Name) or not isinstance(arguments, tuple):
                raise Refused("a call of something that has no name")
            made = called.make(*arguments)
            # One text of the file may be encoded again and again.
            self._budget.take(len(made) if isinstance(made, bytes) else 0)
            self._stack.append(made)
        elif name == "BUILD":
            state, built = self._pop(), self._top()
            if not isinstance(built, Object | Array | Dtype):
                raise Refused("a state of something that is no object")
            built.build(state)
            if isinstance(built, Array) and built.value is not None:
                self._budget.take(built.value.nbytes)
        else:
            self._collect(name)

    def _collect(self, name: str) -> None:
        """Instructions that put several values together."""
        if name in _TUPLES:
            self._stack.append(tuple(reversed([self._pop() for _ in range(_TUPLES[name])])))
        elif name in ("TUPLE", "LIST"):
            items = self._since_mark()
            self._stack.append(tuple(items) if name == "TUPLE" else items)
        elif name == "DICT":
            items = self._since_mark()
            self._stack.append({})
            self._set(items)
        elif name in ("APPEND", "APPENDS", "ADDITEMS"):
            items = [self._pop()] if name == "APPEND" else self._since_mark()
            target = self._top()
            if not isinstance(target, list):
                raise Refused("a list that is none")
            target.extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            self._set(list(reversed((self._pop(), self._pop()))) if name == "SETITEM" else self._since_mark())
        elif name.startswith(("EXT", "PERSID", "BINPERSID", "NEXT_BUFFER")):
            raise Refused("a reference to something outside the file")
        else:
            raise Refused(f"the instruction {name}, which no MANO file needs")

    def _set(self, items: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, dict) or len(items) % 2:
            raise Refused("a dictionary that is none")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Any other key would be hashed, which takes as long as its maker likes.
            if type(key) is not str or len(key) > MAX_NAME:
                raise Refused("a dictionary of something else than names")
            target[key] = value

    def _floor(self) -> int:
        return self._marks[-1] if self._marks else 0

    def _top(self) -> Any:
        if len(self._stack) <= self._floor():
            raise Refused("fewer parts than its instructions take")
        return self._stack[-1]

    def _pop(self) -> Any:
        value = self._top()
        self._stack.pop()
        return value

    def _since_mark(self) -> list[Any]:
        if not self._marks:
            raise Refused("fewer parts than its instructions take")
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items


def read_mano_pickle(path: str | Path) -> dict[str, np.ndarray]:
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
        budget = Budget()
        content = _Machine(budget).run(data)
        if not isinstance(content, dict):
            raise Refused("something else than a dictionary of names")
        arrays = {key: dense_array(value, budget) for key, value in content.items()}
    except Refused as refusal:
        raise _error(path, str(refusal)) from None
    except (MemoryError, RecursionError) as error:
        raise _error(path, f"a structure too large to read ({type(error).__name__})") from None
    except Exception as error:  # noqa: BLE001 - where instructions are read, a cut file can raise nearly anything
        raise _error(path, f"no readable pickle ({type(error).__name__}: {str(error)[:80]})") from None
    return {key: value for key, value in arrays.items() if value is not None}


def _error(path: Path, found: str) -> HandMeshError:
    return HandMeshError(
        f"expected an unmodified MANO_RIGHT.pkl at {path}, found {found[:200]}; nothing in it was run; download it "
        "again from its owners (mano.is.tue.mpg.de)"
    )
