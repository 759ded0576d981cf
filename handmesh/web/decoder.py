"""Visitors' pictures, decoded in a process of their own: one that hangs or grows is ended, and the server goes on."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError

#: A picture that takes longer to decode than this many seconds is given up.
TIME_LIMIT_S = 10.0
#: The process may take this much address space: a picture of the largest size allowed, several times over.
_MEMORY_LIMIT_BYTES = 3 << 30


class PhotoDecoder:
    """:func:`handmesh.read_image` in a child process, one picture at a time, with limits on time and memory.

    The child starts with the first picture and again after one that had to be ended. What comes back is a size and
    pixels, never a pickle.
    """

    def __init__(self, time_limit_s: float = TIME_LIMIT_S) -> None:
        """``time_limit_s``: for one picture, the child's own start not counted."""
        self.time_limit_s = time_limit_s
        self._lock = threading.Lock()
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None

    def __call__(self, path: str | os.PathLike[str]) -> NDArray[np.uint8]:
        """The picture as (H, W, 3) uint8 RGB.

        Raises:
            HandMeshError: as of read_image, naming the file alone and not its folder; or the limits were reached.
        """
        name = Path(path).name
        with self._lock:
            pipe = self._started()
            try:
                pipe.send_bytes(os.fspath(path).encode("utf-8", "surrogateescape"))
                if not pipe.poll(self.time_limit_s):
                    self._end()
                    raise HandMeshError(
                        f"expected {name} to open within {self.time_limit_s:.0f} s, it did not; "
                        "save it again as JPEG or PNG"
                    )
                header = json.loads(pipe.recv_bytes())
                if "error" in header:
                    raise HandMeshError(header["error"].replace(os.fspath(path), name))
                pixels = np.frombuffer(pipe.recv_bytes(), np.uint8)
            except (EOFError, OSError) as error:
                self._end()
                raise HandMeshError(
                    f"expected an image, got {name}, which could not be opened; save it again as JPEG or PNG"
                ) from error
        return pixels.reshape(header["shape"]).copy()

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end()

    def _started(self) -> Connection:
        if self._pipe is None or self._process is None or not self._process.is_alive():
            self._end()
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_decode_until_closed, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
            if not self._pipe.poll(60.0) or self._pipe.recv_bytes() != b"ready":
                self._end()
                raise HandMeshError("expected the picture reader to start, it did not; try again")
        return self._pipe

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join(5.0)
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


def _decode_until_closed(pipe: Connection) -> None:
    """The child: answer paths with a header and pixels until the server closes the pipe."""
    import signal

    from handmesh.io.images import read_image

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to handle
    # Not on every system; the limit on the picture's size holds everywhere.
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT_BYTES, _MEMORY_LIMIT_BYTES))
    pipe.send_bytes(b"ready")
    while True:
        try:
            path = pipe.recv_bytes().decode("utf-8", "surrogateescape")
        except EOFError:
            return
        try:
            image = np.ascontiguousarray(read_image(path))
        except HandMeshError as error:
            _answer(pipe, {"error": str(error)})
        except MemoryError:
            _answer(pipe, {"error": f"expected an image that fits in memory, got {path}; make it smaller first"})
        except Exception as error:  # noqa: BLE001 - a reader of some format may raise anything at all
            _answer(pipe, {"error": f"expected an image, got {path}: {type(error).__name__}; save it again as JPEG"})
        else:
            _answer(pipe, {"shape": image.shape})
            pipe.send_bytes(image.data.cast("B"))


def _answer(pipe: Connection, header: dict[str, object]) -> None:
    pipe.send_bytes(json.dumps(header).encode())
