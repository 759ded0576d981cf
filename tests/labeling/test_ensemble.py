"""The common label of several landmark networks: what they share is kept, what one alone says is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from handmesh.detection.landmark_model import Landmarks
from handmesh.labeling import agreement
from handmesh.labeling.ensemble import common_points, extent, hand_frame, mean_differences, relabel
from handmesh.labeling.photo_sets import LabelledPhoto

RNG = np.random.default_rng(0)


def hand(seed: int) -> np.ndarray:
    """21 points of something like a hand: a wrist, five rays."""
    rng = np.random.default_rng(seed)
    angles = np.radians(rng.normal([-150, -110, -90, -75, -55], 5))
    rays = [np.outer([45, 62, 74, 84], [np.cos(a), np.sin(a)]) for a in angles]
    return np.concatenate([np.zeros((1, 2)), *rays]) + rng.uniform(100, 120, 2)


def turned(points: np.ndarray, degrees: float, scale: float, mirror: bool = False) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    out = scale * points @ np.array([[c, s], [-s, c]])
    return out * [-1, 1] if mirror else out


def test_networks_that_agree_are_the_label() -> None:
    points = hand(0)
    label, apart = common_points(np.stack([points] * 4), np.zeros((4, 21, 2)))
    np.testing.assert_allclose(label, points)
    assert apart == pytest.approx(0, abs=1e-12)


def test_one_that_is_wrong_moves_the_label_little_and_is_reported() -> None:
    points = hand(1)
    wrong = points.copy()
    wrong[5:9] += 30.0  # a finger elsewhere
    label, apart = common_points(np.stack([points, points, wrong, points]), np.zeros((4, 21, 2)))
    assert np.abs(label - points).max() < 0.1 * 30
    distance = np.linalg.norm(wrong - points, axis=-1).mean() / extent(points)
    assert 0.9 * distance < apart <= 1.001 * distance


def test_habits_of_networks_are_taken_out_however_hands_lie() -> None:
    """A network that puts each joint elsewhere by a habit of its own agrees with the others once that is known."""
    habit = RNG.normal(size=(21, 2)) * 0.03
    hands = []
    for seed in range(60):
        points = turned(hand(seed), RNG.uniform(-180, 180), RNG.uniform(0.5, 2), bool(seed % 2))
        hands.append(np.stack([points, points + habit @ hand_frame(points) * extent(points)]))
    differences = mean_differences(np.stack(hands))
    np.testing.assert_allclose(differences[0], 0, atol=1e-12)
    np.testing.assert_allclose(differences[1], habit, atol=1e-9)
    label, apart = common_points(hands[7], differences)
    np.testing.assert_allclose(label, hands[7][0], atol=1e-9)
    assert apart < 1e-9
    # Of a few photos habits cannot be told from mistakes.
    assert not mean_differences(np.stack(hands[:10])).any()


def test_axes_of_a_hand_turn_and_mirror_with_it() -> None:
    points = hand(2)
    frame = hand_frame(points)
    np.testing.assert_allclose(frame @ frame.T, np.eye(2), atol=1e-12)
    across = (points[5] - points[17]) @ frame[0]
    assert across > 0
    for mirror in (False, True):
        moved = turned(points, 70, 1.3, mirror)
        np.testing.assert_allclose(hand_frame(moved), turned(frame, 70, 1.0, mirror), atol=1e-9)


class FakeNetwork:
    """Says that the hand is where it is told, moved; without points in space where ``is_old``."""

    def __init__(self, points: np.ndarray, move: float = 0.0, is_old: bool = False, right: float = 0.95) -> None:
        self.points, self.right = points + move, right
        self.joints = np.full((21, 3), np.nan) if is_old else np.column_stack([0.001 * points, np.zeros(21)])

    def landmarks(self, image, box, rotation_deg, padding, mirror=False) -> Landmarks:
        return Landmarks(self.points, self.joints, 1.0, self.right)


def photo(folder: Path) -> LabelledPhoto:
    path = folder / "hand.png"
    cv2.imwrite(str(path), np.zeros((240, 240, 3), np.uint8))
    return LabelledPhoto(path, "maker", False, hand(3) + 4, np.zeros((21, 3)), False)


def test_photos_get_the_label_side_and_doubt_of_all_networks(tmp_path: Path) -> None:
    given, points = photo(tmp_path), hand(3)
    networks = [FakeNetwork(points), FakeNetwork(points), FakeNetwork(points, is_old=True)]
    (found,) = relabel([given], lambda: networks, progress=False)
    np.testing.assert_allclose(found.keypoints_2d, points)
    np.testing.assert_allclose(found.joints, networks[0].joints - networks[0].joints.mean(0), atol=1e-12)
    assert found.opinions.shape == (2, 21, 3), "the old one says nothing of space"
    assert found.is_right and found.is_trusted and (found.path, found.group) == (given.path, given.group)
    (doubted,) = relabel([given], lambda: [*networks, FakeNetwork(points, move=60.0)], progress=False)
    assert not doubted.is_trusted
    (unsure,) = relabel([given], lambda: [replace_right(network) for network in networks], progress=False)
    assert not unsure.is_trusted and unsure.disagreement == 1.0
    assert relabel([], lambda: networks, progress=False) == []


def replace_right(network: FakeNetwork) -> FakeNetwork:
    network.right = 0.5
    return network


def test_a_collapsed_palm_has_no_depth(tmp_path: Path) -> None:
    points = hand(3)
    network = FakeNetwork(points)
    network.joints = network.joints * [0.2, 1, 1]
    (found,) = relabel([replace(photo(tmp_path), has_depth=True)], lambda: [network], progress=False)
    assert not found.has_depth


@pytest.mark.parametrize("has_labels", [False, True])
def test_further_networks_are_asked_besides_the_projects_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_labels: bool
) -> None:
    given, asked = photo(tmp_path), []

    def network(path: str, threads: int) -> FakeNetwork:
        asked.append(path)
        assert threads == 1, "as many threads as there are cores ask each its own"
        return FakeNetwork(hand(3))

    monkeypatch.setattr("handmesh.labeling.ensemble.LandmarkModel", network)
    monkeypatch.setattr("handmesh.labeling.ensemble.ensure_landmark_model", lambda: "own")
    monkeypatch.setattr(agreement, "photos_with_landmarks", lambda root: [given])
    monkeypatch.setattr(agreement, "read_landmark_photos", lambda root, held_out: [given])
    if has_labels:
        (tmp_path / "labels.jsonl").touch()
    (found,), is_flat = agreement.photos_of(tmp_path, networks=["a.tflite", "b.tflite"])
    assert is_flat == has_labels and asked == ["own", "a.tflite", "b.tflite"]
    np.testing.assert_allclose(found.keypoints_2d, hand(3))
