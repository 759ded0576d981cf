"""The demo clip: its truth obeys the hand model, lies where the hand is drawn, and the detector sees the hands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from handmesh.detection import HandDetector, model_files
from handmesh.geometry.camera import project_points
from handmesh.io.video.sources import open_source
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.hand_model import HandModel
from handmesh.synthesis.demo_clip import HEIGHT, WIDTH, DemoScene, render_demo_clip

TIMES = (0.4, 2.2, 6.5)


@pytest.fixture(scope="module")
def scene(open_mano: ManoArrays) -> DemoScene:
    return DemoScene(open_mano)


def test_truth_is_the_models_and_lies_on_the_hand(scene: DemoScene, open_mano: ManoArrays) -> None:
    room = scene._room.astype(int)
    for t in TIMES:
        frame = scene.frame(t)
        assert [hand.is_right for hand in frame.hands] == ([True] if t < 4 else [True, False])
        differs = np.abs(frame.image.astype(int) - room).sum(-1) > 20
        for hand in frame.hands:
            vertices, joints = HandModel(open_mano).pose(hand.is_right, *hand[3:])
            shift = hand.vertices[0] - vertices[0]
            assert np.allclose(vertices + shift, hand.vertices, atol=1e-5)
            assert np.allclose(joints + shift, hand.joints, atol=1e-5)
            u, v = np.rint(project_points(hand.joints, frame.K)).astype(int).T
            assert ((u >= 0) & (u < WIDTH) & (v >= 0) & (v < HEIGHT)).all()
            assert differs[v, u].mean() > 0.9


def test_a_frame_is_a_function_of_its_time(scene: DemoScene, open_mano: ManoArrays) -> None:
    again = DemoScene(open_mano).frame(TIMES[2])
    assert np.array_equal(scene.frame(TIMES[2]).image, again.image)


def test_the_clip_is_a_clip(tmp_path: Path) -> None:
    path = render_demo_clip(tmp_path / "a.mp4", duration_s=0.1)
    assert [frame.image.shape for frame in open_source(path)] == [(HEIGHT, WIDTH, 3)] * 3


@pytest.mark.skipif(
    not all(model_files.is_cached(name) for name in model_files.MEMBERS), reason="the palm detector is not in the cache"
)
def test_the_detector_sees_right_and_left(scene: DemoScene) -> None:
    detector = HandDetector(threads=1)
    found = [sorted(bool(hand.is_right) for hand in detector.detect(scene.frame(t).image)) for t in TIMES]
    assert found == [[True], [True], [False, True]]
