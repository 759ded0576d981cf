"""What the network is asked for in training: named terms, each a mean over the samples that have its label."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from handmesh.config import DetectorLossConfig, LossConfig
from handmesh.data.sample import Batch, TeacherOutput
from handmesh.geometry.camera import is_in_picture, resize_points
from handmesh.models.outputs import HandMeshOutput, HeadDetails, HeadOutput, project, to_pixels
from handmesh.skeleton import ROOT_JOINT

#: Error, as a share of the crop's side, at which a joint's confidence is taught to be 1 / e.
CONFIDENCE_SCALE = 0.04
#: Standard deviation of a heatmap's target in cells.
HEATMAP_SIGMA = 1.0


def hand_losses(
    output: HandMeshOutput, head: HeadOutput, batch: Batch, size: int, squared: bool = False,
    direct_vertices: Tensor | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """Unweighted terms by the names of :class:`LossConfig`.

    Args:
        output, head: the network's answer and its head's.
        batch: the labels; lengths in metres in the crop's camera frame, 2D in crop pixels.
        size: side of the crop in pixels; 2D errors are shares of it.
        squared: joints and projected points by their mean squared difference.
        direct_vertices: (B, 778, 3) metres relative to the root joint, of the branch that has no hand model.

    Returns:
        Scalars. A term for which no sample has a label is an exact 0 that still carries (zero) gradients, so that
        every process of a parallel run has the same graph.
    """
    present = batch["presence"] * batch.get("weight", torch.ones_like(batch["presence"]))
    # The network's hand is a right one: a left hand shown as it is has places in the picture, but no such mesh.
    is_right_hand = present * batch["is_right"]
    has_3d = is_right_hand * batch.get("has_3d", torch.ones_like(present))
    has_mano = is_right_hand * batch["has_mano"]
    batch = _cleared(batch, present, "keypoints_2d")
    batch = _cleared(batch, has_3d, "joints", "vertices")
    batch = _cleared(batch, has_mano, "global_orient", "hand_pose", "betas")
    apart, unit = (_l2, size * size) if squared else (_l1, size)
    joints = _root_relative(output.joints, output.joints)
    vertices = _root_relative(output.vertices, output.joints)
    true_joints = _root_relative(batch["joints"], batch["joints"])
    true_vertices = _root_relative(batch["vertices"], batch["joints"])
    terms = {
        "joints": _masked(apart(joints, true_joints), has_3d),
        "vertices": _masked(_l1(vertices, true_vertices), has_3d),
        "keypoints_2d": _masked(_l1(output.keypoints_2d, batch["keypoints_2d"]) / size, present),
        "projected_2d": _masked(apart(_projected(output, size), batch["keypoints_2d"]) / unit, is_right_hand),
        "rotations": _masked(_l1(output.rotations, _rotations(batch)), has_mano),
        "betas": _masked((output.betas - batch["betas"]).square().mean(-1), has_mano),
        "presence": functional.binary_cross_entropy_with_logits(head.presence, batch["presence"]),
        "is_right": _masked(
            functional.binary_cross_entropy_with_logits(head.is_right, batch["is_right"], reduction="none"), present
        ),
    }
    if head.confidence is not None:
        terms["confidence"] = _confidence(head.confidence, output.keypoints_2d, batch, size)
    if head.details is not None:
        terms |= _detail_losses(head.details, batch["keypoints_2d"], present, size)
        terms["lifted"] = _masked(_l1(head.details.lifted, true_joints), has_3d)
    if direct_vertices is not None:
        terms["direct_vertices"] = _masked(_l1(direct_vertices, true_vertices), has_3d)
    if "teacher" in batch:
        terms |= _teacher(output, joints, vertices, batch["teacher"], is_right_hand)
    return terms


def weighted_sum(terms: dict[str, Tensor], weights: LossConfig | DetectorLossConfig) -> Tensor:
    """The scalar to minimise."""
    return torch.stack([getattr(weights, name) * value for name, value in terms.items()]).sum()


def _teacher(
    output: HandMeshOutput, joints: Tensor, vertices: Tensor, teacher: TeacherOutput, is_right_hand: Tensor
) -> dict[str, Tensor]:
    """How far the hand is from a teacher's. Needs no label but that there is a right hand."""
    theirs = teacher.joints
    return {
        "teacher_joints": _masked(_l1(joints, _root_relative(theirs, theirs)), is_right_hand),
        "teacher_vertices": _masked(_l1(vertices, _root_relative(teacher.vertices, theirs)), is_right_hand),
        "teacher_rotations": _masked(_l1(output.rotations, teacher.rotations), is_right_hand),
        "teacher_betas": _masked((output.betas - teacher.betas).square().mean(-1), is_right_hand),
    }


def _detail_losses(details: HeadDetails, keypoints: Tensor, present: Tensor, size: int) -> dict[str, Tensor]:
    """Of the heatmaps and of their expectation, at the keypoints (B, J, 2) inside the crop."""
    inside = is_in_picture(keypoints, size, size).to(keypoints.dtype)
    distance = (to_pixels(details.points, size) - keypoints).abs().mean(-1) / size
    return {
        "heatmap": _masked((_heatmap(details.heatmap_logits, keypoints, size) * inside).mean(-1), present),
        "points": _masked((distance * inside).mean(-1), present),
    }


def _l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of each sample: (B, ...) -> (B,)."""
    return (a - b).abs().flatten(1).mean(-1)


def _l2(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of each sample: (B, ...) -> (B,)."""
    return (a - b).square().flatten(1).mean(-1)


def _masked(values: Tensor, mask: Tensor) -> Tensor:
    """Weighted mean of (B,) over the samples with a label."""
    return (values * mask).sum() / mask.sum().clamp_min(1.0)


def _cleared(batch: Batch, mask: Tensor, *names: str) -> Batch:
    """The batch with zeros in the named labels where the mask (B,) is 0: what stands there may be anything, even NaN,
    and a NaN that is only multiplied by 0 later would still reach the gradients.
    """
    values = cast("dict[str, Tensor]", batch)
    kept = {name: mask.view(-1, *[1] * (values[name].dim() - 1)) > 0 for name in names}
    cleared = {name: torch.where(kept[name], values[name], torch.zeros_like(values[name])) for name in names}
    return cast(Batch, {**batch, **cleared})


def _root_relative(points: Tensor, joints: Tensor) -> Tensor:
    return points - joints[:, ROOT_JOINT : ROOT_JOINT + 1]


def _projected(output: HandMeshOutput, size: int) -> Tensor:
    return to_pixels(project(output.joints, output.camera), size)


def _rotations(batch: Batch) -> Tensor:
    return torch.cat([batch["global_orient"].unsqueeze(1), batch["hand_pose"]], dim=1)


def _confidence(logits: Tensor, keypoints: Tensor, batch: Batch, size: int) -> Tensor:
    """Teach each joint's confidence to fall with its own 2D error; 0 where there is no hand."""
    error = (keypoints.detach() - batch["keypoints_2d"]).norm(dim=-1) / size
    target = torch.exp(-error / CONFIDENCE_SCALE) * batch["presence"].unsqueeze(-1)
    return functional.binary_cross_entropy_with_logits(logits, target)


def _heatmap(logits: Tensor, keypoints: Tensor, size: int) -> Tensor:
    """Cross-entropy (B, J) between softmaxed logits (B, J, cells) and a Gaussian at each keypoint."""
    side = round(logits.shape[-1] ** 0.5)
    cells = resize_points(keypoints, side / size)
    line = torch.arange(side, dtype=logits.dtype, device=logits.device)
    profile = torch.softmax(-((line - cells.unsqueeze(-1)) ** 2) / (2 * HEATMAP_SIGMA**2), dim=-1)  # (B, J, 2, side)
    target = (profile[:, :, 1, :, None] * profile[:, :, 0, None, :]).flatten(2)
    return -(target * logits.log_softmax(dim=-1)).sum(-1)
