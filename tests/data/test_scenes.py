"""Scenes on disk: what is written is what is read, photos' labels are understood, a damaged line is named."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handmesh.data.scenes import (
    EmptyScenes,
    Scene,
    SceneFolder,
    SceneHand,
    scene_line,
    write_scene_labels,
    write_scene_pictures,
)
from handmesh.errors import HandMeshError
from handmesh.io.images import write_image

OPEN = np.array([[0, 0], *([x, -y] for x in (-6, -3, 0, 3, 6) for y in (5, 10, 13, 16))], np.float64)


def hand_at(x: float, y: float, turn_deg: float = 0.0, is_right: bool | None = True, size: float = 1.0) -> SceneHand:
    """A flat open hand whose wrist is at (x, y), turned clockwise."""
    c, s = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    return SceneHand(size * OPEN @ np.array([[c, s], [-s, c]]) + [x, y], is_right)


def make_scene() -> Scene:
    image = np.full((60, 80, 3), 90, np.uint8)
    hand_map = np.zeros((60, 80), np.uint8)
    hand_map[20:40, 10:25], hand_map[5:20, 50:70] = 1, 2
    return Scene(image, [hand_at(17, 40), hand_at(60, 22, 200, False)], hand_map, maker="me")


def test_a_scene_written_is_the_scene_read(tmp_path: Path) -> None:
    scene = make_scene()
    boxed = SceneHand(np.array([[30.0, 10], [50, 10], [50, 30], [30, 30]]), None, kinds=("glove",))
    scene = replace(scene, hands=[*scene.hands, boxed])
    write_scene_pictures(tmp_path, "training", 3, scene)
    write_scene_labels(tmp_path, "training", [scene_line(3, scene)])
    folder = SceneFolder(tmp_path / "training")
    read = folder.scene(0)
    assert len(folder) == 1 and read.is_complete and read.maker == "me"
    assert np.abs(read.image.astype(int) - scene.image).max() <= 2  # JPEG
    assert read.hand_map is not None and (read.hand_map == scene.hand_map).all()
    for got, wanted in zip(read.hands, scene.hands, strict=True):
        np.testing.assert_allclose(got.keypoints_2d, wanted.keypoints_2d, atol=0.006)
        assert got.is_right is wanted.is_right and got.visible == wanted.visible and got.kinds == wanted.kinds


def test_the_box_turns_with_the_hand() -> None:
    for turn in (0, 33, -120):
        hand = hand_at(40, 30, turn)
        assert hand.roll_deg == pytest.approx(turn)
        size = hand.box_xyxy[2:] - hand.box_xyxy[:2]
        np.testing.assert_allclose(size, hand_at(0, 0).box_xyxy[2] - hand_at(0, 0).box_xyxy[0])


def test_a_hand_over_the_edge_is_cut_off() -> None:
    hands = (make_scene().hands[0], hand_at(2, 30, -90), hand_at(40, 5))
    assert [hand.is_cut_off(80, 60) for hand in hands] == [False, True, True]


def test_labels_of_a_landmark_model(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((60, 80, 3), np.uint8))
    points = (hand_at(30, 40).keypoints_2d + 0.5).tolist()
    lines = [
        {"file": "a.png", "set": "one", "hands": [{"kp2d": points, "mp_label": "Left"}]},
        {"file": "a.png", "set": "two", "src": "x/b.jpg", "kp2d": points, "mp_label": "Right"},
    ]
    (tmp_path / "labels.jsonl").write_text("\n".join(map(json.dumps, lines)))
    folder = SceneFolder(tmp_path)
    first, second = folder.scene(0), folder.scene(1)
    assert not first.is_complete and first.hand_map is None
    assert first.hands[0].is_right is True and second.hands[0].is_right is False
    np.testing.assert_allclose(first.hands[0].keypoints_2d, hand_at(30, 40).keypoints_2d, atol=1e-9)
    assert len(SceneFolder(tmp_path, lambda maker, source: source != "x/b.jpg")) == 1
    with pytest.raises(HandMeshError, match="not held out"):
        SceneFolder(tmp_path, lambda maker, source: False)


@pytest.mark.parametrize("line", ["{", "[]", '{"file": "a"}', '{"file": "../a", "hands": []}',
                                  '{"file": "a", "hands": [{"kp2d": [1, 2]}]}',
                                  '{"file": "a", "hands": [{"box": [5, 5, 5, 5]}]}',
                                  '{"file": "a", "hands": [{"box": [5, 5, 9, NaN]}]}'])  # fmt: skip
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "labels.jsonl").write_text('{"file": "a.png", "hands": []}\n' + line)
    with pytest.raises(HandMeshError, match="line 2: expected one picture's hands"):
        SceneFolder(tmp_path)
    with pytest.raises(HandMeshError, match="synth --scenes"):
        SceneFolder(tmp_path / "none")


def test_pictures_without_hands(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((6, 8, 3), np.uint8))
    scene = EmptyScenes([tmp_path / "a.png"]).scene(0)
    assert scene.hands == [] and scene.is_complete and scene.hand_map is not None and not scene.hand_map.any()
    with pytest.raises(HandMeshError, match="without hands"):
        EmptyScenes([])


def test_a_hand_may_be_known_by_its_box_alone(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((60, 80, 3), np.uint8))
    line = {"file": "a.png", "hands": [{"box": [10, 20, 50, 40], "kinds": ["back"]}]}
    (tmp_path / "labels.jsonl").write_text(json.dumps(line))
    hand = SceneFolder(tmp_path).scene(0).hands[0]
    np.testing.assert_allclose(hand.box_xyxy, [10, 10, 50, 50])
    assert hand.share_inside(80, 60) == 1 and hand.share_inside(30, 30) == pytest.approx(0.25)
    assert not hand.has_points and math.isnan(hand.roll_deg) and hand.is_right is None and hand.kinds == ("back",)
