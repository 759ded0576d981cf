"""What stands behind the hand: rooms, walls, cloth, clutter, people, or the user's own photos.

Pictures here are uint8 RGB as a camera would give them. Scenes are drawn once per generator into a pool of tiles and
cut, turned and tinted anew for every sample. Knows: OpenCV's drawing. Does not know: hands, labels.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np

from handmesh.errors import HandMeshError
from handmesh.synthesis.skin import sample_tone

TILE = 288
_DRAWN = 192  # different drawn scenes
_PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
_KEPT = 400  # scenes in memory: at most 100 MB drawn, or 140 MB of photos besides


def _color(rng: np.random.Generator, muted: float = 0.85) -> np.ndarray:
    """(3,) float RGB 0..255; `muted` of them near grey."""
    value = rng.uniform(15, 245)
    if rng.random() < muted:
        return np.clip(value + rng.normal(0, 12, 3) + np.array([6, 2, -6]) * rng.normal(), 0, 255)
    return rng.uniform(0, 255, 3)


def _to_srgb(linear: np.ndarray) -> np.ndarray:
    return 255 * np.clip(linear, 0, 1) ** (1 / 2.2)


def noise_field(rng: np.random.Generator, size: int, cell: int, octaves: int = 4) -> np.ndarray:
    """(size, size) float32 about 0..1: octaves of smoothed random grids, the coarsest with `cell` cells a side."""
    total = np.zeros((size, size), np.float32)
    norm, amplitude = 0.0, 1.0
    for _ in range(octaves):
        if cell > size // 2:
            break
        grid = rng.random((cell, cell), dtype=np.float32)
        total += amplitude * cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        norm += amplitude
        amplitude *= 0.55
        cell *= 2
    return total / norm


def _gradient(rng: np.random.Generator, size: int) -> np.ndarray:
    corner = np.stack([np.stack([_color(rng) for _ in range(2)]) for _ in range(2)]).astype(np.float32)
    mean = corner.mean((0, 1))
    corner = mean + (corner - mean) * rng.uniform(0.05, 0.7)
    return cv2.resize(corner, (size, size), interpolation=cv2.INTER_LINEAR)


def _mix(rng: np.random.Generator, size: int, cell: int) -> np.ndarray:
    field = noise_field(rng, size, cell)[..., None]
    low, high = field.min(), field.max()
    field = (field - low) / (high - low + 1e-6)
    if rng.random() < 0.3:
        field = (field > rng.uniform(0.3, 0.7)).astype(np.float32)
    return _color(rng) * field + _color(rng) * (1 - field)


def _cloth(rng: np.random.Generator, size: int) -> np.ndarray:
    base = _color(rng, 0.75)
    picture = np.empty((size, size, 3), np.float32)
    picture[:] = base
    kind = rng.integers(4)
    x = np.arange(size, dtype=np.float32)
    if kind in (1, 2):  # stripes, plaid
        for axis in range(kind):
            period, duty = rng.uniform(6, 60), rng.uniform(0.15, 0.6)
            stripe = ((x / period + rng.random()) % 1 < duty).astype(np.float32) * rng.uniform(0.3, 0.8)
            stripe = stripe[:, None, None] if axis else stripe[None, :, None]
            picture += (_color(rng, 0.5) - picture) * stripe
    folds = noise_field(rng, size, int(rng.integers(3, 9)), 2)[..., None]
    return picture * (0.55 + 0.9 * folds)


def _clutter(rng: np.random.Generator, picture: np.ndarray, count: int) -> None:
    size = picture.shape[0]
    for _ in range(count):
        color = tuple(float(c) for c in _color(rng, 0.5))
        x, y = (int(v) for v in rng.integers(0, size, 2))
        w, h = (int(v) for v in np.exp(rng.uniform(np.log(6), np.log(size * 0.6), 2)))
        kind = rng.integers(6)
        if kind <= 1:
            cv2.rectangle(picture, (x, y), (x + w, y + h), color, -1)
            if rng.random() < 0.4:
                cv2.rectangle(picture, (x, y), (x + w, y + h), tuple(0.6 * c for c in color), int(rng.integers(1, 5)))
        elif kind == 2:
            cv2.ellipse(picture, (x, y), (w // 2, h // 2), float(rng.uniform(0, 180)), 0, 360, color, -1, cv2.LINE_AA)
        elif kind == 3:
            points = rng.normal(0, 1, (int(rng.integers(3, 7)), 2)) * [w / 2, h / 2] + [x, y]
            cv2.fillPoly(picture, [points.astype(np.int32)], color, cv2.LINE_AA)
        elif kind == 4:
            end = (x + w - size // 4, y + h - size // 4)
            cv2.line(picture, (x, y), end, color, int(rng.integers(1, 12)), cv2.LINE_AA)
        else:
            text = "".join(chr(int(c)) for c in rng.integers(33, 123, int(rng.integers(2, 10))))
            font, scale = int(rng.integers(0, 8)), float(rng.uniform(0.4, 3.0))
            cv2.putText(picture, text, (x - w // 2, y), font, scale, color, int(rng.integers(1, 6)), cv2.LINE_AA)


def _room(rng: np.random.Generator, size: int) -> np.ndarray:
    """A wall with a corner, a floor or ceiling line, a window, frames, shelves with books."""
    picture = _gradient(rng, size)
    if rng.random() < 0.6:
        x = int(rng.uniform(0.1, 0.9) * size)
        picture[:, x:] *= rng.uniform(0.75, 1.2)
    if rng.random() < 0.5:
        y = int(rng.uniform(0.05, 0.3) * size) if rng.random() < 0.5 else int(rng.uniform(0.6, 0.95) * size)
        part = picture[:y] if y < size // 2 else picture[y:]
        part += (_color(rng) - part) * rng.uniform(0.3, 1.0)
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:  # a window or a lamp
        x, y = (int(v) for v in rng.integers(-40, size - 40, 2))
        w, h = (int(v) for v in rng.integers(40, 180, 2))
        cv2.rectangle(picture, (x, y), (x + w, y + h), (250.0, 250.0, 245.0), -1)
        for i in range(int(rng.integers(0, 4))):
            cv2.line(picture, (x + i * w // 3, y), (x + i * w // 3, y + h), (120.0, 115.0, 110.0), 3)
    if rng.random() < 0.35:  # a shelf
        y, x = int(rng.integers(40, size)), int(rng.integers(-60, size - 60))
        wood = tuple(float(c) for c in _color(rng))
        cv2.rectangle(picture, (x, y), (x + 200, y + 7), wood, -1)
        while x < size and rng.random() < 0.95:
            w, h = int(rng.integers(5, 22)), int(rng.integers(25, 70))
            cv2.rectangle(picture, (x, y - h), (x + w, y), tuple(float(c) for c in _color(rng, 0.4)), -1)
            x += w + 1
    _clutter(rng, picture, int(rng.integers(0, 7)))
    return picture


def draw_tile(rng: np.random.Generator, size: int = TILE) -> np.ndarray:
    """One drawn scene (size, size, 3) uint8."""
    kind = rng.choice(6, p=[0.24, 0.40, 0.08, 0.12, 0.11, 0.05])
    if kind == 0:
        picture = _gradient(rng, size)
    elif kind == 1:
        picture = _room(rng, size)
    elif kind == 2:
        picture = _mix(rng, size, int(2 ** rng.integers(1, 6)))
    elif kind == 3:
        picture = _cloth(rng, size)
    elif kind == 4:
        picture = np.clip(_gradient(rng, size), 0, 255).astype(np.uint8)
        _clutter(rng, picture, int(rng.integers(10, 45)))
    else:
        field = noise_field(rng, size, 4)
        picture = rng.random(3) * 255 * np.stack([field, np.roll(field, 40, 0), np.roll(field, 90, 1)], -1) * 1.6
    if rng.random() < 0.5:
        picture = picture * (0.7 + 0.6 * noise_field(rng, size, 2, 2)[..., None])
    if rng.random() < 0.5:
        picture = picture + rng.normal(0, rng.uniform(1, 14), (size, size, 1))
    return np.clip(picture, 0, 255).astype(np.uint8)


def draw_person(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Draw a blurred somebody into picture (H, W, 3) uint8, in place: shoulders in cloth, a neck, at times a face."""
    size = picture.shape[0]
    tone, _ = sample_tone(rng)
    skin = _to_srgb(tone * rng.uniform(0.35, 1.2))
    cx, top = rng.uniform(-0.3, 1.3) * size, rng.uniform(-0.2, 0.75) * size
    scale = rng.uniform(0.35, 1.1) * size
    shoulders = np.array(
        [[-1.0, 2.6], [-0.95, 0.75], [-0.7, 0.45], [-0.25, 0.3], [0.25, 0.3], [0.7, 0.45], [0.95, 0.75], [1.0, 2.6]]
    )
    points = shoulders * scale * 0.75 + [cx, top] + rng.normal(0, 0.03 * scale, shoulders.shape)
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(mask, [points.astype(np.int32)], 255, cv2.LINE_AA)
    cloth = np.clip(_cloth(rng, 96), 0, 255)
    cloth = cv2.resize(cloth, (size, size), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    cv2.copyTo(cloth, mask, picture)

    def ellipse(x: float, y: float, a: float, b: float, color: np.ndarray, turn: float = 0.0) -> None:
        centre = (int(cx + x * scale), int(top + y * scale))
        axes = (max(1, int(a * scale)), max(1, int(b * scale)))
        cv2.ellipse(picture, centre, axes, turn, 0, 360, tuple(float(c) for c in color), -1, cv2.LINE_AA)

    hair = _to_srgb(np.array([0.05, 0.035, 0.025]) * np.exp(rng.normal(0, 0.9)))
    if rng.random() < 0.75:
        if rng.random() < 0.7:
            ellipse(0, -0.16, 0.30, 0.38, hair)
        ellipse(0, 0.15, 0.13, 0.22, skin * 0.8)  # neck
        ellipse(0, -0.08, 0.22, 0.31, skin)
        ellipse(rng.uniform(-0.1, 0.1), -0.02, 0.13, 0.2, np.clip(skin * 1.1, 0, 255))
        for side in (-1, 1):
            ellipse(side * 0.085, -0.13, 0.035, 0.016, np.full(3, 60.0) if rng.random() < 0.5 else hair)
            ellipse(side * 0.085, -0.18, 0.05, 0.012, hair)
        ellipse(0, -0.03, 0.035, 0.06, skin * 0.86)
        ellipse(0, 0.085, 0.07, 0.02, skin * np.array([0.85, 0.6, 0.6]))
        if rng.random() < 0.6:
            ellipse(0, -0.36, 0.22, 0.13, hair)
        _soften_face(picture, (cx, top - 0.06 * scale), 0.55 * scale, rng)


def _soften_face(
    picture: np.ndarray, centre: tuple[float, float], reach: float, rng: np.random.Generator
) -> None:
    """Blur what was drawn round a face and light it from one side, in place."""
    size = picture.shape[0]
    left, right = (int(np.clip(centre[0] + s * reach, 0, size)) for s in (-1, 1))
    low, high = (int(np.clip(centre[1] + s * reach, 0, size)) for s in (-1, 1))
    if right - left < 8 or high - low < 8:
        return
    part = picture[low:high, left:right]
    soft = cv2.GaussianBlur(part, (0, 0), max(0.6, 0.035 * reach)).astype(np.float32)
    slope = np.linspace(-1, 1, right - left, dtype=np.float32) * np.float32(rng.normal(0, 0.2))
    steep = np.linspace(-1, 1, high - low, dtype=np.float32)[:, None] * np.float32(rng.normal(-0.1, 0.15))
    part[:] = np.clip(soft * (1 + slope + steep)[..., None], 0, 255).astype(np.uint8)


def draw_distractor(picture: np.ndarray, rng: np.random.Generator) -> None:
    """A skin-coloured blob or limb, in place: what is not a hand but has its colour."""
    size = picture.shape[0]
    tone, _ = sample_tone(rng)
    color = tuple(float(c) for c in _to_srgb(tone * rng.uniform(0.4, 1.3)))
    if rng.random() < 0.5:
        a, b = rng.uniform(-0.2, 1.2, (2, 2)) * size
        width = int(rng.uniform(0.06, 0.3) * size)
        cv2.line(picture, tuple(a.astype(int).tolist()), tuple(b.astype(int).tolist()), color, width, cv2.LINE_AA)
    else:
        centre = tuple((rng.uniform(0, 1, 2) * size).astype(int).tolist())
        axes = tuple((rng.uniform(0.06, 0.35, 2) * size).astype(int).tolist())
        cv2.ellipse(picture, centre, axes, float(rng.uniform(0, 180)), 0, 360, color, -1, cv2.LINE_AA)


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

    Every tile is a function of (seed, its number), made when first asked for and kept while there is room.
    """

    def __init__(self, seed: int, folder: str | os.PathLike[str] | None = None, photo_share: float = 0.5) -> None:
        """folder: searched with its sub-folders for photos and .hdr maps; photo_share of the samples use a photo.

        Raises HandMeshError when the folder holds neither."""
        self.seed = seed
        self.fingerprint = folder_fingerprint(folder)
        self.photos: list[Path] = []
        self.maps: list[Path] = []
        if folder is not None:
            root = Path(folder)
            if not root.is_dir():
                raise HandMeshError(f"expected a folder of background photos at {root}, found none; name another")
            files = sorted(p for p in root.rglob("*") if p.is_file())
            self.photos = [p for p in files if p.suffix.lower() in _PHOTO_SUFFIXES]
            self.maps = [p for p in files if p.suffix.lower() == ".hdr"]
            if not self.photos and not self.maps:
                raise HandMeshError(f"expected photos (jpg, png) or .hdr maps under {root}, found none; name another")
        self.photo_share = photo_share if self.photos else 0.0
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
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            raise HandMeshError(f"expected a readable photo at {path}, OpenCV cannot decode it; remove it")
        scale = 360 / min(picture.shape[:2])
        if scale < 1:
            picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return self._keep(number, np.ascontiguousarray(picture[:, :, ::-1]))

    def fill(self) -> None:
        """Make all drawn scenes now instead of when they are first asked for."""
        for number in range(_DRAWN):
            self.tile(number)

    def environment(self, rng: np.random.Generator) -> np.ndarray | None:
        """A light map (32, 64, 3) float32 linear RGB, or None when the folder has none."""
        if not self.maps:
            return None
        number = int(rng.integers(len(self.maps)))
        if number not in self._environments:
            picture = cv2.imread(str(self.maps[number]), cv2.IMREAD_UNCHANGED)
            if picture is None or picture.ndim != 3:
                raise HandMeshError(f"expected a Radiance .hdr map at {self.maps[number]}, cannot decode it; remove it")
            small = cv2.resize(picture.astype(np.float32), (64, 32), interpolation=cv2.INTER_AREA)
            self._environments[number] = np.ascontiguousarray(small[:, :, ::-1])
        return self._environments[number]

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """A fresh cut-out (size, size, 3) uint8 of one of the scenes."""
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
        grey = np.tile([0.299, 0.587, 0.114], (3, 1))
        picture = cv2.transform(picture, level * (vivid * np.eye(3) + (1 - vivid) * grey))
        if rng.random() < 0.38:
            draw_person(picture, rng)
        if rng.random() < 0.12:
            draw_distractor(picture, rng)
        return picture
