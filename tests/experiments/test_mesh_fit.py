"""The figures that weights are steered by: nothing for a true hand, a known shift as large as it is, a wrong finger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handmesh.geometry.camera import intrinsics_from_fov, project_points
from handmesh.geometry.crop import CropSettings, CropTransform
from handmesh.inference.alignment.placement import Estimate
from handmesh.inference.estimator import HandEstimator
from handmesh.io.images import write_image
from handmesh.labeling.held_out import read_held_out
from handmesh.labeling.photo_sets import LabelledPhoto
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.hand_model import HandModel
from handmesh.results import Hand
from scripts.experiments.mesh_fit import (
    FAULTS_FILE,
    FINGERS_FILE,
    Fingers,
    Row,
    has_wrong_finger,
    name_of,
    photo_rows,
    read_faults,
    read_fingers,
    reliability,
    states,
    summarize,
)

SIDE = 200


@pytest.fixture(scope="module")
def flat(open_mano: ManoArrays) -> Hand:
    """A flat right hand, its fingers up and its palm to the camera."""
    return standing(open_mano, np.tile(np.eye(3), (15, 1, 1)))


def standing(arrays: ManoArrays, pose: np.ndarray) -> Hand:
    model, turn = HandModel(arrays), np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    vertices, joints = model.pose(True, turn, pose, np.zeros(10))
    move, K = np.array([0, 0, 0.5]) - joints.mean(0), intrinsics_from_fov(SIDE, SIDE, 45.0)
    joints = joints + move
    points = project_points(joints, K)
    return Hand(
        vertices=vertices + move, joints=joints, keypoints_2d=points, is_right=True, score=1.0, faces=model.faces(True),
        global_orient=turn, hand_pose=pose, betas=np.zeros(10), translation=move, K=K,
        box_xyxy=np.concatenate([points.min(0), points.max(0)]),
    )  # fmt: skip


class Answers(HandEstimator):
    """An estimator that has its answers: one where the crop is as the photo, one where it is mirrored."""

    def __init__(self, plain: Estimate, mirrored: Estimate) -> None:
        self.crop, self.plain, self.mirrored = CropSettings(96, 1.3), plain, mirrored

    def estimate(self, images: Sequence[Any], crops: Sequence[CropTransform], *_: Any, **__: Any) -> list[Estimate]:
        found = [self.mirrored if crop.is_mirrored else self.plain for crop in crops]
        return [each._replace(hand=replace(each.hand, is_right=not c.is_mirrored)) for each, c in zip(found, crops)]


def rows_of(photo: LabelledPhoto, plain: Estimate, mirrored: Estimate) -> list[Row]:
    return photo_rows(Answers(plain, mirrored), [photo])


@pytest.fixture
def photo(flat: Hand, tmp_path: Path) -> LabelledPhoto:
    path = tmp_path / "hand.png"
    write_image(path, np.zeros((SIDE, SIDE, 3), np.uint8))
    return LabelledPhoto(path, "one", True, flat.keypoints_2d, flat.joints, True)


def moved(hand: Hand, share: float) -> Hand:
    """The hand beside itself, by a share of its box."""
    side = np.ptp(hand.keypoints_2d, axis=0).max()
    metres = share * side * hand.joints[:, 2].mean() / hand.K[0, 0]
    return replace(hand, joints=hand.joints + [metres, 0, 0], keypoints_2d=hand.keypoints_2d + [share * side, 0])


def test_a_true_hand_has_no_error_and_a_shift_is_as_large_as_it_is(flat: Hand, photo: LabelledPhoto) -> None:
    row = rows_of(photo, Estimate(flat, 1.0, 1.0), Estimate(flat, 1.0, 0.0))[0]
    assert max(row.keypoints, row.mesh, row.pa_mm, row.mesh_px, row.keypoints_px) < 1e-3 and not row.has_wrong_finger
    row = rows_of(photo, Estimate(moved(flat, 0.1), 1.0, 1.0), Estimate(flat, 1.0, 0.0))[0]
    assert row.keypoints == pytest.approx(10) and row.mesh == pytest.approx(10, rel=0.03) and row.pa_mm < 1e-3
    # A crop of 256 px is 1.3 times the box.
    assert row.keypoints_px == pytest.approx(25.6 / 1.3, rel=0.05) and row.mesh_px < 1


@pytest.mark.parametrize("unknown", [[], [5, 6, 7, 8]])
@pytest.mark.parametrize("right", [0.9, 0.2])
def test_where_the_label_has_no_side_the_network_decides(
    flat: Hand, photo: LabelledPhoto, unknown: list[int], right: float
) -> None:
    keypoints = flat.keypoints_2d.copy()
    keypoints[unknown] = np.nan
    unsure = replace(photo, is_right=None, joints=None, keypoints_2d=keypoints)
    bad = moved(flat, 0.3)
    as_right, as_left = (flat, bad) if right > 0.5 else (bad, flat)
    row = rows_of(unsure, Estimate(as_right, 1.0, right), Estimate(as_left, 1.0, right))[0]
    assert row.mesh < 1e-3


@pytest.fixture
def curled(open_mano: ManoArrays) -> Hand:
    """As flat, but the index finger is bent by a right angle at each joint."""
    bent = np.tile(np.eye(3), (15, 1, 1))
    bent[0:3] = [[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]
    return standing(open_mano, bent)


def test_a_bent_finger_is_not_a_straight_one(flat: Hand, curled: Hand) -> None:
    assert states(flat.joints).tolist() == [1, 1, 1, 1] and states(curled.joints).tolist() == [-1, 1, 1, 1]
    assert has_wrong_finger(curled.joints, states(flat.joints)) and has_wrong_finger(flat.joints, states(curled.joints))
    assert not has_wrong_finger(flat.joints, states(flat.joints))
    assert not has_wrong_finger(curled.joints, np.array([0, 1, 1, 1]))


def test_only_what_networks_agree_on_counts_there(flat: Hand, curled: Hand, photo: LabelledPhoto) -> None:
    answer, rest = Estimate(curled, 1.0, 1.0), Estimate(flat, 1.0, 0.0)
    one = replace(photo, opinions=np.stack([flat.joints, flat.joints]))
    assert rows_of(one, answer, rest)[0].is_wrong_where_agreed
    divided = rows_of(replace(photo, opinions=np.stack([flat.joints, curled.joints])), answer, rest)[0]
    assert divided.has_wrong_finger and divided.is_wrong_where_agreed is False
    assert rows_of(photo, answer, rest)[0].is_wrong_where_agreed is None


@pytest.mark.parametrize(("seen", "wrong"), [("true", True), ("false", False), ("null", False)])
def test_what_a_person_saw_takes_the_place_of_the_label(
    seen: str, wrong: bool, flat: Hand, curled: Hand, photo: LabelledPhoto, tmp_path: Path
) -> None:
    path = tmp_path / "fingers.jsonl"
    path.write_text(f'{{"photo": "{tmp_path.name}/hand.png", "finger": "index", "is_straight": {seen}}}\n')
    fingers = read_fingers(path)
    answers = Answers(Estimate(curled, 1.0, 1.0), Estimate(flat, 1.0, 0.0))
    row = photo_rows(answers, [photo], fingers=fingers)[0]
    assert row.has_wrong_finger and row.is_wrong_by_eye is wrong
    assert photo_rows(answers, [photo], fingers=Fingers())[0].is_wrong_by_eye, "a photo that nobody looked at"


def test_fingers_were_looked_at_on_held_out_photos_alone() -> None:
    told = read_fingers(FINGERS_FILE)
    assert len(told) > 100
    held = read_held_out()
    assert all(photo.split("/")[0] in held for photo in told)


def test_faulty_labels_were_looked_for_on_held_out_photos_alone(photo: LabelledPhoto, tmp_path: Path) -> None:
    faults, held = read_faults(FAULTS_FILE), read_held_out()
    assert 0 < len(faults) < 60 and all(name.split("/")[0] in held for name in faults)
    path = tmp_path / "faults.jsonl"
    path.write_text(f'{{"photo": "{tmp_path.name}/hand.png", "fault": "on a sleeve"}}\n')
    assert read_faults(path) == {name_of(photo): "on a sleeve"}


def test_the_mean_is_over_groups_and_scores_are_counted_in_classes() -> None:
    def row(group: str, mesh: float, score: float) -> Row:
        return Row(group, mesh, mesh, mesh, 1.0, 1.0, 1.0, mesh > 4, score)

    rows = [row("a", 2.0, 0.95), row("a", 4.0, 0.95), row("b", 6.0, 0.1)]
    table = summarize(rows)
    assert table["a"]["mesh"] == 3 and table["b"]["wrong_fingers"] == 100
    assert table["mean of groups"]["mesh"] == 4.5 and table["mean of groups"]["hands"] == 3
    counted = reliability(rows)
    assert [(entry["hands"], entry["fits"]) for entry in counted] == [(1, 0.0), (2, 1.0)]
