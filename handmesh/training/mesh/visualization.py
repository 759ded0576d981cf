"""What a network makes of some validation samples, drawn: the truth's and its own skeleton, and its mesh."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch

from handmesh.data.loading import HandDataset
from handmesh.evaluation.report import draw_bones
from handmesh.geometry.camera import resize_intrinsics, resize_points
from handmesh.geometry.crop import CropTransform
from handmesh.inference.engines.pytorch_engine import TorchEngine
from handmesh.inference.estimator import HandEstimator
from handmesh.mano.arrays import ManoArrays
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.rendering.contact_sheet import contact_sheet
from handmesh.rendering.overlay import draw_hands

#: Side of one drawn crop in pixels.
TILE = 192
TRUTH, PREDICTION = (0, 220, 0), (255, 40, 40)


def prediction_sheet(
    net: HandMeshNet, mano: ManoArrays, dataset: HandDataset, count: int, device: torch.device | str = "cpu"
) -> np.ndarray:
    """Samples spread over a set as one RGB picture, two crops each: skeletons (truth green), and the mesh.

    Args:
        net: in either mode; it has its mode again afterwards.
        mano: its hand model.
        dataset: gives plain crops.
        count: how many samples.
        device: where the network is.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    chosen = np.unique(np.linspace(0, len(dataset) - 1, count).astype(int))
    samples = [dataset[int(index)] for index in chosen]
    # Each crop is a picture of its own here, and seen whole.
    cameras = [sample["K_crop"].astype(np.float64) for sample in samples]
    crops = [CropTransform(K, np.eye(3), K, len(sample["image"])) for K, sample in zip(cameras, samples, strict=True)]
    was_training = net.training
    estimator = HandEstimator(TorchEngine(net, str(device), graphs=False), mano, dataset.config.crop)
    found = estimator.estimate([sample["image"] for sample in samples], crops)
    net.train(was_training)
    tiles = []
    for sample, (hand, _, _) in zip(samples, found, strict=True):
        zoom = TILE / len(sample["image"])
        picture = cv2.resize(sample["image"], (TILE, TILE), interpolation=cv2.INTER_LINEAR)
        lines = picture.copy()
        if sample["presence"]:
            draw_bones(lines, resize_points(sample["keypoints_2d"], zoom), TRUTH)
        keypoints = resize_points(hand.keypoints_2d, zoom)
        draw_bones(lines, keypoints, PREDICTION)
        shown = replace(hand, K=resize_intrinsics(hand.K, zoom), keypoints_2d=keypoints)
        tiles += [lines, draw_hands(picture, [shown] if np.isfinite(hand.vertices).all() else [])]
    return contact_sheet(tiles, columns=8, size=TILE)
