"""A label by vote: what must not matter changes nothing, what matters makes a label doubtful."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from handmesh.detection.landmark_model import LandmarkModel, Landmarks
from handmesh.detection.model_files import is_cached
from handmesh.labeling.landmark_label import VIEWS, label_hand, vote

RNG = np.random.default_rng(0)
POINTS = RNG.uniform(40, 90, (21, 2))
JOINTS = RNG.normal(size=(21, 3)) * 0.04
TRUTH = Landmarks(POINTS, JOINTS - JOINTS.mean(0), 1.0, 0.9)


class FakeModel:
    """Answers the same whatever the crop, but for what a test changes; remembers how it was asked."""

    def __init__(self, change=lambda view, turn_deg, padding, mirror: view) -> None:
        self.change, self.asked = change, []

    def landmarks(self, image, box, rotation_deg, padding, mirror=False) -> Landmarks:
        self.asked.append((np.asarray(box), rotation_deg, padding, mirror))
        return self.change(TRUTH, rotation_deg, padding, mirror)


def label(model: FakeModel):
    return label_hand(np.zeros((128, 128, 3), np.uint8), model, np.array([30.0, 30, 100, 100]), 10.0, 1.5)


def test_views_that_agree_are_the_label() -> None:
    model = FakeModel()
    found = label(model)
    np.testing.assert_allclose(found.keypoints_2d, POINTS)
    np.testing.assert_allclose(found.joints, TRUTH.joints, atol=1e-12)
    assert found.is_right and found.disagreement == pytest.approx(0, abs=1e-12)
    # The first view is where it was asked for; the others are about its points, each in its own way.
    assert model.asked[0][1:] == (10.0, 1.5, False)
    first = model.asked[1][1]
    assert [(round(turn - first, 6), *rest) for _, turn, *rest in model.asked[1:]] == [tuple(v) for v in VIEWS]
    assert {True, False} == {v.mirror for v in VIEWS} and len({v.padding for v in VIEWS}) > 1


@pytest.mark.parametrize("kind", ["mirrored", "tighter", "in space"])
def test_a_view_that_differs_is_reported(kind: str) -> None:
    def change(view: Landmarks, turn_deg: float, padding: float, mirror: bool) -> Landmarks:
        if kind == "in space":
            return replace(view, joints=view.joints * [1, 1, -1]) if mirror else view
        differs = mirror if kind == "mirrored" else padding < 1.9 and padding != 1.5
        return replace(view, points=view.points + [0, 8.0]) if differs else view

    found = label(FakeModel(change))
    side = np.ptp(POINTS, axis=0).max()
    assert found.disagreement > 0.5 * 8 / side if kind != "in space" else found.disagreement > 0.1
    assert found.is_right


def test_a_side_nobody_is_sure_of_is_no_label_to_trust() -> None:
    unsure = [replace(TRUTH, right=right) for right in (0.9, 0.2, 0.5, 0.6, 0.4)]
    assert vote(unsure).disagreement == 1.0
    left = [replace(TRUTH, right=right) for right in (0.1, 0.2, 0.05, 0.3, 0.1)]
    assert not vote(left).is_right and vote(left).disagreement < 1e-9


def test_no_hand_in_one_view_is_no_hand() -> None:
    assert label(FakeModel(lambda view, t, p, mirror: replace(view, presence=0.2) if mirror else view)) is None


@pytest.mark.skipif(not is_cached("hand_landmark_full.tflite"), reason="the landmark model is not fetched")
def test_mirroring_is_undone_by_the_model_itself() -> None:
    """The mirrored view of the mirrored picture is the plain view of the plain one, mirrored."""
    model = LandmarkModel(threads=1)
    image = RNG.integers(0, 255, (120, 160, 3), dtype=np.uint8)
    box = np.array([40.0, 30, 120, 110])
    plain = model.landmarks(image, box, 12.0, 1.4)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    back = model.landmarks(mirrored, np.array([40.0, 30, 120, 110]), -12.0, 1.4, mirror=True)
    np.testing.assert_allclose(back.points * [-1, 1] + [159, 0], plain.points, atol=0.5)
    np.testing.assert_allclose(back.joints * [-1, 1, 1], plain.joints, atol=5e-3)
    assert back.presence == pytest.approx(plain.presence, abs=0.02)
    assert back.right == pytest.approx(1 - plain.right, abs=0.02)


def test_a_view_takes_its_place_from_the_picture_and_its_depth_from_both_heads() -> None:
    """A hand seen alike by both heads keeps its outline; depth is their weighted sum, so each is heard alone."""
    hand = JOINTS - JOINTS.mean(0)
    seen = np.concatenate([112 + 900 * hand[:, :2], 0.4 * 900 * hand[:, 2:]], axis=1)  # pixels, and their depths
    flat = hand * [1, 1, 0]

    def seen_by(picture: np.ndarray, space: np.ndarray) -> np.ndarray:
        model = LandmarkModel.__new__(LandmarkModel)
        model._model = lambda pixels: [  # type: ignore[assignment]
            picture.reshape(1, 63), np.ones((1, 1)), np.ones((1, 1)), space.reshape(1, 63),
        ]  # fmt: skip
        image, box = np.zeros((120, 160, 3), np.uint8), np.array([40.0, 30, 120, 110])
        return model.landmarks(image, box, 0.0, 1.0).joints

    both = seen_by(seen, hand)
    np.testing.assert_allclose(both[:, :2], hand[:, :2], atol=1e-9)
    by_picture, by_space = seen_by(seen, flat), seen_by(seen * [1, 1, 0], hand)
    np.testing.assert_allclose(by_picture[:, 2] + by_space[:, 2], both[:, 2], atol=1e-9)
    # Each understates depth, so together they count for more than one.
    shares = [part[:, 2] @ hand[:, 2] / (hand[:, 2] @ hand[:, 2]) for part in (by_picture, by_space)]
    assert min(shares) > 0.4 and 1 < sum(shares) < 1.5
    # A wrong outline in space changes nothing but the size.
    moved = seen_by(seen, hand + np.array([0.3, -0.2, 0.5]))
    np.testing.assert_allclose(moved, both, atol=1e-9)
