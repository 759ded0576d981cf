"""Laws of the predictor with fake engines: truth comes back from its crops, mirrored pictures give mirrored hands."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from handmesh.config import Config, ModelConfig, TrainConfig
from handmesh.detection.nms import drop_repeats
from handmesh.errors import HandMeshError
from handmesh.geometry.camera import DEFAULT_FOV_DEG, intrinsics_from_fov, project_points
from handmesh.geometry.crop import CropSettings, CropTransform, box_around, mirror_pose, roll_of
from handmesh.geometry.rotation import axis_angle_to_matrix_np
from handmesh.inference.alignment.placement import resize_hand, with_mesh
from handmesh.inference.engines.base import EngineOutput
from handmesh.inference.predictor import HandMeshPredictor
from handmesh.inference.same_hand import is_same_hand
from handmesh.inference.stage_clock import StageClock
from handmesh.inference.tracking.tracker import HandTracker
from handmesh.inference.views import Views
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.hand_model import HandModel
from handmesh.mano.layers.layer import ManoLayer
from handmesh.models.checkpoint import save_checkpoint
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.results import Detection, Hand

WIDTH, HEIGHT = 320, 240
K = intrinsics_from_fov(WIDTH, HEIGHT, 60)


class FakeDetector:
    """Finds what it was told."""

    def __init__(self, places: list[Detection] | None = None) -> None:
        self.places = places or []

    def detect(self, image: np.ndarray, max_hands: int | None = None) -> list[Detection]:
        return self.places

    def study(self, image: np.ndarray, place: Detection) -> Detection:
        return place


class Truth:
    """A known hand before a known camera."""

    def __init__(self, model: HandModel, is_right: bool, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.is_right = is_right
        self.global_orient = axis_angle_to_matrix_np(rng.normal(0, 1, 3))
        self.hand_pose = axis_angle_to_matrix_np(rng.normal(0, 0.3, (15, 3)))
        self.betas = rng.normal(0, 1, 10)
        self.translation = np.array([0.05, -0.04, 0.5])
        vertices, joints = model.pose(is_right, self.global_orient, self.hand_pose, self.betas)
        self.vertices, self.joints = vertices + self.translation, joints + self.translation
        self.keypoints_2d = project_points(self.joints, K)

    def place(self, side: bool | None = None) -> Detection:
        return Detection(box_around(self.keypoints_2d), side, 1.0, roll_of(self.keypoints_2d))


class OracleEngine:
    """What an OraclePredictor runs."""

    name = "oracle"

    def __init__(self, predictor: OraclePredictor) -> None:
        self.any_size, self.predictor = predictor.any_size, predictor

    def __call__(self, images: np.ndarray) -> EngineOutput:
        return self.predictor.answer(images)


class OraclePredictor(HandMeshPredictor):
    """A predictor whose engine knows the truth: it writes it down in the frame of each crop it is asked about.

    ``right`` is what it says of a crop that shows a right hand, and of one that shows a left one.
    """

    right = (0.9, 0.1)

    def __init__(self, mano: ManoArrays, truth: Truth, crop: CropSettings, any_size: bool = True) -> None:
        self.truth, self.crops, self.sizes, self.any_size = truth, list[CropTransform](), list[int](), any_size
        super().__init__(OracleEngine(self), mano, crop, FakeDetector([truth.place()]))

    def view_crops(self, crops: Sequence[CropTransform], views: Views) -> list[list[CropTransform]]:
        groups = super().view_crops(crops, views)
        self.crops = [view for group in groups for view in group]
        return groups

    def answer(self, images: np.ndarray) -> EngineOutput:
        self.sizes.append(images.shape[1])
        asked = [crop for crop in self.crops if crop.size == images.shape[1]]
        self.crops = [crop for crop in self.crops if crop.size != images.shape[1]]
        return stack([self._row(crop) for crop in asked])

    def _row(self, crop: CropTransform) -> EngineOutput:
        truth = self.truth
        is_shown_right = truth.is_right != crop.is_mirrored
        pose = truth.hand_pose if is_shown_right and truth.is_right else mirror_pose(truth.hand_pose)
        rotations = np.concatenate([crop.apply_rotation(truth.global_orient)[None], pose])
        if is_shown_right:
            # The network's vertices come from the model itself, turned about the rest wrist.
            vertices, joints = self.model.pose(True, rotations[0], rotations[1:], truth.betas)
        else:
            vertices, joints = crop.apply_points_3d(truth.vertices), crop.apply_points_3d(truth.joints)
        return answer(
            vertices, joints, rotations, truth.betas, crop.apply_points_2d(truth.keypoints_2d),
            is_right=self.right[not is_shown_right],
        )  # fmt: skip


def answer(
    vertices: np.ndarray, joints: np.ndarray, rotations: np.ndarray, betas: np.ndarray, keypoints: np.ndarray,
    is_right: float = 0.9, presence: float = 0.9,
) -> EngineOutput:  # fmt: skip
    parts = (vertices, joints, rotations, betas, np.array([5.0, 0, 0]), keypoints, np.ones(21), presence, is_right)
    return EngineOutput(*(np.asarray(part, np.float32) for part in parts))


def stack(rows: list[EngineOutput]) -> EngineOutput:
    return EngineOutput(*(np.stack(parts) for parts in zip(*rows, strict=True)))


def colour_engine(model: HandModel) -> Callable[[np.ndarray], EngineOutput]:
    """A network of sorts: parameters are fixed linear functions of the crop's pixels."""
    rng = np.random.default_rng(7)
    weights = rng.normal(0, 1, (48, 16 * 3 + 10 + 42))

    def run(images: np.ndarray) -> EngineOutput:
        rows = []
        for image in images:
            cells = (
                image.reshape(4, image.shape[0] // 4, 4, image.shape[1] // 4, 3).mean((1, 3)).reshape(-1) / 255 - 0.5
            )
            numbers = cells @ weights
            rotations = axis_angle_to_matrix_np(numbers[:48].reshape(16, 3) * 0.3)
            betas = numbers[48:58]
            vertices, joints = model.pose(True, rotations[0], rotations[1:], betas)
            size = image.shape[0]
            keypoints = size / 2 * (1 + 6 * joints[:, :2]) + numbers[58:].reshape(21, 2)
            rows.append(answer(vertices, joints, rotations, betas, keypoints, is_right=0.5 + 0.1 * np.tanh(numbers[0])))
        return stack(rows)

    return run


def picture(seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (HEIGHT // 20, WIDTH // 20, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((20, 20, 1), np.uint8))


def assert_model_gives_vertices(hand: Hand, mano: ManoArrays) -> None:
    """The law of the result: the (mirrored, for a left hand) model's vertices plus translation are the vertices."""
    flip = torch.diag(torch.tensor([1.0 if hand.is_right else -1.0, 1.0, 1.0]))
    turn, pose = (torch.from_numpy(np.array(part)) for part in (hand.global_orient, hand.hand_pose))
    vertices, joints = ManoLayer(mano)(
        (flip @ turn @ flip)[None], (flip @ pose @ flip)[None], torch.from_numpy(np.array(hand.betas))[None]
    )
    assert np.abs((vertices[0] @ flip).numpy() + hand.translation - hand.vertices).max() < 1e-5
    assert np.abs((joints[0] @ flip).numpy() + hand.translation - hand.joints).max() < 1e-5


@pytest.mark.parametrize("is_right", [True, False])
@pytest.mark.parametrize("perspective", [True, False])
@pytest.mark.parametrize("knows_side", [True, False])
def test_truth_comes_back(open_mano: ManoArrays, is_right: bool, perspective: bool, knows_side: bool) -> None:
    for seed in range(3):
        truth = Truth(HandModel(open_mano), is_right, seed)
        predictor = OraclePredictor(open_mano, truth, CropSettings(64, 1.5, perspective))
        if knows_side:
            predictor.detector.places = [truth.place(is_right)]  # type: ignore[attr-defined]
        (hand,) = predictor(picture(), K=K)
        assert hand.is_right == is_right
        # A plain cut-out off the axis keeps the camera's direction, so nothing but the arithmetic is lost.
        assert np.abs(hand.vertices - truth.vertices).max() < 2e-4
        assert np.abs(hand.keypoints_2d - truth.keypoints_2d).max() < 1e-2
        assert np.abs(hand.global_orient - truth.global_orient).max() < 1e-5
        assert np.abs(hand.hand_pose - truth.hand_pose).max() < 1e-5
        assert np.abs(hand.translation - truth.translation).max() < 2e-4
        assert_model_gives_vertices(hand, open_mano)


@pytest.mark.parametrize("is_right", [True, False])
def test_a_side_that_the_network_is_sure_is_wrong_is_mended_unless_it_was_told(
    open_mano: ManoArrays, is_right: bool
) -> None:
    truth = Truth(HandModel(open_mano), is_right)
    predictor = OraclePredictor(open_mano, truth, CropSettings(64, 1.5))
    predictor.detector.places = [truth.place(not is_right)]  # type: ignore[attr-defined]
    (hand,) = predictor(picture(), K=K)
    assert hand.is_right == is_right and np.abs(hand.vertices - truth.vertices).max() < 2e-4
    for words in ({}, {"boxes": truth.place().box_xyxy}):
        (hand,) = predictor(picture(), K=K, is_right=not is_right, **words)
        assert hand.is_right != is_right


@pytest.mark.parametrize("boxes", [False, True])
def test_a_side_that_nobody_named_is_what_both_looks_favour(open_mano: ManoArrays, boxes: bool) -> None:
    truth = Truth(HandModel(open_mano), True)
    predictor = OraclePredictor(open_mano, truth, CropSettings(64, 1.5))
    predictor.right = (0.15, 0.05)  # as a right hand it looks unlikely, as a left one more so
    box, roll = truth.place().box_xyxy, truth.place().rotation_deg
    predictor.detector.places = [Detection(box, None, 1.0, roll)]  # type: ignore[attr-defined]
    (hand,) = predictor(picture(), box if boxes else None, K=K)
    assert hand.is_right


def sizes_seen(mano: ManoArrays, crop: CropSettings, any_size: bool = True) -> tuple[list[int], list[int]]:
    """Sizes of the crops of a still, where the hand is looked for and in its views; the truth comes back."""
    truth = Truth(HandModel(mano), True)
    predictor = OraclePredictor(mano, truth, crop, any_size)
    (hand,) = predictor(picture(), K=K)
    assert np.abs(hand.vertices - truth.vertices).max() < 2e-4
    assert np.abs(hand.keypoints_2d - truth.keypoints_2d).max() < 1e-2
    return predictor.sizes[:1], sorted(predictor.sizes[1:])


def test_a_hand_is_seen_at_the_sizes_for_which_the_picture_has_the_pixels(open_mano: ManoArrays) -> None:
    truth = Truth(HandModel(open_mano), True)
    source = CropSettings(64, 1.5).crop(truth.place().box_xyxy, K, truth.place().rotation_deg).source_size
    fit, much, too_much = (32 * round(source * share / 32) for share in (0.5, 1.0, 1.5))
    assert much * 0.8 <= source < min(too_much * 0.8, much * 1.5)  # what follows is said of such a hand
    sizes = (fit, much, too_much)
    assert sizes_seen(open_mano, CropSettings(much, 1.5, sizes=sizes)) == ([much], [fit, much])
    # One look is no larger than the network's own size; of too few pixels none is magnified.
    assert sizes_seen(open_mano, CropSettings(fit, 1.5, sizes=sizes)) == ([fit], [fit, much])
    large = CropSettings(too_much, 1.5, sizes=(too_much, 2 * too_much))
    assert sizes_seen(open_mano, large) == ([too_much], [too_much])


def test_an_engine_of_one_size_gets_no_other(open_mano: ManoArrays) -> None:
    assert sizes_seen(open_mano, CropSettings(96, 1.5, sizes=(64, 96, 128)), any_size=False) == ([96], [96])


def test_a_predictor_may_see_hands_at_any_size_that_its_network_was_trained_at(
    open_mano: ManoArrays, tmp_path: Path
) -> None:
    config = Config(model=ModelConfig(image_size=64, width=16), train=TrainConfig(image_sizes=[64, 96]))
    save_checkpoint(tmp_path / "net", HandMeshNet(config.model, open_mano), config)
    words = {"engine": "torch", "device": "cpu", "detector": "fastvit"}
    own, larger = (HandMeshPredictor.from_pretrained(tmp_path / "net", crop_size=size, **words) for size in (0, 96))
    assert own.crop.image_size == 64 and larger.crop.image_size == 96
    assert pickle.loads(pickle.dumps(larger)).crop == larger.crop
    place = np.array([60.0, 40, 180, 160])
    for predictor, size in ((own, 64), (larger, 96)):
        seen = list[int]()
        run = predictor.engine
        predictor.engine = lambda images, seen=seen, run=run: seen.append(images.shape[1]) or run(images)  # type: ignore[assignment,func-returns-value]
        predictor.views = ()
        predictor(picture(), boxes=place, is_right=True, K=K)
        assert set(seen) == {size}
    with pytest.raises(HandMeshError, match="64 or 96 pixels, got 128"):
        HandMeshPredictor.from_pretrained(tmp_path / "net", crop_size=128, **words)


def test_a_place_that_is_known_roughly_is_cropped_anew_around_the_first_estimate(open_mano: ManoArrays) -> None:
    truth = Truth(HandModel(open_mano), True)
    rough = Detection(truth.place().box_xyxy + [9, 4, 15, 10], True, 1.0, truth.place().rotation_deg + 40)
    for place, count in ((rough, 2), (dataclasses.replace(rough, keypoints_2d=truth.keypoints_2d), 1)):
        predictor, seen = OraclePredictor(open_mano, truth, CropSettings(64, 1.5)), list[CropTransform]()
        make_crop = predictor.make_crop
        predictor.make_crop = lambda *words, m=make_crop, s=seen: s.append(m(*words)) or s[-1]  # type: ignore[method-assign,func-returns-value]
        predictor.detector.places = [place]  # type: ignore[attr-defined]
        predictor(picture(), K=K)
        assert len(seen) == count
        upright = abs(roll_of(seen[-1].apply_points_2d(truth.keypoints_2d)))
        assert upright < 2 if count == 2 else upright > 20


def colour_predictor(mano: ManoArrays, places: list[Detection]) -> HandMeshPredictor:
    engine = colour_engine(HandModel(mano))
    return HandMeshPredictor(engine, mano, CropSettings(64, 1.4), FakeDetector(places))  # type: ignore[arg-type]


def first_normal(hand: Hand) -> np.ndarray:
    a, b, c = hand.vertices[hand.faces[0]]
    return np.cross(b - a, c - a)


@pytest.mark.parametrize("side", [True, False, None])
def test_a_mirrored_picture_gives_mirrored_hands(open_mano: ManoArrays, side: bool | None) -> None:
    box, roll = np.array([90.0, 60, 210, 190]), 25.0
    mirrored_box = np.array([WIDTH - box[2], box[1], WIDTH - box[0], box[3]])
    mirrored_side = None if side is None else not side
    (hand,) = colour_predictor(open_mano, [Detection(box, side, 1.0, roll)])(picture(), K=K)
    mirrored_image = np.ascontiguousarray(picture()[:, ::-1])
    (other,) = colour_predictor(open_mano, [Detection(mirrored_box, mirrored_side, 1.0, -roll)])(mirrored_image, K=K)
    flip = np.array([-1, 1, 1])
    assert hand.is_right is not other.is_right
    assert np.abs(hand.vertices * flip - other.vertices).max() < 1e-3
    assert np.abs((WIDTH - 1 - hand.keypoints_2d[:, 0]) - other.keypoints_2d[:, 0]).max() < 0.5
    assert np.abs(mirror_pose(hand.hand_pose) - other.hand_pose).max() < 1e-2
    for each in (hand, other):
        assert_model_gives_vertices(each, open_mano)
    normal, mirrored_normal = (first_normal(each) for each in (hand, other))
    assert np.dot(normal * flip, mirrored_normal) > 0  # outward stays outward


def test_the_camera_scales_distance_not_pixels(open_mano: ManoArrays) -> None:
    box = np.array([[100.0, 60, 220, 180]])
    predictor = colour_predictor(open_mano, [])
    near, far = (predictor(picture(), box, [True], fov_deg=fov)[0] for fov in (60.0, 30.0))
    assert np.abs(near.keypoints_2d - far.keypoints_2d).max() < 2
    ratio = (far.joints[:, 2].mean() / near.joints[:, 2].mean()) / (far.K[0, 0] / near.K[0, 0])
    assert 0.85 < ratio < 1.15
    (default,) = predictor(picture(), box, [True])
    assert np.allclose(default.K, intrinsics_from_fov(WIDTH, HEIGHT, DEFAULT_FOV_DEG))


def test_boxes_keep_their_order_and_number(open_mano: ManoArrays) -> None:
    predictor = colour_predictor(open_mano, [])
    boxes = np.array([[10.0, 10, 90, 90], [150, 60, 250, 160], [10.0, 10, 90, 90]])
    hands = predictor(picture(), boxes, [True, False, None])
    assert [hand.is_right for hand in hands[:2]] == [True, False] and len(hands) == 3
    alone = predictor(picture(), boxes[1:2], [False])[0]
    assert np.allclose(alone.vertices, hands[1].vertices, atol=1e-6)
    assert predictor(picture(), np.zeros((0, 4))) == [] and predictor(picture()) == []


def test_absent_hands_and_duplicates_are_left_out(open_mano: ManoArrays) -> None:
    box = np.array([100.0, 60, 220, 180])
    places = [Detection(box, True, 0.9), Detection(box + 2, True, 0.8), Detection(box - [90, 50, 90, 50], True, 0.7)]
    predictor = colour_predictor(open_mano, places)
    hands = predictor(picture())
    assert drop_repeats(hands, is_same_hand) == hands and 1 <= len(hands) <= 3
    predictor.presence_threshold = 0.95
    assert predictor(picture()) == []


def test_wrong_arguments_are_named(open_mano: ManoArrays) -> None:
    predictor = colour_predictor(open_mano, [])
    for words, named in (
        ({"image": picture().astype(np.float32)}, "read_image"), ({"image": picture()[..., 0]}, "read_image"),
        ({"image": 5}, "read_image"), ({"image": picture()[:0]}, "320 x 0"), ({"image": "no.jpg"}, "no such file"),
        ({"boxes": [[10, 10, 5, 5]]}, "x0 < x1"),
        ({"boxes": [[0.0, 0, 9, 9]] * 2, "is_right": [True]}, "2 boxes, got 1"),
        ({"K": np.zeros((3, 3))}, "focal"), ({"fov_deg": np.nan}, "180"), ({"hand_length_m": 18.5}, "0.185"),
        ({"hand_length_m": np.nan}, "metres"), ({"is_right": [True]}, "give boxes"),
        ({"image": [picture()], "boxes": [1, 2]}, "1 of them, got 2"),
    ):  # fmt: skip
        with pytest.raises(HandMeshError, match=named):
            predictor(**{"image": picture(), **words})  # type: ignore[arg-type]


def same(hands: list[Hand], others: list[Hand]) -> bool:
    return [hand.to_dict() for hand in hands] == [hand.to_dict() for hand in others]


def test_a_list_of_pictures_gives_what_each_alone_gives(open_mano: ManoArrays, tmp_path: Path) -> None:
    predictor = colour_predictor(open_mano, [Detection(np.array([90.0, 60, 210, 190]), True, 1.0)])
    pictures = [picture(0), picture(1), picture(2)]
    for together in (predictor(pictures), predictor(tuple(pictures))):
        assert all(same(hands, predictor(one)) for hands, one in zip(together, pictures, strict=True))
    assert predictor([]) == []
    boxes = [np.array([10.0, 10, 90, 90]), None, np.array([[20.0, 10, 90, 90], [100, 60, 200, 160]])]
    sides = [True, None, [False, None]]
    for hands, one, box, side in zip(predictor(pictures, boxes, sides), pictures, boxes, sides, strict=True):
        assert same(hands, predictor(one, box, side))


def test_a_picture_may_be_an_array_a_path_or_a_pillow_image(open_mano: ManoArrays, tmp_path: Path) -> None:
    predictor = colour_predictor(open_mano, [Detection(np.array([90.0, 60, 210, 190]), True, 1.0)])
    expected = predictor(picture())
    pillow = Image.fromarray(picture())
    pillow.save(tmp_path / "a.png")
    assert same(predictor(pillow), expected) and same(predictor(tmp_path / "a.png"), expected)
    assert same(predictor(str(tmp_path / "a.png")), expected) and same(predictor(pillow.convert("RGBA")), expected)
    turned = Image.fromarray(np.rot90(picture()))
    turned.getexif()[0x0112] = 6
    assert same(predictor(turned), expected)


def test_one_box_and_one_side_are_enough(open_mano: ManoArrays) -> None:
    predictor = colour_predictor(open_mano, [Detection(np.array([90.0, 60, 210, 190]), True, 1.0)] * 2)
    box = [90.0, 60, 210, 190]
    assert same(predictor(picture(), box, True), predictor(picture(), [box], [True]))
    assert all(not hand.is_right for hand in predictor(picture(), is_right=False))
    for size in ((1, 1), (1, 300), (300, 1), (2, 2)):
        predictor(np.zeros((*size, 3), np.uint8))


def test_only_what_can_be_loaded_again_is_pickled(open_mano: ManoArrays, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="from_pretrained"):
        pickle.dumps(colour_predictor(open_mano, []))
    monkeypatch.setattr(HandMeshPredictor, "_load", lambda *words, **_: colour_predictor(open_mano, []))
    predictor = HandMeshPredictor.from_pretrained("default", engine="torch", threads=3)
    predictor.presence_threshold = 0.7
    asked: list[object] = []
    monkeypatch.setattr(
        HandMeshPredictor, "_load", lambda *words, **_: (asked.extend(words), colour_predictor(open_mano, []))[1]
    )
    copy = pickle.loads(pickle.dumps(predictor))
    assert "torch" in asked and 3 in asked and copy.presence_threshold == 0.7


@pytest.mark.parametrize("is_right", [True, False])
def test_a_measured_hand_is_seen_where_it_was_at_its_true_size(open_mano: ManoArrays, is_right: bool) -> None:
    box = np.array([[100.0, 60, 220, 180]])
    predictor = colour_predictor(open_mano, [Detection(box[0], is_right, 0.9)])
    guessed, measured = (predictor(picture(), box, [is_right], K, hand_length_m=m)[0] for m in (None, 0.21))
    factor = 0.21 / predictor.model.length(guessed.betas)
    assert guessed.scale == 1.0 and measured.scale == pytest.approx(factor, rel=1e-5) and abs(factor - 1) > 0.05
    np.testing.assert_allclose(measured.joints, guessed.joints * factor, rtol=1e-5)
    np.testing.assert_allclose(measured.keypoints_2d, guessed.keypoints_2d)
    for before, after in ((guessed.vertices, measured.vertices), (guessed.joints, measured.joints)):
        np.testing.assert_allclose(project_points(after, K), project_points(before, K), atol=1e-2)
    vertices, _ = predictor.model.pose(is_right, measured.global_orient, measured.hand_pose, measured.betas)
    np.testing.assert_allclose(measured.scale * vertices + measured.translation, measured.vertices, atol=1e-5)
    for hand in predictor(picture(), K=K, hand_length_m=0.21):
        assert hand.scale * predictor.model.length(hand.betas) == pytest.approx(0.21, rel=1e-5)
        assert resize_hand(hand, 0.21, predictor.model).scale == pytest.approx(hand.scale)


@pytest.mark.parametrize("length_m", [0, -0.1, 18.5, float("nan"), float("inf"), 0.079])
def test_a_length_that_no_hand_has_is_refused(fake_mano: ManoArrays, length_m: float) -> None:
    predictor = HandMeshPredictor(None, fake_mano, CropSettings(), FakeDetector())  # type: ignore[arg-type]
    with pytest.raises(HandMeshError, match="hand length between 0.08 and 0.26 metres"):
        predictor(np.zeros((HEIGHT, WIDTH, 3), np.uint8), hand_length_m=length_m)
    with pytest.raises(HandMeshError, match="hand length"):
        HandTracker(predictor, hand_length_m=length_m)


@pytest.mark.parametrize(
    "box", [(10, 10, 10.4, 10.4), (10, 10, 100, 12), (1000, 0, 1100, 50), (-90, 0, -5, 50), (-1e9, -1e9, 1e9, 1e9)]
)
def test_a_box_with_nothing_to_see_in_it_is_refused(fake_mano: ManoArrays, box: tuple[float, ...]) -> None:
    predictor = HandMeshPredictor(None, fake_mano, CropSettings(), FakeDetector())  # type: ignore[arg-type]
    with pytest.raises(HandMeshError, match="boxes .* in a picture of 320 x 240"):
        predictor(np.zeros((HEIGHT, WIDTH, 3), np.uint8), boxes=[np.array(box)])


@pytest.mark.parametrize("padding", [0.0, -1.0, 99.0, float("nan")])
def test_a_crop_that_shows_no_hand_is_no_setting(padding: float) -> None:
    with pytest.raises(ValueError, match="padding 1 to 4"):
        CropSettings(128, padding)


@pytest.mark.parametrize("side", [True, False])
def test_a_hand_whose_mesh_comes_later_is_the_same_hand(open_mano: ManoArrays, side: bool) -> None:
    # Aligned and not, of any crop: parameters and translation say where the vertices are.
    model = HandModel(open_mano)
    predictor = HandMeshPredictor(colour_engine(model), open_mano, CropSettings(64), FakeDetector())  # type: ignore[arg-type]
    place = Detection(np.array([40.0, 30, 150, 140]), side, 0.9, 20.0)
    for align in (True, False):
        predictor.align = align
        (whole,), (bare,) = (
            predictor.predict_places(picture(), K, [place], mesh=mesh)
            for mesh in (True, False)
        )
        assert bare.hand.vertices.shape == (0, 3) and with_mesh(whole.hand, model) is whole.hand
        late = with_mesh(bare.hand, model)
        for name in ("vertices", "joints", "translation", "betas", "hand_pose", "keypoints_2d"):
            np.testing.assert_allclose(getattr(late, name), getattr(whole.hand, name), atol=5e-6)


def test_masks_come_when_asked_for(open_mano: ManoArrays) -> None:
    predictor = colour_predictor(open_mano, [])
    boxes = np.array([[90.0, 60, 210, 190]])
    assert predictor(picture(), boxes)[0].mask is None

    class Segmenter:
        def segment(self, image: np.ndarray) -> np.ndarray:
            return np.ones(image.shape[:2], np.float32)

    predictor.segmenter = Segmenter()  # type: ignore[assignment]
    clock = StageClock()
    hand = predictor(picture(), boxes, clock=clock, masks=True)[0]
    assert hand.mask is not None and hand.mask.shape == picture().shape[:2] and "segment" in clock.stages_ms
    inside = [each for each in predictor([picture()] * 2, [boxes] * 2, masks=True) if each[0].mask is not None]
    assert len(inside) == 2
