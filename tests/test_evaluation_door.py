"""evaluate --real: photos are scored by themselves or beside a data set, and wrong words are one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.evaluation_door import main
from handmesh.images import write_image


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
    ],
)
def test_contradictions_are_named(words: list[str], message: str) -> None:
    with pytest.raises(HandMeshError, match=message):
        main(words)


def test_a_folder_with_nothing_to_score_is_named(tmp_path: Path) -> None:
    with pytest.raises(HandMeshError, match="expected sign-digits/"):
        main(["--checkpoint", "default", "--real", str(tmp_path)])
