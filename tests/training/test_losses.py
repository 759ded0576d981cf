"""The losses' laws: the truth costs nothing, a label that is not there changes nothing."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from handmesh.config import LossConfig
from handmesh.data.sample import Batch, TeacherOutput
from handmesh.models.outputs import HandMeshOutput, HeadDetails, HeadOutput
from handmesh.training.mesh.losses import hand_losses, weighted_sum

SIZE = 64


def _case(count: int = 3) -> tuple[HandMeshOutput, HeadOutput, Batch]:
    """A prediction equal to its labels, as far as a heatmap can be."""
    generator = torch.Generator().manual_seed(0)
    joints = torch.randn(count, 21, 3, generator=generator) * 0.03
    vertices = torch.randn(count, 778, 3, generator=generator) * 0.03
    camera = torch.tensor([[9.0, 0.0, 0.0]]).repeat(count, 1)
    keypoints = SIZE / 2 * (1 + camera[:, None, :1] * joints[..., :2]) - 0.5
    rotations = torch.eye(3).expand(count, 16, 3, 3).clone()
    betas = torch.randn(count, 10, generator=generator)
    ones = torch.ones(count)
    points = (keypoints + 0.5) / (SIZE / 2) - 1
    details = HeadDetails(torch.zeros(count, 21, 64), points, joints - joints[:, 9:10], torch.zeros(count, 21, 8))
    output = HandMeshOutput(
        vertices, joints, rotations, betas, camera, keypoints, ones[:, None].repeat(1, 21), ones, ones
    )
    head = HeadOutput(rotations, betas, None, points, torch.full((count, 21), 20.0), ones * 20, ones * 20, details)
    shift = torch.tensor([0.1, -0.2, 0.7])
    batch = {
        "joints": joints + shift, "vertices": vertices + shift, "keypoints_2d": keypoints, "betas": betas,
        "global_orient": rotations[:, 0], "hand_pose": rotations[:, 1:],
        "presence": ones.clone(), "has_mano": ones.clone(), "is_right": ones.clone(),
        "teacher": TeacherOutput(joints - shift, vertices - shift, rotations, betas, []),
    }  # fmt: skip
    return output, head, batch


def test_the_truth_costs_nothing() -> None:
    output, head, batch = _case()
    direct = output.vertices - output.joints[:, 9:10]
    terms = hand_losses(output, head, batch, SIZE, direct_vertices=direct)
    # The comparison of feature maps needs the networks: it is loss_net.py's.
    assert set(terms) | {"teacher_features"} == {field.name for field in dataclasses.fields(LossConfig)}
    for name, value in terms.items():
        assert value.item() == pytest.approx(0, abs=1e-4) or name == "heatmap", name


@pytest.mark.parametrize("squared", [False, True])
def test_an_error_costs_its_size_or_its_square(squared: bool) -> None:
    output, head, batch = _case()
    moved = output.joints.clone()
    moved[:, 9] += 0.01  # the root: every other joint is a centimetre off, relative to it
    terms = hand_losses(output._replace(joints=moved), head, batch, SIZE, squared)
    assert terms["joints"].item() == pytest.approx((0.01**2 if squared else 0.01) * 20 / 21, rel=1e-4)
    assert terms["vertices"].item() == pytest.approx(0.01, rel=1e-4)
    pixels = 9.0 * 0.01 / 2 / 21  # one joint of 21, as a share of the crop's side
    assert terms["projected_2d"].item() == pytest.approx(pixels**2 * 21 if squared else pixels, rel=1e-3)


def test_the_teachers_word_counts_where_no_label_is() -> None:
    output, head, batch = _case()
    batch["has_3d"] = batch["has_mano"] = torch.zeros(3)
    theirs = batch["teacher"].joints * 1.1
    batch["presence"][0] = 0.0
    theirs[0] = 1e6  # the hand that is not there
    batch["teacher"] = batch["teacher"]._replace(joints=theirs)
    terms = hand_losses(output, head, batch, SIZE)
    assert terms["joints"].item() == 0
    assert 1e-4 < terms["teacher_joints"].item() < 0.1


def test_a_heatmap_at_its_target_costs_least() -> None:
    output, head, batch = _case()
    flat = hand_losses(output, head, batch, SIZE)["heatmap"]
    side = 8
    cells = (batch["keypoints_2d"] + 0.5) * (side / SIZE) - 0.5
    line = torch.arange(side)
    spread = -((line - cells[..., None]) ** 2) / 2
    logits = (spread[:, :, 1, :, None] + spread[:, :, 0, None, :]).flatten(2)
    assert head.details is not None
    head = head._replace(details=head.details._replace(heatmap_logits=logits.requires_grad_()))
    best = hand_losses(output, head, batch, SIZE)["heatmap"]
    best.backward()
    assert best < flat
    assert logits.grad is not None and logits.grad.abs().max() < 1e-6


@pytest.mark.parametrize(
    ("mask", "corrupted", "free"),
    [
        ("presence", ("joints", "vertices", "keypoints_2d", "betas", "hand_pose"), ()),
        ("has_mano", ("betas", "hand_pose", "global_orient"), ()),
        ("has_3d", ("joints", "vertices"), ()),
        ("is_right", ("joints", "vertices", "betas", "hand_pose"), ("is_right",)),
    ],
)
def test_a_label_that_is_not_there_changes_nothing(
    mask: str, corrupted: tuple[str, ...], free: tuple[str, ...]
) -> None:
    output, head, batch = _case()
    batch["has_3d"] = torch.ones(3)
    batch[mask] = torch.tensor([1.0, 0.0, 1.0])
    clean = hand_losses(output, head, batch, SIZE)
    bad = {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in batch.items()}
    for name in corrupted:
        bad[name][1] = float("nan")
    for name, value in hand_losses(output, head, bad, SIZE).items():
        assert name in free or torch.equal(value, clean[name]), name


def test_terms_without_any_label_are_zero_with_a_graph() -> None:
    output, head, batch = _case()
    batch["presence"] = torch.zeros(3)
    joints = output.joints.clone().requires_grad_()
    terms = hand_losses(output._replace(joints=joints), head, batch, SIZE)
    assert terms["joints"].item() == 0
    weighted_sum(terms, LossConfig()).backward()
    assert joints.grad is not None and not joints.grad.any()
