"""Whether fingers that touch in a photo touch in the mesh: ``scripts/experiments/thumb_contacts.py --real PHOTOS``.

A measure of depth that needs no label: in the digits 6 to 9 of sign-digits the thumb's tip lies on the little, ring,
middle or index finger's, in 0 on the index finger's with the others bent alike. The distance of the two tips on a hand
of 180 mm is printed for each checkpoint, for the landmark model itself, and for the open hand's own touching
gestures, which are what contact gives. Held-out photos.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError, run_command
from handmesh.evaluation.real_photos import evaluate_real
from handmesh.inference.engines.factory import make_engine
from handmesh.inference.estimator import HandEstimator
from handmesh.labeling.photo_sets import LabelledPhoto, photos_with_landmarks
from handmesh.mano.arrays import load_mano
from handmesh.mano.layers.numpy_layer import pose_vertices
from handmesh.mano.prior.pose_prior import PosePrior
from handmesh.models.checkpoint import config_of, load_checkpoint

Array = NDArray[np.float64]
THUMB_TIP = 4
#: By folder of sign-digits: which tip the thumb's touches, and the open hand's gesture that does the same.
TOUCHED = {
    "0": (8, "letter O"), "6": (20, "six, touching"), "7": (16, "seven, touching"), "8": (12, "eight, touching"),
    "9": (8, "nine, touching"),
}  # fmt: skip
HAND_LENGTH_MM = 180.0
_MIDDLE_FINGER = [0, 9, 10, 11, 12]


def gap_mm(joints: NDArray[np.floating[Any]], tip: int) -> Array:
    """(N, 21, 3) in any units -> (N,) mm between the thumb's tip and another, the hands made HAND_LENGTH_MM long."""
    points = np.asarray(joints, np.float64)
    length = np.linalg.norm(np.diff(points[:, _MIDDLE_FINGER], axis=1), axis=-1).sum(1)
    gap: Array = np.linalg.norm(points[:, THUMB_TIP] - points[:, tip], axis=-1) / length * HAND_LENGTH_MM
    return gap


def of_gestures() -> dict[str, float]:
    """What the open hand's touching gestures give."""
    arrays = load_mano("open")
    prior = PosePrior(arrays)
    poses = {digit: prior.gesture(gesture) for digit, (_, gesture) in TOUCHED.items()}
    joints = {digit: pose_vertices(arrays, np.eye(3), pose, np.zeros(10))[1] for digit, pose in poses.items()}
    return {digit: float(gap_mm(joints[digit][None], TOUCHED[digit][0])[0]) for digit in TOUCHED}


def of_checkpoint(name: str, photos: Sequence[LabelledPhoto]) -> Array:
    """(N, 21, 3) joints of the hands of photos, crops made from their labels."""
    net, header = load_checkpoint(name)
    config = config_of(header)
    estimator = HandEstimator(make_engine(net, "torch"), load_mano(config.mano), config.crop)
    results = evaluate_real(estimator, photos)
    return np.asarray([result.joints for result in results], np.float64)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.experiments.thumb_contacts", description=__doc__)
    parser.add_argument("--real", required=True, metavar="ROOT", help="folder with sign-digits/")
    parser.add_argument("--checkpoint", nargs="+", default=["default"])
    options = parser.parse_args(argv)
    photos = [
        photo for photo in photos_with_landmarks(options.real)
        if photo.group == "sign-digits" and photo.is_held_out and photo.is_trusted and photo.path.parent.name in TOUCHED
    ]  # fmt: skip
    if not photos:
        raise HandMeshError(
            f"expected sign-digits/0 and 6 to 9 with held-out photos in {options.real}, got none of them"
        )
    digits = np.array([photo.path.parent.name for photo in photos])
    joints = {"landmarks": np.asarray([photo.joints for photo in photos])}
    joints |= {name: of_checkpoint(name, photos) for name in options.checkpoint}
    print(f"median mm between tips that touch{'':8}" + "".join(f"{digit:>8}" for digit in TOUCHED))
    print(f"{'photos':41}" + "".join(f"{(digits == digit).sum():8d}" for digit in TOUCHED))
    print(f"{'open hand, touching':41}" + "".join(f"{gap:8.1f}" for gap in of_gestures().values()))
    for name, found in joints.items():
        gaps = [gap_mm(found[digits == digit], tip) for digit, (tip, _) in TOUCHED.items()]
        print(f"{name[-40:]:41}" + "".join(f"{np.median(gap) if len(gap) else np.nan:8.1f}" for gap in gaps))
    return 0


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
