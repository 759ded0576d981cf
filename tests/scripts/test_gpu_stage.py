"""A stage packed here, trained elsewhere, and back: on the CPU, with a budget of one step."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from handmesh.config import Config, ModelConfig
from handmesh.data.freihand import FreiHandDataset
from handmesh.data.freihand_writer import FreiHandWriter
from handmesh.geometry.camera import project_points
from handmesh.mano.arrays import ManoArrays
from handmesh.models.checkpoint import load_checkpoint, save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
model: {head: pooled, image_size: 64, width: 32}
data: {source: mixture, mixture: {data/tiny: 1.0}, val_root: data/tiny, workers: 0}
train: {batch_size: 2, steps: 1, validate_every: 1, pictures: 0, tensorboard: false}
"""


def write_set(root: Path, mano: ManoArrays, count: int) -> None:
    identity = np.eye(3)
    for split in ("training", "evaluation"):
        with FreiHandWriter(root, split, mano.hands_mean) as writer:
            for number in range(count):
                joints = np.random.default_rng(number).normal(0, 0.05, (21, 3)) + [0, 0, 0.6]
                writer.add({
                    "image": np.full((224, 224, 3), 40 * number, np.uint8),
                    "K": np.array([[250.0, 0, 111.5], [0, 250.0, 111.5], [0, 0, 1]]), "joints": joints,
                    "vertices": np.tile(joints[9], (778, 1)), "global_orient": identity,
                    "hand_pose": np.tile(identity, (15, 1, 1)), "betas": np.zeros(10), "has_3d": number != 1,
                })  # fmt: skip


def stage(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", **environment}
    command = ["sh", str(ROOT / "scripts/gpu_stage.sh"), *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)


def test_a_stage_goes_there_and_comes_back_as_a_checkpoint(
    tmp_path: Path, open_mano: ManoArrays, trained_looking: Callable[[ModelConfig, ManoArrays], Any]
) -> None:
    write_set(tmp_path / "tiny", open_mano, 4)
    (tmp_path / "stage.yaml").write_text(CONFIG)
    model = ModelConfig(head="pooled", image_size=64, width=32)
    save_checkpoint(tmp_path / "start.safetensors", trained_looking(model, open_mano), Config(model=model))
    words = str(tmp_path / "stage.yaml"), str(tmp_path / "start.safetensors"), str(tmp_path / "tiny")
    packed = stage("pack", str(tmp_path / "stage"), *words, SIDE="112", EACH="3")
    assert packed.returncode == 0, packed.stderr
    small, whole = (FreiHandDataset(root / "tiny") for root in (tmp_path / "stage/data", tmp_path))
    assert len(small) == 3 and small.image_shape == (112, 112, 3)
    # Half the picture: a pixel's centre stays a pixel's centre, and what is labelled flat stays so.
    for index in range(3):
        large, little = whole.sample(index), small.sample(index)
        seen = project_points(large["joints"], large["K"])
        np.testing.assert_allclose(project_points(little["joints"], little["K"]), (seen + 0.5) / 2 - 0.5, atol=1e-3)
        assert little["has_3d"] == (index != 1)
    run = stage("run", str(tmp_path / "stage"), str(tmp_path / "back"), PRECISION="no", WORKERS="0", MINUTES="1")
    assert run.returncode == 0, run.stderr + run.stdout
    assert load_checkpoint(tmp_path / "back/stage.safetensors", open_mano)[0].config == model
    assert (tmp_path / "back/log.jsonl").stat().st_size > 0


def test_words_that_say_nothing_are_an_error() -> None:
    assert stage().returncode == 2 and "gpu_stage.sh pack" in stage("fly").stderr
