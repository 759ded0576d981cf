"""From a scene to what the detector is trained and validated on: a picture of fixed sides, its hands, its map of hand.

A training picture is a random view of a scene (size of the hands, place, turn, mirror, colour), or several such views
beside one another. What is random is a function of (seed, epoch, index).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from handmesh.config import DetectorConfig
from handmesh.data.augment import degrade, jitter_colour
from handmesh.data.loading import MixtureSource
from handmesh.data.scenes import LEAST_VISIBLE, Scene, SceneHand, SceneSource
from handmesh.geometry.camera import is_in_picture

#: Rows of a training picture's table of hands.
MOST_HANDS = 12
#: Of a row: middle x, y and side of the square in pixels counted from the corner, sin and cos of the roll (both 0: not
#: known), right (1), left (0) or unknown (-1), cut off (1), whole (0) or unknown (-1), and what the row is: a hand, a
#: place of which nothing is known, or nothing.
COLUMNS = 8
NOTHING, HAND, UNKNOWN = 0.0, 1.0, 2.0
#: In the map of hand, a pixel of which nothing is known.
NO_LABEL = 255
#: Sides of the hands that views are zoomed to, in sides of the view, and how often a view is zoomed to a hand at all.
_SIDES, _ZOOM_SHARE = (0.08, 0.95), 0.75
#: Least and largest zoom over showing the whole scene.
_ZOOMS = (0.8, 5.0)
_DEGRADE = 0.12


class SceneCrop(TypedDict):
    """One training picture; stacked, one batch."""

    image: Any  # (S, S, 3) uint8 RGB
    hands: Any  # (MOST_HANDS, COLUMNS) float32
    hand_map: Any  # (S / 4, S / 4) uint8: 0, 1 or NO_LABEL
    is_complete: Any  # float32: 1 where all that is no hand is background


def random_view(
    scene: Scene, rng: np.random.Generator, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
    """A scene as another camera might have taken it.

    Args:
        scene: the scene.
        rng: draws the view.
        size: width and height of the view, pixels.

    Returns:
        The picture (h, w, 3), the rows (N, COLUMNS) of its hands and unknown places, the map of hand (h, w).
    """
    height, width = scene.image.shape[:2]
    whole = min(size[0] / width, size[1] / height)
    zoom, focus = float(np.exp(rng.uniform(np.log(0.8), np.log(1.8)))), rng.uniform([0, 0], [width, height])
    if scene.hands and rng.random() < _ZOOM_SHARE:
        hand = scene.hands[int(rng.integers(len(scene.hands)))]
        box = hand.box_xyxy
        wanted = np.exp(rng.uniform(*np.log(_SIDES))) * min(size)
        zoom, focus = float(wanted / (box[2] - box[0]) / whole), (box[:2] + box[2:]) / 2
    scale = whole * float(np.clip(zoom, *_ZOOMS))
    angle = rng.normal(0, 8) if rng.random() < 0.9 else rng.uniform(-180, 180)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    c, s = np.cos(np.radians(angle)) * scale, np.sin(np.radians(angle)) * scale
    warp = np.array([[mirror * c, -s, 0.0], [mirror * s, c, 0.0]])
    # The focus comes somewhere into the view; where the whole scene fits, all of it does.
    extent = scale * np.array([width, height])
    place = rng.uniform(0.08, 0.92, 2) * size
    low, high = np.minimum(0, size - extent), np.maximum(0, size - extent)
    corner = (place - scale * focus).clip(low, high)
    middle = corner + extent / 2
    warp[:, 2] = middle - warp[:, :2] @ [width / 2, height / 2]
    # OpenCV counts from the first pixel's centre, the lines above from the corner.
    warp[:, 2] += warp[:, :2] @ [0.5, 0.5] - 0.5
    return _warped(scene, warp, size, mirror < 0)


def _warped(
    scene: Scene, warp: NDArray[np.float64], size: tuple[int, int], is_mirrored: bool
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
    scale = float(np.sqrt(abs(np.linalg.det(warp[:, :2]))))
    source: NDArray[Any] = scene.image
    source_warp = warp
    if scale < 0.6:  # warpAffine looks at four pixels only: what gets much smaller is made smaller first
        source = cv2.resize(source, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        shrink = np.array([source.shape[1] / scene.image.shape[1], source.shape[0] / scene.image.shape[0]])
        source_warp = warp.copy()
        source_warp[:, :2] /= shrink
        source_warp[:, 2] += source_warp[:, :2] @ (0.5 - 0.5 * shrink)
    image = cv2.warpAffine(source, source_warp, size, flags=cv2.INTER_LINEAR)
    if scene.hand_map is None:
        hand_map = np.full(size[::-1], NO_LABEL, np.uint8)
    else:
        hand = (scene.hand_map > 0).astype(np.uint8)
        hand_map = cv2.warpAffine(hand, warp, size, flags=cv2.INTER_NEAREST)
    rows = []
    for hand_ in scene.hands:
        points = hand_.keypoints_2d @ warp[:, :2].T + warp[:, 2]
        side = hand_.is_right if not is_mirrored or hand_.is_right is None else not hand_.is_right
        seen = replace(hand_, keypoints_2d=points, is_right=side)
        inside = seen.share_inside(*size)
        if not inside and not is_in_picture(_middle(seen.box_xyxy), *size).any():
            continue
        is_found = hand_.visible >= LEAST_VISIBLE and inside >= LEAST_VISIBLE
        rows.append(_row(seen, seen.is_cut_off(*size), HAND if is_found else UNKNOWN))
    for box in scene.ignore:
        middle = warp[:, :2] @ (_middle(box) - 0.5) + warp[:, 2] + 0.5
        rows.append(np.array([*middle, scale * float((box[2:] - box[:2]).max()), 0, 0, -1, 0, UNKNOWN], np.float32))
    table = np.stack(rows) if rows else np.zeros((0, COLUMNS))
    return np.asarray(image, np.uint8), table.astype(np.float32), np.asarray(hand_map, np.uint8)


def _middle(box: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray((box[:2] + box[2:]) / 2, np.float64)


def _row(hand: SceneHand, is_cut_off: bool, kind: float) -> NDArray[np.float32]:
    box, roll = hand.box_xyxy, np.radians(hand.roll_deg)
    side = -1.0 if hand.is_right is None else float(hand.is_right)
    middle = _middle(box)
    # Of a box it is not known whether it goes round the part of the hand that is seen, or round all of it.
    turn, cut_off = (np.sin(roll), np.cos(roll)), float(is_cut_off)
    if not hand.has_points:
        turn, cut_off = (0.0, 0.0), -1.0
    row = [*middle, box[2] - box[0], *turn, side, cut_off, kind]
    return np.array(row, np.float32)


class SceneDataset(Dataset[SceneCrop]):
    """Training pictures of scenes, indexed by (epoch, index)."""

    def __init__(self, source: SceneSource, config: DetectorConfig, seed: int) -> None:
        """Pictures of a source's scenes.

        Args:
            source: gives the scenes.
            config: sides of the pictures, and how many are mosaics.
            seed: of all that is drawn.
        """
        self.source, self.config, self.seed = source, config, seed

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: int | tuple[int, int]) -> SceneCrop:
        """The picture of one scene, or of it and others drawn at random."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        rng = np.random.default_rng((self.seed, 23, epoch, index))
        side = self.config.train_side
        image = np.zeros((side, side, 3), np.uint8)
        hand_map = np.full((side, side), NO_LABEL, np.uint8)
        rows, is_complete = [], True
        for number, (x, y, width, height) in enumerate(_tiles(rng, side, self.config.mosaic)):
            scene = self.source.scene(index if number == 0 else int(rng.integers(len(self.source))))
            picture, table, map_ = random_view(scene, rng, (width, height))
            table[:, :2] += [x, y]
            image[y : y + height, x : x + width] = jitter_colour(picture, rng, 0.8)
            hand_map[y : y + height, x : x + width] = map_
            rows.append(table)
            is_complete &= scene.is_complete
        return _crop(degrade(image, rng, _DEGRADE), np.concatenate(rows), hand_map, is_complete)


def _crop(
    image: NDArray[np.uint8], rows: NDArray[np.float32], hand_map: NDArray[np.uint8], is_complete: bool
) -> SceneCrop:
    hands = np.zeros((MOST_HANDS, COLUMNS), np.float32)
    hands[: len(rows)] = rows[:MOST_HANDS]
    return {
        "image": image, "hands": hands, "hand_map": np.ascontiguousarray(hand_map[2::4, 2::4]),
        "is_complete": np.float32(is_complete),
    }  # fmt: skip


def _tiles(rng: np.random.Generator, side: int, share: float) -> list[tuple[int, int, int, int]]:
    """x, y, width, height of the parts that a training picture is put together of."""
    if rng.random() >= share:
        return [(0, 0, side, side)]
    x, y = (int(v) for v in (rng.uniform(0.3, 0.7, 2) * side))
    kind = rng.integers(3)
    if kind == 0:
        return [(0, 0, x, side), (x, 0, side - x, side)]
    if kind == 1:
        return [(0, 0, side, y), (0, y, side, side - y)]
    return [(0, 0, x, y), (x, 0, side - x, y), (0, y, x, side - y), (x, y, side - x, side - y)]


class WholeScenes(Dataset[SceneCrop]):
    """Whole scenes in squares, for validation."""

    def __init__(self, source: SceneSource, side: int, count: int = 0) -> None:
        """Scenes of a source.

        Args:
            source: gives the scenes.
            side: of the squares, pixels; a scene's longer side fills it.
            count: so many, spread evenly; 0 for all.
        """
        self.source, self.side = source, side
        self.count = min(count, len(source)) if count > 0 else len(source)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> SceneCrop:
        """One scene."""
        scene = self.source.scene(int(index * len(self.source) / self.count))
        scale = self.side / max(scene.image.shape[:2])
        offset = 0.5 * scale - 0.5
        warp = np.array([[scale, 0, offset], [0, scale, offset]])
        image, table, hand_map = _warped(scene, warp, (self.side, self.side), False)
        return _crop(image, table, hand_map, scene.is_complete)


class SceneMixture(MixtureSource):
    """Scenes of several sources, each with its weight's share of the indices."""

    def scene(self, index: int) -> Scene:
        """A scene of the source that this index belongs to."""
        source, place = self.find(index)
        scene: Scene = source.scene(place)
        return scene
