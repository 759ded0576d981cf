"""Images a second of a whole training step on a CPU: plain, compiled, and with the kernels of handmesh/training/cpu.

    python -m scripts.benchmarks.training_step --config configs/shipped/stage8.yaml

A step is what a run does with a batch that is there already: forward, losses, backward, clipping, optimizer, moving
average. Each way runs in a process of its own, step by step in turn, so that a machine that slows down slows all; the
median is printed. A way that crashes is reported as crashed: PyTorch's own channels-last convolutions do on some CPUs.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

import torch
from torch import Tensor, nn

from handmesh.config import Config, load_config
from handmesh.errors import HandMeshError, run_command
from handmesh.io.runtime.cpu_count import available_cores
from handmesh.mano.arrays import load_mano
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.training.cpu.fastvit import accelerate
from handmesh.training.mesh.loss_net import LossNet
from handmesh.training.mesh.losses import weighted_sum
from handmesh.training.setup import make_optimizer
from handmesh.training.trainer import keep_memory

KERNELS, PLAIN, COMPILED = "CPU kernels", "plain modules", "channels_last + torch.compile"
#: Steps of each way that are not counted: compiling, allocating.
WARM_UP = 2


class Step:
    """A network in training, and all that a step needs."""

    def __init__(self, config: Config, way: str) -> None:
        from timm.utils import ModelEmaV3

        torch.manual_seed(0)
        net = HandMeshNet(config.model, load_mano("open"))
        self.ema = ModelEmaV3(net, decay=config.train.ema, use_warmup=True)
        if way == KERNELS:
            accelerate(net)
        elif way == COMPILED:
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        keep_memory()
        self.net, self.train = net, config.train
        self.optimizer = make_optimizer(net, config)
        self.losses: nn.Module = LossNet(net, config.train)
        if way == COMPILED:
            self.losses = torch.compile(copy.copy(self.losses))  # type: ignore[assignment]
        self.batch = make_batch(net, config.train.batch_size)
        self.count = 0

    def __call__(self) -> float:
        """Seconds of one step."""
        start_s = time.perf_counter()
        self.net.train()
        self.optimizer.zero_grad()
        loss = weighted_sum(self.losses(self.batch), self.train.loss)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), self.train.clip)
        self.optimizer.step()
        self.count += 1
        self.ema.update(self.net, step=self.count)
        return time.perf_counter() - start_s


def make_batch(net: HandMeshNet, count: int) -> dict[str, Tensor]:
    """A batch of ``count`` samples as the loader gives it: noise for pictures, the mean hand for labels."""
    size, generator = net.config.image_size, torch.Generator().manual_seed(1)
    turns = torch.cat([torch.eye(3)[None], net.mano.mean_pose])
    vertices, joints = net.mano(turns[None, 0], turns[None, 1:], torch.zeros(1, 10))
    ones = torch.ones(count)

    def rows(part: Tensor) -> Tensor:
        return part.detach().expand(count, *part.shape[-2:]).contiguous()

    return {
        "image": torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator),
        "joints": rows(joints), "vertices": rows(vertices),
        "keypoints_2d": size * torch.rand(count, 21, 2, generator=generator),
        "global_orient": rows(turns[0]), "hand_pose": turns[1:].expand(count, 15, 3, 3).contiguous(),
        "betas": torch.zeros(count, 10), "has_mano": ones, "has_3d": ones, "presence": ones, "is_right": ones,
    }  # fmt: skip


def work(pipe: Connection, config: Config, way: str, threads: int) -> None:
    """A step at each word from the pipe, its seconds back."""
    torch.set_num_threads(threads)
    os.environ["NUMBA_NUM_THREADS"] = str(threads)
    step = Step(config, way)
    while pipe.recv():
        pipe.send(step())


def measure(config: Config, repeats: int, threads: int) -> dict[str, list[float]]:
    """Seconds of ``repeats`` steps of every way, in turn; none of one that crashed."""
    context = multiprocessing.get_context("spawn")
    pipes, found = {}, {}
    for way in (KERNELS, PLAIN, COMPILED):
        here, there = context.Pipe()
        context.Process(target=work, args=(there, config, way, threads), daemon=True).start()
        there.close()
        pipes[way], found[way] = here, list[float]()
    for number in range(WARM_UP + repeats):
        for way in list(pipes):
            try:
                pipes[way].send(True)
                seconds = pipes[way].recv()
            except (EOFError, OSError):
                pipes.pop(way)
                found[way].clear()
                continue
            if number >= WARM_UP:
                found[way].append(seconds)
    for pipe in pipes.values():
        pipe.send(False)
    return found


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.benchmarks.training_step", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--config", metavar="FILE", help="network, losses and batch (default: the defaults)")
    parser.add_argument("--batch", type=int, help="images a step (default: the config's)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=available_cores())
    options = parser.parse_args(argv)
    if min(options.repeats, options.threads, options.batch or 1) < 1:
        raise HandMeshError("expected --repeats, --threads and --batch of at least 1; see --help")
    words = [f"train.batch_size={options.batch}"] if options.batch else []
    config = load_config(options.config, words)
    print(
        f"{config.model.backbone}, {config.model.image_size} px, batch {config.train.batch_size}, {options.threads} "
        f"threads; the machine's load is {os.getloadavg()[0]:.1f}", flush=True,
    )  # fmt: skip
    found = measure(config, options.repeats, options.threads)
    kernels = statistics.median(found[KERNELS]) if found[KERNELS] else None
    for way, seconds in found.items():
        if not seconds:
            print(f"{way:30} crashed")
            continue
        middle = statistics.median(seconds)
        ratio = f"   kernels are {middle / kernels:.2f} times as fast" if kernels and way != KERNELS else ""
        print(f"{way:30} {config.train.batch_size / middle:7.1f} images/s   {middle:6.2f} s a step{ratio}")
    return 0


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
