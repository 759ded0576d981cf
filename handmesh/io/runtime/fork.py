"""What must be made anew in a forked child: locks another thread may have held, and libraries whose threads are gone.

A fork copies memory and one thread. A runtime's worker threads exist in the parent alone, so that a child that uses its
copy waits for them for ever, and even letting go of it waits for them.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Protocol


class _Renewable(Protocol):
    def after_fork(self) -> None:
        """Called in the child, before anything else runs there: forget what the parent's threads held."""
        ...


_is_forked = False
_RENEWED: weakref.WeakSet[_Renewable] = weakref.WeakSet()


def renew_after_fork(thing: _Renewable) -> None:
    """Have ``thing.after_fork()`` called in every forked child for as long as the thing lives."""
    _RENEWED.add(thing)


def never_release(thing: object) -> None:
    """Keep an object until the process is gone, whoever lets go of it: one whose destructor would wait for ever."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def is_forked() -> bool:
    """Whether this process was forked after this module was imported."""
    return _is_forked


def _in_child() -> None:
    global _is_forked
    _is_forked = True
    for thing in list(_RENEWED):
        thing.after_fork()


# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
