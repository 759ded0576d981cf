"""Where a checkpoint's file is: the shipped one by name, a file, or a run's folder. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from handmesh.errors import HandMeshError

#: A run's folder holds its network under this name.
FILE_NAME = "model.safetensors"
NEXT_STEP = "train one with scripts/train.sh, or use the shipped one (default)"


def file_of(path: str | Path) -> Path:
    """The .safetensors file itself, or the one in a run's folder, whether it is there or not."""
    path = Path(path)
    return path if path.suffix == ".safetensors" else path / FILE_NAME


def find_checkpoint(path: str | Path) -> Path:
    """The file meant by "default" (the weights shipped with the package), a file's or a folder's path.

    Raises:
        HandMeshError: there is none.
    """
    if str(path) == "default":
        file = Path(__file__).resolve().parent.parent / "assets" / "default.safetensors"
    else:
        file = file_of(path)
    if not file.is_file():
        raise HandMeshError(f"expected a checkpoint, got {path}: there is no file {file}; {NEXT_STEP}")
    return file
