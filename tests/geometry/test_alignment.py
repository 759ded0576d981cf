"""Similarity alignment: invariance, optimality, reflections as the official rule has them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from handmesh.geometry.alignment import root_align, similarity_align
from handmesh.geometry.rotation import axis_angle_to_matrix_np


def test_a_moved_turned_scaled_copy_aligns_exactly() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(size=(5, 21, 3))
    turned = target @ axis_angle_to_matrix_np(rng.normal(size=(5, 3))) * 2.5 + rng.normal(size=(5, 1, 3))
    for allow in (True, False):
        aligned, reflected = similarity_align(turned, target, allow)
        np.testing.assert_allclose(aligned, target, atol=1e-6)
        assert not reflected.any()


def test_agrees_with_the_official_steps_by_scipy() -> None:
    rng = np.random.default_rng(1)
    source, target = rng.normal(size=(8, 21, 3)), rng.normal(size=(8, 21, 3))
    aligned, _ = similarity_align(source, target)
    for a, s, t in zip(aligned, source, target, strict=True):
        st, ss = t - t.mean(0), s - s.mean(0)
        nt, ns = np.linalg.norm(st) + 1e-8, np.linalg.norm(ss) + 1e-8
        rotation, scale = orthogonal_procrustes(st / nt, ss / ns)
        np.testing.assert_allclose(a, (ss / ns) @ rotation.T * scale * nt + t.mean(0), atol=1e-9)


def test_a_mirrored_hand_fits_only_where_reflections_are_allowed() -> None:
    target = np.random.default_rng(2).normal(size=(21, 3))
    mirrored = target * [-1, 1, 1]
    aligned, reflected = similarity_align(mirrored, target)
    np.testing.assert_allclose(aligned, target, atol=1e-6)
    assert reflected
    proper, reflected = similarity_align(mirrored, target, allow_reflection=False)
    assert np.linalg.norm(proper - target, axis=-1).mean() > 0.3 and reflected


def test_proper_alignment_is_the_best_rotation() -> None:
    rng = np.random.default_rng(3)
    source, target = rng.normal(size=(21, 3)), rng.normal(size=(21, 3))
    aligned, _ = similarity_align(source, target, allow_reflection=False)
    best = ((aligned - target) ** 2).sum()
    centre = aligned.mean(0)
    for _ in range(20):
        nudge = axis_angle_to_matrix_np(rng.normal(size=3) * 0.02)
        assert (((aligned - centre) @ nudge.T + centre - target) ** 2).sum() >= best - 1e-9


def test_root_align_moves_the_root_to_zero() -> None:
    joints = np.random.default_rng(4).normal(size=(3, 21, 3))
    moved = root_align(joints)
    np.testing.assert_array_equal(moved[:, 9], 0)
    np.testing.assert_allclose(moved[:, 3] - moved[:, 7], joints[:, 3] - joints[:, 7])


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match="expected two arrays"):
        similarity_align(np.zeros((21, 3)), np.zeros((20, 3)))
