"""Real photos of hands, found in a folder laid out as docs/results.md describes, with labels to measure against.

Two kinds: photos without annotation, labelled by the landmark model (pseudo-labels, kept in the cache), and photos
with 2D annotations of research sets, for looking only. Nothing of them is copied into the project.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from handmesh.errors import HandMeshError, reason_of
from handmesh.geometry.camera import intrinsics_from_fov
from handmesh.geometry.crop import CropSettings, CropTransform, box_around, roll_of, sides_to_see
from handmesh.io.files import atomic_path, cache_dir
from handmesh.io.images import is_photo, read_image
from handmesh.io.npz import read_npz
from handmesh.io.runtime.worker_threads import PerThread, map_in_threads
from handmesh.labeling.landmark_label import LandmarkLabel, label_hand

if TYPE_CHECKING:
    from handmesh.detection.landmark_model import LandmarkModel
    from handmesh.detection.palm_detector import PalmDetector

_LOG = logging.getLogger("handmesh")

#: webcam-crops sets that are never trained on; of sign-digits, the last fifth of each digit's photos.
HELD_OUT_SETS = ("emrecandir9-custom-gesture-dataset", "KaibiaoRuan-ASL")
HELD_OUT_SHARE = 0.2
#: Labels whose views (mirrored, turned, tighter) differ by more than this share of the hand are not trusted.
MAX_DISAGREEMENT = 0.06
#: Side of the landmark model's first crop over the palm detector's box.
FIRST_PADDING = 1.5
#: Of the labels kept, unpacked: a quarter of a million photos.
_MAX_STORE_BYTES = 256 * 2**20
#: A photo that is a cut-out of a webcam frame spans about so much: a hand of 18 cm, 1.7 boxes wide, at half a metre.
CUT_OUT_FOV_DEG = 32.0

#: A label as the cache keeps it, 107 numbers a photo; NaN where the landmark model sees no hand.
_STORED = np.dtype(
    [("keypoints_2d", np.float64, (21, 2)), ("joints", np.float64, (21, 3)), ("right", np.float64),
     ("disagreement", np.float64)]
)  # fmt: skip

#: Finger order of RHD's annotations: tip first, base last.
_TIP_FIRST = [0, *(base + step for base in range(1, 21, 4) for step in (3, 2, 1, 0))]


@dataclass(frozen=True, eq=False)
class LabelledPhoto:
    """A photo of one hand and what is known of it.

    Attributes:
        path: the picture file.
        group: which set it is from.
        is_held_out: never trained on.
        keypoints_2d: (21, 2) pixels, NaN where not annotated.
        joints: (21, 3) metres, camera axes, any origin; None where only 2D is known.
        is_right: right hand in the picture as it is; None where the set does not say.
        disagreement: of the views (landmark_label.py), as a share of the hand; 0 for annotations.
        fov_deg: what the photo is taken to span over its longer side.
        has_depth: whether the joints' depths may be trained on; else only the keypoints are.
        opinions: (N, 21, 3) metres about their middles, what each of several landmark networks says of the joints, as
            it says it; none for a label of one network or of people.
    """

    path: Path
    group: str
    is_held_out: bool
    keypoints_2d: NDArray[np.float64]
    joints: NDArray[np.float64] | None
    is_right: bool | None
    disagreement: float = 0.0
    fov_deg: float = CUT_OUT_FOV_DEG
    has_depth: bool = True
    opinions: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 21, 3)))

    @property
    def is_trusted(self) -> bool:
        """Whether the label is good enough to measure against or to train on."""
        return self.disagreement <= MAX_DISAGREEMENT


def list_unlabelled(root: str | Path) -> list[tuple[Path, str, bool]]:
    """(path, group, is_held_out) of every photo in ``root``/sign-digits and ``root``/webcam-crops that is there.

    Of any other folder: the photos in it and in its sub-folders, the last fifth of each folder held out.
    """
    found: list[tuple[Path, str, bool]] = []
    for folder in _folders(Path(root) / "sign-digits"):
        found += _block(folder, "sign-digits")
    for folder in _folders(Path(root) / "webcam-crops"):
        found += [(path, f"webcam-crops/{folder.name}", folder.name in HELD_OUT_SETS) for path in _photos(folder)]
    if not found and Path(root).is_dir() and not (Path(root) / "annotated").is_dir():
        for folder in [Path(root), *_folders(Path(root))]:
            found += _block(folder, folder.name)
    return found


def _block(folder: Path, group: str) -> list[tuple[Path, str, bool]]:
    photos = _photos(folder)
    first_held_out = len(photos) - int(HELD_OUT_SHARE * len(photos))
    return [(path, group, i >= first_held_out) for i, path in enumerate(photos)]


def photos_with_landmarks(root: str | Path, progress: bool = True) -> list[LabelledPhoto]:
    """The photos of :func:`list_unlabelled` in which the landmark model sees a hand, with its landmarks.

    Labelling 2,500 photos takes some minutes on two cores; the result is kept in the cache folder under a name made of
    the photos' paths and sizes.

    Raises:
        HandMeshError: ``root`` holds no photo, or the landmark model cannot be fetched.
    """
    photos = list_unlabelled(root)
    if not photos:
        raise HandMeshError(f"expected photos in {root}, got none; give a folder of photos, or of folders of photos")
    key = "\n".join(f"{path.relative_to(root)} {path.stat().st_size}" for path, _, _ in photos)
    store = cache_dir() / f"teacher-heads-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    if not store.is_file():
        labels = np.stack(list(_label_all([path for path, _, _ in photos], progress)))
        with atomic_path(store) as part, open(part, "wb") as file:
            np.savez_compressed(file, labels=labels.view(np.float64).reshape(len(photos), -1))
    try:
        rows = read_npz(store, _MAX_STORE_BYTES)["labels"]
        if rows.shape != (len(photos), _STORED.itemsize // 8):
            raise ValueError(f"labels of shape {rows.shape}")
        labels = np.ascontiguousarray(rows, np.float64).view(_STORED)[:, 0]
    except (OSError, KeyError, ValueError) as error:
        raise HandMeshError(
            f"expected the labels kept in {store}, could not read them ({reason_of(error)}); delete it"
        ) from error
    return [
        LabelledPhoto(
            path, group, held, label["keypoints_2d"], label["joints"], bool(label["right"] > 0.5),
            float(label["disagreement"]),
        )
        for (path, group, held), label, row in zip(photos, labels, rows, strict=True)
        if np.isfinite(row).all()
    ]  # fmt: skip


def _label_all(paths: list[Path], progress: bool) -> Iterator[NDArray[np.void]]:
    """The label of each photo, of type _STORED.

    A damaged photo is named on stderr and has NaN: it is not to cost the labels of all the others.
    """
    from handmesh.detection.landmark_model import LandmarkModel
    from handmesh.detection.model_files import ensure_landmark_model, ensure_palm_detector
    from handmesh.detection.palm_detector import PalmDetector

    palms, landmarks = ensure_palm_detector(), ensure_landmark_model()
    models = PerThread(lambda: (PalmDetector(palms, threads=1), LandmarkModel(landmarks, threads=1)))

    def labelled(path: Path) -> NDArray[np.void]:
        try:
            image = read_image(path)
        except HandMeshError as error:
            tqdm.write(f"skipped: {error}", file=sys.stderr)
            label = None
        else:
            label = _label(image, *models())
        return (np.full(1, np.nan, _STORED) if label is None else _as_stored(label))[0]

    yield from tqdm(
        map_in_threads(labelled, paths), desc="labelling photos", total=len(paths), disable=not progress
    )


def _as_stored(label: LandmarkLabel) -> NDArray[np.void]:
    row = (label.keypoints_2d, label.joints, label.is_right, label.disagreement)
    return np.array([row], _STORED)


def _label(image: NDArray[np.uint8], detector: PalmDetector, model: LandmarkModel) -> LandmarkLabel | None:
    """The landmark model's label of the one hand of a photo, or None where it sees none.

    Where the palm detector sees no palm the whole photo serves as the box.
    """
    bordered, pad = with_border(image)
    palms = detector.detect_whole(bordered, max_hands=1)
    if palms:
        label = label_hand(bordered, model, palms[0].box_xyxy, palms[0].rotation_deg, FIRST_PADDING)
    else:
        label = label_hand(bordered, model, np.array([0.0, 0.0, *bordered.shape[1::-1]]), 0.0, 1.0)
    return None if label is None else replace(label, keypoints_2d=label.keypoints_2d - pad)


def with_border(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
    """The picture with its edge pixels repeated outwards, and by how many: the palm detector misses hands that fill
    a picture, and the landmark model is better with a blurred wall than with black beyond the edge.
    """
    pad = max(image.shape[:2]) // 4
    return np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="edge"), pad


def crop_for(photo: LabelledPhoto, width: int, height: int, settings: CropSettings) -> CropTransform:
    """The upright crop around a label's keypoints, mirrored for a left hand.

    Args:
        photo: its keypoints_2d may be NaN where they are unknown.
        width, height: of the photo, pixels.
        settings: of the network that is to see it.
    """
    known = photo.keypoints_2d[np.isfinite(photo.keypoints_2d).all(-1)]
    both = np.isfinite(photo.keypoints_2d[[0, 9]]).all()
    roll = roll_of(photo.keypoints_2d) if both else 0.0
    box = box_around(known, rotation_deg=roll)
    return settings.crop(box, intrinsics_from_fov(width, height), roll, mirror=photo.is_right is False)


def crops_for(photo: LabelledPhoto, width: int, height: int, settings: CropSettings) -> list[CropTransform]:
    """The crops in which a network that is measured sees a photo's hand: two, as a right and (mirrored) as a left one,
    where the label does not say which it is; else one.

    Args:
        photo, width, height, settings: as of :func:`crop_for`.
    """
    return [
        crop_for(replace(photo, is_right=side), width, height, settings) for side in sides_to_see(photo.is_right)
    ]


def annotated_photos(root: str | Path) -> list[LabelledPhoto]:
    """The photos of ``root``/annotated with 2D keypoints (COCO style); empty when the folder is absent."""
    found: list[LabelledPhoto] = []
    for name in ("freihand", "onehand10k", "panoptic", "rhd"):
        folder = Path(root) / "annotated" / name
        path = folder / f"test_{name}.json"
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_text())
            files = {image["id"]: image["file_name"] for image in content["images"]}
            found += [_annotated(folder, name, files, entry) for entry in content["annotations"]]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            raise HandMeshError(f"expected COCO-style annotations in {path}, got {error!r}; copy it again") from error
    return found


def readable(photos: Iterable[LabelledPhoto]) -> list[LabelledPhoto]:
    """Those whose picture can be read; the others are logged, for one damaged file is not to cost the rest."""
    kept = []
    for photo in photos:
        try:
            read_image(photo.path)
        except HandMeshError as error:
            _LOG.warning("skipped: %s", error)
        else:
            kept.append(photo)
    return kept


def _annotated(folder: Path, name: str, files: dict[int, str], entry: dict[str, Any]) -> LabelledPhoto:
    points = np.asarray(entry["keypoints"], np.float64).reshape(21, 3)
    joints = np.asarray(entry["joint_cam"], np.float64) / 1000 if "joint_cam" in entry else None
    if name == "rhd":
        points = points[_TIP_FIRST]
        joints = joints[_TIP_FIRST] if joints is not None else None
    keypoints = np.where(points[:, 2:] > 0, points[:, :2], np.nan)
    side = {"left": False, "right": True}.get(entry.get("hand_type", ""))
    is_right = True if name == "freihand" else side
    return LabelledPhoto(folder / files[entry["image_id"]], f"annotated/{name}", True, keypoints, joints, is_right)


def _folders(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir()) if path.is_dir() else []


def _photos(folder: Path) -> list[Path]:
    # By number where names carry one, so that a block of photos is a block of people.
    return sorted(
        (path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".") and is_photo(path)),
        key=lambda path: (int("".join(filter(str.isdecimal, path.stem)) or 0), path.name),
    )
