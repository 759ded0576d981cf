"""The real models, where the cache has them: no hand in noise, and four of the five shared photos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from handmesh.detection import HandDetector, model_files
from handmesh.detection.tiling import whole_window
from handmesh.errors import HandMeshError
from handmesh.geometry.camera import project_points
from handmesh.geometry.crop import box_around, roll_of
from handmesh.mano.arrays import ManoArrays
from handmesh.results import Detection
from handmesh.synthesis.demo_clip import DemoScene

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "real" / "photos"
pytestmark = pytest.mark.skipif(
    not all(model_files.is_cached(name) for name in model_files.MEMBERS), reason="the palm detector is not in the cache"
)


@pytest.fixture(scope="module")
def detector() -> HandDetector:
    detector = HandDetector(threads=1)
    detector.load()
    return detector


def test_no_hand_in_plain_or_noisy_pictures(detector: HandDetector) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    assert detector.detect(noise) == []
    assert detector.detect(np.zeros((1, 1, 3), np.uint8)) == []
    assert detector.detect_quick(noise, [whole_window(320, 240)]) == []


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="no shared photos beside the checkout")
def test_four_of_five_photos_and_their_mirror_images(detector: HandDetector) -> None:
    found = 0
    for path in sorted(PHOTOS.glob("*.jpg")):
        image = np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1])
        hands = detector.detect(image)
        found += bool(hands)
        for hand in hands:
            assert hand.is_right is not None and 0.5 <= hand.score <= 1
    assert found >= 4
    # test5: two hands before a face. Mirrored, left and right change places and the boxes move with them.
    plain, mirrored = detector.detect(image), detector.detect(np.ascontiguousarray(image[:, ::-1]))
    assert sorted(bool(hand.is_right) for hand in plain) == [False, True]
    assert sorted(bool(hand.is_right) for hand in mirrored) == [False, True]
    right = next(hand for hand in plain if hand.is_right).box_xyxy
    left = next(hand for hand in mirrored if not hand.is_right).box_xyxy[[2, 1, 0, 3]]
    left[[0, 2]] = image.shape[1] - left[[0, 2]]
    assert np.abs(left - right).max() < 0.2 * (right[2] - right[0])


def test_a_named_place_without_a_hand_comes_back_as_it_was(detector: HandDetector) -> None:
    place = Detection(np.array([10.0, 10, 90, 90]), None, 1.0)
    assert detector.study(np.zeros((100, 100, 3), np.uint8), place) is place
    assert detector.confirm(np.zeros((100, 100, 3), np.uint8), place) is None


def test_without_the_models_a_named_place_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise HandMeshError("no network")

    detector = HandDetector()
    monkeypatch.setattr(detector, "load", fails)
    place = Detection(np.array([10.0, 10, 90, 90]), True, 1.0)
    assert detector.study(np.zeros((100, 100, 3), np.uint8), place) is place


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_roll_and_side_of_a_named_place(
    detector: HandDetector, open_mano: ManoArrays, quarter_turns: int, is_mirrored: bool
) -> None:
    frame = DemoScene(open_mano).frame(0.3)
    image, points = frame.image[:, ::-1] if is_mirrored else frame.image, project_points(frame.hands[0].joints, frame.K)
    if is_mirrored:
        points[:, 0] = image.shape[1] - 1 - points[:, 0]
    for _ in range(quarter_turns):
        # np.rot90 turns anticlockwise: (x, y) goes to (y, width - 1 - x).
        points = np.stack([points[:, 1], image.shape[1] - 1 - points[:, 0]], axis=1)
        image = np.rot90(image)
    place = detector.study(np.ascontiguousarray(image), Detection(box_around(points), None, 1.0))
    assert place.is_right is not is_mirrored
    assert abs((place.rotation_deg - roll_of(points) + 180) % 360 - 180) < 20
    assert np.abs(place.box_xyxy - box_around(points, rotation_deg=roll_of(points))).max() < 0.25 * np.ptp(points)
