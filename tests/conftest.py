"""Fixtures every test may use: a fake hand model, the open hand of the package, a small set in FreiHAND's layout."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

# Read when the libraries are loaded. What tests compute is small, and `make test` has a process on every core: with a
# second thread in each, whichever is ready waits in every parallel loop for the turn of the other one.
for _threads in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

import cv2
import numpy as np
import pytest

from handmesh.config import Config, DataConfig, ModelConfig, TrainConfig
from handmesh.data.freihand_writer import FreiHandWriter
from handmesh.geometry.camera import intrinsics_from_fov, project_points
from handmesh.geometry.rotation import axis_angle_to_matrix_np
from handmesh.mano.arrays import ManoArrays, load_mano
from handmesh.mano.hand_model import HandModel
from handmesh.mano.layers.numpy_layer import pose_vertices
from handmesh.rendering.rasterizer import rasterize
from handmesh.results import Hand
from handmesh.skeleton import MANO_PARENTS, NUM_FACES, NUM_VERTICES


def pytest_configure(config: pytest.Config) -> None:
    """A run that was started in the background ignores Ctrl-C, and so would the programs that the tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def killed_after(process: subprocess.Popen[Any], seconds: float = 120.0) -> Iterator[None]:
    """Kill a program that is not done with what the block waits for, so that reading its output ends."""
    timer = threading.Timer(seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@pytest.fixture(scope="session", name="killed_after")
def killed_after_fixture() -> Callable[..., contextlib.AbstractContextManager[None]]:
    return killed_after


def make_fake_mano(seed: int = 0) -> ManoArrays:
    """Random numbers in MANO's shapes and units: a cloud around 16 joints laid out like a right hand's."""
    rng = np.random.default_rng(seed)
    joints = np.zeros((16, 3))
    for finger in range(5):
        for level in range(3):
            joints[1 + 3 * finger + level] = [-0.09 - 0.03 * level, 0.0, 0.02 * (finger - 2)]
    owner = np.arange(NUM_VERTICES) % 16
    template = joints[owner] + rng.normal(0, 0.008, (NUM_VERTICES, 3))
    weights = np.full((NUM_VERTICES, 16), 0.01) + rng.random((NUM_VERTICES, 16)) * 0.02
    weights[np.arange(NUM_VERTICES), owner] += 1.0
    regressor = np.where(owner[None] == np.arange(16)[:, None], rng.random((16, NUM_VERTICES)), 0.0)
    faces = np.stack([rng.permutation(NUM_VERTICES)[:3] for _ in range(NUM_FACES)])
    parents = np.array(MANO_PARENTS, dtype=np.int64)
    return ManoArrays(
        v_template=template,
        shapedirs=rng.normal(0, 0.002, (NUM_VERTICES, 3, 10)),
        posedirs=rng.normal(0, 0.0005, (NUM_VERTICES, 3, 135)),
        J_regressor=regressor / regressor.sum(1, keepdims=True),
        weights=weights / weights.sum(1, keepdims=True),
        faces=faces.astype(np.int64),
        parents=parents,
        hands_components=np.linalg.qr(rng.normal(size=(45, 45)))[0],
        hands_mean=rng.normal(0, 0.2, 45),
        name=f"fake {seed}",
        licence="none",
    ).validate()


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A module of scripts/ by its name there, such as "release_weights" or "benchmarks.live", read anew."""

    def load(name: str) -> ModuleType:
        monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent.parent))
        for known in [known for known in sys.modules if known == "scripts" or known.startswith("scripts.")]:
            monkeypatch.delitem(sys.modules, known)
        return importlib.import_module(f"scripts.{name}")

    return load


@pytest.fixture(scope="session")
def fake_mano() -> ManoArrays:
    return make_fake_mano()


@pytest.fixture(scope="session")
def open_mano() -> ManoArrays:
    return load_mano("open")


@pytest.fixture(scope="session")
def flat_hand(open_mano: ManoArrays) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A flat hand seen square in a picture of 256 x 256: its pixels, bool, its joints in pixels and in space."""
    size, model = 256, HandModel(open_mano)
    turn = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    vertices, joints = model.pose(True, turn, np.tile(np.eye(3), (15, 1, 1)), np.zeros(10))
    move = np.array([0, 0, 0.5]) - joints.mean(0)
    K = intrinsics_from_fov(size, size, 32.0)
    mesh = rasterize(vertices + move, model.faces(True), K, size, size, cull=False).face_index >= 0
    return mesh, project_points(joints + move, K), joints


@pytest.fixture
def hands(open_mano: ManoArrays) -> list[Hand]:
    """A right and a left open hand, 0.6 m before a camera."""
    model, eye = HandModel(open_mano), np.eye(3, dtype=np.float32)
    pose, betas = np.tile(eye, (15, 1, 1)), np.zeros(10, np.float32)
    found = []
    for is_right in (True, False):
        vertices, joints = model.pose(is_right, eye, pose, betas)
        shift = np.array([0.05, 0, 0.6], np.float32)
        K = np.array([[80, 0, 40], [0, 80, 30], [0, 0, 1]], np.float32)
        found.append(
            Hand(vertices + shift, joints + shift, joints[:, :2], is_right, 0.9, model.faces(is_right), eye, pose,
                 betas, shift, K, np.zeros(4, np.float32))
        )  # fmt: skip
    return found


def fake_sample(mano: ManoArrays, index: int, size: int = 224) -> dict[str, Any]:
    """A labelled picture as every data source gives it: smooth colours, and the fake hand's labels."""
    rng = np.random.default_rng(index)
    joint_angles = mano.hands_mean.reshape(15, 3) + rng.normal(0, 0.2, (15, 3))
    hand_pose = axis_angle_to_matrix_np(joint_angles).astype(np.float32)
    global_orient = axis_angle_to_matrix_np(rng.normal(0, 1, 3)).astype(np.float32)
    betas = rng.normal(0, 1, 10).astype(np.float32)
    vertices, joints = pose_vertices(mano, global_orient, hand_pose, betas)
    shift = np.array([0.02, -0.01, 0.7], np.float32) - joints[9]
    K = np.array([[480.0, 0, 112], [0, 480, 110], [0, 0, 1]]) * [[size / 224], [size / 224], [1]]
    coarse = rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    mask = np.zeros((size, size), bool)
    mask[size // 4 : -size // 4, size // 3 : -size // 3] = True
    return {
        "image": image,
        "K": K,
        "joints": joints + shift,
        "vertices": vertices + shift,
        "global_orient": global_orient,
        "hand_pose": hand_pose,
        "betas": betas,
        "has_mano": True,
        "scale": float(np.linalg.norm(joints[9] - joints[10])),
        "mask": mask,
        "is_right": True,
        "presence": True,
        "visibility": np.ones(21, np.float32),
        "index": index,
    }


@pytest.fixture(scope="session")
def make_sample(fake_mano: ManoArrays) -> Callable[[int], dict[str, Any]]:
    return lambda index: fake_sample(fake_mano, index)


@pytest.fixture
def freihand_root(tmp_path: Path, make_sample: Callable[[int], dict[str, Any]], fake_mano: ManoArrays) -> Path:
    """A folder in FreiHAND's layout: 6 training and 4 evaluation samples of the fake hand."""
    root = tmp_path / "freihand"
    for split, indices in (("training", range(6)), ("evaluation", range(100, 104))):
        with FreiHandWriter(root, split, fake_mano.hands_mean) as writer:
            for index in indices:
                writer.add(make_sample(index))
    return root


@pytest.fixture(scope="session")
def tiny_backbone() -> str:
    """The name of a FastViT of one block a stage and a third of the channels, known to this process alone."""
    from timm.models import fastvit, register_model

    from handmesh.models import backbone

    def fastvit_tiny(pretrained: bool = False, **words: Any) -> Any:
        shape = {"layers": (1, 1, 1, 1), "embed_dims": (16, 32, 64, 128), "mlp_ratios": (3, 3, 3, 3)}
        return fastvit._create_fastvit("fastvit_t8", pretrained, token_mixers=("repmixer",) * 4, **shape, **words)

    register_model(fastvit_tiny)
    backbone.BACKBONES += ("fastvit_tiny",)
    return "fastvit_tiny"


@pytest.fixture
def tiny_run(freihand_root: Path, fake_mano: ManoArrays, tiny_backbone: str, tmp_path: Path) -> Config:
    """Four training steps of a tiny network on six samples."""
    fake_mano.save_npz(tmp_path / "fake.npz")
    train = TrainConfig(
        steps=4, batch_size=4, warmup_steps=1, validate_every=2, save_every=2, log_every=1, device="cpu",
        tensorboard=False,
    )  # fmt: skip
    return Config(
        model=ModelConfig(backbone=tiny_backbone, image_size=32, width=16, heatmap_stride=4, drop_path=0.2),
        data=DataConfig(root=str(freihand_root), workers=0),
        train=train, mano=str(tmp_path / "fake.npz"), output=str(tmp_path / "run"),
    )  # fmt: skip


@pytest.fixture(scope="session")
def trained_looking() -> Callable[[ModelConfig, ManoArrays], Any]:
    """Makes a HandMeshNet of random weights, with statistics and scales at which a mistake in folding shows."""
    import torch
    from torch import nn

    from handmesh.models.hand_mesh_net import HandMeshNet

    def make(config: ModelConfig, arrays: ManoArrays) -> HandMeshNet:
        torch.manual_seed(0)
        net = HandMeshNet(config, arrays).eval()
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                nn.init.uniform_(module.running_var, 0.5, 1.5)
                nn.init.normal_(module.running_mean, 0, 0.2)
            if hasattr(module, "gamma"):
                nn.init.uniform_(module.gamma, 0.1, 0.5)
        return net

    return make
