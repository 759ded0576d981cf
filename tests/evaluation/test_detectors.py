"""A detector that knows the truth scores full marks; what it does not tell is left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from handmesh.cli.commands import evaluate as command
from handmesh.data.scenes import Scene, SceneHand, scene_line, write_scene_labels, write_scene_pictures
from handmesh.detection.tiling import Window
from handmesh.errors import HandMeshError
from handmesh.evaluation.detection_scores import score_detections
from handmesh.evaluation.detectors import run_detector, truth_of
from handmesh.results import Detection

POINTS = np.random.default_rng(5).normal(0, 9, (21, 2))


def make_scene(visible: float = 1.0) -> Scene:
    hands = [SceneHand(POINTS + [40, 40], True), SceneHand(POINTS * 0.5 + [90, 30], False, visible)]
    return Scene(np.zeros((80, 120, 3), np.uint8), hands, np.zeros((80, 120), np.uint8))


class Scenes:
    """Three scenes."""

    def __len__(self) -> int:
        return 3

    def scene(self, index: int) -> Scene:
        return make_scene(0.1 if index == 2 else 1.0)


class Oracle:
    """Finds every hand; of the sides it tells those of right hands alone."""

    def detect(self, image: np.ndarray, max_hands: int | None = None) -> list[Detection]:
        return [
            Detection(hand.box_xyxy, hand.is_right or None, 0.9, hand.roll_deg) for hand in make_scene().hands
        ]

    def detect_quick(self, image: np.ndarray, windows: list[Window]) -> list[Detection]:
        assert windows[0].side == 120
        return self.detect(image)[:1]


def test_an_oracle_scores_full_marks() -> None:
    run = run_detector(Oracle(), Scenes())  # type: ignore[arg-type]
    scores = score_detections(run.found, run.truths)
    assert scores.ap == scores.recall == scores.side_accuracy == 1.0 and scores.roll_deg < 1e-6
    assert scores.hands == 5 and scores.false_a_picture == 0 and run.mask_iou == {}
    assert len(run.milliseconds) == 3 and min(run.milliseconds) >= 0
    quick = run_detector(Oracle(), Scenes(), is_quick=True)  # type: ignore[arg-type]
    assert score_detections(quick.found, quick.truths).recall == pytest.approx(3 / 5)


def test_what_is_hardly_seen_is_not_to_be_found() -> None:
    truth = truth_of(make_scene(0.1))
    assert len(truth.boxes) == 1 and len(truth.unknown) == 1 and truth.longer_side == 120


def test_the_command_scores_a_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scene_pictures(tmp_path, "evaluation", 0, make_scene())
    write_scene_labels(tmp_path, "evaluation", [scene_line(0, make_scene())])
    monkeypatch.setattr("handmesh.detection.hand_detector.HandDetector.load", lambda self: None)
    monkeypatch.setattr("handmesh.detection.hand_detector.HandDetector.detect", Oracle.detect)
    words = ["--detector", "mediapipe", "--scenes", str(tmp_path / "evaluation"), "--json", str(tmp_path / "out.json")]
    assert command.main(words) == 0
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["detectors"]["mediapipe"]["ap"] == 1.0
    for wrong in (["--detector", "mediapipe"], ["--scenes", "x"], [*words, "--data", "x"]):
        with pytest.raises(HandMeshError, match="expected"):
            command.parse(wrong)
