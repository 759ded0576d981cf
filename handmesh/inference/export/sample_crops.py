"""Crops to try an exported network on and to measure the ranges of its numbers with: rendered, or the user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from handmesh.config import Config
from handmesh.data.loading import HandDataset
from handmesh.errors import HandMeshError
from handmesh.inference.engines.base import EngineOutput
from handmesh.inference.engines.pytorch_engine import TorchEngine
from handmesh.inference.predictor import HandMeshPredictor
from handmesh.io.images import list_images, read_image
from handmesh.mano.arrays import ManoArrays

#: Seeds of the rendered hands: of those a network is verified on, and of those its ranges are measured with.
VERIFIED_SEED, MEASURED_SEED = 771_001, 771_002


def rendered_crops(arrays: ManoArrays, config: Config, count: int, varied: bool = False) -> NDArray[np.uint8]:
    """Crops of rendered hands.

    Args:
        arrays: the hand model.
        config: of the checkpoint: size and kind of crop.
        count: how many.
        varied: augmented as in training, some of them left hands; else plain.

    Returns:
        (count, S, S, 3) uint8 RGB.
    """
    # Imported here: whoever brings photos compiles no renderer.
    from handmesh.synthesis import SampleGenerator

    seed = MEASURED_SEED if varied else VERIFIED_SEED
    hands = SampleGenerator(arrays, seed, config.data.render_size, left_hands=0.25 if varied else 0.0)
    crops = HandDataset(hands, config, train=varied)
    return np.stack([crops[index]["image"] for index in range(count)])


def photo_crops(folder: str | Path, net: nn.Module, arrays: ManoArrays, config: Config) -> NDArray[np.uint8]:
    """Every crop that the network is given when hands are looked for in a folder's photos.

    Args:
        folder: of photos.
        net: the network.
        arrays: the hand model inside it.
        config: of the checkpoint: size and kind of crop.

    Returns:
        (N, S, S, 3) uint8 RGB.

    Raises:
        HandMeshError: no folder, no photos, or no hand in any of them.
    """
    recorder = _Recorder(net)
    predictor = HandMeshPredictor(recorder, arrays, config.crop)
    for path in list_images(folder):
        predictor(read_image(path))
    if not recorder.seen:
        raise HandMeshError(f"expected photos of hands in {folder}, found a hand in none; give others, or leave it out")
    return np.concatenate(recorder.seen)


class _Recorder:
    """An engine that keeps what it is shown."""

    name, any_size = "recorder", False

    def __init__(self, net: nn.Module) -> None:
        self._engine = TorchEngine(net)
        self.seen: list[NDArray[np.uint8]] = []

    def __call__(self, images: NDArray[np.uint8]) -> EngineOutput:
        self.seen.append(images.copy())
        return self._engine(images)
