#!/usr/bin/env python3
"""Is the drawn hand as broad as the real one? Outlines of meshes against hands before plain ground.

scripts/experiments/silhouettes.py --checkpoint default --teacher REAL --photos GATHERED --sheet sheet.png

Of held-out photos whose ground is of one colour, the hand is what has another colour: no mesh and no network has a part
in that outline. Photos whose ground is not plain, or whose outline does not hold the labelled joints, are left out. The
mesh is the predictor's, placed from the label's crop. Beyond the wrist neither counts.
  IoU             overlap of mesh and hand, intersection over union
  area            of the mesh over that of the hand
  finger          width of the mesh over that of the hand, across the middle of straight fingers' two inner segments,
                  where the hand's width is a single finger's
  mask            with --masks: IoU of the pixels that our segmentation network says are the hand's
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handmesh.errors import run_command
from handmesh.geometry.camera import project_points
from handmesh.geometry.crop import CropSettings
from handmesh.io.files import write_json
from handmesh.labeling.outline_fit import beyond_the_wrist
from handmesh.labeling.plain_ground import hand_before_plain_ground
from handmesh.skeleton import FINGERS

if TYPE_CHECKING:
    from handmesh.inference.detectors.fastvit import FastVitDetector
    from handmesh.inference.estimator import HandEstimator
    from handmesh.inference.views import Views
    from handmesh.labeling.photo_sets import LabelledPhoto

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SIZE_PX = 256
PADDING = 1.7
#: A finger is straight when knuckle to tip is this share of its bones, and alone when the hand is no broader there than
#: this many times the mesh.
STRAIGHT, ALONE = 0.95, 1.6


@dataclass(frozen=True)
class Outline:
    """What one photo tells: its set, overlap, areas' ratio, widths of mesh and hand (pixels) at its fingers, and the
    overlap of the network's mask, NaN where it was not asked.
    """

    group: str
    iou: float
    area: float
    widths: list[tuple[float, float]]
    mask_iou: float = float("nan")


def width_across(mask: Mask, middle: Array, direction: Array) -> float:
    """Length in pixels of the run of True through ``middle`` (2,) along ``direction``; 0 where the middle is False."""
    total = 0.0
    for sign in (-1.0, 1.0):
        steps = np.arange(0, 80, 0.25)
        at = np.rint(middle + sign * steps[:, None] * direction).astype(int)
        inside = ((at >= 0) & (at < len(mask))).all(1)
        values = np.where(inside, mask[np.clip(at[:, 1], 0, len(mask) - 1), np.clip(at[:, 0], 0, len(mask) - 1)], False)
        total += float(steps[int(np.argmin(values))]) if not values.all() else float(steps[-1])
    return total


def finger_widths(mesh: Mask, hand: Mask, points: Array, joints: Array) -> list[tuple[float, float]]:
    """Widths of mesh and hand across straight, free fingers.

    Args:
        mesh, hand: (S, S) bool.
        points: (21, 2) the mesh's joints, pixels.
        joints: (21, 3) the same in space, metres.
    """
    found = []
    for name, members in FINGERS.items():
        chain = joints[list(members)]
        bones = np.linalg.norm(np.diff(chain, axis=0), axis=1).sum()
        if name == "thumb" or np.linalg.norm(chain[-1] - chain[0]) < STRAIGHT * bones:
            continue
        for first, second in ((members[0], members[1]), (members[1], members[2])):
            along = points[second] - points[first]
            length = float(np.linalg.norm(along))
            if length < 8:
                continue
            across = np.array([-along[1], along[0]]) / length
            # Towards the tip, clear of the webs between fingers.
            middle = points[first] + 0.6 * along
            ours, theirs = width_across(mesh, middle, across), width_across(hand, middle, across)
            if 0 < theirs < ALONE * ours and ours < ALONE * theirs:
                found.append((ours, theirs))
    return found


def outline_of(
    photo: LabelledPhoto, estimator: HandEstimator, segmenter: FastVitDetector | None = None,
    views: Views = (),
) -> tuple[Outline, NDArray[np.uint8]] | None:  # fmt: skip
    """One photo's figures and a picture of the outlines; None where its outline cannot be had."""
    from handmesh.inference.detectors.fastvit import with_masks
    from handmesh.io.images import read_image
    from handmesh.labeling.photo_sets import crop_for
    from handmesh.rendering.rasterizer import rasterize

    image = read_image(photo.path)
    height, width = image.shape[:2]
    view = crop_for(photo, width, height, CropSettings(SIZE_PX, PADDING, estimator.crop.perspective))
    shown = view.apply_image(image)
    seen = view.apply_image(np.full_like(image, 255))[..., 0] > 254
    hand = hand_before_plain_ground(shown, view.apply_points_2d(photo.keypoints_2d), seen)
    if hand is None:
        return None
    crop = crop_for(photo, width, height, estimator.crop)
    found = estimator.estimate([image], [crop], views=views)[0].hand
    vertices, joints = (view.apply_points_3d(np.asarray(each, np.float64)) for each in (found.vertices, found.joints))
    # The view mirrors left hands, and a mirrored mesh is turned inside out: neither side is left out.
    mesh = rasterize(vertices, found.faces, view.K_crop, SIZE_PX, SIZE_PX, cull=False).face_index >= 0
    points = project_points(joints, view.K_crop)
    counts = seen & ~beyond_the_wrist(points, SIZE_PX)
    areas = (mesh & counts).sum() / max((hand & counts).sum(), 1)
    drawn = [(hand & counts, (60, 220, 60)), (mesh & counts, (255, 60, 200))]
    mask_iou = float("nan")
    if segmenter is not None:
        of_photo = with_masks([found], segmenter.segment(image))[0].mask
        assert of_photo is not None
        told = view.apply_image(np.repeat(255 * of_photo.astype(np.uint8)[..., None], 3, 2))[..., 0] > 127
        mask_iou = iou(told & counts, hand & counts)
        drawn.append((told & counts, (80, 160, 255)))
    picture = shown.copy()
    for mask, colour in drawn:
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, colour, 1, cv2.LINE_AA)
    widths = finger_widths(mesh, hand, points, joints)
    return Outline(photo.group, iou(mesh & counts, hand & counts), float(areas), widths, mask_iou), picture


def iou(one: Mask, two: Mask) -> float:
    """Intersection over union; 1 of two empty masks."""
    either = (one | two).sum()
    return float((one & two).sum() / either) if either else 1.0


def summarize(rows: list[Outline]) -> dict[str, dict[str, float]]:
    """Group by group: photos, mean IoU, median ratio of areas, median ratio of finger widths and how many."""
    table = {}
    for group in [*sorted({row.group for row in rows}), "all"]:
        part = [row for row in rows if group in (row.group, "all")]
        widths = [ours / theirs for row in part for ours, theirs in row.widths]
        table[group] = {
            "photos": len(part), "iou": float(np.mean([row.iou for row in part])),
            "area": float(np.median([row.area for row in part])),
            "finger": float(np.median(widths)) if widths else float("nan"), "fingers": len(widths),
            "mask": float(np.mean([row.mask_iou for row in part])),
        }  # fmt: skip
    return table


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="default")
    parser.add_argument("--photos", metavar="DIR", help="folders with labels.jsonl")
    parser.add_argument("--teacher", metavar="DIR", help="folder with sign-digits/ and webcam-crops/ in it")
    parser.add_argument("--sheet", type=Path, help="a contact sheet (green the hand, pink the mesh)")
    parser.add_argument("--masks", action="store_true", help="also our segmentation network's masks (blue)")
    parser.add_argument("--views", action="store_true", help="each hand in the several views of a still, not once")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    from handmesh.inference.detectors.fastvit import FastVitDetector
    from handmesh.inference.predictor import HandMeshPredictor
    from handmesh.io.images import write_image
    from handmesh.labeling.landmark_files import read_landmark_photos
    from handmesh.labeling.photo_sets import photos_with_landmarks
    from handmesh.labeling.pseudo_labels import correct
    from handmesh.mano.arrays import load_mano
    from handmesh.rendering.contact_sheet import contact_sheet

    photos: list[LabelledPhoto] = []
    if args.teacher:
        photos += [photo for photo in photos_with_landmarks(args.teacher) if photo.is_held_out and photo.is_trusted]
    if args.photos:
        photos += [photo for photo in read_landmark_photos(args.photos) if photo.is_held_out]
    estimator = HandMeshPredictor.from_pretrained(args.checkpoint)
    segmenter = FastVitDetector() if args.masks else None
    views = estimator.views if args.views else ()
    outlines = (outline_of(photo, estimator, segmenter, views) for photo in correct(photos, load_mano("open")))
    found = [each for each in outlines if each]
    rows = [each[0] for each in found]
    table: dict[str, Any] = summarize(rows)
    print(f"{len(rows)} of {len(photos)} photos have plain ground")
    for group, values in table.items():
        line = "{0:48s} {photos:5.0f} IoU {iou:.3f} area {area:.3f} finger {finger:.3f} ({fingers:.0f})"
        print(line.format(group, **values) + (f" mask {values['mask']:.3f}" if args.masks else ""))
    if args.sheet and found:
        every = max(len(found) // 60, 1)
        write_image(args.sheet, contact_sheet([picture for _, picture in found[::every]][:60]))
    if args.json:
        write_json(args.json, table, indent=2)


if __name__ == "__main__":
    run_command(main)
