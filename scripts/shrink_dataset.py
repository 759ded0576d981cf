#!/usr/bin/env python3
"""A smaller copy of a set in FreiHAND's layout, to travel: fewer samples, smaller pictures, labels to match.

scripts/shrink_dataset.py SET OUT --side 176 --each 2500
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from handmesh.data.freihand import FreiHandDataset
from handmesh.data.freihand_writer import FreiHandWriter
from handmesh.errors import HandMeshError, run_command
from handmesh.geometry.camera import resize_intrinsics
from handmesh.mano.arrays import load_mano


def shrink(root: Path, out: Path, side: int, each: int) -> dict[str, int]:
    """Copy at most ``each`` samples of each split, pictures resized to ``side`` pixels; returns the counts."""
    mean = np.asarray(load_mano("open").hands_mean)
    counts = {}
    for split in ("training", "evaluation"):
        if not (root / f"{split}_K.json").is_file():
            continue
        dataset = FreiHandDataset(root, split, mean)
        with FreiHandWriter(out, split, mean) as writer:
            for index in range(min(each, len(dataset))):
                sample = dataset.sample(index)
                scale = side / max(sample["image"].shape[:2])
                picture = cv2.resize(sample["image"], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                writer.add({**sample, "image": picture, "K": resize_intrinsics(sample["K"], scale)})
        counts[split] = len(writer)
    if not counts:
        raise HandMeshError(f"expected a set in FreiHAND's layout in {root}, found none")
    return counts


def main() -> None:
    """Parse and copy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--side", type=int, default=176)
    parser.add_argument("--each", type=int, default=2500)
    args = parser.parse_args()
    print(f"{args.out}: {shrink(args.root, args.out, args.side, args.each)}")


if __name__ == "__main__":
    run_command(main)
