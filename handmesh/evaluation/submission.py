"""pred.json: what FreiHAND's official evaluation tool reads. Two lists, of joints and of vertices, in id
order.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from handmesh.data.json_arrays import name_ids
from handmesh.errors import HandMeshError, reason_of
from handmesh.io.files import atomic_path
from handmesh.skeleton import NUM_JOINTS, NUM_VERTICES

_DECIMALS = 7  # a tenth of a micrometre


def write_predictions(path: str | Path, joints: np.ndarray, vertices: np.ndarray) -> None:
    """Write pred.json.

    Args:
        path: the file, written whole or not at all.
        joints: (N, 21, 3) metres, camera frame.
        vertices: (N, 778, 3) metres, camera frame.
    """
    with atomic_path(path) as temporary, open(temporary, "w", encoding="ascii") as file:
        for opening, points in (("[[", joints), ("],[", vertices)):
            file.write(opening)
            for number, entry in enumerate(points):
                rounded = np.round(np.asarray(entry, np.float64), _DECIMALS).tolist()
                file.write("," * (number > 0) + json.dumps(rounded, separators=(",", ":")))
        file.write("]]")


def read_predictions(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """joints (N, 21, 3) and vertices (N, 778, 3) float64; HandMeshError naming what is wrong with the
    file.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise HandMeshError(f"expected predictions at {path}, could not read them ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise HandMeshError(
            f"expected a whole JSON file at {path}, it is truncated or malformed ({reason_of(error)})"
        ) from None
    if not isinstance(content, list) or len(content) != 2 or not all(isinstance(part, list) for part in content):
        raise HandMeshError(
            f"expected two lists in {path}, of joints and of vertices; write it as the official tool asks"
        )
    joints, vertices = _points(path, content[0], NUM_JOINTS), _points(path, content[1], NUM_VERTICES)
    if len(joints) != len(vertices):
        raise HandMeshError(f"expected as many joints as vertices in {path}, got {len(joints)} and {len(vertices)}")
    return joints, vertices


def _points(path: Path, entries: list[object], count: int) -> np.ndarray:
    result = np.zeros((len(entries), count, 3))
    bad = []
    for index, entry in enumerate(entries):
        try:
            points = np.asarray(entry, np.float64)
            if points.shape != (count, 3):
                raise ValueError(f"shape {points.shape}")
            result[index] = points
        except (TypeError, ValueError, OverflowError, RecursionError):
            bad.append(index)
    bad += np.flatnonzero(~np.isfinite(result).all(axis=(1, 2))).tolist()
    if bad:
        raise HandMeshError(f"expected {count} finite points in each entry of {path}, not so in {name_ids(bad)}")
    return result
