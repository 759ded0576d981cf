"""What a network makes of some validation samples, drawn: the truth's and its own skeleton, and its mesh."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch

from handmesh.data.loading import HandDataset, collate
from handmesh.evaluation.report import draw_bones
from handmesh.geometry.camera import fit_translation
from handmesh.geometry.crop import box_around
from handmesh.inference.engines.base import EngineOutput
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.rendering.contact_sheet import contact_sheet
from handmesh.rendering.overlay import draw_hands
from handmesh.results import Hand

#: Side of one drawn crop in pixels.
TILE = 192
TRUTH, PREDICTION = (0, 220, 0), (255, 40, 40)


@torch.no_grad()
def prediction_sheet(net: HandMeshNet, dataset: HandDataset, count: int, device: Any = "cpu") -> np.ndarray:
    """Samples spread over a set as one picture, two crops each: skeletons (truth green), and the mesh.

    Args:
        net: in either mode; it has its mode again afterwards.
        dataset: gives plain crops.
        count: how many samples.
        device: where the network is.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    was_training = net.training
    net.eval()
    chosen = np.unique(np.linspace(0, len(dataset) - 1, count).astype(int))
    batch = collate([dataset[int(index)] for index in chosen])
    output = [part.float().cpu().numpy() for part in net(batch["image"].to(device))]
    net.train(was_training)
    tiles = []
    for row in range(len(chosen)):
        labels = {name: value[row].numpy() for name, value in batch.items()}
        found = EngineOutput(*(part[row] for part in output))
        zoom = TILE / labels["image"].shape[0]
        crop = cv2.resize(labels["image"], (TILE, TILE), interpolation=cv2.INTER_LINEAR)
        lines = crop.copy()
        if labels["presence"]:
            draw_bones(lines, _zoomed(labels["keypoints_2d"], zoom), TRUTH)
        draw_bones(lines, _zoomed(found.keypoints_2d, zoom), PREDICTION)
        hand = _hand(found, labels["K_crop"], zoom, net.mano.faces.cpu().numpy())
        tiles += [lines, draw_hands(crop, [hand] if np.isfinite(hand.vertices).all() else [])]
    return contact_sheet(tiles, columns=8, size=TILE)


def _zoomed(points: np.ndarray, zoom: float) -> np.ndarray:
    return (np.asarray(points, np.float64) + 0.5) * zoom - 0.5


def _hand(found: EngineOutput, K_crop: np.ndarray, zoom: float, faces: np.ndarray) -> Hand:
    """One row of the answer: the hand where its joints project onto its keypoints, in the drawn crop's camera."""
    K = np.asarray(K_crop, np.float64) * [[zoom], [zoom], [1]]
    K[:2, 2] += (zoom - 1) / 2
    keypoints = _zoomed(found.keypoints_2d, zoom)
    shift = fit_translation(found.joints, keypoints, K)
    return Hand(
        (found.vertices + shift).astype(np.float32), (found.joints + shift).astype(np.float32), keypoints, True,
        float(found.presence), faces, found.rotations[0], found.rotations[1:], found.betas, shift, K,
        box_around(keypoints),
    )  # fmt: skip
