#!/usr/bin/env python3
"""Make a run's network the shipped default: scripts/release_weights.py RUN/best [--output FILE] [--detector].

Large arrays become float16; the file must stay below 16 MB and give the same hands as the run's own within 0.2 mm. A
detector's must stay below 8 MB and give the same scores within 0.02. Folders of the run are written by their names
only: where they lay says nothing to others.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from handmesh.config import Config, config_from_dict, without_folders
from handmesh.errors import HandMeshError, run_command
from handmesh.io.files import atomic_path
from handmesh.mano.arrays import load_mano
from handmesh.models.checkpoint import load_checkpoint, save_checkpoint
from handmesh.models.checkpoint_path import SHIPPED_DETECTOR, file_of, shipped_file
from handmesh.models.detector_checkpoint import load_detector
from handmesh.models.detector_net import HandDetectorNet
from handmesh.models.hand_mesh_net import HandMeshNet

MAX_BYTES = 16_000_000
MAX_DIFFERENCE_MM = 0.2
MAX_DETECTOR_BYTES = 8_000_000
MAX_SCORE = 0.02


def main() -> None:
    """Load, halve, write, read again, compare, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--detector", action="store_true", help="the run is a detector's")
    parser.add_argument("--crop-padding", type=float, help="side of the crop over the hand's box; default: as trained")
    args = parser.parse_args()
    net: HandMeshNet | HandDetectorNet
    net, header = (load_detector if args.detector else load_checkpoint)(args.checkpoint)
    output = args.output or shipped_file(SHIPPED_DETECTOR if args.detector else "default")
    most_bytes, most, unit = MAX_BYTES, MAX_DIFFERENCE_MM, " mm"
    if args.detector:
        most_bytes, most, unit = MAX_DETECTOR_BYTES, MAX_SCORE, ""
    config: Config = config_from_dict(header["config"])
    if args.crop_padding is not None:
        config = replace(config, data=replace(config.data, crop_padding=args.crop_padding))
    kept = ("step", "minutes", "data_fingerprint", "git_revision", "torch")
    # Under its name only when it is good: what was shipped before stays until then.
    with atomic_path(file_of(output)) as part:
        save_checkpoint(
            part, net, without_folders(config), header["metrics"], half=True,
            **{key: header[key] for key in kept if key in header},
        )  # fmt: skip
        measure = largest_difference_of_scores if args.detector else largest_difference_mm
        size, difference = part.stat().st_size, measure(args.checkpoint, part)
        print(f"{output}: {size / 1e6:.1f} MB, at most {difference:.3f}{unit} from {args.checkpoint}")
        if size > most_bytes or difference > most:
            raise HandMeshError(
                f"expected at most {most_bytes / 1e6:.0f} MB and {most}{unit}, got the figures above; "
                f"{output} is as it was: ship a smaller network, or one that trained longer"
            )


def largest_difference_mm(first: str | Path, second: str | Path) -> float:
    """Over the vertices of 16 noisy pictures, millimetres."""
    before, header = load_checkpoint(first)
    # The second may say no more of a licensed hand than its file's name.
    nets = before, load_checkpoint(second, load_mano(header["config"]["mano"]))[0]
    size = nets[0].config.image_size
    pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (16, size, size, 3), dtype=np.uint8))
    with torch.no_grad():
        a, b = (net(pictures).vertices for net in nets)
    return 1000 * float((a - b).norm(dim=-1).max())


def largest_difference_of_scores(first: str | Path, second: str | Path) -> float:
    """Over the cells' scores and the hand pixels' probabilities of 8 noisy pictures."""
    nets = load_detector(first)[0], load_detector(second)[0]
    pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (8, 192, 256, 3), dtype=np.uint8))
    with torch.no_grad():
        a, b = (net(pictures) for net in nets)
    return max(float((a.hands[:, 0] - b.hands[:, 0]).abs().max()), float((a.mask - b.mask).abs().max()))


if __name__ == "__main__":
    run_command(main)
