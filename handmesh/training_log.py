"""What a training run tells: a progress bar, log.jsonl, and TensorBoard when it is installed. Knows no networks."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from handmesh.config import TrainConfig
from handmesh.training_state import Progress


class Log:
    """A progress bar, log.jsonl, and TensorBoard when it is installed."""

    def __init__(self, folder: Path, tensorboard: bool, progress: Progress, train: TrainConfig) -> None:
        from tqdm import tqdm

        folder.mkdir(parents=True, exist_ok=True)
        self.every, self.images = train.log_every, train.batch_size * train.accumulate
        self.weights = train.loss
        self.file = (folder / "log.jsonl").open("a", encoding="utf-8")
        self.bar = tqdm(total=train.steps, initial=progress.step, unit="step", dynamic_ncols=True, mininterval=5.0)
        self.board = _tensorboard(folder) if tensorboard else None
        self.last = (progress.step, time.monotonic())

    def step(self, terms: dict[str, Tensor], norm: float, rate: float, progress: Progress) -> None:
        """Count a step; every so many, write its losses (weighted) and the speed."""
        self.bar.update()
        if progress.step % self.every and progress.step != 1:
            return
        now = time.monotonic()
        speed = (progress.step - self.last[0]) * self.images / max(now - self.last[1], 1e-9)
        self.last = (progress.step, now)
        values = {name: float(value) * getattr(self.weights, name) for name, value in terms.items()}
        line = {"loss": sum(values.values()), **values, "gradient_norm": norm, "learning_rate": rate}
        self.bar.set_postfix_str(f"loss {line['loss']:.3f}, {speed:.0f} images/s", refresh=False)
        self._write(line, progress, images_per_s=round(speed, 1))

    def scores(self, scores: dict[str, float], progress: Progress) -> None:
        """Write and print a validation's scores."""
        self.bar.write(f"step {progress.step}: " + ", ".join(f"{name} {value:.4g}" for name, value in scores.items()))
        self._write({f"val/{name}": value for name, value in scores.items()}, progress)
        self.last = (progress.step, time.monotonic())

    def _write(self, values: dict[str, float], progress: Progress, **more: float) -> None:
        line = {"step": progress.step, **values, **more, "elapsed_s": round(progress.elapsed_s, 1)}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(name, value, progress.step)

    def close(self) -> None:
        """Finish the bar and the files."""
        self.bar.close()
        self.file.close()
        if self.board is not None:
            self.board.close()


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
