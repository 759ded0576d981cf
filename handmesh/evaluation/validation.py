"""How good a network is on held-out crops, while it trains: few figures, beside what one mean hand would score.

It speaks of the network alone: its mesh is scored before it is moved onto the keypoints. The published protocols, on
what users get, are protocols.py's.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from handmesh.data.sample import Batch
from handmesh.geometry.alignment import similarity_align
from handmesh.models.hand_mesh_net import HandMeshNet


@torch.no_grad()
def validate(net: HandMeshNet, batches: Iterable[Batch], device: torch.device | str = "cpu") -> dict[str, float]:
    """Scores over the samples with a right hand.

    Args:
        net: in either mode; it has its mode again afterwards.
        batches: of plain crops.
        device: where the network is.

    Returns:
        Means over samples: pa_mpjpe, pa_mpvpe (mm), keypoints_px at a crop of 256 px, and mean_pose_pa_mpjpe (mm), the
        score of the mean hand for every sample. NaN where there is no right hand.
    """
    was_training = net.training
    net.eval()
    identity = torch.eye(3, device=device)[None]
    _, mean_joints = net.mano(identity, net.mano.mean_pose[None], torch.zeros(1, 10, device=device))
    mean_hand = mean_joints.cpu().numpy()
    columns: dict[str, list[np.ndarray]] = {
        "pa_mpjpe": [],
        "pa_mpvpe": [],
        "keypoints_px": [],
        "mean_pose_pa_mpjpe": [],
    }
    for batch in batches:
        kept = (batch["presence"] > 0) & (batch["is_right"] > 0)
        if not bool(kept.any()):
            continue
        output = net(batch["image"][kept].to(device))
        joints = batch["joints"][kept].numpy()
        columns["pa_mpjpe"].append(_aligned_error(output.joints.float().cpu().numpy(), joints))
        columns["pa_mpvpe"].append(
            _aligned_error(output.vertices.float().cpu().numpy(), batch["vertices"][kept].numpy())
        )
        pixels = (output.keypoints_2d.float().cpu() - batch["keypoints_2d"][kept]).norm(dim=-1).mean(-1)
        columns["keypoints_px"].append(pixels.numpy() * 256 / batch["image"].shape[1])
        columns["mean_pose_pa_mpjpe"].append(_aligned_error(np.repeat(mean_hand, len(joints), 0), joints))
    net.train(was_training)
    return {name: float(np.concatenate(parts).mean()) if parts else float("nan") for name, parts in columns.items()}


def _aligned_error(points: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(B, N, 3) metres -> mean distance of each sample in mm after alignment by the official rule."""
    aligned, _ = similarity_align(points, truth)
    return np.asarray(np.linalg.norm(aligned - truth, axis=-1).mean(-1) * 1000)
