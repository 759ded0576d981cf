"""Whole pictures and the hands in them, for the detector: one layout for rendered scenes and for photos.

A folder holds ``labels.jsonl``, one line a picture: ``file`` (its path under the folder), and ``hands``, a list of
objects with ``kp2d`` 21 x (x, y), or ``box`` (x0, y0, x1, y1) where the points are not known, in pixels counted from
the picture's border. What may be there besides: of a hand ``is_right``, ``visible`` (share of it that is seen, 0..1),
``kinds`` (words such as "glove" or "back": scores are told for each) and ``mp_label`` (the side as MediaPipe names it:
of the mirrored picture); of a picture ``mask`` (a PNG of its size, hand k of the list has the value k + 1),
``complete`` (no hand is missing from the list), ``ignore`` (boxes where nothing is known), ``set`` and ``src`` (who
made it, of what).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from handmesh.data.freihand import read_picture
from handmesh.errors import HandMeshError
from handmesh.geometry.camera import is_in_picture
from handmesh.geometry.crop import box_around, roll_of
from handmesh.io.files import atomic_path
from handmesh.skeleton import NUM_JOINTS

LABELS = "labels.jsonl"
#: A hand with more joints than this share of the 21 outside the picture counts as cut off.
CUT_OFF_SHARE = 0.1
#: A hand of which less is seen is neither to be found nor background.
LEAST_VISIBLE = 0.35
JPEG_QUALITY = 92


@dataclass(frozen=True, eq=False)
class SceneHand:
    """One hand of a picture.

    Attributes:
        keypoints_2d: (21, 2) pixels, a pixel's centre at whole numbers; they may lie outside the picture. Where only a
            box is known, (4, 2): its square's corners, one after the other round it.
        is_right: right hand in the picture as it is; None where it is not known.
        visible: share of the hand that is seen, 0..1.
        kinds: words that tell such hands from others.
    """

    keypoints_2d: NDArray[np.float64]
    is_right: bool | None
    visible: float = 1.0
    kinds: tuple[str, ...] = ()

    @property
    def has_points(self) -> bool:
        """Whether the 21 points are known; else only where the hand is."""
        return len(self.keypoints_2d) == NUM_JOINTS

    @property
    def roll_deg(self) -> float:
        """How far the hand is turned clockwise from upright, degrees; NaN where only a box is known."""
        return roll_of(self.keypoints_2d) if self.has_points else float("nan")

    @property
    def box_xyxy(self) -> NDArray[np.float64]:
        """(4,) the square around the points, measured along the upright crop's axes: what that crop is made of."""
        if self.has_points:
            return box_around(self.keypoints_2d, rotation_deg=self.roll_deg)
        # A square that was turned with its picture is told by its middle and its edge.
        middle, edge = self.keypoints_2d.mean(0) + 0.5, self.keypoints_2d[1] - self.keypoints_2d[0]
        half = float(np.hypot(*edge)) / 2
        return np.concatenate([middle - half, middle + half])

    def share_inside(self, width: int, height: int) -> float:
        """Share of the points that a picture of these sides shows; of the area where only a box is known."""
        if self.has_points:
            return float(is_in_picture(self.keypoints_2d, width, height).mean())
        box = self.box_xyxy
        seen = np.minimum(box[2:], [width, height]) - np.maximum(box[:2], 0)
        return float(seen.clip(0).prod() / (box[2:] - box[:2]).prod())

    def is_cut_off(self, width: int, height: int) -> bool:
        """Whether the edge of a picture of these sides cuts the hand off."""
        return self.share_inside(width, height) < 1 - CUT_OFF_SHARE


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and its hands.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        hands: those known.
        hand_map: (H, W) uint8, k + 1 on hand k of the list, 0 elsewhere; None where there are no masks.
        is_complete: no hand is missing from the list, so that all else is background.
        ignore: (N, 4) boxes xyxy where nothing is known.
        maker: who made the picture.
    """

    image: NDArray[np.uint8]
    hands: list[SceneHand]
    hand_map: NDArray[np.uint8] | None = None
    is_complete: bool = True
    ignore: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    maker: str = ""


class SceneSource(Protocol):
    """Where scenes come from: a folder, or a renderer."""

    def __len__(self) -> int: ...

    def scene(self, index: int) -> Scene:
        """The scene with this number, the same each time."""
        ...


class SceneFolder:
    """Scenes of a folder in the layout above."""

    def __init__(self, folder: str | Path, keep: Callable[[str, str], bool] = lambda maker, source: True) -> None:
        """Read the labels.

        Args:
            folder: that holds labels.jsonl.
            keep: by a picture's maker and source, whether it is used.

        Raises:
            HandMeshError: no such folder, a line that is not as described, or no picture is left.
        """
        self.folder = Path(folder)
        path = self.folder / LABELS
        if not path.is_file():
            raise HandMeshError(
                f"expected scenes ({LABELS}) in {folder}, got none; render some with handmesh synth --scenes"
            )
        self._lines: list[Mapping[str, Any]] = []
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                line = json.loads(text)
                _hands(line)
                for name in filter(None, (line["file"], line.get("mask"))):
                    if Path(name).is_absolute() or ".." in Path(name).parts:
                        raise ValueError(f"the file name {name!r}")
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise HandMeshError(
                    f"{path}, line {number}: expected one picture's hands, got {error!r}; restore the file"
                ) from None
            if keep(str(line.get("set", "")), str(line.get("src", ""))):
                self._lines.append(line)
        if not self._lines:
            raise HandMeshError(f"expected scenes to use in {folder}, got none that is not held out")

    def __len__(self) -> int:
        return len(self._lines)

    def fingerprint(self) -> str:
        """A name for the scenes in checkpoints."""
        return f"{len(self)} scenes of {self.folder.name}"

    def scene(self, index: int) -> Scene:
        """The scene with this number."""
        line = self._lines[index]
        image = read_picture(self.folder / line["file"])
        hand_map = None
        if line.get("mask"):
            hand_map = cv2.imread(str(self.folder / line["mask"]), cv2.IMREAD_GRAYSCALE)
            if hand_map is None or hand_map.shape != image.shape[:2]:
                raise HandMeshError(f"expected a mask of the picture's size in {self.folder / line['mask']}, got none")
        ignore = np.asarray(line.get("ignore", []), np.float64).reshape(-1, 4)
        return Scene(
            image, _hands(line), None if hand_map is None else np.asarray(hand_map, np.uint8),
            bool(line.get("complete", False)), ignore, str(line.get("set", "")),
        )  # fmt: skip


def _hands(line: Mapping[str, Any]) -> list[SceneHand]:
    hands = []
    # A picture of one hand alone may have its points without a list around them (landmark_files.py).
    for entry in line.get("hands", [line]):
        points = _points(entry)
        if not np.isfinite(points).all():
            raise ValueError("numbers that are not finite")
        side = {"Left": True, "Right": False}.get(entry.get("mp_label", ""))
        kinds = tuple(str(kind) for kind in entry.get("kinds", ()))
        hands.append(SceneHand(points, entry.get("is_right", side), float(entry.get("visible", 1.0)), kinds))
    return hands


def _points(entry: Mapping[str, Any]) -> NDArray[np.float64]:
    """The 21 points, or the corners of the square that has a box's middle and longer side."""
    if "kp2d" in entry:
        return np.asarray(entry["kp2d"], np.float64).reshape(NUM_JOINTS, 2) - 0.5
    box = np.asarray(entry["box"], np.float64).reshape(4)
    half = float((box[2:] - box[:2]).max()) / 2
    if half <= 0:
        raise ValueError(f"the box {box.tolist()}")
    return (box[:2] + box[2:]) / 2 - 0.5 + half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])


class EmptyScenes:
    """Pictures without a hand as scenes."""

    def __init__(self, files: Iterable[Path]) -> None:
        self.files = sorted(files)
        if not self.files:
            raise HandMeshError("expected pictures without hands, got none")

    def __len__(self) -> int:
        return len(self.files)

    def fingerprint(self) -> str:
        """A name for the pictures in checkpoints."""
        return f"{len(self)} pictures without hands"

    def scene(self, index: int) -> Scene:
        """The picture with this number."""
        image = read_picture(self.files[index])
        return Scene(image, [], np.zeros(image.shape[:2], np.uint8))


def write_scene_pictures(root: Path, split: str, index: int, scene: Scene) -> None:
    """Write a scene's picture and, where it has one, its map of hands, each whole or not at all.

    Args:
        root: of the data set.
        split: "training" or "evaluation".
        index: of the picture.
        scene: the scene.
    """
    picture = cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR)
    encoded = [(".jpg", cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1])]
    if scene.hand_map is not None:
        encoded.append((".png", cv2.imencode(".png", scene.hand_map)[1]))
    for suffix, content in encoded:
        with atomic_path(root / split / _file(index, suffix)) as temporary:
            temporary.write_bytes(content.tobytes())


def scene_line(index: int, scene: Scene) -> dict[str, Any]:
    """A scene's line of labels.jsonl, its pictures named as :func:`write_scene_pictures` names them."""
    height, width = scene.image.shape[:2]
    hands = [
        {
            **({"kp2d": np.round(hand.keypoints_2d + 0.5, 2).tolist()} if hand.has_points
               else {"box": np.round(hand.box_xyxy, 2).tolist()}),
            "visible": round(hand.visible, 3),
            **({} if hand.is_right is None else {"is_right": hand.is_right}),
            **({"kinds": list(hand.kinds)} if hand.kinds else {}),
        }
        for hand in scene.hands
    ]  # fmt: skip
    line: dict[str, Any] = {"file": _file(index, ".jpg"), "w": width, "h": height, "hands": hands}
    if scene.hand_map is not None:
        line["mask"] = _file(index, ".png")
    return {**line, "complete": scene.is_complete, "set": scene.maker}


def _file(index: int, suffix: str) -> str:
    return f"{'rgb' if suffix == '.jpg' else 'mask'}/{index:08d}{suffix}"


def write_scene_labels(root: Path, split: str, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write a split's labels.jsonl, whole or not at all: the split is complete from here on.

    Args:
        root: of the data set.
        split: "training" or "evaluation".
        lines: of :func:`scene_line`, in the order of the pictures.
    """
    with atomic_path(root / split / LABELS) as path, open(path, "w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
