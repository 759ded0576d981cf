"""What stands behind the hand: rooms, walls, cloth, clutter, people, or the user's own photos.

Pictures here are uint8 RGB as a camera would give them. Scenes are drawn once per generator into a pool of tiles and
cut, turned and tinted anew for every sample.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np

from handmesh.errors import HandMeshError
from handmesh.io.images import is_photo, read_image
from handmesh.io.radiance import read_radiance
from handmesh.synthesis.backgrounds.crowd import PersonPool, draw_distractor
from handmesh.synthesis.backgrounds.rooms import draw_room
from handmesh.synthesis.drawing import cloth, clutter, color_mix, gradient, mixture, noise_field

TILE = 288
_DRAWN = 192  # different drawn scenes
_KEPT = 400  # scenes in memory: at most 100 MB drawn, or 140 MB of photos besides


def draw_tile(rng: np.random.Generator, size: int = TILE) -> np.ndarray:
    """One drawn scene (size, size, 3) uint8."""
    kind = rng.choice(6, p=[0.15, 0.56, 0.05, 0.11, 0.08, 0.05])
    if kind == 0:
        picture = gradient(rng, size)
    elif kind == 1:
        picture = draw_room(rng, size)
    elif kind == 2:
        picture = mixture(rng, size, int(2 ** rng.integers(1, 6)))
    elif kind == 3:
        picture = cloth(rng, size)
    elif kind == 4:
        picture = np.clip(gradient(rng, size), 0, 255).astype(np.uint8)
        clutter(rng, picture, int(rng.integers(10, 45)))
    else:
        field = noise_field(rng, size, 4)
        picture = rng.random(3) * 255 * np.stack([field, np.roll(field, 40, 0), np.roll(field, 90, 1)], -1) * 1.6
    if rng.random() < 0.5:
        picture = picture * (0.7 + 0.6 * noise_field(rng, size, 2, 2)[..., None])
    if rng.random() < 0.3:
        picture = picture + rng.normal(0, rng.uniform(1, 10), (size, size, 1))
    return np.clip(picture, 0, 255).astype(np.uint8)


def folder_fingerprint(folder: str | os.PathLike[str] | None) -> str:
    """Names and sizes of all files under a folder, as 16 hex digits; "" for none."""
    if folder is None:
        return ""
    digest = hashlib.sha256()
    for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]


class Backgrounds:
    """A pool of scenes: drawn tiles, and photos and light maps of a folder when one is named.

    Every tile is a function of (seed, its number), made when first asked for and kept while there is memory for them.
    """

    def __init__(self, seed: int, folder: str | os.PathLike[str] | None = None, photo_share: float = 0.5) -> None:
        """A pool that is filled as it is used.

        Args:
            seed: of the drawn tiles.
            folder: searched with its sub-folders for photos and .hdr maps; None for drawn scenes alone.
            photo_share: of the samples that use a photo, where there are any.

        Raises:
            HandMeshError: the folder is missing, or holds neither.
        """
        self.seed = seed
        self.fingerprint = folder_fingerprint(folder)
        self.photos: list[Path] = []
        self.maps: list[Path] = []
        if folder is not None:
            root = Path(folder)
            if not root.is_dir():
                raise HandMeshError(f"expected a folder of background photos at {root}, found none; name another")
            files = sorted(p for p in root.rglob("*") if p.is_file())
            self.photos = [p for p in files if is_photo(p)]
            self.maps = [p for p in files if p.suffix.lower() == ".hdr"]
            if not self.photos and not self.maps:
                raise HandMeshError(f"expected photos (jpg, png) or .hdr maps under {root}, found none; name another")
        self.photo_share = photo_share if self.photos else 0.0
        self.people = PersonPool(seed)
        self._tiles: OrderedDict[int, np.ndarray] = OrderedDict()
        self._environments: dict[int, np.ndarray] = {}

    def _keep(self, number: int, tile: np.ndarray) -> np.ndarray:
        self._tiles[number] = tile
        if len(self._tiles) > _KEPT:
            self._tiles.popitem(last=False)
        return tile

    def tile(self, number: int) -> np.ndarray:
        """Drawn scene `number` >= 0, or photo -1 - number."""
        if number in self._tiles:
            self._tiles.move_to_end(number)
            return self._tiles[number]
        if number >= 0:
            return self._keep(number, draw_tile(np.random.default_rng([self.seed, 7, number])))
        path = self.photos[-1 - number]
        picture: np.ndarray = read_image(path)
        scale = 360 / min(picture.shape[:2])
        if scale < 1:
            picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return self._keep(number, np.asarray(picture, np.uint8))

    def fill(self) -> None:
        """Make all drawn scenes and people now instead of when they are first asked for."""
        for number in range(_DRAWN):
            self.tile(number)
        self.people.fill()

    def environment(self, rng: np.random.Generator) -> np.ndarray | None:
        """A light map (32, 64, 3) float32 linear RGB, or None when the folder has none."""
        if not self.maps:
            return None
        number = int(rng.integers(len(self.maps)))
        if number not in self._environments:
            picture = read_radiance(self.maps[number])
            self._environments[number] = cv2.resize(picture, (64, 32), interpolation=cv2.INTER_AREA)
        return self._environments[number]

    def sample(self, rng: np.random.Generator, size: int, people: float = 0.48) -> np.ndarray:
        """A fresh cut-out of one of the scenes.

        Args:
            rng: draws which, and what of it.
            size: side of the cut-out, pixels.
            people: how often somebody stands in it.

        Returns:
            (size, size, 3) uint8 RGB.
        """
        is_photo = rng.random() < self.photo_share
        number = -1 - int(rng.integers(len(self.photos))) if is_photo else int(rng.integers(_DRAWN))
        tile = self.tile(number)
        height, width = tile.shape[:2]
        angle = rng.normal(0, 4 if is_photo else 8) + (90 * int(rng.integers(4)) if rng.random() < 0.1 else 0)
        side = min(height, width) * rng.uniform(0.3, 0.95)
        mirror = -1.0 if rng.random() < 0.5 else 1.0
        c, s = np.cos(np.radians(angle)) * side / size, np.sin(np.radians(angle)) * side / size
        centre = np.array([width, height]) / 2 + rng.uniform(-0.5, 0.5, 2) * np.maximum(
            np.array([width, height]) - side, 0
        )
        half = (size - 1) / 2
        warp = np.array([[mirror * c, -s, 0], [mirror * s, c, 0]])
        warp[:, 2] = centre - warp[:, :2] @ [half, half]
        flags = (cv2.INTER_AREA if side > size * 1.5 else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
        picture = cv2.warpAffine(tile, warp, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        vivid = rng.uniform(0.2, 1.0)  # rooms are mostly grey, white and brown
        level = rng.uniform(0.1, 0.6) if rng.random() < 0.2 else rng.uniform(0.75, 1.15)
        picture = cv2.transform(picture, color_mix(level, vivid))
        if rng.random() < people:
            self.people.place(picture, rng)
        if rng.random() < 0.10:
            draw_distractor(picture, rng)
        return picture
