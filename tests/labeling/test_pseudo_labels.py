"""From landmarks to a data set: the hand lies where the landmark model saw it, and poor labels stay out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from handmesh.cli import main as cli
from handmesh.data.freihand import FreiHandDataset
from handmesh.errors import HandMeshError
from handmesh.geometry.camera import intrinsics_from_fov, project_points
from handmesh.geometry.rotation import axis_angle_to_matrix_np
from handmesh.io.images import read_image, write_image
from handmesh.labeling.outline_fit import Drawn
from handmesh.labeling.photo_sets import LabelledPhoto
from handmesh.labeling.pseudo_labels import _cut_out, _fit, correct, make_samples, write_pseudo_labelled
from handmesh.mano.arrays import ManoArrays, load_mano
from handmesh.mano.layers.numpy_layer import pose_vertices


@pytest.fixture(scope="module")
def arrays() -> ManoArrays:
    return load_mano("open")


@pytest.fixture(scope="module")
def photos(arrays: ManoArrays, tmp_path_factory: pytest.TempPathFactory) -> list[LabelledPhoto]:
    """A right hand, the same hand as a left one, a held-out one, an untrusted one, and one of impossible points."""
    folder = tmp_path_factory.mktemp("photos")
    K = intrinsics_from_fov(160, 120, 30)
    mean = axis_angle_to_matrix_np(np.asarray(arrays.hands_mean).reshape(15, 3))
    # Fingers up, palm to the camera.
    orient = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    _, joints = pose_vertices(arrays, orient, mean, np.zeros(10))
    joints = joints.astype(np.float64) - joints[9] + [0.02, 0.01, 0.6]
    path = folder / "right.png"
    picture = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    write_image(path, picture)
    write_image(folder / "left.png", picture[:, ::-1].copy())
    pixels = project_points(joints, K)
    right = LabelledPhoto(path, "sign-digits", False, pixels, joints, True)
    left = replace(
        right, path=folder / "left.png", keypoints_2d=pixels * [-1, 1] + [159, 0], joints=joints * [-1, 1, 1],
        is_right=False,
    )  # fmt: skip
    impossible = replace(right, joints=joints[::-1].copy())
    return [right, left, replace(right, is_held_out=True), replace(right, disagreement=0.3), impossible]


def test_good_labels_become_samples_and_poor_ones_do_not(arrays, photos, tmp_path: Path) -> None:
    kept = write_pseudo_labelled(photos, tmp_path / "set", arrays, progress=False)
    assert (kept.training, kept.evaluation, kept.untrusted, kept.unfitted) == (2, 1, 1, 1)
    training = FreiHandDataset(tmp_path / "set", "training")
    assert len(training) == 2 and len(FreiHandDataset(tmp_path / "set", "evaluation")) == 1
    first, mirrored = training.sample(0), training.sample(1)
    # The left hand is stored as the right one it is the mirror of, picture and labels alike.
    np.testing.assert_allclose(mirrored["joints"], first["joints"], atol=2e-3)
    assert np.abs(mirrored["image"].astype(int) - first["image"].astype(int)).mean() < 2
    for sample in (first, mirrored):
        assert sample["image"].shape == (224, 224, 3)
        seen = project_points(sample["joints"], sample["K"])
        side = np.ptp(seen, axis=0).max()
        # Twice the hand's box fills the picture, and the hand is in its middle.
        assert side == pytest.approx(112, rel=0.08)
        np.testing.assert_allclose((seen.min(0) + seen.max(0)) / 2, 111.5, atol=4)


def test_labels_are_drawn_to_the_pixels_that_a_network_calls_hand(arrays, photos, tmp_path: Path) -> None:
    """Of both sides."""
    broad = _a_broader_hand(arrays, photos[0])
    pictures = []

    def segment(image: np.ndarray) -> np.ndarray:
        pictures.append(image)
        is_left = np.array_equal(image, read_image(photos[1].path))
        return broad[:, ::-1] if is_left else broad

    write_pseudo_labelled(photos[:3], tmp_path / "drawn", arrays, progress=False, segment=segment)
    write_pseudo_labelled(photos[:3], tmp_path / "points", arrays, progress=False)
    areas = {
        name: [_area(FreiHandDataset(tmp_path / name, "training").sample(i)) for i in (0, 1)]
        for name in ("drawn", "points")
    }
    assert len(pictures) == 3 and pictures[0].shape == (120, 160, 3)
    assert min(areas["drawn"]) > 1.025 * max(areas["points"])
    assert areas["drawn"][0] == pytest.approx(areas["drawn"][1], rel=0.02)


def test_before_plain_ground_labels_are_drawn_to_colour_whatever_a_network_says(arrays, photos, tmp_path) -> None:
    broad = _a_broader_hand(arrays, photos[0])
    picture = np.where(broad[..., None] > 0, np.uint8([200, 140, 110]), np.uint8([120, 130, 140])).astype(np.uint8)
    write_image(tmp_path / "plain.png", picture)
    before_wall = replace(photos[0], path=tmp_path / "plain.png")
    fits = _fit(arrays, correct([before_wall], arrays))
    none, told = (
        make_samples(arrays, [before_wall], fits, [0], segment=lambda image, mask=mask: mask)[0]
        for mask in (np.zeros((120, 160), np.float32), broad)
    )
    np.testing.assert_array_equal(none["vertices"], told["vertices"])
    [points_alone] = make_samples(arrays, [before_wall], fits, [0])
    assert _area(none) > 1.025 * _area(points_alone)


def test_elsewhere_they_are_drawn_to_colour_where_it_agrees_with_the_network(
    arrays, photos, tmp_path, monkeypatch
) -> None:
    hand = cv2.erode(_a_broader_hand(arrays, photos[0]), np.ones((3, 3), np.uint8))
    stripes = np.where(np.arange(160)[None, :, None] % 12 < 6, np.uint8([40, 90, 60]), np.uint8([160, 190, 250]))
    write_image(tmp_path / "striped.png", np.where(hand[..., None] > 0, np.uint8([200, 140, 110]), stripes))
    before_curtain = replace(photos[0], path=tmp_path / "striped.png")
    fits = _fit(arrays, correct([before_curtain], arrays))
    too_broad = cv2.dilate(hand, np.ones((5, 5), np.uint8))

    def area(least_agreement: float) -> int:
        monkeypatch.setattr("handmesh.labeling.pseudo_labels._LEAST_AGREEMENT", least_agreement)
        return _area(make_samples(arrays, [before_curtain], fits, [0], segment=lambda image: too_broad)[0])

    by_network, by_colour, truth = area(1.1), area(0.5), _area(make_samples(arrays, [before_curtain], fits, [0])[0])
    assert abs(by_colour - truth) < 0.5 * abs(by_network - truth)


def _a_broader_hand(arrays: ManoArrays, photo: LabelledPhoto) -> np.ndarray:
    """Where the hand of a photo is, and a border of one pixel around it; (120, 160) probabilities."""
    [sample] = make_samples(arrays, [photo], _fit(arrays, correct([photo], arrays)), [0])
    crop = _cut_out(photo).crop
    mask = Drawn.of(sample["vertices"], arrays, sample["K"], len(sample["image"])).mask.astype(np.uint8)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    in_photo = cv2.warpPerspective(mask, crop.homography, (160, 120), flags=flags)
    return np.asarray(cv2.dilate(in_photo, np.ones((3, 3), np.uint8)), np.float32)


def _area(sample: dict) -> int:
    return int((Drawn.of(sample["vertices"], load_mano("open"), sample["K"], 224).mask).sum())


def test_labels_are_corrected_alike_for_both_sides_and_for_the_measured_hand_alone(arrays, photos) -> None:
    right, left = correct(photos[:2], arrays)
    np.testing.assert_allclose(left.joints * [-1, 1, 1], right.joints, atol=1e-9)
    np.testing.assert_allclose(left.keypoints_2d * [-1, 1] + [159, 0], right.keypoints_2d, atol=1e-9)
    assert np.linalg.norm(right.keypoints_2d - photos[0].keypoints_2d, axis=-1).mean() > 0.5
    other = replace(arrays, v_template=arrays.v_template + 1e-3)
    assert correct(photos[:2], other) == photos[:2] and correct([], arrays) == []


def test_nothing_to_write_is_an_error(arrays, photos, tmp_path: Path) -> None:
    with pytest.raises(HandMeshError, match="trusted labels"):
        write_pseudo_labelled([replace(photos[0], disagreement=1.0)], tmp_path / "set", arrays, progress=False)
    assert not (tmp_path / "set").exists()


def test_photos_that_no_hand_fits_are_an_error(arrays, photos, tmp_path: Path) -> None:
    with pytest.raises(HandMeshError, match="none of 1 with trusted labels"):
        write_pseudo_labelled([photos[-1]], tmp_path / "set", arrays, progress=False)
    assert not (tmp_path / "set").exists()


def test_nothing_held_out_leaves_a_set_that_packs(
    arrays, photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("handmesh.labeling.agreement.photos_with_landmarks", lambda *_: photos[:1])
    assert cli_run("label", "photos", "--out", str(tmp_path)) == 0
    assert "data.val_root" in capsys.readouterr().out and not list(tmp_path.glob("evaluation*"))
    assert cli_run("pack", str(tmp_path)) == 0
    assert [path.name for path in tmp_path.glob("*.pack")] == ["training.pack"]


def test_the_command_draws_to_outlines_unless_told_not_to(
    arrays, photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def segment(self: object, image: np.ndarray) -> np.ndarray:
        asked.append(len(image))
        return np.zeros(image.shape[:2], np.float32)

    monkeypatch.setattr("handmesh.labeling.agreement.photos_with_landmarks", lambda *_: photos[:1])
    monkeypatch.setattr("handmesh.inference.detectors.fastvit.FastVitDetector.segment", segment)
    assert cli_run("label", "photos", "--out", str(tmp_path / "one"), "--no-outlines") == 0 and not asked
    assert cli_run("label", "photos", "--out", str(tmp_path / "two")) == 0 and asked == [120]


def cli_run(*words: str) -> int | None:
    return cli._run(list(words))
