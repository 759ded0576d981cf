"""Write labelled images in FreiHAND's own layout, so that whatever reads FreiHAND reads them too.

Images are written as they come, each whole or not at all; the JSON files only when the split is complete.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from handmesh.data.freihand import SPLITS, image_path
from handmesh.errors import HandMeshError
from handmesh.geometry.rotation_numpy import matrix_to_axis_angle_np
from handmesh.io.files import atomic_path, user_path, write_json
from handmesh.skeleton import ROOT_JOINT

JPEG_QUALITY = 95
DECIMALS = 7  # a tenth of a micrometre


#: What the layout keeps of each sample, by the name of its JSON file.
KEYS = ("K", "scale", "xyz", "verts", "mano")

Entries = dict[str, Any]


class FreiHandWriter:
    """Collect samples of one split; use as a context manager, or call `close()` to write the annotations.

    with FreiHandWriter(root, "training", mano.hands_mean) as writer:
        writer.add(sample)
    """

    def __init__(self, root: str | Path, split: str, hands_mean: np.ndarray) -> None:
        """Begin a split.

        Args:
            root: of the data set.
            split: "training" or "evaluation".
            hands_mean: (45,) mean pose of the hand model (axis-angle, radians); the files hold poses as residuals to
                it.

        Raises:
            HandMeshError: another name of a split, or there is an earlier one in the folder.
        """
        if split not in SPLITS:
            raise HandMeshError(f"expected split 'training' or 'evaluation', got '{split}'")
        self.root, self.split = user_path(root), split
        self._mean = np.asarray(hands_mean, np.float64)
        folder = self.root / split
        if (self.root / f"{split}_K.json").exists() or (folder.is_dir() and any(folder.rglob("*.jpg"))):
            raise HandMeshError(
                f"expected an empty folder for the {split} split, got an earlier one in {self.root}; "
                "choose another folder or delete that one"
            )
        self._entries: list[Entries] = []
        self._has_3d: list[int] = []

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, sample: Mapping[str, Any]) -> int:
        """Write one sample (as FreiHandDataset.sample gives it) and return its id.

        Only right hands that are there: the layout has no place for left hands and empty pictures.
        """
        entries = sample_entries(sample, self._mean)
        write_pictures(self.root, self.split, len(self), sample)
        self._entries.append(entries)
        self._has_3d.append(int(sample.get("has_3d", True)))
        return len(self) - 1

    def close(self) -> None:
        """Write the JSON files; the split is complete from here on. Without a sample there is no split: no files."""
        if self._entries:
            if not all(self._has_3d):
                write_json(self.root / f"{self.split}_has_3d.json", self._has_3d)
            write_annotations(self.root, self.split, self._entries)

    def __enter__(self) -> FreiHandWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()


def sample_entries(sample: Mapping[str, Any], hands_mean: np.ndarray) -> Entries:
    """One sample's line in each of the JSON files, as plain lists; hands_mean (45,) of the hand model.

    Raises ValueError for a left hand or an empty picture: the layout has no place for them.
    """
    if not sample.get("presence", True) or not sample.get("is_right", True):
        raise ValueError("expected a sample with a right hand in it: FreiHAND's layout holds nothing else")
    joints = np.asarray(sample["joints"], np.float64)
    entries = {
        "K": sample["K"],
        "scale": np.linalg.norm(joints[9] - joints[10]),
        "xyz": joints,
        "verts": sample["vertices"],
        "mano": _mano_entry(sample, joints, hands_mean),
    }
    return {key: np.round(np.asarray(value, np.float64), DECIMALS).tolist() for key, value in entries.items()}


def _mano_entry(sample: Mapping[str, Any], joints: np.ndarray, hands_mean: np.ndarray) -> np.ndarray:
    K = np.asarray(sample["K"], np.float64)
    root = joints[ROOT_JOINT]
    focal = (K[0, 0] + K[1, 1]) / 2
    scale = focal / root[2]
    pose = matrix_to_axis_angle_np(np.asarray(sample["hand_pose"], np.float64)).reshape(45)
    orient = matrix_to_axis_angle_np(np.asarray(sample["global_orient"], np.float64))
    parts = [orient, pose - hands_mean, sample["betas"], K[:2, 2] + root[:2] * scale, [scale]]
    return np.concatenate(parts)[None]


def write_pictures(root: Path, split: str, index: int, sample: Mapping[str, Any]) -> None:
    """Write a sample's image, and its mask where the split has masks, each whole or not at all.

    Args:
        root: of the data set.
        split: "training" or "evaluation".
        index: of the image.
        sample: image (H, W, 3) uint8 RGB; mask (H, W), above zero on the hand, or None.
    """
    _write_jpeg(image_path(root, split, index), cv2.cvtColor(sample["image"], cv2.COLOR_RGB2BGR))
    mask = sample.get("mask")
    if mask is not None and split == "training":
        path = root / split / "mask" / f"{index:08d}.jpg"
        _write_jpeg(path, np.where(np.asarray(mask) > 0, 255, 0).astype(np.uint8))


def write_annotations(root: Path, split: str, entries: Iterable[Entries]) -> None:
    """Write the split's JSON files, all of them or none.

    Args:
        root: of the data set.
        split: "training" or "evaluation".
        entries: of one sample each, taken one at a time and in the order of their ids.
    """
    keys = [key for key in KEYS if not (key == "mano" and split == "evaluation")]
    with ExitStack() as stack:
        paths = [stack.enter_context(atomic_path(root / f"{split}_{key}.json")) for key in keys]
        files = [stack.enter_context(open(path, "w", encoding="utf-8")) for path in paths]
        for file in files:
            file.write("[")
        for number, entry in enumerate(entries):
            for key, file in zip(keys, files, strict=True):
                file.write("," * (number > 0) + json.dumps(entry[key], separators=(",", ":")))
        for file in files:
            file.write("]")


def _write_jpeg(path: Path, picture: np.ndarray) -> None:
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.tobytes())
