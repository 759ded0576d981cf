"""The sheet's command writes one picture, or says in one line what was wrong."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.config import Config, ModelConfig
from handmesh.errors import HandMeshError
from handmesh.images import read_image
from handmesh.models.checkpoint import save_checkpoint
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.synthesis.sheet import main


def test_sheet_is_written(tmp_path) -> None:
    plain, marked = tmp_path / "a.png", tmp_path / "b.png"
    words = ["--count", "5", "--columns", "3", "--size", "64"]
    assert main([str(plain), *words]) == 0
    assert main([str(marked), *words, "--labels"]) == 0
    assert read_image(plain).shape == (2 * 66 - 2, 3 * 66 - 2, 3)
    assert (read_image(plain) != read_image(marked)).any(-1).mean() < 0.4


@pytest.mark.parametrize("wrong", [["--count", "0"], ["--size", "8"], ["--columns", "-1"], ["--backgrounds", "absent"]])
def test_impossible_sheets(tmp_path, wrong) -> None:
    with pytest.raises(HandMeshError, match="expected"):
        main([str(tmp_path / "a.png"), *wrong])
    assert not list(tmp_path.iterdir())


def test_a_checkpoints_meshes_stand_beside_the_samples(tmp_path, open_mano) -> None:
    """A network that has learnt nothing still shows its mesh, on the second picture of each pair alone."""
    config = Config(model=ModelConfig(image_size=32, width=32))
    save_checkpoint(tmp_path / "run", HandMeshNet(config.model, open_mano), config, {})
    words = ["--count", "2", "--size", "64", "--columns", "2", "--checkpoint", str(tmp_path / "run")]
    assert main([str(tmp_path / "pairs.png"), *words]) == 0
    assert main([str(tmp_path / "plain.png"), *words[:4]]) == 0
    pairs, plain = read_image(tmp_path / "pairs.png"), read_image(tmp_path / "plain.png")
    assert pairs.shape == (2 * 66 - 2, 2 * 66 - 2, 3)
    np.testing.assert_array_equal(pairs[:64, :64], plain[:64, :64])
    assert (pairs[:64, 66:] != pairs[:64, :64]).any()
