"""Landmark correction: the landmark model's points made joints of a hand model, and the other way round.

The landmark model's 21 points carry the names of joints and are others: its wrist lies some 20 mm nearer to the elbow,
its knuckles farther from it, so that the first bone of a finger is shorter than any hand's. How they differ was
measured on rendered hands whose joints are known (landmark_calibration.py); no photo has a part in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError, reason_of
from handmesh.geometry.crop import roll_of
from handmesh.io.files import atomic_path, cache_dir
from handmesh.io.npz import read_npz
from handmesh.skeleton import NUM_JOINTS

Array = NDArray[np.float64]

ASSET = Path(__file__).resolve().parents[1] / "assets" / "landmark_correction.npz"
#: Of all arrays together, unpacked; they are 100 kB.
_MAX_BYTES = 2**20
_THUMB = [1, 2, 3, 4]


@dataclass(frozen=True)
class HandFrame:
    """How B hands stand: turned by roll in the picture, their points' middles and sizes (root of summed squares).

    turn (B, 3, 3) takes the upright axes to the camera's; middles (B, 1, 3) and (B, 1, 2); sizes (B, 1, 1).
    """

    turn: Array
    space_middle: Array
    space_size: Array
    picture_middle: Array
    picture_size: Array

    @classmethod
    def of(cls, points: NDArray[np.floating[Any]], keypoints: NDArray[np.floating[Any]]) -> HandFrame:
        """Of the landmark model's points (B, 21, 3) in space and keypoints (B, 21, 2) in the picture."""
        points, keypoints = np.asarray(points, np.float64), np.asarray(keypoints, np.float64)
        angle = np.radians([roll_of(hand) for hand in keypoints])
        turn = np.tile(np.eye(3), (len(angle), 1, 1))
        turn[:, 0, 0] = turn[:, 1, 1] = np.cos(angle)
        turn[:, 1, 0] = np.sin(angle)
        turn[:, 0, 1] = -turn[:, 1, 0]
        return cls(turn, *middle_and_size(points), *middle_and_size(keypoints))

    def from_space(self, points: NDArray[np.floating[Any]]) -> Array:
        """(B, 21, 3) camera axes -> upright, middle at the origin, size one."""
        result: Array = (points - self.space_middle) / self.space_size @ self.turn
        return result

    def to_space(self, points: Array) -> Array:
        """The way back from :meth:`from_space`."""
        result: Array = points @ np.swapaxes(self.turn, 1, 2) * self.space_size + self.space_middle
        return result

    def from_picture(self, points: NDArray[np.floating[Any]]) -> Array:
        """(B, 21, 2) pixels -> upright, middle at the origin, size one."""
        result: Array = (points - self.picture_middle) / self.picture_size @ self.turn[:, :2, :2]
        return result

    def to_picture(self, points: Array) -> Array:
        """The way back from :meth:`from_picture`."""
        turned = points @ np.swapaxes(self.turn[:, :2, :2], 1, 2)
        result: Array = turned * self.picture_size + self.picture_middle
        return result


def middle_and_size(points: NDArray[np.floating[Any]]) -> tuple[Array, Array]:
    """Of points (B, N, D): their middles (B, 1, D) and the roots of their summed squares about them (B, 1, 1)."""
    middle = points.mean(1, keepdims=True)
    size: Array = np.linalg.norm(points - middle, axis=(1, 2), keepdims=True) + 1e-12
    return middle, size


def features(frame: HandFrame, points: NDArray[np.floating[Any]], keypoints: NDArray[np.floating[Any]]) -> Array:
    """What the correction is a linear function of: upright points in space, in the picture, and a one.

    Args:
        frame: how the hands stand.
        points: (B, 21, 3) of the landmark model, metres, camera axes.
        keypoints: (B, 21, 2) pixels.

    Returns:
        (B, 106).
    """
    count = len(points)
    parts = frame.from_space(points).reshape(count, -1), frame.from_picture(keypoints).reshape(count, -1)
    return np.concatenate([*parts, np.ones((count, 1))], axis=1)


@dataclass(frozen=True, eq=False)
class LandmarkCorrection:
    """Measured on one hand model.

    Attributes:
        hand: fingerprint of the hand model whose joints are meant.
        space: (21, 21) rows that sum to 1: the landmark model's points in space as mixtures of the joints.
        picture: (21, 21) the same for its points in the picture.
        correction: (106, 105) what :meth:`joints_of` multiplies with.
    """

    hand: str
    space: Array
    picture: Array
    correction: Array

    def points_of(self, joints: NDArray[np.floating[Any]]) -> Array:
        """joints (..., 21, 3) in any axes and units -> where the landmark model would put its points, on average."""
        points: Array = self.space @ np.asarray(joints, np.float64)
        return points

    def keypoints_of(self, keypoints: NDArray[np.floating[Any]]) -> Array:
        """The same in the picture: (..., 21, 2) pixels of the joints -> of the landmark model's points."""
        points: Array = self.picture @ np.asarray(keypoints, np.float64)
        return points

    def joints_of(self, points: NDArray[np.floating[Any]], keypoints: NDArray[np.floating[Any]]) -> tuple[Array, Array]:
        """The landmark model's points of right hands -> the likely joints, (B, 21, 3) and (B, 21, 2).

        Turns and scales with its input: a hand is looked at upright, with its middle at the origin and at size one. The
        thumb's bones keep the landmark model's directions in space. It reads a rendered thumb's depth so poorly (20 mm
        off) that a correction takes little from it and all from the renders, whose thumbs stand off the palm more.

        Args:
            points: (B, 21, 3) in space, camera axes (x right, y down, z forward); their middle and size are kept.
            keypoints: (B, 21, 2) pixels.
        """
        frame = HandFrame.of(points, keypoints)
        found = features(frame, points, keypoints) @ self.correction
        joints = found[:, : NUM_JOINTS * 3].reshape(-1, NUM_JOINTS, 3)
        flat = found[:, NUM_JOINTS * 3 :].reshape(-1, NUM_JOINTS, 2)
        joints = frame.to_space(joints)
        points = np.asarray(points, np.float64)
        ways = np.diff(points[:, _THUMB], axis=1)
        lengths = np.linalg.norm(np.diff(joints[:, _THUMB], axis=1), axis=-1, keepdims=True)
        bones = ways / np.linalg.norm(ways, axis=-1, keepdims=True).clip(1e-12) * lengths
        joints[:, _THUMB[1:]] = joints[:, _THUMB[:1]] + np.cumsum(bones, axis=1)
        return joints, frame.to_picture(flat)

    def save(self, path: Path) -> None:
        """Write the arrays as an .npz file, whole or not at all."""
        with atomic_path(path) as part, open(part, "wb") as file:
            np.savez_compressed(
                file, hand=np.array(self.hand), space=self.space.astype(np.float32),
                picture=self.picture.astype(np.float32), correction=self.correction.astype(np.float32),
            )  # fmt: skip


def correction_file(hand: str) -> Path:
    """Where the correction for the hand model with this fingerprint is kept: in the package for the open hand, else in
    the cache folder, once scripts/calibrate_landmarks.py has made it.

    The name changes with what the landmark model's points are: a correction of its points in space alone is not read.
    """
    return ASSET if hand == shipped_correction().hand else cache_dir() / f"teacher-heads-terms-{hand}.npz"


def correction_for(hand: str) -> LandmarkCorrection | None:
    """The correction for the hand model with this fingerprint, or None: the joints of hand models differ.

    Raises:
        HandMeshError: its file is damaged.
    """
    file = correction_file(hand)
    if file == ASSET:
        return shipped_correction()
    return _load(file) if file.is_file() else None


@lru_cache(maxsize=1)
def shipped_correction() -> LandmarkCorrection:
    """The correction that comes with the package, made on the open hand."""
    return _load(ASSET)


def _load(file: Path) -> LandmarkCorrection:
    try:
        archive = read_npz(file, _MAX_BYTES)
        correction = LandmarkCorrection(
            str(archive["hand"]), *(archive[name].astype(np.float64) for name in ("space", "picture", "correction"))
        )
        shapes = correction.space.shape, correction.picture.shape, correction.correction.shape
        if shapes != ((NUM_JOINTS, NUM_JOINTS), (NUM_JOINTS, NUM_JOINTS), (5 * NUM_JOINTS + 1, 5 * NUM_JOINTS)):
            raise ValueError(f"arrays of {shapes}")
    except (OSError, KeyError, ValueError) as error:
        raise HandMeshError(
            f"expected a correction of the landmark model in {file}, could not read it ({reason_of(error)}); "
            "make it again with scripts/calibrate_landmarks.py, or delete it"
        ) from None
    return correction
