"""The breakdown of held-out makers: of photos that are held out and on whose label the networks agree, no others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handmesh.evaluation.real_photos import compare
from handmesh.inference.predictor import HandMeshPredictor
from handmesh.io.images import write_image
from handmesh.labeling.photo_sets import LabelledPhoto
from scripts.experiments import hand_kinds


def test_only_held_out_photos_with_trusted_labels_are_in_the_table(
    flat_hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, points, joints = flat_hand
    write_image(tmp_path / "hand.png", np.full((256, 256, 3), 120, np.uint8))
    good = LabelledPhoto(tmp_path / "hand.png", "maker", True, points, joints, True)
    photos = [good, replace(good, is_held_out=False), replace(good, disagreement=0.3)]
    measured: list[LabelledPhoto] = []

    def evaluate(estimator: object, chosen: list[LabelledPhoto]) -> list[object]:
        measured.extend(chosen)
        return [compare(photo, joints, points, 256) for photo in chosen]

    monkeypatch.setattr("handmesh.labeling.landmark_files.read_landmark_photos", lambda folder: photos)
    monkeypatch.setattr("handmesh.labeling.ensemble.label_together", lambda found, networks: found)
    monkeypatch.setattr("handmesh.evaluation.real_photos.evaluate_real", evaluate)
    monkeypatch.setattr(HandMeshPredictor, "from_pretrained", lambda checkpoint: None)
    monkeypatch.setattr("sys.argv", ["hand_kinds", "--photos", "GATHERED"])
    hand_kinds.main()
    assert [photo.path for photo in measured] == [good.path]
    [side] = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("side")]
    assert side[1:3] == ["right", "1"]
