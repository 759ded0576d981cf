"""Laws of rendered scenes: labels lie on what is drawn, left is right mirrored, the same bytes from any processes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from handmesh.data.scenes import Scene, SceneFolder
from handmesh.synthesis.appearance.lighting import sample_lighting
from handmesh.synthesis.dataset.dataset_writer import write_dataset
from handmesh.synthesis.scene_plans import MOST_HANDS
from handmesh.synthesis.scene_plans import HandPlan as Plan
from handmesh.synthesis.scenes import SceneGenerator, _mirrored


@pytest.fixture(scope="module")
def generator(open_mano) -> SceneGenerator:
    return SceneGenerator(open_mano, seed=4, size=128)


@pytest.fixture(scope="module")
def scenes(generator) -> list[Scene]:
    return [generator.scene(index) for index in range(16)]


def test_shapes_and_counts(scenes) -> None:
    counts = [len(scene.hands) for scene in scenes]
    assert 0 in counts and max(counts) >= 2 and max(counts) <= MOST_HANDS
    for scene in scenes:
        assert max(scene.image.shape[:2]) == 128 and scene.image.dtype == np.uint8
        assert scene.hand_map is not None and scene.hand_map.shape == scene.image.shape[:2]
        assert set(np.unique(scene.hand_map)) <= set(range(len(scene.hands) + 1))
        assert scene.is_complete and all(0 <= hand.visible <= 1 for hand in scene.hands)
    sides = {hand.is_right for scene in scenes for hand in scene.hands}
    assert sides == {True, False}


def test_kinds_of_hands_are_told(generator) -> None:
    hands = [hand for index in range(60) for hand in generator.scene(index).hands]
    for kind in ("glove", "object", "back", "egocentric", "touching"):
        assert 0 < sum(kind in hand.kinds for hand in hands) < 0.6 * len(hands), kind
    # Of hands that point upwards, the thumb of one that shows its back is on the other side than of one that does not.
    right = [hand for hand in hands if hand.is_right and abs(hand.roll_deg) < 50]
    thumb = {kind: [bool(hand.keypoints_2d[2, 0] < hand.keypoints_2d[17, 0]) for hand in right
                    if ("back" in hand.kinds) is (kind == "back")] for kind in ("back", "other")}  # fmt: skip
    assert np.mean(thumb["back"]) > 0.8 and np.mean(thumb["other"]) < np.mean(thumb["back"]) - 0.3


def test_a_number_is_one_scene(generator, scenes, open_mano) -> None:
    other = SceneGenerator(open_mano, seed=4, size=128)
    for index in (9, 2):
        again = other.scene(index)
        assert (again.image == scenes[index].image).all() and (again.hand_map == scenes[index].hand_map).all()


def test_points_lie_on_the_hands(scenes) -> None:
    on, total = 0, 0
    for scene in scenes:
        height, width = scene.image.shape[:2]
        for number, hand in enumerate(scene.hands, start=1):
            if hand.visible < 0.8:
                continue
            # Joints lie under the skin, and something in the hand may hide a few.
            near = cv2.dilate((scene.hand_map == number).astype(np.uint8), np.ones((3, 3), np.uint8))
            u, v = np.clip(np.rint(hand.keypoints_2d).astype(int), 0, [width - 1, height - 1]).T
            on, total = on + int(near[v, u].sum()), total + 21
            inside = np.argwhere(scene.hand_map == number)[:, ::-1]
            side = hand.box_xyxy[2] - hand.box_xyxy[0]
            assert np.abs(np.median(inside, 0) + 0.5 - (hand.box_xyxy[:2] + hand.box_xyxy[2:]) / 2).max() < 0.5 * side
    assert total > 80 and on / total > 0.85


def test_of_hands_that_touch_the_nearer_one_is_seen(generator) -> None:
    """Pixel by pixel, whichever is drawn first."""
    size, light = generator.size, sample_lighting(np.random.default_rng(1))
    K = np.array([[150.0, 0, (size - 1) / 2], [0, 150.0, (size - 1) / 2], [0, 0, 1]])
    plans = [
        Plan(np.array([54.0, 56.0]), 60.0, np.array([-60.0, 180.0]), True, 0, touches=True),
        Plan(np.array([76.0, 62.0]), 61.0, np.array([190.0, 180.0]), False, 0, touches=True),
    ]
    seen, areas = [], []
    for order in ((0, 1), (1, 0)):
        canvas = np.full((size, size, 3), 128, np.uint8)
        depth, owner = np.full((size, size), np.inf, np.float32), np.zeros((size, size), int)
        for number in order:
            drawn = generator._draw(canvas, np.random.default_rng(number), 5 + number, plans[number], K, light, depth)
            owner[drawn.cover] = 0
            owner[drawn.mask] = number + 1
            areas.append(drawn.area)
            assert "touching" in drawn.kinds
        seen.append((owner, depth))
    assert areas[:2] == areas[:1:-1] and (seen[0][0] > 0).sum() < sum(areas[:2]) - 50
    assert (seen[0][0] == 1).sum() > 100 and (seen[0][0] == 2).sum() > 100
    assert (seen[0][0] == seen[1][0]).mean() > 0.99
    np.testing.assert_allclose(seen[0][1], seen[1][1], atol=1e-6)


def test_a_left_hand_is_a_right_one_mirrored(generator) -> None:
    size, light = generator.size, sample_lighting(np.random.default_rng(1))
    K = np.array([[150.0, 0, (size - 1) / 2], [0, 150.0, (size - 1) / 2], [0, 0, 1]])
    right = Plan(np.array([40.0, 60.0]), 50.0, np.array([20.0, 180.0]), True, 0)
    left = Plan(np.array([size - 1 - 40.0, 60.0]), 50.0, np.array([size - 1 - 20.0, 180.0]), False, 0)
    canvas = np.random.default_rng(2).integers(0, 255, (size, size, 3)).astype(np.uint8)
    mirrored = np.ascontiguousarray(canvas[:, ::-1])
    # A wall of which a part stands before the hand.
    depth = np.full((size, size), np.inf, np.float32)
    depth[:55] = 0.1
    its_depth = np.ascontiguousarray(depth[:, ::-1])
    one = generator._draw(canvas, np.random.default_rng(3), 5, right, K, light, depth)
    other = generator._draw(mirrored, np.random.default_rng(3), 5, left, K, _mirrored(light), its_depth)
    assert (its_depth[:, ::-1] == depth).all() and not one.mask[:55].any() and one.area > one.mask.sum()
    assert one.area == other.area and np.isfinite(depth[one.mask]).all()
    assert (mirrored[:, ::-1] == canvas).all() and one.mask.any()
    assert (other.mask[:, ::-1] == one.mask).all() and (other.cover[:, ::-1] == one.cover).all()
    np.testing.assert_allclose(other.points, one.points * [-1, 1] + [size - 1, 0])
    assert one.kinds == other.kinds


def test_a_set_is_the_same_from_one_process_and_two(generator, tmp_path: Path) -> None:
    digests = []
    for workers in (1, 2):
        root = write_dataset(
            tmp_path / str(workers), 40, 2, 4, 128, workers=workers, progress=False, pictures="scenes"
        )
        files = sorted(path for path in root.rglob("*") if path.is_file())
        digests.append({path.relative_to(root): hashlib.sha256(path.read_bytes()).hexdigest() for path in files})
    assert digests[0] == digests[1] and len(digests[0]) == 2 * 42 + 3
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    write_dataset(root, 40, 2, 4, 128, progress=False, pictures="scenes")  # complete: nothing is touched
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    read = SceneFolder(root / "training").scene(2)
    wanted = generator.scene(2)
    assert np.abs(read.image.astype(int) - wanted.image).mean() < 10 and (read.hand_map == wanted.hand_map).all()
    assert [hand.is_right for hand in read.hands] == [hand.is_right for hand in wanted.hands]
