"""evaluate --real: photos are scored by themselves or beside a data set, and wrong words are one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from handmesh.cli.commands.evaluate import main
from handmesh.config import Config, ModelConfig
from handmesh.errors import HandMeshError
from handmesh.io.images import write_image
from handmesh.mano.arrays import ManoArrays
from handmesh.models.checkpoint import save_checkpoint
from handmesh.models.hand_mesh_net import HandMeshNet


def annotated_set(root: Path) -> Path:
    """Two photos in the layout of the annotated sets."""
    folder = root / "annotated" / "freihand"
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for i in range(2):
        picture = rng.integers(0, 255, (80, 80, 3), dtype=np.uint8)
        write_image(folder / f"{i}.png", picture)
        points = np.concatenate([rng.uniform(20, 60, (21, 2)), np.ones((21, 1))], axis=1)
        images.append({"id": i, "file_name": f"{i}.png"})
        annotations.append({"image_id": i, "keypoints": points.ravel().tolist()})
    (folder / "test_freihand.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return root


def test_annotated_photos_alone_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = annotated_set(tmp_path), tmp_path / "real.json"
    assert main(["--checkpoint", "default", "--real", str(root), "--json", str(out)]) == 0
    (row,) = json.loads(out.read_text())["real"]
    assert (row["photos"], row["samples"], row["pa_mm"]) == ("annotated/freihand", 2, None)
    assert 0 < row["error_2d"] < 2
    assert "annotated/freihand" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--checkpoint", "default"], "--data ROOT or --real ROOT"),
        (["--baseline", "mean-pose", "--real", "photos"], "expected --checkpoint with --real"),
        (["--checkpoint", "default", "--real", "photos", "--output", "report"], "with --output: .*--json OUT"),
        (["--checkpoint", "default", "--real", "photos", "--pred", "pred.json"], "--data ROOT with --pred"),
        (["--checkpoint", "default", "--real", "photos", "--corruptions", "5"], "--data ROOT with --corruptions"),
        (["--baseline", "mean-pose", "--data", "set", "--corruptions", "5"], "--checkpoint with --corruptions"),
        (["--pred", "pred.json", "--data", "set", "--corruptions", "5"], "--checkpoint with --corruptions"),
        (["--checkpoint", "default", "--data", "set", "--corruptions", "-1"], "0 or more samples, got -1"),
    ],
)
def test_contradictions_are_named(words: list[str], message: str) -> None:
    with pytest.raises(HandMeshError, match=message):
        main(words)


def test_averaged_views_stand_beside_the_plain_ones(
    freihand_root: Path, fake_mano: ManoArrays, tiny_backbone: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_mano.save_npz(tmp_path / "fake.npz")
    model = ModelConfig(backbone=tiny_backbone, image_size=32, width=16, heatmap_stride=4)
    config = Config(model=model, mano=str(tmp_path / "fake.npz"))
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "net", HandMeshNet(config.model, fake_mano), config)
    words = ["--checkpoint", str(tmp_path / "net"), "--data", str(freihand_root), "--protocol", "box", "--tta", "3"]
    assert main([*words, "--json", str(tmp_path / "out.json"), "--pred", str(tmp_path / "pred.json")]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert {name: part["views"] for name, part in found["protocols"].items()} == {"box": 1, "box x3": 3}
    assert found["pa_mpjpe"] == found["protocols"]["box"]["pa_mpjpe"] != found["protocols"]["box x3"]["pa_mpjpe"]
    assert "views averaged: box x3 3" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "pred.json").read_text())[0]) == 4


def test_a_folder_with_nothing_to_score_is_named(tmp_path: Path) -> None:
    with pytest.raises(HandMeshError, match="expected sign-digits/"):
        main(["--checkpoint", "default", "--real", str(tmp_path)])
