"""What the network is asked for in training: named terms, each a mean over the samples that have its label.

A batch is what data/transforms.py's crop_sample makes, stacked: lengths in metres in the crop's camera frame, 2D in
crop pixels. Besides, a batch may hold ``has_3d`` (B,) (joints and vertices are labels; ``presence`` when absent) and
``weight`` (B,) (trust in a sample, 1 when absent; below 1 for labels made by a teacher).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from handmesh.config import LossConfig
from handmesh.skeleton import ROOT_JOINT

Batch = dict[str, Tensor]

#: Error, as a share of the crop's side, at which a joint's confidence is taught to be 1 / e.
CONFIDENCE_SCALE = 0.04
#: Standard deviation of a heatmap's target in cells.
HEATMAP_SIGMA = 1.0


def hand_losses(output: Any, said: Any, batch: Batch, size: int, squared: bool = False) -> dict[str, Tensor]:
    """Unweighted terms by the names of :class:`LossConfig`.

    Args:
        output: the network's HandMeshOutput.
        said: its HeadOutput (logits and ``aux``).
        batch: see the module's description.
        size: side of the crop in pixels; 2D errors are shares of it.
        squared: joints and projected points by their mean squared difference.

    Returns:
        Scalars. A term for which no sample has a label is an exact 0 that still carries (zero) gradients, so that
        every process of a parallel run has the same graph.
    """
    present = batch["presence"] * batch.get("weight", torch.ones_like(batch["presence"]))
    # The network's hand is a right one: a left hand shown as it is has places in the picture, but no such mesh.
    is_right_hand = present * batch["is_right"]
    has_3d = is_right_hand * batch.get("has_3d", torch.ones_like(present))
    has_mano = is_right_hand * batch["has_mano"]
    batch = {
        **batch,
        **_cleared(batch, present, "keypoints_2d"),
        **_cleared(batch, has_3d, "joints", "vertices"),
        **_cleared(batch, has_mano, "global_orient", "hand_pose", "betas"),
    }
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
        "presence": functional.binary_cross_entropy_with_logits(said.presence, batch["presence"]),
        "is_right": _masked(
            functional.binary_cross_entropy_with_logits(said.is_right, batch["is_right"], reduction="none"), present
        ),
    }
    if said.confidence is not None:
        terms["confidence"] = _confidence(said.confidence, output.keypoints_2d, batch, size)
    if "heatmap_logits" in said.aux:
        terms["heatmap"] = _heatmap(said.aux["heatmap_logits"], batch["keypoints_2d"], present, size)
        points = (said.aux["points"] + 1.0) * (size / 2) - 0.5
        inside = _inside(batch["keypoints_2d"], size)
        distance = (points - batch["keypoints_2d"]).abs().mean(-1) / size
        terms["points"] = _masked((distance * inside).mean(-1), present)
    if "lifted" in said.aux:
        terms["lifted"] = _masked(_l1(said.aux["lifted"], true_joints), has_3d)
    if "direct_vertices" in said.aux:
        terms["direct_vertices"] = _masked(_l1(said.aux["direct_vertices"], true_vertices), has_3d)
    if "teacher_joints" in batch:
        terms.update(_teacher(output, joints, vertices, batch, is_right_hand))
    return terms


def weighted_sum(terms: dict[str, Tensor], weights: LossConfig) -> Tensor:
    """The scalar to minimise."""
    return torch.stack([getattr(weights, name) * value for name, value in terms.items()]).sum()


def _teacher(
    output: Any, joints: Tensor, vertices: Tensor, batch: Batch, is_right_hand: Tensor
) -> dict[str, Tensor]:
    """How far the hand is from a teacher's. Needs no label but that there is a right hand."""
    theirs = batch["teacher_joints"]
    return {
        "teacher_joints": _masked(_l1(joints, _root_relative(theirs, theirs)), is_right_hand),
        "teacher_vertices": _masked(_l1(vertices, _root_relative(batch["teacher_vertices"], theirs)), is_right_hand),
        "teacher_rotations": _masked(_l1(output.rotations, batch["teacher_rotations"]), is_right_hand),
        "teacher_betas": _masked((output.betas - batch["teacher_betas"]).square().mean(-1), is_right_hand),
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
    """The named labels with zeros where the mask is 0: what stands there may be anything, even NaN, and a NaN that
    is only multiplied by 0 later would still reach the gradients."""
    kept = {name: mask.view(-1, *[1] * (batch[name].dim() - 1)) > 0 for name in names}
    return {name: torch.where(kept[name], batch[name], torch.zeros_like(batch[name])) for name in names}


def _root_relative(points: Tensor, joints: Tensor) -> Tensor:
    return points - joints[:, ROOT_JOINT : ROOT_JOINT + 1]


def _projected(output: Any, size: int) -> Tensor:
    camera = output.camera
    return size / 2 * (1 + camera[:, None, :1] * (output.joints[..., :2] + camera[:, None, 1:])) - 0.5


def _rotations(batch: Batch) -> Tensor:
    return torch.cat([batch["global_orient"].unsqueeze(1), batch["hand_pose"]], dim=1)


def _inside(keypoints: Tensor, size: int) -> Tensor:
    """1 for keypoints (B, J, 2) within the crop, else 0."""
    return ((keypoints > -0.5) & (keypoints < size - 0.5)).all(-1).to(keypoints.dtype)


def _confidence(logits: Tensor, keypoints: Tensor, batch: Batch, size: int) -> Tensor:
    """Teach each joint's confidence to fall with its own 2D error; 0 where there is no hand."""
    error = (keypoints.detach() - batch["keypoints_2d"]).norm(dim=-1) / size
    target = torch.exp(-error / CONFIDENCE_SCALE) * batch["presence"].unsqueeze(-1)
    return functional.binary_cross_entropy_with_logits(logits, target)


def _heatmap(logits: Tensor, keypoints: Tensor, present: Tensor, size: int) -> Tensor:
    """Cross-entropy between softmaxed logits (B, J, cells) and a Gaussian at each keypoint inside the crop."""
    side = round(logits.shape[-1] ** 0.5)
    cells = (keypoints + 0.5) * (side / size) - 0.5
    line = torch.arange(side, dtype=logits.dtype, device=logits.device)
    profile = torch.softmax(-((line - cells.unsqueeze(-1)) ** 2) / (2 * HEATMAP_SIGMA**2), dim=-1)  # (B, J, 2, side)
    target = (profile[:, :, 1, :, None] * profile[:, :, 0, None, :]).flatten(2)
    entropy = -(target * logits.log_softmax(dim=-1)).sum(-1)
    return _masked((entropy * _inside(keypoints, size)).mean(-1), present)
