#!/usr/bin/env python3
"""Make a run's network the shipped default: scripts/release_weights.py RUN/best [RUN/best ...] [--detector].

Large arrays become float16; the file must stay below 16 MB and give the same hands as the run's own within 0.2 mm. A
detector's must stay below 8 MB and give the same scores within 0.02. Folders of the run are written by their names
only: where they lay says nothing to others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from handmesh.config import Config, config_from_dict, without_folders
from handmesh.errors import HandMeshError, run_command
from handmesh.inference.export.sample_crops import rendered_crops
from handmesh.io.files import atomic_path
from handmesh.mano.arrays import ManoArrays, load_mano
from handmesh.models.checkpoint import load_checkpoint, save_checkpoint
from handmesh.models.checkpoint_path import SHIPPED_DETECTOR, file_of, shipped_file
from handmesh.models.detector_checkpoint import load_detector
from handmesh.models.detector_net import HandDetectorNet
from handmesh.models.hand_mesh_net import HandMeshNet

MAX_BYTES = 16_000_000
MAX_DIFFERENCE_MM = 0.2
MAX_DETECTOR_BYTES = 8_000_000
MAX_SCORE = 0.02

Network = TypeVar("Network", HandMeshNet, HandDetectorNet)


def main() -> None:
    """Load, halve, write, read again, compare, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", metavar="RUN", help="several: the mean of their weights is shipped")
    parser.add_argument("--shares", type=float, nargs="+", metavar="S", help="of each in the mean (default: equal)")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--detector", action="store_true", help="the run is a detector's")
    parser.add_argument("--crop-padding", type=float, help="side of the crop over the hand's box; default: as trained")
    crop_help = "largest crops in which a hand is seen once, pixels, a size that was trained at; default: as trained"
    parser.add_argument("--crop-size", type=int, help=crop_help)
    args = parser.parse_args()
    net: HandMeshNet | HandDetectorNet
    if args.detector:
        net, header = mean_of_checkpoints(args.checkpoints, args.shares, load_detector)
    else:
        net, header = mean_of_checkpoints(args.checkpoints, args.shares, load_checkpoint)
    output = args.output or shipped_file(SHIPPED_DETECTOR if args.detector else "default")
    most_bytes, most, unit = MAX_BYTES, MAX_DIFFERENCE_MM, " mm"
    if args.detector:
        most_bytes, most, unit = MAX_DETECTOR_BYTES, MAX_SCORE, ""
    config: Config = config_from_dict(header["config"])
    if args.crop_padding is not None:
        config = replace(config, data=replace(config.data, crop_padding=args.crop_padding))
    if args.crop_size is not None:
        size = config.crop.at_size(args.crop_size).image_size
        config = replace(config, model=replace(config.model, image_size=size))
    kept = ("step", "minutes", "data_fingerprint", "git_revision", "torch")
    # Under its name only when it is good: what was shipped before stays until then.
    with atomic_path(file_of(output)) as part:
        save_checkpoint(
            part, net, without_folders(config), header["metrics"], half=True,
            **{key: header[key] for key in kept if key in header},
        )  # fmt: skip
        size = part.stat().st_size
        if isinstance(net, HandDetectorNet):
            difference = largest_difference_of_scores(net, load_detector(part)[0])
        else:
            # The file may say no more of a licensed hand than its name.
            mano = load_mano(header["config"]["mano"])
            difference = largest_difference_mm(net, load_checkpoint(part, mano)[0], mano, config)
        print(f"{output}: {size / 1e6:.1f} MB, at most {difference:.3f}{unit} from {' and '.join(args.checkpoints)}")
        if size > most_bytes or difference > most:
            raise HandMeshError(
                f"expected at most {most_bytes / 1e6:.0f} MB and {most}{unit}, got the figures above; "
                f"{output} is as it was: ship a smaller network, or one that trained longer"
            )


def mean_of_checkpoints(
    names: list[str], shares: list[float] | None, load: Callable[[str], tuple[Network, dict[str, Any]]]
) -> tuple[Network, dict[str, Any]]:
    """The last network with the weighted mean of all networks' weights, and its header.

    Args:
        names: checkpoints of one architecture, each started from the one before: others have no meaningful mean.
        shares: of each in the mean; None for equal ones.
        load: gives a network and its header.

    Raises:
        HandMeshError: a share too few or too many, shares that do not add up to 1, or networks that differ.
    """
    shares = shares or [1 / len(names)] * len(names)
    if len(shares) != len(names) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise HandMeshError(f"expected {len(names)} --shares of 0 or more that add up to 1, got {shares}")
    nets = [load(name) for name in names]
    net, header = nets[-1]
    states = [each.state_dict() for each, _ in nets]
    if any({k: v.shape for k, v in state.items()} != {k: v.shape for k, v in states[-1].items()} for state in states):
        raise HandMeshError(f"expected checkpoints of one architecture, got {', '.join(names)}; see their configs")
    mean = {
        name: sum(share * state[name] for share, state in zip(shares, states, strict=True)).to(last.dtype)
        if last.is_floating_point()
        else last
        for name, last in states[-1].items()
    }
    net.load_state_dict(mean)
    # A mean has been scored by nobody yet.
    return net, header if len(names) == 1 else {**header, "metrics": {}}


def largest_difference_mm(first: HandMeshNet, second: HandMeshNet, mano: ManoArrays, config: Config) -> float:
    """Over the vertices of 32 rendered hands, millimetres: what noise shows, which is no hand, says little of them."""
    pictures = torch.from_numpy(rendered_crops(mano, config, 32))
    with torch.no_grad():
        a, b = (net(pictures).vertices for net in (first, second))
    return 1000 * float((a - b).norm(dim=-1).max())


def largest_difference_of_scores(first: HandDetectorNet, second: HandDetectorNet) -> float:
    """Over the cells' scores and the hand pixels' probabilities of 8 noisy pictures."""
    pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (8, 192, 256, 3), dtype=np.uint8))
    with torch.no_grad():
        a, b = (net(pictures) for net in (first, second))
    return max(float((a.hands[:, 0] - b.hands[:, 0]).abs().max()), float((a.mask - b.mask).abs().max()))


if __name__ == "__main__":
    run_command(main)
