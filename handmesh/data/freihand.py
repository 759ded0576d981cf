"""FreiHAND's folder layout (v2), read and written: images, masks and JSON annotations to samples and back.

Source: Zimmermann et al., "FreiHAND", ICCV 2019, and its public release.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from handmesh.data.json_arrays import read_json_array
from handmesh.data.sample import Sample
from handmesh.errors import HandMeshError
from handmesh.geometry.rotation_numpy import axis_angle_to_matrix_np
from handmesh.io.files import user_path
from handmesh.io.images import check_header
from handmesh.skeleton import NUM_JOINTS, NUM_VERTICES

SPLITS = ("training", "evaluation")
ENTRY_SHAPES: dict[str, tuple[int, ...]] = {
    "K": (3, 3),
    "scale": (),
    "xyz": (NUM_JOINTS, 3),
    "verts": (NUM_VERTICES, 3),
    "mano": (61,),  # 3 root + 45 fingers (axis-angle), 10 betas, 2 uv of joint 9, 1 scale
}
REQUIRED = {"training": ("K", "scale", "xyz", "verts", "mano"), "evaluation": ("K", "scale", "xyz", "verts")}
MAX_VERSIONS = 4  # green screen, and three ways of filling in a background
MASK_THRESHOLD = 127  # masks are JPEG
#: Samples of FreiHAND's evaluation split.
OFFICIAL_EVALUATION = 3960
#: A set that was rendered here says so with this file.
RENDERED_PLAN = "synth.json"


@dataclass(frozen=True, eq=False)
class Annotations:
    """What the JSON files of one split say about its n unique hands.

    K (n, 3, 3) pixels; scale (n,) m; joints (n, 21, 3), vertices (n, 778, 3) float32 m, camera frame; mano
    (n, 61) or None; has_3d (n,) bool: what is only labelled in the picture has False, its joints stand at any depth
    on the rays of their keypoints and its vertices mean nothing; None where all are labelled in space (FreiHAND).
    """

    K: np.ndarray
    scale: np.ndarray
    joints: np.ndarray
    vertices: np.ndarray
    mano: np.ndarray | None
    has_3d: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.K)


def image_path(root: Path, split: str, index: int) -> Path:
    """The path of one image.

    Args:
        root: of the data set.
        split: "training" or "evaluation".
        index: of the image, counted over all versions.
    """
    return root / split / "rgb" / f"{index:08d}.jpg"


def load_annotations(root: str | Path, split: str) -> Annotations:
    """Read and check the JSON files of a split; raises HandMeshError naming the file and its entries."""
    root = user_path(root)
    if split not in SPLITS:
        raise HandMeshError(f"expected split 'training' or 'evaluation', got '{split}'")
    if not root.is_dir():
        raise HandMeshError(
            f"expected a folder in FreiHAND's layout at {root}, found none; download FreiHAND v2 and give the folder "
            "that holds training_K.json, or render a set with 'handmesh synth'"
        )
    arrays = {key: read_json_array(root / f"{split}_{key}.json", ENTRY_SHAPES[key]) for key in REQUIRED[split]}
    counts = {key: len(array) for key, array in arrays.items()}
    if len(set(counts.values())) != 1 or not counts["K"]:
        listed = ", ".join(f"{split}_{key}.json {count}" for key, count in counts.items())
        raise HandMeshError(f"expected the same number of entries (not 0) in {root}, got {listed}; download again")
    return Annotations(
        K=arrays["K"],
        scale=arrays["scale"],
        joints=arrays["xyz"].astype(np.float32),
        vertices=arrays["verts"].astype(np.float32),
        mano=arrays.get("mano"),
        has_3d=_read_has_3d(root / f"{split}_has_3d.json", len(arrays["K"])),
    )


def _read_has_3d(path: Path, count: int) -> np.ndarray | None:
    """The side file of sets that hold hands labelled in the picture alone; FreiHAND has none."""
    if not path.is_file():
        return None
    flags = read_json_array(path, ())
    if len(flags) != count:
        raise HandMeshError(f"expected {count} entries in {path}, as many as in the other files, got {len(flags)}")
    return flags > 0.5


def read_picture(path: Path, grey: bool = False) -> np.ndarray:
    """Decode an image file to (H, W, 3) uint8 RGB, or (H, W) when grey; HandMeshError when it is none."""
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise HandMeshError(f"expected an image at {path}, could not read it ({error.strerror})") from None
    check_header(content.tobytes(), path)
    try:
        picture = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR)
    except cv2.error:
        picture = None
    if picture is None or not picture.size:
        raise HandMeshError(f"expected an image at {path}, got an empty or corrupt file; restore it")
    return picture if grey else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


class FreiHandDataset:
    """A split of FreiHAND, or of a set in its layout; `sample(index)` gives one labelled image before
    cropping.

    The real training split has 32560 annotations and four images of each (index = id + 32560 * version); a
    smaller set has len(json) annotations and one to four versions. The evaluation split has one.
    """

    is_endless = False

    def __init__(
        self,
        root: str | Path,
        split: str = "training",
        hands_mean: np.ndarray | None = None,
        versions: Sequence[int] | None = None,
    ) -> None:
        """Read the annotations; images are read when they are asked for.

        Args:
            root: of the data set.
            split: "training" or "evaluation".
            hands_mean: (45,) mean pose (axis-angle, radians) of the hand model the labels were made with; without it
                has_mano is False.
            versions: which of the four kinds of background to use; None for all that are there.

        Raises:
            HandMeshError: annotations or images that are missing, damaged or of other shapes.
        """
        self.root, self.split = user_path(root), split
        self.annotations = load_annotations(root, split)
        count = len(self.annotations)
        self.versions = tuple(self._find_versions(count) if versions is None else versions)
        if not self.versions:
            first = image_path(self.root, split, 0)
            raise HandMeshError(f"expected images {first} and following, found none; unpack the images there")
        self._mano = None if hands_mean is None else self._unpack_mano(np.asarray(hands_mean, np.float64))
        self.image_shape = self._first_picture().shape

    def _find_versions(self, count: int) -> list[int]:
        possible = range(MAX_VERSIONS if self.split == "training" else 1)
        return [v for v in possible if image_path(self.root, self.split, v * count).is_file()]

    def _first_picture(self) -> np.ndarray:
        return read_picture(image_path(self.root, self.split, self.file_index(0)))

    def _unpack_mano(self, hands_mean: np.ndarray) -> dict[str, np.ndarray] | None:
        mano = self.annotations.mano
        if mano is None:
            return None
        pose = mano[:, 3:48] + hands_mean
        return {
            "global_orient": axis_angle_to_matrix_np(mano[:, :3]).astype(np.float32),
            "hand_pose": axis_angle_to_matrix_np(pose.reshape(-1, 15, 3)).astype(np.float32),
            "betas": mano[:, 48:58].astype(np.float32),
        }

    def __len__(self) -> int:
        return len(self.annotations) * len(self.versions)

    @property
    def unique(self) -> int:
        """Number of hands, not counting their versions."""
        return len(self.annotations)

    @property
    def is_official_evaluation(self) -> bool:
        """Whether this is FreiHAND's own evaluation split, whole, by its size; never a set that was rendered here."""
        return (
            self.split == "evaluation"
            and len(self) == OFFICIAL_EVALUATION
            and self.image_shape == (224, 224, 3)
            and not (self.root / RENDERED_PLAN).exists()
        )

    def file_index(self, index: int) -> int:
        """The number in the file's name of sample `index`."""
        version, hand = divmod(index, self.unique)
        return self.versions[version] * self.unique + hand

    def labels(self, index: int) -> Sample:
        """Everything of `sample(index)` except the image and the mask."""
        if not 0 <= index < len(self):
            raise IndexError(f"expected an index in 0..{len(self) - 1}, got {index}")
        hand, notes = index % self.unique, self.annotations
        has_3d = notes.has_3d is None or bool(notes.has_3d[hand])
        has_mano = self._mano is not None and has_3d
        orient = np.eye(3, dtype=np.float32)
        pose, betas = np.tile(orient, (15, 1, 1)), np.zeros(10, np.float32)
        if self._mano is not None:
            orient, pose, betas = (self._mano[key][hand] for key in ("global_orient", "hand_pose", "betas"))
        return {
            "K": notes.K[hand],
            "joints": notes.joints[hand],
            "vertices": notes.vertices[hand],
            "global_orient": orient,
            "hand_pose": pose,
            "betas": betas,
            "has_mano": has_mano,
            "has_3d": has_3d,
            "scale": float(notes.scale[hand]),
            "is_right": True,
            "presence": True,
            "visibility": np.ones(NUM_JOINTS, np.float32),
            "index": index,
        }

    def sample(self, index: int, with_mask: bool = False) -> Sample:
        """One image and its labels, before cropping; the mask where asked for.

        Raises:
            HandMeshError: a bad image, named.
        """
        labels = self.labels(index)
        path = image_path(self.root, self.split, self.file_index(index))
        image = read_picture(path)
        if image.shape != self.image_shape:
            raise HandMeshError(
                f"expected an image of {self.image_shape[1]} x {self.image_shape[0]} pixels at {path}, got "
                f"{image.shape[1]} x {image.shape[0]}; restore the original"
            )
        return self._with_mask({**labels, "image": image}, index) if with_mask else {**labels, "image": image}

    def _with_mask(self, sample: Sample, index: int) -> Sample:
        mask = self.mask(index)
        return sample if mask is None else {**sample, "mask": mask}

    def mask(self, index: int) -> np.ndarray | None:
        """The hand's mask (H, W) bool, or None where the set has none (evaluation; some versions)."""
        path = self.root / self.split / "mask" / f"{index % self.unique:08d}.jpg"
        return read_picture(path, grey=True) > MASK_THRESHOLD if path.is_file() else None

    def fingerprint(self) -> str:
        """16 hexadecimal digits over the annotations and a few images: names the data in a checkpoint."""
        digest = hashlib.sha256(f"{len(self)} {self.versions} {self.image_shape}".encode())
        for array in (self.annotations.K, self.annotations.joints, self.annotations.scale):
            digest.update(np.ascontiguousarray(array, "<f4").tobytes())
        for index in np.linspace(0, len(self) - 1, 16).astype(int):
            path = image_path(self.root, self.split, self.file_index(int(index)))
            digest.update(path.read_bytes() if path.is_file() else b"missing")
        return digest.hexdigest()[:16]


def mano_translation(mano: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Where joint 9 lies, (3,) metres in the camera frame, by the last three numbers of a training_mano
    entry.
    """
    focal = (K[0, 0] + K[1, 1]) / 2
    u, v, scale = mano[58:61]
    return np.array([u - K[0, 2], v - K[1, 2], focal]) / scale
