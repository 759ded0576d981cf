"""A contact sheet of samples, to look at what a network is trained on: python -m handmesh.cli.sample_sheet OUT.png

With a checkpoint, also at what the network sees in them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from handmesh.errors import HandMeshError, run_command
from handmesh.geometry.camera import project_points
from handmesh.geometry.crop import box_around, roll_of
from handmesh.io.images import write_image
from handmesh.mano.arrays import load_mano
from handmesh.rendering.contact_sheet import contact_sheet
from handmesh.rendering.overlay import draw_hands
from handmesh.results import Detection
from handmesh.synthesis.generator import Sample
from handmesh.synthesis.kinds import KINDS

if TYPE_CHECKING:
    from handmesh.inference.predictor import HandMeshPredictor


def with_labels(sample: Sample) -> np.ndarray:
    """The sample's picture (S, S, 3) uint8 with its joints, green where visible and red where not, and its box."""
    picture = sample["image"].copy()
    for point, seen in zip(project_points(sample["joints"], sample["K"]), sample["visibility"], strict=True):
        color = (60.0, 220.0, 60.0) if seen else (230.0, 60.0, 60.0)
        cv2.circle(picture, tuple(int(x) for x in np.rint(point * 16)), 32, color, -1, cv2.LINE_AA, 4)
    low, high = np.rint(sample["box_xyxy"]).astype(int).reshape(2, 2)
    cv2.rectangle(picture, tuple(low.tolist()), tuple(high.tolist()), (240.0, 220.0, 60.0), 1)
    return picture


def with_mesh(sample: Sample, predictor: HandMeshPredictor) -> np.ndarray:
    """The sample's picture (S, S, 3) uint8 under the mesh that the predictor sees in the true hand's place."""
    points = project_points(sample["joints"], sample["K"])
    roll = roll_of(points)
    places = [Detection(box_around(points, rotation_deg=roll), bool(sample["is_right"]), 1.0, roll)]
    estimates = predictor.predict_places(sample["image"], sample["K"], places, views=predictor.views)
    return draw_hands(sample["image"], [estimate.hand for estimate in estimates])


def main(argv: Sequence[str] | None = None) -> int:
    """Render the samples and write the sheet."""
    parser = argparse.ArgumentParser(prog="python -m handmesh.cli.sample_sheet", description="A sheet of samples.")
    parser.add_argument("out", metavar="OUT.png")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=224, metavar="PX")
    parser.add_argument("--backgrounds", metavar="DIR", help="photos and .hdr maps to put behind the hands")
    parser.add_argument("--mano", default="open", metavar="FILE", help="hand model: 'open' or a MANO file")
    parser.add_argument("--pictures", default="full", choices=sorted(KINDS), help="kind (default full)")
    parser.add_argument("--gestures", nargs="+", default=[], metavar="NAME", help="poses of these alone")
    parser.add_argument("--labels", action="store_true", help="draw joints and boxes")
    parser.add_argument("--checkpoint", help="beside each, the mesh that this network sees; 'default', file or folder")
    options = parser.parse_args(argv)
    if min(options.count, options.columns) < 1 or not 32 <= options.size <= 1024:
        raise HandMeshError(
            f"expected one sample or more in one column or more, 32 to 1024 pixels wide, got --count {options.count} "
            f"--columns {options.columns} --size {options.size}"
        )
    mano, kind = load_mano(options.mano), KINDS[options.pictures]
    generator = kind(mano, options.seed, options.size, options.backgrounds, gestures=options.gestures)
    images = []
    predictor = _predictor(options) if options.checkpoint else None
    for index in range(options.count):
        sample = generator.sample(index)
        images.append(with_labels(sample) if options.labels else sample["image"])
        if predictor:
            images.append(with_mesh(sample, predictor))
    write_image(options.out, contact_sheet(images, options.columns, options.size))
    return 0


def _predictor(options: argparse.Namespace) -> HandMeshPredictor:
    from handmesh.inference.predictor import HandMeshPredictor

    return HandMeshPredictor.from_pretrained(options.checkpoint, mano=options.mano)


if __name__ == "__main__":
    run_command(main)
