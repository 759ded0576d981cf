"""Laws of the tracker in a world of numbers: it follows, keeps identities, finds again, jitters less than the noise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from handmesh.detection.tiling import Window
from handmesh.errors import HandMeshError
from handmesh.geometry.camera import intrinsics_from_fov, project_points
from handmesh.geometry.crop import CropSettings, CropTransform, box_around, mirror_pose, roll_of
from handmesh.geometry.rotation import axis_angle_to_matrix_np
from handmesh.inference.engines.base import EngineOutput
from handmesh.inference.predictor import HandMeshPredictor
from handmesh.inference.tracking.tracker import HandTracker
from handmesh.inference.views import STILL_VIEWS, Views
from handmesh.io.calibration import CameraCalibration
from handmesh.io.video.sources import SourceFrame
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.hand_model import HandModel
from handmesh.results import Detection, Hand

WIDTH, HEIGHT, RATE = 640, 480, 30.0
K = intrinsics_from_fov(WIDTH, HEIGHT, 60)
IMAGE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)


class WorldHand:
    """A hand somewhere, with whatever a network would say of it."""

    def __init__(self, is_right: bool, position: Sequence[float], roll_deg: float = 0.0) -> None:
        self.is_right, self.position, self.is_visible = is_right, np.array(position, float), True
        # Fingers up, palm to the camera: MANO's fingers lie along -x (right hand), the picture's up is -y.
        up = axis_angle_to_matrix_np(np.array([0, 0, np.pi / 2 if is_right else -np.pi / 2]))
        self.global_orient = axis_angle_to_matrix_np(np.array([0, 0, np.radians(roll_deg)])) @ up
        self.hand_pose = axis_angle_to_matrix_np(np.zeros((15, 3)) + [0, 0, 0.2 if is_right else -0.2])
        self.betas = np.zeros(10)
        self.says_right: float | None = None


class World(HandMeshPredictor):
    """Predictor, network and detector in one: hands are known, noise is added to what is said of them."""

    def __init__(self, mano: ManoArrays, hands: list[WorldHand], noise: float = 0.0) -> None:
        self.hands, self.noise, self.rng = hands, noise, np.random.default_rng(0)
        self.crops: list[CropTransform] = []
        self.searches = self.calls = self.looks = self.offered = 0
        self.windows: list[int] = []
        self.sees = self.names_sides = True
        self.confidence = 1.0
        super().__init__(self._answer, mano, CropSettings(128, 1.5), self)  # type: ignore[arg-type]

    def detect_quick(
        self, image: np.ndarray, windows: Sequence[Window], is_wanted: Callable[[Detection], bool]
    ) -> list[Detection]:
        self.searches += 1
        self.windows.append(len(windows))
        places = []
        for hand in self.hands:
            if hand.is_visible:
                points = self._points(hand)
                places.append(Detection(box_around(points), hand.is_right, 0.9, roll_of(points)))
        wanted = [place for place in places if is_wanted(place)]
        self.offered += len(wanted)
        return wanted

    def confirm(self, image: np.ndarray, place: Detection) -> Detection | None:
        self.looks += 1
        hand = min(self.hands, key=lambda each: np.abs(box_around(self._points(each)) - place.box_xyxy).max())
        if not hand.is_visible or not self.sees:
            return None
        side = hand.is_right if hand.says_right is None else hand.says_right > 0.5
        return Detection(place.box_xyxy, side if self.names_sides else None, 0.9)

    def view_crops(self, crops: Sequence[CropTransform], views: Views) -> list[list[CropTransform]]:
        groups = super().view_crops(crops, views)
        self.crops = [view for group in groups for view in group]
        return groups

    def _points(self, hand: WorldHand) -> np.ndarray:
        return project_points(self._posed(hand)[1], K)

    def _posed(self, hand: WorldHand) -> tuple[np.ndarray, np.ndarray]:
        vertices, joints = self.model.pose(hand.is_right, hand.global_orient, hand.hand_pose, hand.betas)
        return vertices + hand.position, joints + hand.position

    def _answer(self, images: np.ndarray) -> EngineOutput:
        crops, self.crops, self.calls = self.crops, [], self.calls + 1
        return EngineOutput(*(np.stack(parts) for parts in zip(*map(self._row, crops), strict=True)))

    def _row(self, crop: CropTransform) -> list[np.ndarray]:
        def inside(hand: WorldHand) -> float:
            points = crop.apply_points_2d(self._points(hand))
            return float(((points > 0) & (points < crop.size)).all(axis=1).mean()) if hand.is_visible else 0.0

        def off_centre(hand: WorldHand) -> float:
            return float(np.abs(crop.apply_points_2d(self._points(hand)).mean(axis=0) - crop.size / 2).max())

        hand = min(self.hands, key=off_centre)
        share = inside(hand)
        turn = crop.apply_rotation(hand.global_orient) @ axis_angle_to_matrix_np(self.rng.normal(0, self.noise, 3))
        pose = mirror_pose(hand.hand_pose) if crop.is_mirrored else hand.hand_pose
        pose = pose @ axis_angle_to_matrix_np(self.rng.normal(0, self.noise, (15, 3)))
        rotations = np.concatenate([turn[None], pose])
        betas = hand.betas + self.rng.normal(0, 3 * self.noise, 10)
        vertices, joints = self.model.pose(True, rotations[0], rotations[1:], betas)
        points = crop.apply_points_2d(self._points(hand)) + self.rng.normal(0, 20 * self.noise, (21, 2))
        right = (0.9 if hand.is_right else 0.1) if hand.says_right is None else hand.says_right
        parts = (vertices, joints, rotations, betas, [5, 0, 0], points, np.full(21, self.confidence),
                 0.95 if share > 0.7 else 0.05, 1 - right if crop.is_mirrored else right)  # fmt: skip
        return [np.asarray(part, np.float32) for part in parts]


def move(
    tracker: HandTracker, world: World, count: int, start: int = 0, path: np.ndarray | None = None
) -> list[list[Hand]]:
    """Run frames; ``path`` (count, 3) is the first hand's positions."""
    frames = []
    for i in range(count):
        if path is not None:
            world.hands[0].position = path[i]
        frames.append(tracker.step(IMAGE, (start + i) / RATE))
    return frames


def sway(count: int, amplitude: float = 0.12, period_s: float = 1.5) -> np.ndarray:
    t = np.arange(count) / RATE
    return np.stack([amplitude * np.sin(2 * np.pi * t / period_s), 0.05 * np.cos(t), 0.5 + 0.05 * np.sin(t)], axis=1)


def test_a_moving_hand_is_followed_without_detecting_again(open_mano: ManoArrays) -> None:
    world = World(open_mano, [WorldHand(True, [0, 0, 0.5])])
    tracker = HandTracker(world, smoothing=False, max_hands=1, K=K)
    path = sway(60)
    frames = move(tracker, world, 60, path=path)
    assert all(len(hands) == 1 for hands in frames) and world.searches == 1
    for hands, position in zip(frames, path, strict=True):
        assert np.abs(hands[0].translation - position).max() < 0.01
    assert tracker.ids == [0]


def test_several_views_a_frame_lie_nearer_to_the_hand(open_mano: ManoArrays) -> None:
    errors = []
    for views in ((), STILL_VIEWS):
        world = World(open_mano, [WorldHand(False, [0, 0, 0.5])], noise=0.05)
        tracker = HandTracker(world, smoothing=False, max_hands=1, K=K, views=views)
        frames = move(tracker, world, 40, path=sway(40))
        truth = np.stack([world._points(world.hands[0]) for world.hands[0].position in sway(40)])
        found = np.stack([hands[0].keypoints_2d for hands in frames])
        errors.append(np.linalg.norm(found - truth, axis=-1).mean())
    assert errors[1] < 0.7 * errors[0]


def test_two_hands_keep_their_identity_and_share_a_batch(open_mano: ManoArrays) -> None:
    world = World(open_mano, [WorldHand(True, [-0.15, 0, 0.5]), WorldHand(False, [0.15, 0, 0.5])])
    tracker = HandTracker(world, K=K)
    frames = move(tracker, world, 45, path=sway(45, 0.02) - [0.15, 0, 0])
    assert all([hand.is_right for hand in hands] == [True, False] for hands in frames)
    assert tracker.ids == [0, 1] and world.calls == 45
    third = WorldHand(True, [0, 0.15, 0.6])
    world.hands.append(third)
    assert len(move(tracker, world, 20, 45)[-1]) == 2


def test_a_lost_hand_goes_and_comes_back_as_a_new_track(open_mano: ManoArrays) -> None:
    world = World(open_mano, [WorldHand(True, [0, 0, 0.5])])
    tracker = HandTracker(world, K=K)
    move(tracker, world, 5)
    world.hands[0].is_visible = False
    assert move(tracker, world, 10, 5)[-1] == [] and tracker.ids == []
    world.hands[0].is_visible, world.hands[0].position = True, np.array([0.1, 0.05, 0.5])
    assert len(move(tracker, world, 20, 15)[-1]) == 1 and tracker.ids == [1]


def test_one_missed_frame_keeps_the_track(open_mano: ManoArrays) -> None:
    world = World(open_mano, [WorldHand(True, [0, 0, 0.5])])
    tracker = HandTracker(world, max_hands=1, K=K)
    move(tracker, world, 5)
    world.hands[0].is_visible = False
    assert tracker.step(IMAGE, 5 / RATE) == []
    world.hands[0].is_visible = True
    assert len(tracker.step(IMAGE, 6 / RATE)) == 1 and tracker.ids == [0]


def test_a_free_slot_is_searched_now_and_then_only(open_mano: ManoArrays) -> None:
    world = World(open_mano, [WorldHand(True, [0, 0, 0.5])])
    move(HandTracker(world, max_hands=2, K=K), world, 60)
    assert 4 <= world.searches <= 10 and set(world.windows) == {1}


def test_the_side_is_a_vote_over_time(open_mano: ManoArrays) -> None:
    world = World(open_mano, [WorldHand(True, [0, 0, 0.5])])
    tracker = HandTracker(world, max_hands=1, K=K)
    move(tracker, world, 30)
    world.hands[0].says_right = 0.1
    assert move(tracker, world, 3, 30)[-1][0].is_right  # a few frames do not turn it
    move(tracker, world, 150, 33)
    (hand,) = tracker.step(IMAGE, 183 / RATE)
    assert not hand.is_right and tracker.ids == [0]


def test_two_hands_in_doubt_become_a_left_and_a_right_one(open_mano: ManoArrays) -> None:
    world = World(open_mano, [WorldHand(True, [-0.25, 0, 0.5]), WorldHand(True, [0.05, 0, 0.5])])
    tracker = HandTracker(world, K=K)
    # Sure of both: two people's right hands stay what they are.
    assert [hand.is_right for hand in move(tracker, world, 120)[-1]] == [True, True]
    world.hands[1].says_right = 0.55
    world.names_sides = False
    sides = [[hand.is_right for hand in hands] for hands in move(tracker, world, 300, 120)]
    assert sides[0] == [True, True] and sides[-1] == [True, False] and tracker.ids == [0, 1]
    assert sum(one != other for one, other in zip(sides, sides[1:], strict=False)) == 1


@pytest.mark.parametrize(("confidence", "looks"), [(0.5, (3, 5)), (1.0, (1, 3))])
def test_what_the_landmark_model_does_not_see_is_no_hand(
    open_mano: ManoArrays, confidence: float, looks: tuple[int, int]
) -> None:
    """It is asked twice a second, and once a second about a hand that is sure of its fit."""
    world = World(open_mano, [WorldHand(True, [0, 0, 0.5])])
    world.confidence = confidence
    tracker = HandTracker(world, max_hands=1, K=K)
    move(tracker, world, 61)
    assert looks[0] <= world.looks <= looks[1] and tracker.ids == [0]
    world.sees = False
    frames = move(tracker, world, 40, 61)
    assert [] in frames and 0 not in tracker.ids


def test_tracks_on_one_hand_become_one(open_mano: ManoArrays) -> None:
    world = World(open_mano, [WorldHand(True, [0, 0, 0.5]), WorldHand(True, [0.005, 0, 0.5])])
    assert len(HandTracker(world, K=K).step(IMAGE, 0.0)) == 1


@pytest.mark.parametrize("is_right", [True, False])
def test_smoothing_halves_the_jitter_and_hardly_lags(open_mano: ManoArrays, is_right: bool) -> None:
    count, path = 150, sway(150)
    jitter, errors = {}, {}
    for smoothing in (False, True):
        world = World(open_mano, [WorldHand(is_right, [0, 0, 0.5])], noise=0.03)
        tracker = HandTracker(world, smoothing=smoothing, max_hands=1, K=K)
        still = np.array([hands[0].joints for hands in move(tracker, world, count, path=np.tile(path[:1], (count, 1)))])
        jitter[smoothing] = np.diff(still[30:], 2, axis=0).std()
        moving = np.array([hands[0].joints[9] for hands in move(tracker, world, count, count, path)])
        errors[smoothing] = np.abs(moving - moving[0] - (path - path[0]))[10:, 0].mean()
    assert jitter[True] < 0.4 * jitter[False]
    # The hand sways at up to half a metre a second: 15 ms of lag are 7.5 mm at most, 5 on average.
    assert errors[True] < errors[False] + 0.005


def test_a_filtered_hand_still_is_the_models(open_mano: ManoArrays) -> None:
    for is_right in (True, False):
        world = World(open_mano, [WorldHand(is_right, [0, 0, 0.5])], noise=0.05)
        for (hand,) in move(HandTracker(world, max_hands=1, K=K), world, 5):
            vertices, joints = HandModel(open_mano).pose(is_right, hand.global_orient, hand.hand_pose, hand.betas)
            assert np.abs(vertices + hand.translation - hand.vertices).max() < 1e-5
            assert np.abs(joints + hand.translation - hand.joints).max() < 1e-5


def test_another_picture_size_starts_anew(open_mano: ManoArrays) -> None:
    world = World(open_mano, [WorldHand(True, [0, 0, 0.5])])
    tracker = HandTracker(world, K=K)
    tracker.step(IMAGE, 0.0)
    tracker.step(np.zeros((240, 320, 3), np.uint8), 1.0)
    assert world.searches == 2


def test_a_measured_hand_moves_away_as_it_grows(open_mano: ManoArrays) -> None:
    depths = {}
    for length_m in (None, 0.2, 0.1):
        world = World(open_mano, [WorldHand(True, [0.1, 0, 0.5])])
        (hand,) = move(HandTracker(world, max_hands=1, K=K, hand_length_m=length_m), world, 5)[-1]
        depths[length_m] = float(hand.joints[9, 2])
        assert np.abs(project_points(hand.joints, K) - hand.keypoints_2d).max() < 1
    assert depths[0.2] == pytest.approx(2 * depths[0.1], rel=1e-4) and depths[None] != depths[0.2]


def test_a_calibrated_cameras_frames_are_undistorted_and_its_matrix_used(open_mano: ManoArrays) -> None:
    camera = CameraCalibration(K, np.array([-0.2, 0.05, 0, 0]), (WIDTH, HEIGHT))
    image = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    items = [SourceFrame(i / RATE, image) for i in range(3)]
    source = type("Frames", (), {"is_photos": False, "__iter__": lambda self: iter(items)})()
    tracker = HandTracker(World(open_mano, [WorldHand(True, [0, 0, 0.5])]), camera=camera)
    for frame in tracker.run(source):
        assert np.array_equal(frame.image, camera.undistort(image)) and "undistort" in frame.stages_ms
        assert np.allclose(frame.hands[0].K, K)
    with pytest.raises(HandMeshError, match="got two"):
        HandTracker(World(open_mano, []), K=K, camera=camera)


def test_the_search_leaves_followed_hands_alone(open_mano: ManoArrays) -> None:
    world = World(open_mano, [WorldHand(True, [-0.25, 0, 0.5])])
    tracker = HandTracker(world, max_hands=2, K=K)
    move(tracker, world, 10)
    assert world.offered == 1
    world.hands.append(WorldHand(False, [0.25, 0, 0.5]))
    move(tracker, world, 30, 10)
    assert world.offered == 2 and tracker.ids == [0, 1]


def test_a_fast_hand_is_led_by_its_velocity(open_mano: ManoArrays) -> None:
    world = World(open_mano, [WorldHand(True, [0, 0, 0.5])])
    tracker = HandTracker(world, smoothing=False, max_hands=1, K=K)
    # A metre a second, half a box side between frames at 10 frames a second.
    for i in range(9):
        world.hands[0].position = np.array([-0.2 + 0.05 * i, 0, 0.6])
        (hand,) = tracker.step(IMAGE, i / 10)
        assert np.abs(hand.translation - world.hands[0].position).max() < 0.01
    assert tracker.ids == [0] and world.searches == 1


def test_a_step_names_what_it_cannot_take(open_mano: ManoArrays) -> None:
    world = World(open_mano, [WorldHand(True, [0, 0, 0.5])])
    tracker = HandTracker(world, K=K)
    for image, time_s in ((IMAGE[:0], 0.0), (IMAGE.astype(float), 0.0), (None, 0.0), (IMAGE, np.nan), (IMAGE, np.inf)):
        with pytest.raises(HandMeshError, match="expected"):
            tracker.step(image, time_s)  # type: ignore[arg-type]
    for words in ({"max_hands": 0}, {"hand_length_m": 18.5}):
        with pytest.raises(HandMeshError, match="expected"):
            HandTracker(world, K=K, **words)


def test_frames_may_be_arrays_or_anything_with_an_image_and_a_time(open_mano: ManoArrays) -> None:
    world = World(open_mano, [WorldHand(True, [0, 0, 0.5])])
    tracker = HandTracker(world, K=K)
    arrays = list(tracker.run((IMAGE for _ in range(3)), fps=10))
    assert [frame.timestamp_s for frame in arrays] == [0.0, 0.1, 0.2] and all(len(frame.hands) == 1 for frame in arrays)
    again = list(tracker.run(arrays))
    assert [frame.timestamp_s for frame in again] == [0.0, 0.1, 0.2]
    assert np.array_equal(again[2].hands[0].vertices, arrays[2].hands[0].vertices)
    assert "Frame(0.200 s, 640 x 480, hands=[Hand(right" in repr(again[2])
    for source, word in (([1, 2], "int"), (3.5, "float"), ([], "")):
        if word:
            with pytest.raises(HandMeshError, match=word):
                list(tracker.run(source))  # type: ignore[arg-type]
        else:
            assert list(tracker.run(source)) == []  # type: ignore[arg-type]
    with pytest.raises(HandMeshError, match="above 0"):
        list(tracker.run([IMAGE], fps=0))
@pytest.mark.parametrize("max_hands", [0, -1])
def test_following_no_hands_is_no_setting(fake_mano: ManoArrays, max_hands: int) -> None:
    with pytest.raises(HandMeshError, match="max_hands of 1 or more"):
        HandTracker(World(fake_mano, []), max_hands=max_hands)


@pytest.mark.parametrize("min_score", [-0.1, 1.5, float("nan")])
def test_a_score_that_is_none_is_no_setting(fake_mano: ManoArrays, min_score: float) -> None:
    with pytest.raises(HandMeshError, match="min_score between 0 and 1"):
        HandTracker(World(fake_mano, []), min_score=min_score)


def test_a_hand_below_the_least_score_is_followed_and_not_given(open_mano: ManoArrays) -> None:
    world = World(open_mano, [WorldHand(True, [0, 0, 0.5])])
    tracker = HandTracker(world, K=K, min_score=0.96)
    assert all(hands == [] for hands in move(tracker, world, 5)) and tracker.ids == []
    tracker.min_score = 0.9
    assert [len(hands) for hands in move(tracker, world, 2, start=5)] == [1, 1] and tracker.ids == [0]
    assert world.searches < 7, "it was not looked for again"


@pytest.mark.parametrize("timestamp_s", [float("nan"), float("inf"), -float("inf")])
def test_a_time_that_is_none_is_refused(fake_mano: ManoArrays, timestamp_s: float) -> None:
    with pytest.raises(HandMeshError, match="time in seconds"):
        HandTracker(World(fake_mano, []), K=K).step(IMAGE, timestamp_s)


def test_times_that_stand_still_or_fall_are_survived(fake_mano: ManoArrays) -> None:
    tracker = HandTracker(World(fake_mano, [WorldHand(True, (0, 0, 0.6))]), K=K)
    for timestamp_s in (0.0, 0.1, 0.1, 0.05, -5.0, 1e12, 0.2):
        for hand in tracker.step(IMAGE, timestamp_s):
            assert np.isfinite(hand.vertices).all() and np.isfinite(hand.keypoints_2d).all()


def test_a_run_taken_up_in_the_middle_gives_what_one_run_gives(open_mano: ManoArrays) -> None:
    def world() -> tuple[World, list[WorldHand]]:
        hands = [WorldHand(True, [-0.12, 0, 0.6]), WorldHand(False, [0.12, 0, 0.6])]
        return World(open_mano, hands), hands

    class Clip:
        """Forty frames in which hands move and one is hidden for a moment; it moves them as it is read."""

        description, is_live, is_photos, fps = "clip", False, False, RATE

        def __init__(self, hands: list[WorldHand]) -> None:
            self.hands = hands

        def __iter__(self) -> Iterator[SourceFrame]:
            for index in range(40):
                for number, hand in enumerate(self.hands):
                    hand.position = np.array([(-0.12, 0.12)[number] + 0.003 * index, 0.002 * index, 0.6])
                    hand.is_visible = number == 0 or not 17 <= index < 19
                    hand.says_right = 0.9 if number == 0 else 0.6  # in doubt, so that votes matter
                yield SourceFrame(index / RATE, IMAGE)

        def close(self) -> None: ...

    predictor, hands = world()
    whole = HandTracker(predictor, smoothing=False)
    states, frames = [], []
    for frame in whole.run(Clip(hands)):
        frames.append(frame)
        states.append(json.dumps(whole.state()))
    for cut in (1, 18, 25):
        predictor, hands = world()
        state = json.loads(states[cut - 1])
        rest = list(HandTracker(predictor, smoothing=False).run(Clip(hands), skip=cut, state=state))
        assert len(rest) == 40 - cut
        for one, other in zip(frames[cut:], rest, strict=True):
            assert one.ids == other.ids and one.timestamp_s == other.timestamp_s
            for hand, again in zip(one.hands, other.hands, strict=True):
                assert hand.track_id == again.track_id and hand.is_right == again.is_right
                np.testing.assert_array_equal(hand.vertices, again.vertices)
                np.testing.assert_array_equal(hand.keypoints_2d, again.keypoints_2d)
    with pytest.raises(HandMeshError, match=r"part\.jsonl"):
        list(HandTracker(predictor).run(Clip(hands), skip=1, state={"size": [1]}))
