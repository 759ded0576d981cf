"""Pictures without a hand as training samples: what teaches the network that there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from handmesh.data.freihand import read_picture
from handmesh.data.sample import Sample
from handmesh.errors import HandMeshError
from handmesh.geometry.camera import intrinsics_from_fov
from handmesh.io.images import IMAGE_SUFFIXES
from handmesh.skeleton import NUM_JOINTS, NUM_VERTICES

#: Sides of the squares that are cut out, as shares of the picture's shorter side.
_SIDES = (0.35, 1.0)
#: So many squares of each picture are different samples.
_SQUARES = 16


class NegativePictures:
    """A folder of pictures without a hand; sample(index) gives what FreiHandDataset.sample gives, presence False."""

    is_endless = False

    def __init__(self, folder: str | Path, seed: int = 0, keep: Callable[[str], bool] = lambda name: True) -> None:
        """List the pictures.

        Args:
            folder: of the pictures themselves.
            seed: of the squares that are cut out.
            keep: by a picture's file name, whether it is used.

        Raises:
            HandMeshError: no picture in the folder.
        """
        self.seed = seed
        self.files = [p for p in find_pictures(folder) if keep(p.name)]
        if not self.files:
            raise HandMeshError(f"expected pictures without hands in {folder}, got none")

    def __len__(self) -> int:
        return len(self.files) * _SQUARES

    def fingerprint(self) -> str:
        """A name for the pictures in checkpoints."""
        return f"{len(self.files)} negatives, seed {self.seed}"

    def sample(self, index: int) -> Sample:
        """A square of picture ``index`` modulo their number; the same each time."""
        if not 0 <= index < len(self):
            raise IndexError(f"expected an index in 0..{len(self) - 1}, got {index}")
        image = read_picture(self.files[index % len(self.files)])
        height, width = image.shape[:2]
        rng = np.random.default_rng((self.seed, index))
        side = min(height, width) * rng.uniform(*_SIDES)
        corner = rng.uniform(0, [width - side, height - side])
        identity = np.eye(3, dtype=np.float32)
        return {
            "image": image,
            "K": intrinsics_from_fov(width, height),
            "joints": np.zeros((NUM_JOINTS, 3), np.float32),
            "vertices": np.zeros((NUM_VERTICES, 3), np.float32),
            "global_orient": identity,
            "hand_pose": np.tile(identity, (15, 1, 1)),
            "betas": np.zeros(10, np.float32),
            "has_mano": False,
            "has_3d": False,
            "scale": 0.0,
            "is_right": True,
            "presence": False,
            "visibility": np.zeros(NUM_JOINTS, np.float32),
            "box_xyxy": np.concatenate([corner, corner + side]),
            "index": index,
        }


def find_pictures(folder: str | Path) -> list[Path]:
    """The pictures that lie in a folder, by name; none where there is no such folder."""
    folder = Path(folder)
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
