#!/usr/bin/env python3
"""On which hands is the mesh good? The held-out makers' figures by view, fist, side and light.

scripts/experiments/hand_kinds.py --checkpoint default --photos GATHERED --networks LITE OLDER OLDEST [--views]

Of photos of held-out makers on whose label the networks agree (scripts/experiments/mesh_fit.py): hands, 2D error of the
mesh in per cent of the box, PA in mm. View and fist are the label's; light is that of the pixels within the palm, and
of the whole picture, in thirds.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from handmesh.errors import run_command
from scripts.experiments.mesh_fit import BENT, photo_rows, straightness

if TYPE_CHECKING:
    from handmesh.labeling.photo_sets import LabelledPhoto

Array = NDArray[np.float64]
PALM = [0, 1, 5, 9, 13, 17]
#: Cosine of palm's normal and viewing direction from which palm or back is seen, not the side.
FACING = 0.5


def view_of(joints: Array, is_right: bool) -> str:
    """Whether a hand of joints (21, 3), camera axes, shows its palm, its back or its side."""
    normal = np.cross(joints[5] - joints[0], joints[17] - joints[0])
    towards = -normal[2] / np.linalg.norm(normal) * (1 if is_right else -1)
    return "palm" if towards > FACING else "back" if towards < -FACING else "side"


def is_fist(joints: Array) -> bool:
    """Whether all four fingers of joints (21, 3) are bent."""
    return bool((straightness(joints) < BENT).all())


def light_of(image: NDArray[np.uint8], points: Array) -> tuple[float, float]:
    """Grey levels (0..255) of the palm, median, and of the picture, mean; points: (21, 2) pixels."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    palm = np.zeros(grey.shape, np.uint8)
    cv2.fillConvexPoly(palm, cv2.convexHull(np.rint(points[PALM]).astype(np.int32)), 1)
    inside = grey[palm > 0]
    return float(np.median(inside)) if inside.size else float("nan"), float(grey.mean())


def thirds(values: Array) -> list[NDArray[np.bool_]]:
    """Masks of the lowest, middle and highest third of values (N,)."""
    low, high = np.nanquantile(values, [1 / 3, 2 / 3])
    return [values <= low, (values > low) & (values <= high), values > high]


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="default")
    parser.add_argument("--photos", metavar="DIR", required=True, help="folders with labels.jsonl")
    parser.add_argument("--networks", nargs="+", metavar="TFLITE", default=[], help="as of mesh_fit.py")
    parser.add_argument("--views", action="store_true", help="each hand in the several views of a still, not once")
    args = parser.parse_args()
    from handmesh.inference.predictor import HandMeshPredictor
    from handmesh.io.images import read_image
    from handmesh.labeling.ensemble import label_together
    from handmesh.labeling.landmark_files import read_landmark_photos
    from handmesh.labeling.pseudo_labels import correct
    from handmesh.mano.arrays import load_mano

    labelled: list[LabelledPhoto] = [photo for photo in read_landmark_photos(args.photos) if photo.is_held_out]
    labelled = correct(label_together(labelled, args.networks), load_mano("open"))
    photos = [each for each in labelled if each.is_trusted and each.joints is not None and each.is_right is not None]
    predictor = HandMeshPredictor.from_pretrained(args.checkpoint)
    rows = photo_rows(predictor, photos, predictor.views if args.views else ())
    errors = np.array([(row.mesh, row.pa_mm) for row in rows])
    light = np.array([light_of(read_image(photo.path), photo.keypoints_2d) for photo in photos])
    views = np.array([view_of(np.asarray(photo.joints), bool(photo.is_right)) for photo in photos])
    fists = np.array([is_fist(np.asarray(photo.joints)) for photo in photos])
    right = np.array([bool(photo.is_right) for photo in photos])
    groups = {view: views == view for view in ("palm", "back", "side")}
    groups |= {"fist": fists, "right": right, "left": ~right}
    for place, name in enumerate(("palm's light", "picture's light")):
        groups |= dict(zip((f"{name}, {third}" for third in ("dark", "middle", "bright")), thirds(light[:, place])))
    for name, mask in groups.items():
        mesh, pa = np.nanmean(errors[mask], axis=0)
        print(f"{name:24s} {mask.sum():5d} hands, mesh {mesh:.2f} %, PA {pa:.2f} mm")


if __name__ == "__main__":
    run_command(main)
