"""What a training run tells: a progress bar, log.jsonl, and Accelerate's trackers.

TensorBoard's where it is installed, Weights & Biases' when asked for.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from handmesh.config import Config, DetectorLossConfig, LossConfig, config_to_dict
from handmesh.errors import HandMeshError
from handmesh.io.images import write_image
from handmesh.training.state import Progress

#: Names of loss terms; on the boards they stand together.
TERMS = frozenset(field.name for kind in (LossConfig, DetectorLossConfig) for field in fields(kind))


class Log:
    """A run's words: numbers by step to every place that keeps them, and pictures."""

    def __init__(self, folder: Path, config: Config, progress: Progress) -> None:
        """Open every place that the config names.

        Args:
            folder: of the run.
            config: of the run.
            progress: where the run is, for the bar.

        Raises:
            HandMeshError: the folder cannot be written, or Weights & Biases is asked for and is not there.
        """
        from tqdm import tqdm

        train = config.train
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.file = (folder / "log.jsonl").open("a", encoding="utf-8")
        except OSError as error:
            raise _no_folder(folder, error.strerror or str(error)) from error
        self.folder, self.every, self.images = folder, train.log_every, train.batch_size * train.accumulate
        self.weights = config.loss
        self.trackers = _trackers(folder, config)
        self.is_in_minutes = train.max_minutes > 0
        if self.is_in_minutes:
            # A run that the clock ends is counted in minutes; its number of steps is only a limit.
            self.bar = tqdm(
                total=train.max_minutes, initial=progress.elapsed_s / 60, dynamic_ncols=True, mininterval=5.0,
                desc="training", bar_format="{l_bar}{bar}| {n:.1f} of {total:.1f} min{postfix}",
            )  # fmt: skip
        else:
            self.bar = tqdm(total=train.steps, initial=progress.step, unit="step", dynamic_ncols=True, mininterval=5.0)
        self.last = (progress.step, time.monotonic())

    def step(self, terms: dict[str, Tensor], norm: float, rate: float, progress: Progress) -> None:
        """Count a step; every so many, write its losses (weighted) and the speed.

        Args:
            terms: the unweighted losses by name.
            norm: of the gradient.
            rate: the learning rate.
            progress: after this step.
        """
        if self.is_in_minutes:
            minutes = progress.elapsed_s / 60
            # Least steps may take longer than the minutes; tqdm forgets a total that is passed.
            self.bar.total = max(self.bar.total, minutes)
            self.bar.update(max(0.0, minutes - self.bar.n))
        else:
            self.bar.update(1)
        if progress.step % self.every and progress.step != 1:
            return
        now = time.monotonic()
        speed = (progress.step - self.last[0]) * self.images / max(now - self.last[1], 1e-9)
        self.last = (progress.step, now)
        values = {name: float(value) * getattr(self.weights, name) for name, value in terms.items()}
        line = {"loss": sum(values.values()), **values, "gradient_norm": norm, "learning_rate": rate}
        self.bar.set_postfix_str(f"loss {line['loss']:.3f}, {speed:.0f} images/s", refresh=False)
        self._write(line, progress, images_per_s=round(speed, 1))

    def shares(self, shares: dict[str, float], progress: Progress) -> None:
        """Write each term's share of the gradient."""
        self._write({f"share/{name}": round(value, 5) for name, value in shares.items()}, progress)

    def scores(self, scores: dict[str, float], progress: Progress) -> None:
        """Write and print a validation's scores."""
        self.bar.write(f"step {progress.step}: " + ", ".join(f"{name} {value:.4g}" for name, value in scores.items()))
        self._write({f"val/{name}": value for name, value in scores.items()}, progress)
        self.last = (progress.step, time.monotonic())

    def picture(self, image: np.ndarray, progress: Progress) -> None:
        """Show a picture (H, W, 3) uint8 RGB of predictions; the run's folder keeps the newest as predictions.png."""
        write_image(self.folder / "predictions.png", image)
        for tracker in self.trackers:
            extra = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            tracker.log_images({"predictions": image[None]}, step=progress.step, **extra)
        self.last = (progress.step, time.monotonic())

    def _write(self, values: dict[str, float], progress: Progress, **more: float) -> None:
        line = {"step": progress.step, **values, **more, "elapsed_s": round(progress.elapsed_s, 1)}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        named = {f"loss/{name}" if name in TERMS else name: value for name, value in {**values, **more}.items()}
        for tracker in self.trackers:
            tracker.log(named, step=progress.step)

    def close(self) -> None:
        """Finish the bar and the files."""
        self.bar.close()
        self.file.close()
        for tracker in self.trackers:
            tracker.finish()


def check_folder(folder: Path) -> None:
    """See whether a run's folder is there or can be made, and may be written to; makes nothing.

    Raises:
        HandMeshError: it is not so.
    """
    try:
        first = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not first.is_dir():
            raise _no_folder(folder, f"{first} is a file")
        if not os.access(first, os.W_OK | os.X_OK):
            raise _no_folder(folder, f"{first} may not be written to")
    except OSError as error:
        raise _no_folder(folder, error.strerror or str(error)) from error


def _no_folder(folder: Path, reason: str) -> HandMeshError:
    return HandMeshError(
        f"expected a folder to write the run to, got {folder}: {reason}; give another one with output=FOLDER"
    )


def _trackers(folder: Path, config: Config) -> list[Any]:
    """Accelerate's trackers of the run, started. A resumed run goes on under its id at Weights & Biases."""
    from accelerate.tracking import TensorBoardTracker, WandBTracker
    from accelerate.utils import is_tensorboard_available

    trackers: list[Any] = []
    if config.train.tensorboard and is_tensorboard_available():
        trackers.append(TensorBoardTracker("tensorboard", folder))
    try:
        if config.train.wandb:
            trackers.append(
                WandBTracker(
                    config.train.wandb, name=folder.name, dir=str(folder), config=config_to_dict(config),
                    id=_run_id(folder), resume="allow",
                )
            )  # fmt: skip
        for tracker in trackers:
            if hasattr(tracker, "start"):  # older versions of Accelerate start a tracker when it is made
                tracker.start()
    except ImportError as error:
        raise HandMeshError(
            f"expected Weights & Biases for train.wandb={config.train.wandb}, got none installed; "
            "pip install 'handmesh[wandb]', or leave train.wandb empty"
        ) from error
    return trackers


def _run_id(folder: Path) -> str:
    """The id that the folder's run has at Weights & Biases: made once, kept in the folder."""
    path = folder / "wandb_id.txt"
    if not path.is_file():
        import uuid

        path.write_text(uuid.uuid4().hex[:12], encoding="ascii")
    return path.read_text(encoding="ascii").strip()
