"""The detector's weights: the mesh network's file format, another network inside."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from handmesh.config import Config, config_from_dict
from handmesh.errors import HandMeshError
from handmesh.models.checkpoint import load_weights, read_checkpoint
from handmesh.models.checkpoint_path import SHIPPED_DETECTOR, find_checkpoint
from handmesh.models.detector_net import HandDetectorNet


def load_detector(path: str | Path = SHIPPED_DETECTOR) -> tuple[HandDetectorNet, dict[str, Any]]:
    """The network of a file, in evaluation mode, float32, and the file's description.

    Args:
        path: "default-detector" (the weights in the package), a .safetensors file, or a run's folder.

    Raises:
        HandMeshError: no such file, not a detector's, or damaged.
    """
    file = find_checkpoint(path)
    header, tensors = read_checkpoint(file)
    try:
        config: Config = config_from_dict(header["config"])
        is_folded = bool(header["is_folded"])
    except (KeyError, TypeError, AttributeError) as error:
        raise HandMeshError(f"{file}: expected a detector's checkpoint, its header has no {str(error)[:80]}") from error
    if config.task != "detector":
        raise HandMeshError(
            f"{file}: expected a detector's checkpoint, got a {config.task} network's; train one with "
            "handmesh train configs/detector.yaml"
        )
    net = HandDetectorNet(dataclasses.replace(config.model, pretrained=False))
    if is_folded:
        net.reparameterize()
    load_weights(net, tensors, file)
    return net.eval(), header
