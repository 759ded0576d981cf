"""What the data factory is worth: one small network, trained on plain renders and on the factory's, on real photos.

Both runs have the same network, seeds, steps and settings; only the pictures differ (data.plain_pictures). Neither sees
a photo in training, so every photo of sign-digits/ and webcam-crops/ measures. Stopped, the same command goes on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from handmesh.config import AugmentConfig, Config, DataConfig, ModelConfig, TrainConfig
from handmesh.errors import HandMeshError
from handmesh.models.checkpoint import load_checkpoint
from handmesh.real_evaluation import RealResult, evaluate_real, format_rows, network_of, summarize
from handmesh.real_photos import LabelledPhoto, teacher_photos
from handmesh.runtime import make_engine
from handmesh.training import STATE_FILE, Trainer

#: What must be gained, as a share of the plain renders' error.
WANTED_FALL = 0.25


def settings(options: argparse.Namespace, plain: bool) -> Config:
    """The run's config: fastvit_t8, rendered hands as it goes, mild augmentation."""
    folder = Path(options.output) / ("plain" if plain else "factory")
    augment = AugmentConfig(rotation_deg=15.0, full_circle=0.08, scale=0.2, shift=0.08, colour=0.7, degrade=0.1)
    data = DataConfig(
        source="synthetic", plain_pictures=plain, crop_padding=1.4, workers=options.workers, val_samples=100,
        backgrounds=options.backgrounds, render_size=options.render_size, augment=augment,
    )  # fmt: skip
    train = TrainConfig(
        steps=options.steps, batch_size=options.batch, learning_rate=2e-3, warmup_steps=150, ema=0.998,
        max_minutes=options.minutes, validate_every=max(options.steps, 1), save_every=100, tensorboard=False,
    )  # fmt: skip
    model = ModelConfig(image_size=options.size, width=options.width)
    resume = (folder / "last" / STATE_FILE).exists()
    return Config(model=model, data=data, train=train, output=str(folder), seed=options.seed, resume=resume)


def train_and_score(config: Config, photos: Sequence[LabelledPhoto]) -> list[RealResult]:
    """Train to the end of the schedule, then measure the last checkpoint on the photos."""
    start = time.perf_counter()
    trainer = Trainer(config)
    trainer.run()
    print(f"{config.output}: {trainer.progress.step * config.train.batch_size} pictures seen, "
          f"{(time.perf_counter() - start) / 60:.1f} minutes", flush=True)  # fmt: skip
    net, _ = load_checkpoint(trainer.folder / "last")
    network = network_of(make_engine(net, "torch"))
    return evaluate_real(network, photos, config.model.image_size, config.data.crop_padding)


def table(plain: Sequence[dict[str, Any]], factory: Sequence[dict[str, Any]]) -> str:
    """PA and 2D errors side by side, and how much the factory's are below the plain renders'."""
    pair = f"{'factory':>9}{'fall':>7}"
    lines = [f"{'photos':14}{'n':>6}{'plain, PA mm':>14}{pair}{'plain, 2D %':>14}{pair}"]
    for a, b in zip(plain, factory, strict=True):
        cells = ""
        for key, scale in (("pa_mm", 1), ("error_2d", 100)):
            cells += f"{scale * a[key]:14.2f}{scale * b[key]:9.2f}{1 - b[key] / a[key]:7.0%}"
        lines.append(f"{a['photos']:14}{a['samples']:6}{cells}")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmark.py compare_data", description=__doc__)
    parser.add_argument("--real", required=True, metavar="ROOT", help="folder with sign-digits/ and webcam-crops/")
    parser.add_argument("--steps", type=int, default=2000, help="of each run (default 2000)")
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--minutes", type=float, default=0.0, help="end each run after so many minutes; 0: by steps")
    parser.add_argument("--size", type=int, default=96, help="side of the network's input")
    parser.add_argument("--width", type=int, default=128, help="channels of the head")
    parser.add_argument("--render-size", type=int, default=160, help="side of the rendered pictures")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--backgrounds", default="", help="photos and .hdr maps for the factory's pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="runs/compare_data")
    options = parser.parse_args(argv)
    # All of them are new to both networks, so what other runs may train on measures here too.
    photos = [replace(photo, is_held_out=True) for photo in teacher_photos(options.real) if photo.is_trusted]
    if not photos:
        raise HandMeshError(f"expected photos of hands that the teacher is sure of in {options.real}, got none")
    rows = []
    for plain in (True, False):
        results = train_and_score(settings(options, plain), photos)
        rows.append(summarize(results))
        print(format_rows(rows[-1]), flush=True)
    print(table(*rows))
    fall = 1 - rows[1][-1]["pa_mm"] / rows[0][-1]["pa_mm"]
    print(f"PA error over all photos falls by {fall:.0%}; wanted: at least {WANTED_FALL:.0%}")
    return 0
