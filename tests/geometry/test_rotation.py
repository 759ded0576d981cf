"""Rotations: round trips, agreement with scipy, gradients, batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handmesh.geometry import rotation as rot
from handmesh.geometry.quaternion import to_matrix, to_quaternion


@pytest.fixture
def axis_angles() -> np.ndarray:
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(60, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    angles = np.concatenate([rng.uniform(0, np.pi, 50), [0, 1e-9, 1e-5, 1e-3, np.pi - 1e-7, np.pi, 3.1, 2, 1, 0.5]])
    return directions * angles[:, None]


def test_matrices_agree_with_scipy(axis_angles: np.ndarray) -> None:
    expected = Rotation.from_rotvec(axis_angles).as_matrix()
    np.testing.assert_allclose(rot.axis_angle_to_matrix_np(axis_angles), expected, atol=1e-12)
    np.testing.assert_allclose(rot.axis_angle_to_matrix(torch.from_numpy(axis_angles)), expected, atol=1e-12)


def test_axis_angle_round_trip_from_zero_to_pi(axis_angles: np.ndarray) -> None:
    matrices = rot.axis_angle_to_matrix_np(axis_angles)
    back = rot.matrix_to_axis_angle_np(matrices)
    assert (np.linalg.norm(back, axis=-1) <= np.pi + 1e-9).all()
    # At pi the axis is known up to its sign, so the matrices are compared.
    np.testing.assert_allclose(rot.axis_angle_to_matrix_np(back), matrices, atol=1e-7)
    torch_back = rot.matrix_to_axis_angle(torch.from_numpy(matrices))
    np.testing.assert_allclose(torch_back, back, atol=1e-12)


def test_6d_round_trip_and_any_6d_is_a_rotation() -> None:
    generator = torch.Generator().manual_seed(0)
    d6 = torch.randn(4, 5, 6, generator=generator, dtype=torch.float64)
    matrix = rot.rotation_6d_to_matrix(d6)
    eye = torch.eye(3, dtype=torch.float64).expand_as(matrix)
    torch.testing.assert_close(matrix @ matrix.transpose(-1, -2), eye)
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(4, 5, dtype=torch.float64))
    torch.testing.assert_close(rot.rotation_6d_to_matrix(rot.matrix_to_rotation_6d(matrix)), matrix)


def test_gradients_are_right_also_at_zero() -> None:
    generator = torch.Generator().manual_seed(1)
    d6 = torch.randn(3, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rot.rotation_6d_to_matrix, (d6,))
    vector = torch.tensor([[0.0, 0.0, 0.0], [0.3, -0.2, 0.1]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rot.axis_angle_to_matrix, (vector,))


@pytest.mark.parametrize("function", [rot.rotation_6d_to_matrix, rot.matrix_to_rotation_6d, rot.axis_angle_to_matrix])
def test_wrong_shape_says_expected_and_got(function) -> None:
    with pytest.raises(ValueError, match=r"expected .* got"):
        function(torch.zeros(2, 5))


def test_arrays_that_cannot_be_written_are_read() -> None:
    vectors = np.random.default_rng(0).normal(size=(4, 3))
    matrices = rot.axis_angle_to_matrix_np(vectors)
    vectors.setflags(write=False)
    matrices.setflags(write=False)
    np.testing.assert_array_equal(rot.axis_angle_to_matrix_np(vectors), matrices)
    quaternions = to_quaternion(matrices)
    quaternions.setflags(write=False)
    np.testing.assert_allclose(to_matrix(quaternions), matrices, atol=1e-12)
