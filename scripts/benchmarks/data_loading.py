"""The loader against the training step: images a second of each, from the folder and from its packed copy.

The loader alone must be several times faster than the training step that it feeds (of --backbone),
so that training never waits for pictures. Both are what a run uses: the same crops, augmentation and worker processes,
the same step with losses, gradients, optimizer and moving average.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from handmesh.config import Config, load_config
from handmesh.data.freihand import FreiHandDataset
from handmesh.data.freihand_writer import FreiHandWriter
from handmesh.data.loading import HandDataset, SampleSource, StepBatches, iterate, make_loader
from handmesh.data.packed import PackedDataset, pack_path, pack_split
from handmesh.errors import run_command
from handmesh.io.runtime.cpu_count import available_cores
from handmesh.mano.arrays import ManoArrays, load_mano
from handmesh.training.trainer import Trainer

#: What the loader must be faster by.
ENOUGH = 3.0


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.benchmarks.data_loading", description=__doc__)
    parser.add_argument("--data", type=Path, help="a set in FreiHAND's layout (default: some hands are rendered)")
    parser.add_argument("--render", type=int, default=128, help="hands to render without --data (default 128)")
    parser.add_argument("--backbone", default="fastvit_t8")
    parser.add_argument("--size", type=int, default=224, help="side of the crop in pixels (default 224)")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=available_cores())
    parser.add_argument("--steps", type=int, default=8, help="training steps measured, after 2 (default 8)")
    parser.add_argument("--batches", type=int, default=40, help="batches loaded, after the workers' first (default 40)")
    parser.add_argument("--precision", default="no", help="no, bf16 or fp16, on a GPU")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        config = _config(options, Path(folder))
        mano = load_mano(config.mano)
        if not options.data:
            _render(Path(config.data.root), mano, options.render)
        print(f"{options.size} px, batches of {options.batch}; the machine's load is {os.getloadavg()[0]:.1f}")
        step = _step_rate(config, options.steps)
        where = "GPU" if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
        print(f"  {f'training step of {options.backbone}, {where}':48} {step:8.1f} images a second")
        for name, source, settings in _sources(config, mano):
            for workers in sorted({1, options.workers}):
                rate = _loader_rate(source, settings, workers, options.batches)
                verdict = "enough" if rate >= ENOUGH * step else f"less than {ENOUGH:g}"
                label = f"loader alone, {name}, {workers} worker{'s' * (workers > 1)}"
                print(f"  {label:48} {rate:8.1f} images a second: {rate / step:6.1f} times the step ({verdict})")
    return 0


def _config(options: argparse.Namespace, folder: Path) -> Config:
    root = options.data or folder / "data"
    words = {
        "model.backbone": options.backbone, "model.pretrained": False, "model.image_size": options.size,
        "data.root": root, "data.val_samples": 8, "data.workers": 0, "train.batch_size": options.batch,
        "train.tensorboard": False, "train.precision": options.precision, "output": folder / "run",
    }  # fmt: skip
    path = Path(__file__).parents[2] / "configs" / "fastvit_t8.yaml"
    return load_config(path, [f"{key}={value}" for key, value in words.items()])


def _render(root: Path, mano: ManoArrays, count: int) -> None:
    from handmesh.synthesis.generator import SampleGenerator

    made = SampleGenerator(mano, 0, 224)
    for split, first, number in (("training", 0, count), ("evaluation", count, 8)):
        with FreiHandWriter(root, split, mano.hands_mean) as writer:
            for index in range(first, first + number):
                writer.add(made.sample(index))


def _step_rate(config: Config, steps: int) -> float:
    """Images a second of the training step, on one batch that is there already."""
    trainer = Trainer(config)
    order = StepBatches(trainer.task.source, config.train.batch_size, (0, 1))
    batch = next(iterate(make_loader(HandDataset(trainer.task.source, config, train=True), order)))
    start = 0.0
    for number in range(steps + 2):
        if number == 2:
            _finish()
            start = time.perf_counter()
        trainer.step(iter([batch] * config.train.accumulate))
    _finish()
    return steps * config.train.batch_size / (time.perf_counter() - start)


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _sources(config: Config, mano: ManoArrays) -> list[tuple[str, SampleSource, Config]]:
    """The folder's files, its pack (made where there is none), and the pack with the crops left to the device."""
    root = Path(config.data.root)
    files = FreiHandDataset(root, "training", mano.hands_mean)
    if not pack_path(root, "training").is_file():
        pack_split(root, "training")
    packed = PackedDataset(root, "training", mano.hands_mean)
    augment = replace(config.data.augment, on_device=True)
    later = replace(config, data=replace(config.data, augment=augment))
    return [("from files", files, config), ("packed", packed, config), ("packed, crops by the device", packed, later)]


def _loader_rate(source: SampleSource, config: Config, workers: int, batches: int) -> float:
    """Images a second of the loader with nobody waiting for it but the clock."""
    changed = replace(config, data=replace(config.data, workers=workers))
    # What workers have made ahead before the clock starts must not count: as many batches are drawn before.
    ahead = workers * 5
    order = StepBatches(source, config.train.batch_size, (0, ahead + batches))
    loader = make_loader(
        HandDataset(source, changed, train=True), order, workers, pin_memory=torch.cuda.is_available()
    )
    start = 0.0
    for number, _ in enumerate(iterate(loader)):
        if number == ahead - 1:
            start = time.perf_counter()
    return batches * config.train.batch_size / (time.perf_counter() - start)


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
