"""Real photos: the held-out split, annotation files, and that a perfect network measures zero."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.evaluation.real_photos import as_landmarks, evaluate_real, format_rows, summarize
from handmesh.geometry.crop import CropSettings
from handmesh.inference.engines.base import EngineOutput
from handmesh.inference.estimator import HandEstimator
from handmesh.io.images import write_image
from handmesh.labeling import photo_sets
from handmesh.labeling.landmark_correction import shipped_correction
from handmesh.labeling.landmark_label import LandmarkLabel
from handmesh.labeling.photo_sets import (
    HELD_OUT_SETS,
    LabelledPhoto,
    annotated_photos,
    crop_for,
    crops_for,
    list_unlabelled,
    photos_with_landmarks,
    readable,
)
from handmesh.mano.arrays import load_mano

CROP = CropSettings(64, 1.5)


def answer(joints: np.ndarray, keypoints: np.ndarray) -> EngineOutput:
    """A network's answer of which only joints (B, 21, 3) and keypoints (B, 21, 2) mean anything."""
    count = len(joints)
    ones, turns = np.ones((count, 21), np.float32), np.tile(np.eye(3, dtype=np.float32), (count, 16, 1, 1))
    return EngineOutput(
        np.zeros((count, 778, 3), np.float32), joints, turns, np.zeros((count, 10), np.float32),
        np.ones((count, 3), np.float32), keypoints, ones, ones[:, 0], ones[:, 0],
    )  # fmt: skip


def estimator(engine: Callable[[np.ndarray], EngineOutput]) -> HandEstimator:
    """The step from crops to hands, the mesh left as the network has it."""
    return HandEstimator(engine, load_mano("open"), CROP, align=False)  # type: ignore[arg-type]


def make_photo(folder: Path, name: str, is_right: bool | None, seed: int, held_out: bool = False) -> LabelledPhoto:
    path = folder / name
    rng = np.random.default_rng(seed)
    write_image(path, rng.integers(0, 255, (90, 120, 3), dtype=np.uint8))
    keypoints = rng.uniform([30, 20], [90, 80], (21, 2))
    return LabelledPhoto(path, "sign-digits", held_out, keypoints, rng.normal(size=(21, 3)) * 0.04, is_right)


def test_digits_are_split_by_blocks_and_webcam_sets_whole(tmp_path: Path) -> None:
    for digit in ("0", "1"):
        for number in range(10):
            file = tmp_path / "sign-digits" / digit / f"IMG_{95 + number}.JPG"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    for name in (HELD_OUT_SETS[0], "another-set"):
        (tmp_path / "webcam-crops" / name).mkdir(parents=True)
        (tmp_path / "webcam-crops" / name / "a.jpg").touch()
        (tmp_path / "webcam-crops" / name / "notes.txt").touch()
    found = list_unlabelled(tmp_path)
    assert len(found) == 22
    for digit in ("0", "1"):
        block = [held for path, group, held in found if group == "sign-digits" and path.parent.name == digit]
        # Numbers, not letters, give the order: IMG_103 and IMG_104 are the last two.
        names = [path.name for path, _, held in found if held and path.parent.name == digit]
        assert block == [False] * 8 + [True] * 2 and names == ["IMG_103.JPG", "IMG_104.JPG"]
    assert {group: held for _, group, held in found if "webcam" in group} == {
        f"webcam-crops/{HELD_OUT_SETS[0]}": True,
        "webcam-crops/another-set": False,
    }


def test_any_folder_of_photos_is_split_by_blocks(tmp_path: Path) -> None:
    for name in [*(f"{i}.jpg" for i in range(5)), *(f"sub/{i}.png" for i in range(10))]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = list_unlabelled(tmp_path)
    assert [held for _, group, held in found if group == "sub"] == [False] * 8 + [True] * 2
    assert [path.name for path, group, held in found if group == tmp_path.name and held] == ["4.jpg"]


def test_a_damaged_photo_costs_no_other_its_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HANDMESH_HOME", str(tmp_path / "home"))
    for name in ("palm_detector.PalmDetector", "landmark_model.LandmarkModel"):
        monkeypatch.setattr(f"handmesh.detection.{name}", lambda file, threads: None)
    for name in ("ensure_palm_detector", "ensure_landmark_model"):
        monkeypatch.setattr(f"handmesh.detection.model_files.{name}", lambda: "a file")
    label = LandmarkLabel(np.ones((21, 2)), np.ones((21, 3)), True, 0.01)
    monkeypatch.setattr(photo_sets, "_label", lambda *_: label)
    folder = tmp_path / "photos"
    make_photo(folder, "1.png", True, 0)
    (folder / "2.png").write_bytes(b"not a picture")
    make_photo(folder, "a².png", True, 1)
    assert [photo.path.name for photo in photos_with_landmarks(folder, progress=False)] == ["a².png", "1.png"]
    assert capsys.readouterr().err.count("2.png") == 1


def test_a_folder_without_photos_is_named(tmp_path: Path) -> None:
    with pytest.raises(HandMeshError, match="expected photos"):
        photos_with_landmarks(tmp_path)
    assert annotated_photos(tmp_path) == []


def test_annotations_are_read_in_the_projects_joint_order(tmp_path: Path) -> None:
    folder = tmp_path / "annotated" / "rhd"
    folder.mkdir(parents=True)
    # Each point carries its own number, in RHD's order: wrist, then each finger from tip to base.
    points = [[float(i), float(i), 1] for i in range(21)]
    points[4][2] = 0
    joints = [[i, 0, 1000] for i in range(21)]
    annotation = {"image_id": 7, "keypoints": points, "joint_cam": joints, "hand_type": "left"}
    content = {"images": [{"id": 7, "file_name": "x.png"}], "annotations": [annotation]}
    (folder / "test_rhd.json").write_text(json.dumps(content))
    (photo,) = annotated_photos(tmp_path)
    assert photo.is_right is False and photo.path == folder / "x.png"
    assert np.isnan(photo.keypoints_2d[1]).all()
    np.testing.assert_array_equal(photo.keypoints_2d[[2, 3, 4, 5, 8, 20], 0], [3, 2, 1, 8, 5, 17])
    np.testing.assert_allclose(photo.joints[:5, 0], np.array([0, 4, 3, 2, 1]) / 1000)
    (folder / "test_rhd.json").write_text("{")
    with pytest.raises(HandMeshError, match="test_rhd"):
        annotated_photos(tmp_path)


def test_a_damaged_photo_is_named_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good, bad, gone = (make_photo(tmp_path, f"{name}.png", True, 0) for name in ("good", "bad", "gone"))
    bad.path.write_bytes(bad.path.read_bytes()[:40])
    gone.path.unlink()
    assert readable([bad, good, gone]) == [good]
    said = caplog.text
    assert said.count("skipped: ") == 2 and "bad.png" in said and "gone.png" in said


def test_a_perfect_network_measures_zero_also_for_left_hands(tmp_path: Path) -> None:
    photos = [make_photo(tmp_path, f"{i}.png", side, i) for i, side in enumerate((True, False))]
    crops = [crop_for(photo, 120, 90, CROP) for photo in photos]
    assert [crop.is_mirrored for crop in crops] == [False, True]
    truth = [(c.apply_points_3d(p.joints) * 1.3, c.apply_points_2d(p.keypoints_2d)) for c, p in zip(crops, photos)]

    def perfect(batch: np.ndarray) -> EngineOutput:
        assert batch.shape == (2, 64, 64, 3) and batch.dtype == np.uint8
        return answer(*(np.stack(part) for part in zip(*truth)))

    def shifted(batch: np.ndarray) -> EngineOutput:
        output = perfect(batch)
        return answer(output.joints * [-1, 1, 1], output.keypoints_2d + [3, 4])

    for result in evaluate_real(estimator(perfect), photos):
        assert result.pa_mm == pytest.approx(0, abs=1e-3) and result.error_2d == pytest.approx(0, abs=1e-6)
    for result, crop, photo in zip(evaluate_real(estimator(shifted), photos), crops, photos):
        # Five crop pixels, brought back to the photo, over the side of the label's box there.
        side = np.ptp(photo.keypoints_2d, axis=0).max()
        zoom = crop.K_crop[0, 0] / crop.K[0, 0]
        assert result.error_2d == pytest.approx(5 / zoom / side, rel=0.1)
        # A mirrored hand is no match where only proper rotations count.
        assert result.pa_mm > 5


@pytest.mark.parametrize("is_right", [True, False])
def test_a_photo_of_an_unknown_side_is_measured_on_the_side_that_the_network_says(
    tmp_path: Path, is_right: bool
) -> None:
    known, photo = make_photo(tmp_path, "0.png", True, 0), make_photo(tmp_path, "1.png", None, 1)
    crops = [*crops_for(known, 120, 90, CROP), *crops_for(photo, 120, 90, CROP)]
    assert [crop.is_mirrored for crop in crops] == [False, False, True]
    owners = [known, photo, photo]

    def sure(batch: np.ndarray) -> EngineOutput:
        assert len(batch) == 3
        output = answer(
            np.stack([c.apply_points_3d(p.joints) for c, p in zip(crops, owners)]),
            np.stack([c.apply_points_2d(p.keypoints_2d) for c, p in zip(crops, owners)]),
        )
        wrong = 2 if is_right else 1
        output.keypoints_2d[wrong] += 9
        return output._replace(is_right=np.array([1, 0.9, 0.2] if is_right else [1, 0.1, 0.8], np.float32))

    for result in evaluate_real(estimator(sure), [known, photo]):
        assert result.pa_mm == pytest.approx(0, abs=1e-3) and result.error_2d == pytest.approx(0, abs=1e-6)


def test_results_as_landmarks_are_measured_at_the_landmark_models_points(tmp_path: Path) -> None:
    correction = shipped_correction()
    made = [make_photo(tmp_path, f"{i}.png", side, i) for i, side in enumerate((True, False))]
    photos = [
        replace(p, joints=correction.points_of(p.joints), keypoints_2d=correction.keypoints_of(p.keypoints_2d))
        for p in made
    ]
    crops = [crop_for(photo, 120, 90, CROP) for photo in photos]
    truth = [(c.apply_points_3d(p.joints), c.apply_points_2d(p.keypoints_2d)) for c, p in zip(crops, made)]

    as_it_is = evaluate_real(estimator(lambda batch: answer(*(np.stack(part) for part in zip(*truth)))), photos)
    for plain, moved in zip(as_it_is, as_landmarks(as_it_is, correction)):
        assert moved.pa_mm == pytest.approx(0, abs=1e-3) and plain.pa_mm > 2
        assert moved.error_2d == pytest.approx(0, abs=1e-6) and plain.error_2d > 0.04
    assert as_landmarks(as_it_is, None) == as_it_is


def test_rows_keep_held_out_photos_apart(tmp_path: Path) -> None:
    photos = [make_photo(tmp_path, f"{i}.png", True, i, held_out=i > 1) for i in range(4)]
    results = evaluate_real(estimator(lambda batch: answer(np.ones((4, 21, 3)), np.ones((4, 21, 2)))), photos)
    rows = summarize(results)
    assert [(row["held_out"], row["samples"]) for row in rows] == [(False, 2), (True, 2)]
    for row, chosen in zip(rows, (results[:2], results[2:])):
        assert row["error_2d"] == pytest.approx(np.mean([r.error_2d for r in chosen]))
    assert "held out" in format_rows(rows)
