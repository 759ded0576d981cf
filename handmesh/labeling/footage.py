"""A user's own footage, a clip or a folder of photos, as labelled hands: which frames, which held out, what is in them.

Frames of a clip go to a folder of the caller's, for as long as the caller wants it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from handmesh.detection import HandDetector
from handmesh.detection.landmark_model import LandmarkModel
from handmesh.detection.tiling import Window, whole_window
from handmesh.errors import HandMeshError
from handmesh.geometry.camera import DEFAULT_FOV_DEG
from handmesh.io.files import user_path
from handmesh.io.images import is_photo, read_image, write_image
from handmesh.io.video.sources import ClipSource
from handmesh.labeling.landmark_label import label_hand
from handmesh.labeling.photo_sets import CUT_OUT_FOV_DEG, LabelledPhoto, list_unlabelled, with_border

#: Frames of a clip nearer in time than this show much the same picture: they are taken only where a clip is too short
#: for the number asked for.
SPACING_S = 0.1
#: A clip is cut into BLOCKS, of which HELD_OUT_BLOCKS are held out: a fifth of it, at two places.
BLOCKS = 10
HELD_OUT_BLOCKS = (2, 7)
#: Frames this near in time to a held-out block are left out, so that nothing trained on looks like what is measured.
GAP_S = 0.5
#: Smaller hands (side of the box in pixels) are not worth learning from.
MIN_SIDE_PX = 32
#: Hands whose box is larger than this share of the picture are cut-outs of a picture, or very near.
CUT_OUT_SHARE = 0.5


@dataclass(frozen=True)
class FootageFrame:
    """A picture file and its place: which block or folder it is of, and whether it is never trained on."""

    path: Path
    group: str
    is_held_out: bool


@dataclass(frozen=True)
class LabelledFootage:
    """All hands that the landmark model saw (trusted or not), and of how many frames, in how many of which it saw
    any.
    """

    hands: list[LabelledPhoto]
    frames: int
    frames_with_hands: int


def gather_frames(source: str | Path, folder: Path, most: int) -> list[FootageFrame]:
    """Frames spread evenly over the footage.

    Args:
        source: a clip, or a folder of photos (and of folders of photos).
        folder: where the frames of a clip are put, as JPEG.
        most: how many; all where there are fewer.

    Raises:
        HandMeshError: nothing there, no photos in the folder, no clip, one photo alone.
    """
    path = user_path(source)
    if not path.exists():
        raise HandMeshError(f"expected a clip or a folder of photos, got {path}: no such file; check the path")
    if path.is_dir():
        frames = [FootageFrame(*photo) for photo in list_unlabelled(path)]
        if not frames:
            raise HandMeshError(f"expected photos in {path}, got none; give a folder of photos, or a clip")
        return _thinned(frames, most)
    if is_photo(path):
        raise HandMeshError(f"expected a clip or a folder of photos, got one photo, {path.name}; give its folder")
    return _clip_frames(ClipSource(path), folder, most)


def _clip_frames(clip: ClipSource, folder: Path, most: int) -> list[FootageFrame]:
    """Frames of the clip as files. How long it is shows only at its end, so the spacing doubles on the way."""
    kept: list[tuple[float, Path]] = []
    # Up to a third of the frames lie in the gaps beside the blocks that are held out.
    spacing_s = min(SPACING_S, clip.duration_s / (1.5 * most)) if clip.duration_s > 0 else SPACING_S
    next_s = 0.0
    for frame in clip:
        if frame.timestamp_s < next_s - 1e-3:
            continue
        path = folder / f"{len(kept):05d}-{round(1000 * frame.timestamp_s):09d}.jpg"
        write_image(path, frame.image)
        kept.append((frame.timestamp_s, path))
        if len(kept) >= 2 * max(most, 1):
            for _, gone in kept[1::2]:
                gone.unlink()
            kept, spacing_s = kept[::2], 2 * spacing_s
        next_s = kept[-1][0] + spacing_s
    roles = split_times(np.array([time_s for time_s, _ in kept]))
    frames = [FootageFrame(path, "clip", role == "held out") for (_, path), role in zip(kept, roles) if role != "gap"]
    return _thinned(frames, most)


def split_times(times_s: NDArray[np.floating]) -> list[str]:
    """For each frame, by its time (rising): "training", "held out", or "gap" for what lies between the two."""
    times = np.asarray(times_s, np.float64)
    block = np.arange(len(times)) * BLOCKS // max(len(times), 1)
    is_held_out = np.isin(block, HELD_OUT_BLOCKS)
    held = times[is_held_out]
    # Of a very short clip nothing would be left: its gaps are at most half a block.
    gap_s = min(GAP_S, np.ptp(times) / BLOCKS / 2) if len(times) else 0.0
    is_near = np.array([len(held) > 0 and np.abs(held - time).min() < gap_s for time in times], bool)
    return ["held out" if out else "gap" if near else "training" for out, near in zip(is_held_out, is_near)]


def _thinned(items: list, most: int) -> list:  # type: ignore[type-arg]
    """At most so many of the items, evenly spread, in their order."""
    if len(items) <= most:
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]


def label_frames(
    frames: Sequence[FootageFrame], detector: HandDetector, model: LandmarkModel, progress: bool = True
) -> LabelledFootage:
    """Every hand that the detector finds in the frames, labelled (about 0.2 s a frame on two cores).

    A damaged photo is named on stderr and skipped.

    Args:
        frames: as :func:`gather_frames` gives them.
        detector: finds the hands.
        model: the landmark model that labels them.
        progress: show a progress bar on stderr.
    """
    hands: list[LabelledPhoto] = []
    readable = with_hands = 0
    for frame in tqdm(frames, desc="labelling frames", unit="frame", disable=not progress):
        try:
            image = read_image(frame.path)
        except HandMeshError as error:
            tqdm.write(f"skipped: {error}", file=sys.stderr)
            continue
        found = label_frame(frame, image, detector, model)
        hands += found
        readable += 1
        with_hands += bool(found)
    return LabelledFootage(hands, readable, with_hands)


def label_frame(
    frame: FootageFrame, image: NDArray[np.uint8], detector: HandDetector, model: LandmarkModel
) -> list[LabelledPhoto]:
    """The hands of one frame that are large enough and on whose landmarks all views agree.

    Args:
        frame: where it comes from.
        image: (H, W, 3) uint8 RGB, its picture.
        detector: finds the hands.
        model: the landmark model that labels them.
    """
    palms, check = detector.load()
    bordered, pad = with_border(image)
    height, width = image.shape[:2]
    inner = whole_window(width, height)
    windows = [Window(inner.x + pad, inner.y + pad, inner.side), whole_window(*bordered.shape[1::-1])]
    # The whole picture finds the hands of a webcam; only where it finds none is it worth searching in parts.
    places = check.keep_hands(bordered, palms.detect(bordered, windows))
    places = places or check.keep_hands(bordered, palms.detect(bordered))
    found = []
    for place in places:
        label = label_hand(bordered, model, place.box_xyxy, place.rotation_deg, 2.0)
        if label is None:
            continue
        side = float(np.ptp(label.keypoints_2d, axis=0).max())
        if side < MIN_SIDE_PX:
            continue
        fov_deg = CUT_OUT_FOV_DEG if side > CUT_OUT_SHARE * max(height, width) else DEFAULT_FOV_DEG
        found.append(
            LabelledPhoto(
                frame.path, frame.group, frame.is_held_out, label.keypoints_2d - pad, label.joints, label.is_right,
                label.disagreement, fov_deg,
            )
        )  # fmt: skip
    return found
