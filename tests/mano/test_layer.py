"""The layer's laws: agrees with smplx and with the NumPy twin, turns and scales as a rigid hand must,
exports."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from handmesh.geometry.rotation import axis_angle_to_matrix
from handmesh.mano.layers.layer import ManoLayer
from handmesh.mano.layers.numpy_layer import joint_regressor_21, pose_vertices
from handmesh.skeleton import FINGERTIP_VERTICES, MANO21_TO_OPENPOSE


@pytest.fixture(params=["fake_mano", "open_mano"])
def mano(request):
    return request.getfixturevalue(request.param)


def random_parameters(batch: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Axis-angle (B, 3), (B, 45) and betas (B, 10)."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    return draw(batch, 3) * 2, draw(batch, 45) * 0.6, draw(batch, 10)


def matrices(root: torch.Tensor, pose: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return axis_angle_to_matrix(root), axis_angle_to_matrix(pose.view(-1, 15, 3))


@pytest.mark.parametrize("flat", [True, False])
def test_agrees_with_smplx_to_a_micrometre(mano, flat):
    smplx = pytest.importorskip("smplx")
    struct = smplx.utils.Struct(**mano.to_struct_dict())
    theirs = smplx.MANO("", data_struct=struct, use_pca=False, flat_hand_mean=flat)
    root, pose, betas = random_parameters(16)
    expected = theirs(betas=betas, global_orient=root, hand_pose=pose).vertices
    absolute = pose if flat else pose + torch.as_tensor(mano.hands_mean, dtype=torch.float32)
    vertices, _ = ManoLayer(mano)(*matrices(root, absolute), betas)
    torch.testing.assert_close(vertices, expected, atol=1e-6, rtol=0)


def test_numpy_twin_agrees_batched_and_single(mano):
    root, pose, betas = random_parameters(5)
    root, pose = matrices(root, pose)
    vertices, joints = ManoLayer(mano)(root, pose, betas)
    twin_vertices, twin_joints = pose_vertices(mano, root.numpy(), pose.numpy(), betas.numpy())
    np.testing.assert_allclose(twin_vertices, vertices.numpy(), atol=1e-6)
    np.testing.assert_allclose(twin_joints, joints.numpy(), atol=1e-6)
    one_vertices, one_joints = pose_vertices(mano, root[2].numpy(), pose[2].numpy(), betas[2].numpy())
    assert one_vertices.shape == (778, 3) and one_joints.shape == (21, 3)
    np.testing.assert_allclose(one_vertices, twin_vertices[2], atol=1e-6)


def test_root_rotation_turns_the_hand_about_its_rest_wrist(mano):
    layer = ManoLayer(mano)
    root, pose, betas = random_parameters(3)
    root, pose = matrices(root, pose)
    identity = torch.eye(3).expand(3, 3, 3)
    still, _ = layer(identity, pose, betas)
    wrist = layer.rest_joints(betas)[:, :1]
    expected = (still - wrist) @ root.transpose(1, 2) + wrist
    torch.testing.assert_close(layer(root, pose, betas)[0], expected, atol=1e-6, rtol=0)


def test_zero_is_the_template_and_joints_are_regressed_from_posed_vertices(mano):
    layer = ManoLayer(mano)
    identity = torch.eye(3)
    vertices, _ = layer(identity[None], identity.expand(1, 15, 3, 3), torch.zeros(1, 10))
    np.testing.assert_allclose(vertices[0].numpy(), mano.v_template, atol=1e-6)
    root, pose, betas = random_parameters(2)
    vertices, joints = layer(*matrices(root, pose), betas)
    tips = vertices[:, list(FINGERTIP_VERTICES["freihand"])]
    regressed = torch.as_tensor(mano.J_regressor, dtype=torch.float32) @ vertices
    expected = torch.cat([regressed, tips], 1)[:, list(MANO21_TO_OPENPOSE)]
    torch.testing.assert_close(joints, expected, atol=1e-6, rtol=0)


def test_fingertip_sets_differ_only_at_the_tips(fake_mano):
    ours, theirs = joint_regressor_21(fake_mano), joint_regressor_21(fake_mano, "smplx")
    assert set(np.flatnonzero((ours != theirs).any(1))) <= {4, 8, 12, 16, 20}


def test_gradient_reaches_every_parameter(fake_mano):
    layer = ManoLayer(fake_mano).double()
    root, pose, betas = (t.double().requires_grad_() for t in random_parameters(2))
    vertices, joints = layer(*matrices(root, pose), betas)
    (vertices.square().sum() + joints.square().sum()).backward()
    for parameter in (root, pose, betas):
        assert parameter.grad is not None and (parameter.grad != 0).all()


def test_autocast_does_not_cost_precision(fake_mano):
    layer = ManoLayer(fake_mano)
    root, pose, betas = random_parameters(2)
    arguments = (*matrices(root, pose), betas)
    with torch.autocast("cpu", torch.bfloat16):
        vertices, _ = layer(*arguments)
    torch.testing.assert_close(vertices, layer(*arguments)[0], atol=0, rtol=0)


def test_exports_with_a_dynamic_batch(fake_mano):
    layer = ManoLayer(fake_mano).eval()
    root, pose, betas = random_parameters(3)
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(
        layer, (*matrices(root, pose), betas), dynamic_shapes=({0: batch}, {0: batch}, {0: batch})
    )
    root, pose, betas = random_parameters(7, seed=1)
    arguments = (*matrices(root, pose), betas)
    torch.testing.assert_close(exported.module()(*arguments)[0], layer(*arguments)[0], atol=1e-7, rtol=0)
