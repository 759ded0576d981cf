"""One hand posed by the compiled loop is the hand that the numpy layer poses in a batch."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.geometry.rotation_numpy import axis_angle_to_matrix_np
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.hand_model import HandModel


@pytest.mark.parametrize("is_right", [True, False])
def test_one_hand_is_posed_as_in_a_batch(open_mano: ManoArrays, fake_mano: ManoArrays, is_right: bool) -> None:
    for arrays in (open_mano, fake_mano):
        model, rng = HandModel(arrays), np.random.default_rng(3)
        rotations = axis_angle_to_matrix_np(rng.normal(0, 0.6, (3, 16, 3)))
        betas = rng.standard_normal((3, 10))
        kept = rotations.copy()
        many = model.pose(is_right, rotations[:, 0], rotations[:, 1:], betas)
        for row in range(3):
            one = model.pose(is_right, rotations[row, 0], rotations[row, 1:], betas[row])
            for found, expected in zip(one, many, strict=True):
                assert found.dtype == np.float32
                np.testing.assert_allclose(found, expected[row], atol=1e-6)
        np.testing.assert_array_equal(rotations, kept)
