"""Crops a second of augmentation a batch at a time: ours (handmesh/data/gpu_augment.py), and kornia's of the same kind.

    pip install kornia && python -m scripts.benchmarks.batch_augmentation [--device cuda]

Both cut crops out of whole pictures, then occlude, recolour, lower the resolution, blur and add noise with the shipped
runs' probabilities, in turns on the same pictures; medians. What kornia has no operation for (a motion blur or lower
resolution of its own strength for each sample, an occluder with labels under it, random numbers by sample so that a
batch is the same whatever the number of workers) is left out or replaced by its nearest, which favours it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handmesh.config import AugmentConfig
from handmesh.data.crops import random_crop
from handmesh.data.gpu_augment import finish
from handmesh.data.loading import collate
from handmesh.data.sample import Batch
from handmesh.errors import HandMeshError, run_command
from handmesh.mano.arrays import load_mano
from handmesh.synthesis.generator import SampleGenerator

#: Probability of each effect and strength of colour changes in configs/shipped.
SETTINGS = AugmentConfig(rotation_deg=18.0, scale=0.22, shift=0.08, degrade=0.15, on_device=True)


def make_batch(count: int, size: int) -> Batch:
    """Whole rendered pictures with the parameters of their crops."""
    hands = SampleGenerator(load_mano("open"), seed=5)
    rows = [random_crop(hands.sample(i), np.random.default_rng(i), SETTINGS, size, 1.4) for i in range(count)]
    return collate(rows)


def kornias(size: int) -> Callable[[Batch], Tensor]:
    """kornia's operations of the same effects; takes a batch and gives its crops (B, 3, size, size) in 0..1."""
    try:
        import kornia.augmentation as K
        from kornia.geometry.transform import warp_perspective
    except ImportError as error:
        raise HandMeshError("expected kornia, got none installed; pip install kornia") from error
    share = SETTINGS.degrade
    effects: Any = K.AugmentationSequential(
        K.RandomErasing(scale=(0.02, 0.2), ratio=(0.4, 2.5), p=share),
        K.ColorJiggle(0.3, 0.35, 0.35, 0.02, p=1.0),
        K.RandomGamma((0.7, 1.4), p=1.0),
        K.RandomGrayscale(p=0.05),
        K.RandomGaussianBlur((9, 9), (0.4, 1.6), p=share / 2),
        K.RandomMotionBlur((3, 9), 90.0, 0.0, p=share / 2),
        K.RandomGaussianNoise(std=0.03, p=share),
        data_keys=["input"],
    )

    def run(batch: Batch) -> Tensor:
        pictures = batch["image"].permute(0, 3, 1, 2).float() / 255
        cut = warp_perspective(pictures, torch.linalg.inv(batch["crop_parameters"].warp), (size, size))
        result: Tensor = effects(cut)
        return result

    return run


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.benchmarks.batch_augmentation", description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=128, help="side of the crops in pixels (default 128)")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args(argv)
    if min(args.batch, args.rounds) < 1 or args.size < 32:
        raise HandMeshError("expected at least one picture and round, and crops of 32 px or more")
    batch = make_batch(args.batch, args.size)
    whole: dict[str, Any] = dict(batch)
    moved: Any = {name: value.to(args.device) for name, value in whole.items()}
    ways: dict[str, Callable[[Batch], Any]] = {
        "ours": lambda given: finish(given, args.size),
        "kornia": kornias(args.size),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(args.rounds + 2):
        for name, way in ways.items():
            started = time.perf_counter()
            way(moved)
            if args.device != "cpu":
                torch.cuda.synchronize()
            if number >= 2:
                found[name].append(args.batch / (time.perf_counter() - started))
    for name, values in found.items():
        print(f"{name:8} {statistics.median(values):8.0f} crops a second")
    ratio = statistics.median(ours / theirs for ours, theirs in zip(found["ours"], found["kornia"], strict=True))
    print(f"ours is {ratio:.2f} times as fast ({args.device}, {args.batch} pictures to {args.size} px)")
    return 0


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
