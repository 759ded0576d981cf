"""Training pictures of scenes: labels move with the picture, mirrored hands change sides, a key is one picture."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from handmesh.config import DetectorConfig
from handmesh.data.scene_crops import (
    HAND,
    MOST_HANDS,
    NO_LABEL,
    UNKNOWN,
    SceneDataset,
    SceneMixture,
    WholeScenes,
    random_view,
)
from handmesh.data.scenes import Scene, SceneHand

OPEN = np.array([[0, 0], *([x, -y] for x in (-6, -3, 0, 3, 6) for y in (5, 10, 13, 16))], np.float64)


def hand_at(x: float, y: float, turn_deg: float = 0.0, is_right: bool | None = True, size: float = 1.0) -> SceneHand:
    """A flat open hand whose wrist is at (x, y), turned clockwise."""
    c, s = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    return SceneHand(size * OPEN @ np.array([[c, s], [-s, c]]) + [x, y], is_right)


def marked_scene(turn_deg: float = 40.0) -> Scene:
    """A hand whose middle is marked by a white disc, on black."""
    hand = hand_at(120, 110, turn_deg, True, size=3.0)
    image, hand_map = np.zeros((180, 240, 3), np.uint8), np.zeros((180, 240), np.uint8)
    middle = (hand.box_xyxy[:2] + hand.box_xyxy[2:]) / 2 - 0.5
    for canvas, value in ((image, (255, 255, 255)), (hand_map, 1)):
        cv2.circle(canvas, np.rint(middle).astype(int).tolist(), 14, value, -1)
    return Scene(image, [hand], hand_map)


class One:
    """A source of one scene."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def __len__(self) -> int:
        return 1

    def scene(self, index: int) -> Scene:
        return self._scene


def test_labels_move_with_the_picture() -> None:
    scene, seen = marked_scene(), 0
    rolls = []
    for seed in range(30):
        image, table, hand_map = random_view(scene, np.random.default_rng(seed), (160, 128))
        if not len(table) or table[0, 7] != HAND or table[0, 2] < 12:
            continue
        row = table[0]
        half = 16 / (scene.hands[0].box_xyxy[2] - scene.hands[0].box_xyxy[0]) * row[2]  # the disc in this view
        inside = (row[:2] > half).all() and (row[:2] < np.array([160, 128]) - half).all()
        if not inside:
            continue
        seen += 1
        for weight in (image[..., 0].astype(float), hand_map.astype(float)):
            v, u = np.indices(weight.shape)
            centroid = np.array([(u * weight).sum(), (v * weight).sum()]) / weight.sum() + 0.5
            assert np.abs(centroid - row[:2]).max() < 1.0, seed
        is_mirrored = row[5] == 0
        turn = np.degrees(np.arctan2(row[3], row[4])) * (-1 if is_mirrored else 1)
        rolls.append(abs((turn - 40 + 180) % 360 - 180))
    assert seen > 12 and np.median(rolls) < 15


def test_sides_change_in_the_mirror() -> None:
    sides = {float(random_view(marked_scene(), np.random.default_rng(seed), (128, 128))[1][0, 5]) for seed in range(12)}
    assert sides == {0.0, 1.0}
    unknown = dataclasses.replace(marked_scene(), hands=[hand_at(120, 110, 0, None, 3.0)])
    assert random_view(unknown, np.random.default_rng(0), (128, 128))[1][0, 5] == -1


def test_what_is_not_known_stays_so() -> None:
    scene = dataclasses.replace(
        marked_scene(), hand_map=None, is_complete=False, ignore=np.array([[10.0, 20, 40, 50]]),
        hands=[dataclasses.replace(marked_scene().hands[0], visible=0.1)],
    )  # fmt: skip
    crop = WholeScenes(One(scene), 96)[0]
    assert crop["is_complete"] == 0 and (crop["hand_map"] == NO_LABEL).all()
    rows = crop["hands"][crop["hands"][:, 7] > 0]
    assert (rows[:, 7] == UNKNOWN).all() and len(rows) == 2
    np.testing.assert_allclose(rows[1, :3], np.array([25, 35, 30]) * 0.4, rtol=1e-5)


def test_a_key_is_one_picture() -> None:
    config = DetectorConfig(train_side=96, mosaic=0.5)
    dataset = SceneDataset(SceneMixture([One(marked_scene()), One(marked_scene(-90))], [1.0, 1.0]), config, seed=3)
    again = SceneDataset(dataset.source, config, seed=3)
    pictures = []
    for epoch in range(6):
        crop, other = dataset[(epoch, 1)], again[(epoch, 1)]
        assert all((np.asarray(crop[name]) == np.asarray(other[name])).all() for name in crop)
        assert crop["image"].shape == (96, 96, 3) and crop["hand_map"].shape == (24, 24)
        assert crop["hands"].shape == (MOST_HANDS, 8) and np.isfinite(crop["hands"]).all()
        pictures.append(crop["image"].tobytes())
    assert len(set(pictures)) == 6


def test_whole_scenes_fill_a_square() -> None:
    scene = marked_scene()
    crop = WholeScenes(One(scene), 120)[0]
    assert crop["image"].shape == (120, 120, 3) and not crop["image"][92:].any()
    box = scene.hands[0].box_xyxy * 0.5
    np.testing.assert_allclose(crop["hands"][0, :3], [*(box[:2] + box[2:]) / 2, box[2] - box[0]], rtol=1e-4)
    assert crop["hands"][0, 7] == HAND and crop["hand_map"].max() == 1
    assert len(WholeScenes(One(scene), 120, 5)) == 1


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_of_the_picture_is_filled(share: float) -> None:
    scene = Scene(np.full((96, 96, 3), 255, np.uint8), [], np.zeros((96, 96), np.uint8))
    dataset = SceneDataset(One(scene), DetectorConfig(train_side=96, mosaic=share), 0)
    crop = dataset[(0, 0)]
    assert (crop["hand_map"] == 0).all() and not crop["hands"].any() and crop["is_complete"] == 1


def test_a_box_moves_with_the_picture_and_keeps_its_side() -> None:
    hand = marked_scene().hands[0]
    low, high = hand.box_xyxy[:2] - 0.5, hand.box_xyxy[2:] - 0.5
    corners = np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
    boxed = dataclasses.replace(marked_scene(), hands=[SceneHand(corners, None)])
    for seed in range(20):
        both = [random_view(scene, np.random.default_rng(seed), (160, 128))[1] for scene in (marked_scene(), boxed)]
        if all(len(table) and table[0, 7] == HAND for table in both):
            np.testing.assert_allclose(both[1][0, :3], both[0][0, :3], rtol=1e-4)
        for row in both[1]:
            np.testing.assert_array_equal(row[3:7], [0, 0, -1, -1])
