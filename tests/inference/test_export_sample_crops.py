"""Crops to try a file on: the same every time, of the right size, and from photos all that the network gets to see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from handmesh.config import Config, DataConfig, ModelConfig
from handmesh.errors import HandMeshError
from handmesh.inference.engines.base import Engine
from handmesh.inference.export import sample_crops
from handmesh.inference.export.sample_crops import photo_crops, rendered_crops
from handmesh.io.images import write_image
from handmesh.mano.arrays import ManoArrays

CONFIG = Config(model=ModelConfig(image_size=64), data=DataConfig(render_size=96))


@pytest.mark.slow
def test_rendered_hands_are_the_same_every_time(open_mano: ManoArrays) -> None:
    plain = rendered_crops(open_mano, CONFIG, 2)
    assert plain.shape == (2, 64, 64, 3) and plain.dtype == np.uint8 and plain.std() > 5
    assert np.array_equal(plain, rendered_crops(open_mano, CONFIG, 2))
    assert not np.array_equal(plain, rendered_crops(open_mano, CONFIG, 2, varied=True))


def test_photos_give_every_crop_that_is_looked_at(
    open_mano: ManoArrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Predictor:
        """Looks at two crops of every picture that is not black."""

        def __init__(self, engine: Engine, *_: object) -> None:
            self.engine = engine

        def __call__(self, image: np.ndarray) -> None:
            if image.any():
                self.engine(np.stack([image[:64, :64], image[-64:, -64:]]))

    monkeypatch.setattr(sample_crops, "HandMeshPredictor", Predictor)
    monkeypatch.setattr(sample_crops, "TorchEngine", lambda net: lambda images: None)
    write_image(tmp_path / "black.png", np.zeros((80, 80, 3), np.uint8))
    with pytest.raises(HandMeshError, match="a hand in none"):
        photo_crops(tmp_path, nn.Identity(), open_mano, CONFIG)
    picture = np.random.default_rng(0).integers(1, 256, (80, 80, 3), dtype=np.uint8)
    write_image(tmp_path / "hand.png", picture)
    crops = photo_crops(tmp_path, nn.Identity(), open_mano, CONFIG)
    assert np.array_equal(crops, [picture[:64, :64], picture[-64:, -64:]])
