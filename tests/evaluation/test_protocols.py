"""The way from a crop's answer to a scored hand loses nothing, by any protocol; files and tables say what was
scored."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from handmesh.cli.commands import evaluate as evaluate_command
from handmesh.data import freihand
from handmesh.data.freihand import FreiHandDataset
from handmesh.data.freihand_writer import FreiHandWriter
from handmesh.data.loading import StridedSubset
from handmesh.errors import HandMeshError
from handmesh.evaluation import protocols
from handmesh.evaluation.corruptions import CORRUPTIONS
from handmesh.evaluation.protocols import PROTOCOLS, Predictions, evaluate, find_protocols, predict
from handmesh.evaluation.published import format_table, published
from handmesh.evaluation.report import format_results, result_dict, worst_sheet, write_scores_txt
from handmesh.evaluation.robustness import format_robustness, measure_robustness
from handmesh.evaluation.submission import read_predictions, write_predictions
from handmesh.geometry.camera import intrinsics_from_fov, project_points
from handmesh.geometry.crop import CropSettings, CropTransform, box_around
from handmesh.inference.engines.base import EngineOutput
from handmesh.inference.estimator import HandEstimator
from handmesh.inference.predictor import HandMeshPredictor
from handmesh.mano.arrays import load_mano
from handmesh.mano.hand_model import HandModel
from handmesh.results import Detection

COUNT = 6


@pytest.fixture
def dataset(tmp_path, make_sample, fake_mano):
    """An evaluation split whose pictures are of one grey each, by which the oracle knows the sample."""
    with FreiHandWriter(tmp_path / "set", "evaluation", fake_mano.hands_mean) as writer:
        for index in range(COUNT):
            sample = make_sample(index)
            writer.add({**sample, "image": np.full_like(sample["image"], 20 + 30 * index)})
    return FreiHandDataset(tmp_path / "set", "evaluation")


@pytest.fixture
def oracle(dataset, monkeypatch):
    """An engine that answers every crop with the truth as that crop sees it, and the list of crops it was
    given. Its pose says nothing, so nothing may be aligned by it."""
    crops: list[CropTransform] = []
    from_box = CropTransform.from_box

    def recorded(*args, **settings):
        crops.append(from_box(*args, **settings))
        return crops[-1]

    monkeypatch.setattr(CropTransform, "from_box", recorded)

    def engine(images: np.ndarray) -> EngineOutput:
        joints, vertices, keypoints = [], [], []
        for image, crop in zip(images, crops[-len(images) :], strict=True):
            middle = image[image.shape[0] // 2 - 4 :, image.shape[1] // 2 - 4 :][:8, :8]
            sample = dataset.sample(int(np.clip(np.round((middle.mean() - 20) / 30), 0, COUNT - 1)))
            joints.append(crop.apply_points_3d(sample["joints"]))
            vertices.append(crop.apply_points_3d(sample["vertices"]))
            keypoints.append(project_points(joints[-1], crop.K_crop))
        count, shift = len(images), np.array([0.1, 0.2, -0.7])  # the network's hand stands anywhere
        ones, rotations = np.ones((count, 21), np.float32), np.tile(np.eye(3, dtype=np.float32), (count, 16, 1, 1))
        return EngineOutput(
            np.stack(vertices) + shift, np.stack(joints) + shift, rotations, np.zeros((count, 10), np.float32),
            np.ones((count, 3), np.float32), np.stack(keypoints), ones, ones[:, 0], ones[:, 0],
        )  # fmt: skip

    return engine, crops


@pytest.fixture
def estimator_of(oracle, fake_mano):
    """The step from crops to hands with the oracle as its network."""
    return lambda crop: HandEstimator(oracle[0], fake_mano, crop, align=False)


@pytest.mark.parametrize("name", list(PROTOCOLS))
@pytest.mark.parametrize(("rounds", "views", "perspective"), [(1, 1, True), (2, 1, False), (2, 4, True)])
def test_a_perfect_network_scores_perfectly_in_the_camera_frame(
    dataset, estimator_of, name, rounds, views, perspective
):
    estimator = estimator_of(CropSettings(64, 1.5, perspective))
    found = predict(estimator, dataset, PROTOCOLS[name], rounds, views, batch_size=4)
    scores = evaluate(found, dataset, name).scores
    assert scores.samples == COUNT and scores.reflected == 0
    assert scores.pa_mpjpe < 1e-2 and scores.mpjpe < 0.1 and scores.mpvpe < 0.1  # mm
    for index in range(COUNT):
        sample = dataset.sample(index)
        np.testing.assert_allclose(found.keypoints_2d[index], project_points(sample["joints"], sample["K"]), atol=1e-2)


def test_the_fixed_crop_ignores_the_truth_and_the_second_round_turns_upright(dataset, oracle, estimator_of):
    _, crops = oracle
    estimator = estimator_of(CropSettings(90, 1.5, False))
    predict(estimator, dataset, PROTOCOLS["fixed180"], rounds=1)
    for crop in crops:
        corners = crop.invert_points_2d(np.array([[-0.5, -0.5], [89.5, 89.5]]))
        np.testing.assert_allclose(corners, [[21.5, 21.5], [201.5, 201.5]], atol=1e-6)
    crops.clear()
    predict(estimator, dataset, PROTOCOLS["fixed180"], rounds=2)
    for index, crop in enumerate(crops[COUNT:]):
        sample = dataset.sample(index)
        keypoints = crop.apply_points_2d(project_points(sample["joints"], sample["K"]))
        assert abs(keypoints[9, 0] - keypoints[0, 0]) < 0.1 and keypoints[9, 1] < keypoints[0, 1]
        assert np.ptp(keypoints, axis=0).max() == pytest.approx(60, abs=0.5)


def test_robustness_of_an_oracle_that_reads_the_picture(dataset, estimator_of):
    """Blur and JPEG leave a grey picture as it is; the oracle stays perfect, and the table says so."""
    few, estimator = StridedSubset(dataset, 3), estimator_of(CropSettings(64, 1.5))
    result = measure_robustness(estimator, few, PROTOCOLS["box"], rounds=1)
    assert result.samples == 3 and result.clean < 0.01
    for name in ("blur", "motion blur", "low resolution"):
        np.testing.assert_allclose(result.corrupted[name], result.clean, atol=1e-6)
    assert max(result.corrupted["darkness"]) > 1  # another grey is another sample's picture
    text = format_robustness(result)
    assert all(name in text for name in CORRUPTIONS) and len(text.splitlines()) == 2 + len(CORRUPTIONS)


@pytest.mark.parametrize("align", [True, False])
def test_what_is_scored_is_what_the_predictor_gives(dataset, open_mano, align):
    """The same crops, the same network: hands of the evaluation and of the predictor are one, to the last bit."""
    predictor = HandMeshPredictor(_pixels, open_mano, CropSettings(32, 1.5), object(), align=align)
    protocol = PROTOCOLS["box"]
    found = predict(predictor, dataset, protocol, rounds=1, batch_size=COUNT)
    for index in range(COUNT):
        sample = dataset.sample(index)
        (one,) = predictor.predict_places(sample["image"], sample["K"], [protocol.place(sample, 1.5)])
        np.testing.assert_array_equal(found.vertices[index], one.hand.vertices)
        np.testing.assert_array_equal(found.joints[index], one.hand.joints)
        np.testing.assert_array_equal(found.keypoints_2d[index], one.hand.keypoints_2d)
    predictor.align = not align
    other = predict(predictor, dataset, protocol, rounds=1, batch_size=COUNT)
    assert np.abs(other.vertices - found.vertices).max() > 1e-4
    np.testing.assert_array_equal(other.keypoints_2d, found.keypoints_2d)


def _pixels(images: np.ndarray) -> EngineOutput:
    """A network of sorts: the same open hand for every crop, its keypoints moved by the crop's grey."""
    model = HandModel(load_mano("open"))
    turns = np.tile(np.eye(3, dtype=np.float32), (16, 1, 1))
    vertices, joints = model.pose(True, turns[0], turns[1:], np.zeros(10))
    moved = images.mean((1, 2, 3))[:, None, None] * [0.02, 0.01] * np.arange(21)[:, None] / 21
    points = 16 * (1 + 6 * joints[:, :2]) + moved

    def rows(part: np.ndarray) -> np.ndarray:
        return np.repeat(np.asarray(part, np.float32)[None], len(images), 0)

    return EngineOutput(
        rows(vertices), rows(joints), rows(turns), rows(np.zeros(10)), rows(np.array([5.0, 0, 0])),
        points.astype(np.float32), rows(np.ones(21)), rows(np.float32(1)), rows(np.float32(1)),
    )  # fmt: skip


def test_nonsense_keypoints_do_not_move_the_crop(open_mano):
    place = Detection(np.array([50.0, 50, 150, 150]), True, 1.0)
    predictor = HandMeshPredictor(_pixels, open_mano, CropSettings(32, 1.5), object())
    (known,) = predictor.predict_places(np.zeros((200, 200, 3), np.uint8), intrinsics_from_fov(200, 200), [place])
    for keypoints in (
        np.full((21, 2), 100.0),
        np.full((21, 2), np.nan),
        np.random.default_rng(0).normal(0, 900, (21, 2)),
    ):
        hand = replace(known.hand, keypoints_2d=keypoints, box_xyxy=box_around(keypoints))
        assert protocols._next_place(hand, place) is place
    assert protocols._next_place(known.hand, place) is not place


def test_views_begin_with_the_plain_one():
    for count in (1, 2, 9):
        views = protocols.make_views(count)
        assert len(views) == count and views[0] == (0.0, 1.0) and len(set(views)) == count


def test_predictions_survive_their_file_and_faults_are_named(tmp_path, dataset):
    rng = np.random.default_rng(0)
    joints, vertices = rng.normal(size=(COUNT, 21, 3)), rng.normal(size=(COUNT, 778, 3))
    path = tmp_path / "pred.json"
    write_predictions(path, joints, vertices)
    again = read_predictions(path)
    np.testing.assert_allclose(again[0], joints, atol=1e-7)
    np.testing.assert_allclose(again[1], vertices, atol=1e-7)
    assert [len(part) for part in json.loads(path.read_text())] == [COUNT, COUNT]
    for content, word in (
        (path.read_text()[:-40], "truncated"),
        ("[[], [], []]", "two lists"),
        ("[[[[0,0,0]]], [[[0,0,0]]]]", "21 finite points"),
        (json.dumps([joints.tolist(), vertices[1:].tolist()]), "as many joints"),
    ):
        path.write_text(content)
        with pytest.raises(HandMeshError, match=word):
            read_predictions(path)
    with pytest.raises(HandMeshError, match="could not read"):
        read_predictions(tmp_path / "none.json")
    with pytest.raises(HandMeshError, match="every sample"):
        evaluate(Predictions(joints[:3], vertices[:3]), dataset, "short")


def test_unknown_protocols_are_named():
    assert [p.name for p in find_protocols("box,fixed130")] == ["box", "fixed130"]
    with pytest.raises(HandMeshError, match="box1.25"):
        find_protocols("box,round")


def test_scores_txt_has_the_official_lines(dataset, fake_mano, tmp_path):
    result = evaluate(protocols.mean_pose_predictions(fake_mano, dataset), dataset, "mean pose")
    write_scores_txt(tmp_path / "scores.txt", result)
    lines = dict(line.split(": ") for line in (tmp_path / "scores.txt").read_text().splitlines())
    assert list(lines) == [
        "xyz_mean3d", "xyz_auc3d", "xyz_al_mean3d", "xyz_al_auc3d",
        "mesh_mean3d", "mesh_auc3d", "mesh_al_mean3d", "mesh_al_auc3d",
        "f_score_5", "f_al_score_5", "f_score_15", "f_al_score_15",
    ]  # fmt: skip
    assert float(lines["xyz_al_mean3d"]) * 10 == pytest.approx(result.scores.pa_mpjpe, abs=1e-4)
    assert protocols.mean_pose_error(fake_mano, dataset) == pytest.approx(result.scores.pa_mpjpe, abs=1e-6)


def test_result_and_table_hold_what_was_measured(dataset, fake_mano):
    found = protocols.mean_pose_predictions(fake_mano, dataset)
    result = evaluate(found, dataset, "box", "joint box", rounds=2)
    content = json.loads(json.dumps(result_dict([result], checkpoint="x")))
    for key in ("pa_mpjpe", "pa_mpvpe", "f5", "f15", "auc_joints", "auc_vertices", "samples", "reflected"):
        assert content[key] == content["protocols"]["box"][key]
    assert np.mean(list(content["joint_error_mm"].values())) == pytest.approx(content["pa_mpjpe"])
    text = format_results([result], 2 * result.scores.pa_mpjpe, "handmesh", "fastvit_t8", with_published=True)
    assert "50% of that" in text and "> handmesh" in text and "joint box + own" in text
    text = format_results([result], 2 * result.scores.pa_mpjpe, "handmesh", "fastvit_t8")
    assert "no published result is comparable" in text and "simpleHand" not in text
    assert worst_sheet(result, found, dataset, count=20).shape == (2 * 224, 5 * 224, 3)


def test_published_results_stand_beside_freihands_own_samples_alone(dataset, monkeypatch):
    assert not dataset.is_official_evaluation
    monkeypatch.setattr(freihand, "OFFICIAL_EVALUATION", len(dataset))
    assert dataset.is_official_evaluation
    monkeypatch.setattr(dataset, "image_shape", (256, 256, 3))
    assert not dataset.is_official_evaluation
    monkeypatch.setattr(dataset, "image_shape", (224, 224, 3))
    (dataset.root / freihand.RENDERED_PLAN).write_text("{}")
    assert not dataset.is_official_evaluation


def test_published_rows_are_plausible_and_sorted():
    for row in published():
        for value, low, high in ((row.pa_mpjpe, 4, 15), (row.pa_mpvpe, 4, 15), (row.f5, 0.3, 0.9), (row.f15, 0.85, 1)):
            assert value is None or low < value < high, row
        assert row.source
    lines = format_table([]).splitlines()[2:]
    assert lines[0].split()[0] == "simpleHand" and len(lines) == sum(r.training == "FreiHAND only" for r in published())


def test_the_command_scores_a_baseline_and_its_own_predictions(dataset, tmp_path, open_mano, capsys):
    pred, folder = str(tmp_path / "pred.json"), tmp_path / "report"
    assert evaluate_command.main(["--baseline", "mean-pose", "--data", str(dataset.root), "--pred", pred]) == 0
    assert "PA-MPJPE" in capsys.readouterr().out
    assert evaluate_command.main(["--pred", pred, "--data", str(dataset.root), "--output", str(folder)]) == 0
    expected = evaluate(protocols.mean_pose_predictions(open_mano, dataset), dataset, "x").scores
    content = json.loads((folder / "result.json").read_text())
    assert content["pa_mpjpe"] == pytest.approx(expected.pa_mpjpe, abs=1e-3)
    with open(folder / "samples.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert np.mean([float(row["pa_mpjpe"]) for row in rows]) == pytest.approx(expected.pa_mpjpe, abs=2e-3)
    assert {"scores.txt", "worst.png"} <= {path.name for path in folder.iterdir()}


def test_contradicting_words_are_refused(tmp_path):
    root = ["--data", str(tmp_path)]
    for words in ([], root, [*root, "--checkpoint", "a", "--baseline", "mean-pose"], [*root, "--tta", "x"]):
        with pytest.raises(HandMeshError):
            evaluate_command.main(words)
    with pytest.raises(HandMeshError, match="--rounds"):
        evaluate_command.main([*root, "--checkpoint", "a", "--rounds", "0"])


@pytest.mark.slow
def test_the_script_says_what_is_wrong_in_one_line(tmp_path):
    words = [sys.executable, "-m", "handmesh", "evaluate", "--baseline", "mean-pose", "--data", str(tmp_path / "none")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
