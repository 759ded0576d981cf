"""A training run: samples to a network that knows hands, repeatable, resumable, on a CPU or on GPUs.

What is trained, on what and towards what is a task's: mesh_task.py, detector_task.py. Optimizer, schedule and moving
average are timm's; processes and precision are Accelerate's.

A run's folder: ``last/state.safetensors`` (to resume), ``last/`` and ``best/model.safetensors`` (the moving average;
best by validation), ``log.jsonl`` (losses and scores by step).
"""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from handmesh.config import Config, config_from_dict, config_to_dict
from handmesh.data.loading import StepBatches, iterate, make_loader, to_device
from handmesh.data.sample import Batch
from handmesh.errors import HandMeshError
from handmesh.io.runtime.cpu_features import has_bfloat16
from handmesh.models.checkpoint import save_checkpoint
from handmesh.training.cpu.fastvit import accelerate as accelerate_on_cpu
from handmesh.training.logger import Log, check_folder
from handmesh.training.mesh.loss_net import gradient_shares
from handmesh.training.mesh.losses import weighted_sum
from handmesh.training.setup import make_optimizer, make_scheduler, set_training
from handmesh.training.state import Progress, load_state, save_state
from handmesh.training.tasks import make_task

_LOG = logging.getLogger("handmesh")

STATE_FILE = "state.safetensors"


class Trainer:
    """One run, from its config; :meth:`run` does it."""

    def __init__(self, config: Config) -> None:
        """Prepare data, network and optimizer.

        Raises:
            HandMeshError: data, hand model, weights, device or folder that cannot be had, or a run that cannot be
                resumed.
        """
        from timm.utils import ModelEmaV3

        self.config, train = config, config.train
        self.folder = Path(config.output)
        self.accelerator = _accelerator(train.device, train.precision)
        self.is_main: bool = self.accelerator.is_main_process
        if self.is_main:
            check_folder(self.folder)  # before the minutes that data may take
        self.task = make_task(config, self.accelerator.device)
        torch.manual_seed(config.seed)
        net: Any = self.task.make_network()
        self.ema = ModelEmaV3(net, decay=train.ema, use_warmup=True, device=self.accelerator.device)
        net = self._for_device(net)
        self.losses: Any = self.task.make_losses(net)
        self.optimizer = make_optimizer(net, config, self.losses.branches)
        self.scheduler = make_scheduler(self.optimizer, config)
        self.progress = Progress()
        if config.resume:
            self._resume(net)
        elif self.is_main and (self.folder / "last" / STATE_FILE).exists():
            raise HandMeshError(
                f"expected a new folder for a new run, got {self.folder} with a run in it; "
                "continue that one with resume=true, or give another output=FOLDER"
            )
        self.net = net
        self.shares: dict[str, float] = {}
        self.model, self.optimizer = self.accelerator.prepare(self.losses, self.optimizer)

    def _for_device(self, net: nn.Module) -> nn.Module:
        train, is_cpu = self.config.train, self.accelerator.device.type == "cpu"
        is_shared = train.sync_batch_norm and self.accelerator.num_processes > 1
        if is_cpu and train.accelerate_cpu:
            accelerate_on_cpu(net, is_shared)
            keep_memory()
        elif is_shared and is_cpu:
            raise HandMeshError(
                "expected train.accelerate_cpu=true with train.sync_batch_norm=true on a CPU, got false"
            )
        elif is_shared:
            from timm.layers import convert_sync_batchnorm

            convert_sync_batchnorm(net)
        return net

    def _resume(self, net: nn.Module) -> None:
        path = self.folder / "last" / STATE_FILE
        self.progress, saved = load_state(
            path, net, self.ema.module, self.optimizer, self.losses.branches, self.accelerator.scaler
        )
        # A setting that the run's own version did not have yet had its default.
        now, then = config_to_dict(self.config), config_to_dict(config_from_dict(saved))
        for part in ("model", "data", "train", "detector"):
            changed = [key for key in now[part] if key != "workers" and now[part][key] != then[part][key]]
            if changed and self.is_main:
                _LOG.warning("resuming with other settings than the run began with: %s.%s", part, ", ".join(changed))

    def run(self) -> dict[str, float]:
        """Train to the end of the schedule; returns the last validation's scores."""
        config, train = self.config, self.config.train
        steps = (self.progress.step * train.accumulate, train.steps * train.accumulate)
        accelerator = self.accelerator
        order = StepBatches(
            self.task.source, train.batch_size, steps, config.seed, accelerator.process_index, accelerator.num_processes
        )
        is_gpu = accelerator.device.type == "cuda"
        loader = make_loader(self.task.training_data(), order, config.data.workers, pin_memory=is_gpu)
        log = Log(self.folder, config, self.progress) if self.is_main else None
        scores: dict[str, float] = {}
        batches = iterate(loader)
        # The schedule counts in virtual steps: steps done, or the share of the time budget that is spent if larger.
        while self._virtual_step() < train.steps:
            started = time.monotonic()
            terms, norm = self.step(batches)
            self.progress.step += 1
            self.progress.elapsed_s += time.monotonic() - started
            step = self.progress.step
            if log:
                log.step(terms, norm, self.optimizer.param_groups[0]["lr"], self.progress)
                if self.shares:
                    log.shares(self.shares, self.progress)
            is_over = self._virtual_step() >= train.steps
            if step % train.validate_every == 0 or is_over:
                scores = self._validate(log)
            if step % train.save_every == 0 or is_over:
                self._save(scores)
        if log:
            log.close()
        accelerator.end_training()
        return scores

    def _virtual_step(self) -> int:
        train = self.config.train
        share = self.progress.step / train.steps
        if train.max_minutes > 0:
            of_time = self.progress.elapsed_s / (60 * train.max_minutes)
            # Of a slow machine's minutes too few steps would come of the least that is worth it.
            share = max(share, min(of_time, self.progress.step / train.min_steps) if train.min_steps else of_time)
        # In a parallel run the clocks differ; the first process's counts.
        return int(self._agreed(min(share, 1.0)) * train.steps + 1e-6)

    def _agreed(self, value: float) -> float:
        if self.accelerator.num_processes == 1 or self.config.train.max_minutes <= 0:
            return value
        from accelerate.utils import broadcast

        return float(broadcast(torch.tensor([value], dtype=torch.float64, device=self.accelerator.device))[0])

    def step(self, batches: Iterator[Batch]) -> tuple[dict[str, Tensor], float]:
        """One step of the optimizer: loss terms (unweighted, of the last micro-batch) and the gradient's norm."""
        train = self.config.train
        self.scheduler.step_update(self._virtual_step())
        set_training(self.model, train.frozen_batch_norm)
        self.optimizer.zero_grad()
        # In every process: a BatchNorm over all of them has its part in the head's gradients.
        is_measured = train.shares_every > 0 and self.progress.step % train.shares_every == 0
        self.shares = {}
        terms: dict[str, Tensor] = {}
        for micro in range(train.accumulate):
            batch = to_device(next(batches), self.accelerator.device)
            # Whatever is random in the network (drop-path) is a function of seed, step and process. Seeded only now: a
            # loader that starts draws a number of its own.
            place = (self.config.seed * 1_000_003 + self.progress.step) * train.accumulate + micro
            torch.manual_seed(place * self.accelerator.num_processes + self.accelerator.process_index)
            batch = self.task.prepare(batch, self.progress.step, self.accelerator.autocast())
            is_last = micro == train.accumulate - 1
            self.losses.keeps_features = is_measured and is_last
            with self.accelerator.no_sync(self.model) if not is_last else torch.enable_grad():
                with self.accelerator.autocast():
                    terms = self.model(batch)
                if self.losses.features:
                    self.shares = gradient_shares(terms, self.config.loss, self.losses.features)
                loss = weighted_sum(terms, self.config.loss)
                self.accelerator.backward(loss / train.accumulate)
        if not torch.isfinite(loss):
            raise HandMeshError(
                f"expected a finite loss, got {float(loss)} at step {self.progress.step}; "
                "lower train.learning_rate or use train.precision=no, then resume=true"
            )
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), train.clip)
        self.optimizer.step()
        self.ema.update(self.net, step=self.progress.step)
        return {name: value.detach() for name, value in terms.items()}, float(norm) if norm is not None else 0.0

    def _validate(self, log: Log | None) -> dict[str, float]:
        if not self.is_main:
            return {}
        loader = make_loader(self.task.val_data, self.config.train.batch_size, self.config.data.workers)
        scores, cost = self.task.validate(self.ema.module, loader)
        if cost < self.progress.best:
            self.progress.best = cost
            self._save_network("best", scores)
        if log:
            log.scores(scores, self.progress)
            if self.config.train.pictures > 0:
                log.picture(self.task.picture(self.ema.module, self.config.train.pictures), self.progress)
        return scores

    def _save_network(self, name: str, scores: dict[str, float]) -> None:
        save_checkpoint(
            self.folder / name, self.ema.module, self.config, scores,
            step=self.progress.step, minutes=round(self.progress.elapsed_s / 60, 2),
            data_fingerprint=self.task.data_fingerprint, git_revision=git_revision(), torch=torch.__version__,
        )  # fmt: skip

    def _save(self, scores: dict[str, float]) -> None:
        if self.is_main:
            self._save_network("last", scores)
            save_state(
                self.folder / "last" / STATE_FILE, self.net, self.ema.module, self.optimizer, self.progress,
                config_to_dict(self.config), self.losses.branches, self._scaler_state(),
            )  # fmt: skip
        self.accelerator.wait_for_everyone()

    def _scaler_state(self) -> dict[str, Any] | None:
        return self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else None


def keep_memory() -> None:
    """Ask glibc to keep large freed blocks: fresh pages for every large map cost a third of a step otherwise."""
    import ctypes

    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
    except (OSError, AttributeError):
        return  # another C library: slower, nothing else


def git_revision() -> str:
    """The commit this code is at, with + when files differ from it; "unknown" outside a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _accelerator(device: str, precision: str) -> Any:
    from accelerate import Accelerator

    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise HandMeshError("expected a GPU for train.device=cuda, got none; use train.device=cpu")
    is_cpu = device == "cpu" or not has_gpu
    if is_cpu:
        # Autocast would move the maps, and with them the depthwise kernels, to bfloat16. Here only the matrix products
        # read their inputs as bfloat16 (and sum in float32), which CPUs with AMX do three times as fast.
        is_fast = precision == "bf16" and has_bfloat16()
        torch.set_float32_matmul_precision("medium" if is_fast else "highest")
    return Accelerator(cpu=is_cpu, mixed_precision="no" if is_cpu else precision)
