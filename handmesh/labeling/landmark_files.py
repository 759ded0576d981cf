"""Photos that come with a landmark model's output: FOLDER/labels.jsonl beside the pictures, one line a picture.

A line holds ``file``, ``kp2d`` 21 x (x, y) and ``z`` 21, in pixels of the picture counted from its border, ``world``
21 x 3 metres, ``mp_label`` ("Left" or "Right", as MediaPipe names the side: of the mirrored picture) and ``src``, the
file that the picture was cut from. Such labels need no model to be run; they are one view's output and not the mean of
several, so what is done with them should check them against another network (``agrees``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.detection.landmark_model import combine_heads
from handmesh.errors import HandMeshError
from handmesh.labeling.held_out import HeldOut, read_held_out
from handmesh.labeling.photo_sets import LabelledPhoto
from handmesh.skeleton import NUM_JOINTS

LABELS = "labels.jsonl"
#: What the longer side of such a cut-out is taken to span: a hand of 18 cm, 2.2 boxes wide, at half a metre.
FOV_DEG = 41.0
#: A palm narrower than this share of what the hand's own length asks for is seen collapsed: the model's known fault on
#: backs of hands. Distance of index to little knuckle over that of wrist to middle knuckle; 0.6 to 0.7 in people.
MIN_KNUCKLES = 0.42


def landmark_folders(root: str | Path) -> list[Path]:
    """The folders under ``root`` (and itself) that hold pictures with a landmark model's output."""
    root = Path(root)
    return [root] * (root / LABELS).is_file() + sorted(path.parent for path in root.glob(f"*/{LABELS}"))


def read_landmark_photos(root: str | Path, held_out: HeldOut | None = None) -> list[LabelledPhoto]:
    """The photos of every folder of :func:`landmark_folders`, groups named by their folders.

    Args:
        root: a folder of pictures with labels.jsonl, or a folder of such folders; others (whole scenes) are left out.
        held_out: which makers (folders) are never trained on; by default the project's own list.

    Returns:
        Photos with 2D and 3D labels, ``has_depth`` False where the depth is known to be wrong; the sides are those that
        the pictures show.

    Raises:
        HandMeshError: no such folder, or a line that is not as described above.
    """
    held_out = held_out or read_held_out()
    photos: list[LabelledPhoto] = []
    for folder in landmark_folders(root):
        for number, line in enumerate((folder / LABELS).read_text(encoding="utf-8").splitlines(), start=1):
            try:
                entry = json.loads(line)
                if "kp2d" in entry and "world" in entry:
                    photos.append(_photo(folder, entry, held_out))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise HandMeshError(
                    f"{folder / LABELS}, line {number}: expected one picture's landmarks, got {error!r}; "
                    "restore the file"
                ) from None
    if not photos:
        raise HandMeshError(f"expected pictures with landmarks ({LABELS}) in {root} or its folders, got none")
    return photos


def _photo(folder: Path, entry: dict[str, Any], held_out: HeldOut) -> LabelledPhoto:
    points = np.asarray(entry["kp2d"], np.float64).reshape(NUM_JOINTS, 2) - 0.5
    depths = np.asarray(entry["z"], np.float64).reshape(NUM_JOINTS)
    world = np.asarray(entry["world"], np.float64).reshape(NUM_JOINTS, 3)
    if not (np.isfinite(points).all() and np.isfinite(depths).all() and np.isfinite(world).all()):
        raise ValueError("numbers that are not finite")
    if Path(entry["file"]).name != entry["file"]:
        raise ValueError(f"the file name {entry['file']!r}")
    # The model names sides as of a mirrored picture.
    is_right = {"Left": True, "Right": False}[entry["mp_label"]]
    return LabelledPhoto(
        folder / entry["file"], folder.name, held_out.holds(folder.name, str(entry.get("src", ""))), points,
        combine_heads(points, depths, world), is_right, fov_deg=FOV_DEG, has_depth=not has_collapsed_palm(world),
    )  # fmt: skip


def has_collapsed_palm(world: NDArray[np.floating]) -> bool:
    """Whether points in space (21, 3) show a palm narrower than any hand's."""
    width = np.linalg.norm(world[5] - world[17])
    length = np.linalg.norm(world[9] - world[0])
    return bool(width < MIN_KNUCKLES * length)
