"""Several views of one hand: their mean is the hand, whatever the crop, and a view of something else has no say."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.geometry.camera import intrinsics_from_fov
from handmesh.geometry.crop import CropSettings, CropTransform
from handmesh.geometry.rotation import axis_angle_to_matrix_np
from handmesh.inference.engines.base import EngineOutput
from handmesh.inference.views import STILL_VIEWS, merge_views

K = intrinsics_from_fov(320, 240, 60)
POINTS = np.random.default_rng(1).uniform([90, 60], [200, 170], (21, 2))
TURN = axis_angle_to_matrix_np(np.array([0.3, -0.5, 0.2]))


def crop(mirror: bool) -> CropTransform:
    return CropSettings(96, 1.4).crop(np.array([90.0, 60, 200, 170]), K, 20.0, mirror=mirror)


def seen(views: list[CropTransform]) -> EngineOutput:
    """What a faultless network answers."""
    count = len(views)
    rotations = np.tile(np.eye(3, dtype=np.float32), (count, 16, 1, 1))
    rotations[:, 0] = [view.apply_rotation(TURN) for view in views]
    points = np.stack([view.apply_points_2d(POINTS) for view in views]).astype(np.float32)
    ones = np.ones(count, np.float32)
    return EngineOutput(
        np.zeros((count, 778, 3), np.float32), np.zeros((count, 21, 3), np.float32), rotations,
        np.zeros((count, 10), np.float32), np.zeros((count, 3), np.float32), points,
        np.ones((count, 21), np.float32), ones, ones,
    )  # fmt: skip


@pytest.mark.parametrize("mirror", [False, True])
def test_views_of_one_hand_are_that_hand(mirror: bool) -> None:
    base = crop(mirror)
    views = [base.turned(*view[:2]) for view in STILL_VIEWS]
    merged = merge_views(seen(views), [views], [base])
    np.testing.assert_allclose(merged.keypoints_2d[0], base.apply_points_2d(POINTS), atol=1e-3)
    np.testing.assert_allclose(merged.rotations[0, 0], base.apply_rotation(TURN), atol=1e-6)
    assert merged.betas.shape == (1, 10) and merged.vertices.shape == (1, 0, 3) and merged.presence[0] == 1


def test_errors_that_differ_are_averaged() -> None:
    base = crop(False)
    views = [base.turned(*view[:2]) for view in STILL_VIEWS]
    output = seen(views)
    noise = np.random.default_rng(0).normal(0, 2, output.keypoints_2d.shape).astype(np.float32)
    merged = merge_views(output._replace(keypoints_2d=output.keypoints_2d + noise), [views], [base])
    truth = base.apply_points_2d(POINTS)
    assert np.linalg.norm(merged.keypoints_2d[0] - truth, axis=-1).mean() < 0.6 * np.linalg.norm(noise, axis=-1).mean()


def test_each_hand_has_its_own_views() -> None:
    bases = [crop(False), crop(False).turned(50)]
    groups = [[base.turned(*view[:2]) for view in STILL_VIEWS] for base in bases]
    merged = merge_views(seen([view for group in groups for view in group]), groups, bases)
    np.testing.assert_allclose(merged.keypoints_2d, [base.apply_points_2d(POINTS) for base in bases], atol=1e-3)
    assert merged.presence.shape == (2,) and merged.camera.shape == (2, 0)


def test_hands_may_have_views_of_other_sizes_and_numbers() -> None:
    bases = [crop(False), crop(True)]
    groups = [
        [bases[0].turned(*view[:2]).resized(128 if view.density < 1 else 96) for view in STILL_VIEWS],
        [bases[1].turned(*view[:2]) for view in STILL_VIEWS[:3]],
    ]
    merged = merge_views(seen([view for group in groups for view in group]), groups, bases)
    np.testing.assert_allclose(merged.keypoints_2d, [base.apply_points_2d(POINTS) for base in bases], atol=1e-3)
    assert merged.presence.shape == (2,)


def test_a_view_of_another_hand_has_no_part() -> None:
    base = crop(False)
    views = [base.turned(*view[:2]) for view in STILL_VIEWS]
    output = seen(views)
    output.rotations[2, 0] = output.rotations[2, 0] @ axis_angle_to_matrix_np(np.array([0.0, 2.5, 0]))
    output.keypoints_2d[2] += 30
    output.betas[2] = 9
    merged = merge_views(output, [views], [base])
    np.testing.assert_allclose(merged.keypoints_2d[0], base.apply_points_2d(POINTS), atol=1e-3)
    np.testing.assert_allclose(merged.rotations[0, 0], base.apply_rotation(TURN), atol=1e-6)
    assert (merged.betas == 0).all()
