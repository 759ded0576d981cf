"""Where a checkpoint's file is: the shipped one by name, a file, or a run's folder. Needs no torch."""

from __future__ import annotations

import json
from pathlib import Path

from handmesh.errors import HandMeshError, reason_of

#: A run's folder holds its network under this name.
FILE_NAME = "model.safetensors"
#: Key of the description in the file's header, and what a header may have.
HEADER = "handmesh"
MAX_HEADER_BYTES = 10_000_000
#: Names of the weights that may come with the package: of the mesh network, and of the detector.
SHIPPED_DETECTOR = "default-detector"
SHIPPED = ("default", SHIPPED_DETECTOR)
NEXT_STEP = "train one with scripts/train.sh, or use the shipped one (default)"


def file_of(path: str | Path) -> Path:
    """The .safetensors file itself, or the one in a run's folder, whether it is there or not."""
    path = Path(path)
    return path if path.suffix == ".safetensors" else path / FILE_NAME


def shipped_file(name: str) -> Path:
    """Where the package has the weights of a name of SHIPPED, whether they are there or not."""
    return Path(__file__).resolve().parent.parent / "assets" / f"{name}.safetensors"


def find_checkpoint(path: str | Path) -> Path:
    """The file meant by a name of SHIPPED (the weights that come with the package), a file's or a folder's path.

    Raises:
        HandMeshError: there is none.
    """
    file = shipped_file(str(path)) if str(path) in SHIPPED else file_of(path)
    if not file.is_file():
        raise HandMeshError(f"expected a checkpoint, got {path}: there is no file {file}; {NEXT_STEP}")
    return file


def hand_fingerprint_of(path: str | Path) -> str:
    """Which hand model a checkpoint was made with, "" where it does not say; nothing but its header is read.

    Raises:
        HandMeshError: there is none, or it is damaged or foreign.
    """
    file = find_checkpoint(path)
    try:
        with open(file, "rb") as opened:
            # safetensors: eight bytes of length, then the header.
            length = int.from_bytes(opened.read(8), "little")
            if length > MAX_HEADER_BYTES:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(opened.read(length))
        return str(json.loads(header["__metadata__"][HEADER]).get("hand_fingerprint", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        line = reason_of(error)
        reason = f"expected a handmesh checkpoint, could not read it ({line})"
        raise HandMeshError(f"{file}: {reason}; {NEXT_STEP}") from error
