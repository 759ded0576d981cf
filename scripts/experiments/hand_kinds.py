#!/usr/bin/env python3
"""On which hands is the network good? The held-out makers' errors by side, view, fingers, light, size and cut-off.

scripts/experiments/hand_kinds.py --checkpoint default --photos GATHERED --networks LITE OLDER OLDEST

The table of handmesh/evaluation/breakdown.py, of photos of held-out makers on whose label the networks agree
(scripts/experiments/mesh_fit.py): keypoints in per cent of the box, PA in mm, each hand seen once.
"""

from __future__ import annotations

import argparse

from handmesh.errors import run_command


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="default")
    parser.add_argument("--photos", metavar="DIR", required=True, help="folders with labels.jsonl")
    parser.add_argument("--networks", nargs="+", metavar="TFLITE", default=[], help="as of mesh_fit.py")
    args = parser.parse_args()
    from handmesh.evaluation.breakdown import by_cause, format_causes
    from handmesh.evaluation.real_photos import evaluate_real
    from handmesh.inference.predictor import HandMeshPredictor
    from handmesh.labeling.ensemble import label_together
    from handmesh.labeling.landmark_files import read_landmark_photos
    from handmesh.labeling.pseudo_labels import correct
    from handmesh.mano.arrays import load_mano

    photos = [photo for photo in read_landmark_photos(args.photos) if photo.is_held_out]
    photos = [photo for photo in label_together(photos, args.networks) if photo.is_trusted]
    predictor = HandMeshPredictor.from_pretrained(args.checkpoint)
    print(format_causes(by_cause(evaluate_real(predictor, correct(photos, load_mano("open"))))))


if __name__ == "__main__":
    run_command(main)
