"""Arrays of an .npz file, read only after each one's header has been held against the bytes that are there.

NumPy's own reader allocates whatever shape a header claims, and trusts what an archive says of its size.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from pathlib import Path

import numpy as np

from handmesh.errors import reason_of

#: Plain numbers, truth values and text; never objects, which NumPy keeps as pickles.
_KINDS = "biufU"
_MAX_MEMBERS = 200
_MAX_AXES = 8
#: Of Unicode.
_LAST_LETTER = 0x10FFFF


def read_npz(path: str | os.PathLike[str], max_bytes: int) -> dict[str, np.ndarray]:
    """Every array of an .npz file by its name.

    Args:
        path: the file.
        max_bytes: of all arrays together, unpacked.

    Raises:
        OSError: no such file, or it cannot be read.
        ValueError: another format, damaged, more than ``max_bytes``, or arrays of something else than numbers and text.
    """
    file = Path(path)
    # Names and places of members are read before their sizes are known: a file is not larger than what it holds.
    if file.stat().st_size > max_bytes:
        raise ValueError(f"a file of {file.stat().st_size >> 20} MB, more than {max_bytes >> 20} MB")
    with open(file, "rb") as opened:
        try:
            with zipfile.ZipFile(opened) as archive:
                return _read(archive, max_bytes)
        except ValueError:
            raise
        except Exception as error:  # damaged archives raise nearly anything
            raise ValueError(f"no whole .npz ({type(error).__name__}: {reason_of(error, 80)})") from error


def _read(archive: zipfile.ZipFile, max_bytes: int) -> dict[str, np.ndarray]:
    members = archive.infolist()
    if len(members) > _MAX_MEMBERS or len({member.filename for member in members}) != len(members):
        raise ValueError(f"{len(members)} members, more than {_MAX_MEMBERS} or some of one name")
    if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in members):
        raise ValueError("packed in a way that NumPy does not use")
    unpacked = sum(member.file_size for member in members)
    if unpacked > max_bytes:
        raise ValueError(f"{unpacked >> 20} MB of arrays, more than {max_bytes >> 20} MB")
    return {member.filename.removesuffix(".npy"): _array(archive.read(member), member.filename) for member in members}


def _array(content: bytes, name: str) -> np.ndarray:
    """The array of one member; ValueError where its header and its bytes do not fit."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"{name[:80]!r} in a version of the format that is not known")
    shape, is_fortran, dtype = readers[version](stream)
    if dtype.hasobject or dtype.kind not in _KINDS or not 0 <= len(shape) <= _MAX_AXES:
        raise ValueError(f"{name[:80]!r} holds something else than numbers or text")
    data = content[stream.tell() :]
    if any(type(side) is not int or side < 0 for side in shape) or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{name[:80]!r} claims another shape than its {len(data)} bytes have")
    letters = np.frombuffer(data, np.dtype(np.uint32).newbyteorder(dtype.byteorder)) if dtype.kind == "U" else None
    if letters is not None and (letters > _LAST_LETTER).any():
        # NumPy makes text of them all the same, and using it is an internal error of Python.
        raise ValueError(f"{name[:80]!r} holds numbers that are no letters")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C").copy()
