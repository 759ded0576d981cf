"""Two hands in motion, made from the open hand's own parameters: every number of them is known."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handmesh.geometry.camera import intrinsics_from_fov, project_points
from handmesh.geometry.crop import box_around
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.hand_model import HandModel
from handmesh.motion.formats.tables import RecordingHeader
from handmesh.motion.recorder import recording_of
from handmesh.motion.recording import RecordedFrame, Recording
from handmesh.results import Hand

BETAS = np.array([0.8, -0.5, 0.3, 0, 0.2, 0, 0, 0, 0, 0])


def moving_hand(model: HandModel, time_s: float, is_right: bool, track_id: int | None = None) -> Hand:
    """A hand that turns through more than half a turn and bends its fingers, at a time."""
    side = 1.0 if is_right else -1.0
    orient = Rotation.from_rotvec([0.4, side * (4.5 * time_s - 1.0), side * 0.3 * np.sin(3 * time_s)]).as_matrix()
    bend = 0.5 + 0.4 * np.sin(4 * time_s + np.arange(15))
    pose = Rotation.from_rotvec(np.stack([0.1 * bend, side * 0.1 * bend, side * bend], 1)).as_matrix()
    vertices, joints = model.pose(is_right, orient, pose, BETAS)
    shift = np.array([side * (0.1 + 0.05 * np.sin(2 * time_s)), 0.02 * time_s, 0.5 + 0.05 * np.sin(time_s)])
    K = intrinsics_from_fov(640, 480)
    points = project_points(joints + shift, K)

    def f32(values: np.ndarray) -> np.ndarray:
        return np.asarray(values, np.float32)

    return Hand(
        f32(vertices + shift), f32(joints + shift), f32(points), is_right, 0.97, model.faces(is_right), f32(orient),
        f32(pose), f32(BETAS), f32(shift), f32(K), f32(box_around(points)), f32(np.linspace(0.5, 1, 21)),
        track_id=track_id,
    )  # fmt: skip


def frames_of(
    model: HandModel, count: int = 40, fps: float = 30.0, sees: Callable[[int, bool], bool] = lambda index, side: True
) -> list[RecordedFrame]:
    """``count`` frames at an uneven rate, the left hand from the fifth on; ``sees`` says which are missed."""
    times = np.arange(count) / fps + 0.003 * np.sin(np.arange(count))
    frames = []
    for index, time_s in enumerate(times - times[0]):
        hands = [moving_hand(model, time_s, side, 0 if side else 4) for side in (True, False)
                 if (side or index >= 5) and sees(index, side)]  # fmt: skip
        frames.append(RecordedFrame(index, float(time_s), (640, 480), intrinsics_from_fov(640, 480), hands))
    return frames


def header_for(model: HandModel) -> RecordingHeader:
    joints = (model.arrays.J_regressor @ model.arrays.v_template).round(6)
    return RecordingHeader(
        source="clip.mp4", hand_model=model.arrays.name, hand_model_fingerprint=model.arrays.fingerprint(),
        image_size=(640, 480), rest_joints=tuple(tuple(row) for row in joints.tolist()), handmesh="test",
    )  # fmt: skip


@pytest.fixture(scope="session")
def model(open_mano: ManoArrays) -> HandModel:
    return HandModel(open_mano)


@pytest.fixture(scope="session")
def frames(model: HandModel) -> list[RecordedFrame]:
    return frames_of(model)


@pytest.fixture(scope="session")
def recording(model: HandModel, frames: list[RecordedFrame]) -> Recording:
    return recording_of(header_for(model), frames).of_model(model)


@pytest.fixture(scope="session")
def make_frames(model: HandModel) -> Callable[..., list[RecordedFrame]]:
    return lambda **words: frames_of(model, **words)


@pytest.fixture(scope="session")
def header(model: HandModel) -> RecordingHeader:
    return header_for(model)


@pytest.fixture
def picture_tracker(model: HandModel) -> Any:
    """fake_video.py's stand-in for tracker and network, which other processes start too."""
    spec = importlib.util.spec_from_file_location("fake_video", Path(__file__).with_name("fake_video.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PictureTracker(model)
