#!/usr/bin/env python3
"""Measure on rendered hands how the landmark model's points differ from the hand's joints, and keep it as an asset.

scripts/calibrate_landmarks.py [--count 12000] [--backgrounds FOLDER] [--output handmesh/assets/landmark_correction.npz]
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tqdm import tqdm

from handmesh.detection.landmark_model import LandmarkModel
from handmesh.errors import HandMeshError, run_command
from handmesh.labeling.landmark_calibration import Pairs, ask_with, calibrate, gather
from handmesh.labeling.landmark_correction import correction_file
from handmesh.mano.arrays import load_mano
from handmesh.synthesis.generator import SampleGenerator

CHUNK = 250


def ask_some(arguments: tuple[argparse.Namespace, int, int]) -> Pairs:
    """The pairs of the samples first to last, in a process of its own."""
    options, first, last = arguments
    generator = SampleGenerator(load_mano(options.mano), options.seed, backgrounds=options.backgrounds)
    return gather((generator.sample(i) for i in range(first, last)), ask_with(LandmarkModel(threads=1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--count", type=int, default=12000, help="rendered pictures; two in five are certain"
    )
    parser.add_argument("--seed", type=int, default=777, help="of the pictures")
    parser.add_argument("--backgrounds", metavar="FOLDER", help="photos and .hdr maps to lay hands on")
    parser.add_argument("--mano", default="open", help="hand model whose joints are meant: 'open' or a MANO file")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--output", type=Path, help="default: where 'handmesh label' and the others look for this hand's"
    )
    options = parser.parse_args()
    if min(options.count, options.workers) < 1:
        raise HandMeshError(
            f"expected --count and --workers of at least 1, got {options.count} and {options.workers}; see --help"
        )
    LandmarkModel(threads=1)  # fetched once, not by every worker
    chunks = [(options, first, min(first + CHUNK, options.count)) for first in range(0, options.count, CHUNK)]
    with ProcessPoolExecutor(options.workers) as pool:
        parts = list(tqdm(pool.map(ask_some, chunks), total=len(chunks), desc="asking", unit=f"{CHUNK} hands"))
    hand = load_mano(options.mano).fingerprint()
    correction, found = calibrate(sum(parts[1:], parts[0]), hand)
    output = options.output or correction_file(hand)
    correction.save(output)
    print(f"{output}: made of {found['hands']} hands; on every fourth, by maps of the others:")
    for name in ("pa", "px"):
        unit, scale = ("PA mm", 1) if name == "pa" else ("% of the box", 100)
        print(
            f"  joints against the landmark model's points: {scale * found[f'{name}_raw']:.2f} {unit} as they are, "
            f"{scale * found[f'{name}_points_of']:.2f} corrected to them\n"
            f"  the landmark model against the joints: {scale * found[f'{name}_truth_raw']:.2f} {unit} as it is, "
            f"{scale * found[f'{name}_joints_of']:.2f} corrected"
        )


if __name__ == "__main__":
    run_command(main)
