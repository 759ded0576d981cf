"""adapt: new weights only when held-out frames say so, whole or not at all, and clear words where it cannot be done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handmesh.config import Config, DataConfig, ModelConfig
from handmesh.errors import HandMeshError
from handmesh.geometry.camera import project_points
from handmesh.io.images import write_image
from handmesh.labeling.footage import LabelledFootage
from handmesh.labeling.photo_sets import LabelledPhoto
from handmesh.mano.arrays import ManoArrays
from handmesh.models.checkpoint import FILE_NAME, load_checkpoint, save_checkpoint
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.synthesis.generator import SampleGenerator
from handmesh.training import adaptation
from handmesh.training.adaptation import Adaptation, Figures, adapt, is_better, report

OLD = Figures(10.0, 0.06, 12.0)


@pytest.mark.parametrize(
    ("new", "better"),
    [
        (Figures(9.0, 0.05, 12.0), True), (Figures(9.5, 0.06, 12.0), True), (Figures(10.0, 0.06, 10.0), False),
        (Figures(9.95, 0.0599, 12.0), False), (Figures(8.0, 0.065, 12.0), False), (Figures(11.0, 0.03, 12.0), False),
        (Figures(9.0, 0.05, 12.5), True), (Figures(9.0, 0.05, 13.0), False),
    ],
)  # fmt: skip
def test_better_means_on_held_out_frames_and_without_forgetting(new: Figures, better: bool) -> None:
    assert is_better(OLD, new) == better


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, open_mano: ManoArrays, tiny_backbone: str) -> Path:
    """A tiny untrained checkpoint."""
    model = ModelConfig(backbone=tiny_backbone, image_size=32, width=16)
    config = Config(model=model, data=DataConfig(crop_padding=1.4, render_size=64))
    path = tmp_path_factory.mktemp("start")
    save_checkpoint(path, HandMeshNet(config.model, open_mano), config)
    return path


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory, open_mano: ManoArrays) -> LabelledFootage:
    """Thirty rendered hands, six of them held out, with their true labels as the teacher's."""
    folder, generator, hands = tmp_path_factory.mktemp("frames"), SampleGenerator(open_mano, 9, 64), []
    for index in range(30):
        sample = generator.sample(index)
        write_image(folder / f"{index}.png", sample["image"])
        points = project_points(sample["joints"], sample["K"])
        joints = sample["joints"].astype(np.float64)
        hands.append(LabelledPhoto(folder / f"{index}.png", "clip", index >= 24, points, joints, True))
    return LabelledFootage(hands, 40, 30)


def run(
    monkeypatch: pytest.MonkeyPatch, footage: LabelledFootage, start: Path, output: Path, better: bool
) -> Adaptation:
    monkeypatch.setattr(adaptation, "_label", lambda *_: footage)
    monkeypatch.setattr(adaptation, "is_better", lambda *_: better)
    monkeypatch.setattr(adaptation, "RENDERED_SAMPLES", 8)
    monkeypatch.setattr(adaptation, "MIN_STEPS", 3)
    # A hand drawn from any side is fitted less well than one held to a webcam.
    monkeypatch.setattr("handmesh.labeling.pseudo_labels.MAX_ERROR_MM", 40.0)
    monkeypatch.setattr("handmesh.labeling.pseudo_labels.MAX_ERROR_2D", 1.0)
    return adapt("clip.mp4", output, start, minutes=0.02, progress=False)


@pytest.mark.slow
def test_better_weights_are_a_checkpoint_like_any_other(
    monkeypatch: pytest.MonkeyPatch, footage: LabelledFootage, start: Path, tmp_path: Path, open_mano: ManoArrays
) -> None:
    output = tmp_path / "adapted"
    result = run(monkeypatch, footage, start, output, True)
    assert result.checkpoint == output and result.steps > 0
    assert (result.trained_on, result.held_out, result.trusted, result.frames) == (24, 6, 30, 40)
    net, header = load_checkpoint(output, open_mano)
    old, _ = load_checkpoint(start, open_mano)
    assert any((a != b).any() for a, b in zip(net.parameters(), old.parameters()))
    assert header["config"]["data"]["crop_padding"] == 1.4 and header["config"]["model"]["image_size"] == 32
    assert header["adaptation"]["after"]["pa_mm"] == result.after.pa_mm == header["metrics"]["pa_mm"]
    # Nothing of the user's folders is in the file.
    content = (output / FILE_NAME).read_bytes()
    assert str(tmp_path).encode() not in content and b"handmesh-adapt-" not in content
    assert str(output / FILE_NAME) in report(result)
    with pytest.raises(HandMeshError, match="new folder"):
        run(monkeypatch, footage, start, output, True)


@pytest.mark.slow
def test_no_better_weights_are_not_written(
    monkeypatch: pytest.MonkeyPatch, footage: LabelledFootage, start: Path, tmp_path: Path
) -> None:
    result = run(monkeypatch, footage, start, tmp_path / "adapted", False)
    assert result.checkpoint is None and not (tmp_path / "adapted").exists()
    assert "old weights are kept" in report(result)
    assert "not better" in report(replace(result, after=result.before))
    forgetful = replace(result.before, rendered_pa_mm=2 * result.before.rendered_pa_mm)
    assert "worse on rendered hands" in report(replace(result, after=forgetful))


@pytest.mark.parametrize("perspective", [True, False])
def test_it_is_measured_on_crops_of_the_kind_it_is_trained_on(
    monkeypatch: pytest.MonkeyPatch, open_mano: ManoArrays, perspective: bool
) -> None:
    data = DataConfig(perspective=perspective, render_size=64)
    config = Config(model=ModelConfig(image_size=32, width=16), data=data)
    seen = []

    def crops_for(*words: object) -> None:
        seen.append(words[-1].perspective)  # type: ignore[attr-defined]
        raise InterruptedError

    monkeypatch.setattr("handmesh.evaluation.real_photos.crops_for", crops_for)
    monkeypatch.setattr("handmesh.evaluation.real_photos.read_image", lambda _: np.zeros((64, 64, 3), np.uint8))
    monkeypatch.setattr("handmesh.evaluation.validation.validate", lambda *_: {"pa_mpjpe": 1.0})
    hand = LabelledPhoto(Path("a.png"), "clip", True, np.ones((21, 2)), np.ones((21, 3)), True)
    with pytest.raises(InterruptedError):
        adaptation._Measure(config, open_mano, [hand])(HandMeshNet(config.model, open_mano).eval())
    assert seen == [perspective]


def test_too_little_footage_is_said_before_any_work(
    monkeypatch: pytest.MonkeyPatch, footage: LabelledFootage, start: Path, tmp_path: Path
) -> None:
    doubtful = [replace(hand, disagreement=1.0) for hand in footage.hands[:20]] + footage.hands[20:]
    for hands, message in (([], "expected hands in clip.mp4, found none in 40 frames"), (doubtful, "got 4 and 6")):
        monkeypatch.setattr(adaptation, "_label", lambda *_, found=hands: replace(footage, hands=found))
        with pytest.raises(HandMeshError, match=message):
            adapt("clip.mp4", tmp_path / "adapted", start)
    with pytest.raises(HandMeshError, match="minutes above 0"):
        adapt("clip.mp4", tmp_path / "adapted", start, minutes=0)
    (tmp_path / "file").touch()
    with pytest.raises(HandMeshError, match="new folder"):
        adapt("clip.mp4", tmp_path / "file", start)
    with pytest.raises(HandMeshError, match="no such file"):
        monkeypatch.undo()
        adapt(tmp_path / "absent.mp4", tmp_path / "adapted", start)
    assert not (tmp_path / "adapted").exists()


@pytest.mark.parametrize(("training", "held_out"), [(10, 6), (30, 2), (0, 0)])
def test_how_much_footage_it_takes_is_said(training: int, held_out: int) -> None:
    hands = [LabelledPhoto(Path("a"), "clip", i >= training, np.zeros((21, 2)), np.zeros((21, 3)), True)
             for i in range(training + held_out)]  # fmt: skip
    footage = LabelledFootage(hands or [replace_trust(LabelledPhoto(
        Path("a"), "clip", False, np.zeros((21, 2)), np.zeros((21, 3)), True))], 50, 40)  # fmt: skip
    with pytest.raises(HandMeshError, match=r"about \d+ frames of this kind, \d+ s of a clip, and --frames \d+"):
        adaptation._enough(footage, "clip.mp4")


def replace_trust(hand: LabelledPhoto) -> LabelledPhoto:
    return replace(hand, disagreement=9.0)
