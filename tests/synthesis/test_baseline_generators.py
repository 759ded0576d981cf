"""Plain pictures: true labels, few colours, one picture a number, and no effect on the full renderer's own."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.config import Config, DataConfig
from handmesh.geometry.camera import project_points
from handmesh.mano.layers.numpy_layer import pose_vertices
from handmesh.synthesis.baseline_generators import PlainGenerator
from handmesh.synthesis.generator import SampleGenerator
from handmesh.synthesis.kinds import KINDS
from handmesh.training.sources import make_sources


@pytest.fixture(scope="module")
def samples(open_mano) -> list[dict]:
    generator = PlainGenerator(open_mano, seed=3, size=96)
    return [generator.sample(i) for i in range(12)]


def test_labels_are_the_models_and_lie_on_the_hand(samples, open_mano) -> None:
    for sample in samples:
        assert sample["image"].shape == (96, 96, 3) and sample["image"].dtype == np.uint8
        vertices, joints = pose_vertices(open_mano, sample["global_orient"], sample["hand_pose"], sample["betas"])
        np.testing.assert_allclose(vertices - joints[9] + sample["joints"][9], sample["vertices"], atol=1e-5)
        v, u = np.nonzero(sample["mask"])
        uv = project_points(sample["vertices"], sample["K"])
        assert len(u) and u.min() >= uv[:, 0].min() - 1.5 and v.max() <= uv[:, 1].max() + 1.5
        inside = (project_points(sample["joints"], sample["K"]) >= -0.5).all(1)
        assert not (sample["visibility"].astype(bool) & ~inside).any()


def test_the_wall_is_plain_and_the_hand_is_lit(samples) -> None:
    for sample in samples:
        corner_rows = sample["image"][:, [0, -1]].astype(int)
        # A row of the wall is one colour; the arm may leave the picture at one side.
        assert min(len({tuple(c) for c in np.abs(np.diff(corner_rows[:, k], axis=0))}) for k in (0, 1)) < 40
        grey = sample["image"].mean(-1)[sample["mask"]]
        assert np.ptp(grey) > 5


def test_a_number_gives_one_picture(samples, open_mano) -> None:
    again = PlainGenerator(open_mano, seed=3, size=96)
    for index in (7, 2):
        for key, value in samples[index].items():
            np.testing.assert_array_equal(again.sample(index)[key], value, err_msg=key)
    assert again.fingerprint() != SampleGenerator(open_mano, seed=3, size=96).fingerprint()


def test_negatives_and_left_hands(open_mano) -> None:
    empty = PlainGenerator(open_mano, 0, 64, negatives=1.0).sample(0)
    assert not empty["presence"] and not empty["mask"].any() and not empty["visibility"].any()
    left, right = (PlainGenerator(open_mano, 0, 64, left_hands=share).sample(1) for share in (1.0, 0.0))
    assert not left["is_right"]
    np.testing.assert_array_equal(left["image"], right["image"][:, ::-1])


def test_a_run_may_ask_for_them(open_mano) -> None:
    config = Config(data=DataConfig(source="synthetic", plain_pictures=True, render_size=64))
    train, _ = make_sources(config, open_mano)
    assert type(train) is PlainGenerator


def test_basic_pictures_show_unlikely_poses_from_everywhere(open_mano) -> None:
    basic, plain = (KINDS[kind](open_mano, 0, 48) for kind in ("basic", "plain"))
    # Half of all views show the back of the hand where every view is alike; gestures hold fingers straight together.
    normal = basic.renderer.surface.palm_normal
    away = [np.mean([(g.sample(i)["global_orient"] @ normal)[2] > 0 for i in range(128)]) for g in (basic, plain)]
    assert 0.35 < away[0] < 0.65 and away[1] < away[0] - 0.05
    traces = [np.trace([g.pose(i)[:12] for i in range(512)], axis1=2, axis2=3) for g in (basic, plain)]
    flat = [(trace > 2.5).all(1).mean() for trace in traces]  # no joint bent by more than 41 degrees
    assert flat[0] < 0.02 and flat[1] > 0.05
    assert basic.fingerprint() != plain.fingerprint()
