"""The joints alone are the whole layer's joints, with the same gradients."""

from __future__ import annotations

import pytest
import torch

from handmesh.geometry.rotation import axis_angle_to_matrix
from handmesh.mano.arrays import load_mano
from handmesh.mano.layers.joint_layer import JointLayer
from handmesh.mano.layers.layer import ManoLayer


def test_joints_and_gradients_are_those_of_the_layer_with_a_surface() -> None:
    torch.manual_seed(0)
    arrays = load_mano("open")
    angles, betas = 0.6 * torch.randn(4, 16, 3), torch.randn(4, 10)
    results = []
    for layer in (ManoLayer(arrays), JointLayer(arrays)):
        inputs = angles.clone().requires_grad_(), betas.clone().requires_grad_()
        rotations = axis_angle_to_matrix(inputs[0])
        out = layer(rotations[:, 0], rotations[:, 1:], inputs[1])
        joints = out[1] if isinstance(out, tuple) else out
        joints.square().sum().backward()
        results.append((joints.detach(), inputs[0].grad, inputs[1].grad))
    for slow, fast in zip(*results, strict=True):
        assert slow is not None and fast is not None
        torch.testing.assert_close(fast, slow, atol=2e-6, rtol=1e-4)


def test_a_joint_is_moved_by_few_bones() -> None:
    layer = JointLayer(load_mano("open"))
    assert 21 <= len(layer.bone) < 130 and layer.mass.sum().item() == pytest.approx(21, abs=1e-4)
