"""Our detector: every engine says the same, hands come back in the picture's pixels, each pixel is one hand's."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from handmesh.config import Config, ModelConfig
from handmesh.detection.grid_decoding import STRIDE
from handmesh.detection.tiling import Window, whole_window
from handmesh.errors import HandMeshError
from handmesh.inference.detectors.by_name import make_detector
from handmesh.inference.detectors.fastvit import FastVitDetector, with_masks
from handmesh.inference.detectors.joint import JointDetector
from handmesh.inference.engines.detector_engine import DetectorEngine
from handmesh.models.checkpoint import save_checkpoint
from handmesh.models.detector_net import HandDetectorNet
from handmesh.results import Detection, Hand


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: str) -> Path:
    torch.manual_seed(3)
    net = HandDetectorNet(ModelConfig(backbone=tiny_backbone, width=16))
    nn.init.normal_(net.out.weight, std=0.1)
    folder = tmp_path_factory.mktemp("detector")
    save_checkpoint(folder, net, Config(task="detector", model=net.config))
    return folder


class DiscEngine:
    """Sees every bright disc as an upright right hand of twice its breadth, and bright pixels as hand."""

    def hands(self, picture: np.ndarray) -> np.ndarray:
        import cv2

        height, width = picture.shape[:2]
        grid = np.zeros((8, height // STRIDE, width // STRIDE), np.float32)
        grid[3], grid[6] = 10, 1
        bright = (picture[..., 0] > 127).astype(np.uint8)
        for x, y, w, h, area in cv2.connectedComponentsWithStats(bright)[2][1:]:
            if area < 12:
                continue
            middle = np.array([x + w / 2, y + h / 2])
            column, row = (middle // STRIDE).astype(int)
            score = 0.9 if w > 10 else 0.6
            grid[:, row, column] = [score, *(middle / STRIDE - [column, row] - 0.5), 2 * max(w, h), 0.95, 0, 1, 0]
        return grid

    def mask(self, picture: np.ndarray) -> np.ndarray:
        return (picture[2::4, 2::4, 0] > 127).astype(np.float32)


@pytest.fixture
def detector(checkpoint: Path) -> FastVitDetector:
    detector = FastVitDetector(checkpoint)
    detector.engine = DiscEngine()  # type: ignore[assignment]
    return detector


def discs(width: int, height: int, *places: tuple[float, float, float]) -> np.ndarray:
    v, u = np.indices((height, width))
    image = np.zeros((height, width, 3), np.uint8)
    for x, y, radius in places:
        image[(u - x) ** 2 + (v - y) ** 2 < radius**2] = 255
    return image


NEEDS_ONNX = pytest.mark.skipif(
    find_spec("onnxruntime") is None or find_spec("onnxscript") is None, reason="needs the extra 'export'"
)


@pytest.mark.parametrize("name", ["openvino", "openvino-float32", pytest.param("onnx", marks=NEEDS_ONNX)])
def test_engines_say_the_same(checkpoint: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDMESH_HOME", str(tmp_path))
    reference, other = DetectorEngine(checkpoint, "torch"), DetectorEngine(checkpoint, name, threads=1)
    for shape in ((64, 96, 3), (96, 64, 3)):
        picture = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
        hands, mask = reference.hands(picture), reference.mask(picture)
        assert hands.shape == (8, shape[0] // 8, shape[1] // 8) and mask.shape == (shape[0] // 4, shape[1] // 4)
        np.testing.assert_allclose(other.hands(picture), hands, atol=2e-3, rtol=1e-3)
        np.testing.assert_allclose(other.mask(picture), mask, atol=2e-3)
        if name == "onnx":
            break  # a graph a size: one is enough
    if name.startswith("openvino"):  # the second time it comes from the cache, without the network
        again = DetectorEngine(checkpoint, name, threads=1)
        monkeypatch.setattr(again, "_graph", None)
        np.testing.assert_allclose(again.hands(picture), other.hands(picture), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (360, 640), (200, 200)])
def test_hands_come_back_where_they_are(detector: FastVitDetector, width: int, height: int) -> None:
    image = discs(width, height, (60, 70, 30), (150, 110, 24))
    for found in (detector.detect(image), detector.detect_quick(image, [whole_window(width, height)])):
        assert len(found) == 2 and all(hand.is_right is True for hand in found)
        middles = sorted(((hand.box_xyxy[:2] + hand.box_xyxy[2:]) / 2 - 0.5).tolist() for hand in found)
        np.testing.assert_allclose(middles, [[60, 70], [150, 110]], atol=2.5)
        sides = sorted(float(hand.box_xyxy[2] - hand.box_xyxy[0]) for hand in found)
        np.testing.assert_allclose(sides, [96, 120], atol=12)
    assert len(detector.detect(image, max_hands=1)) == 1 and detector.detect(np.zeros_like(image)) == []


def test_a_part_of_the_picture_is_searched_in_its_own_pixels(detector: FastVitDetector) -> None:
    image = discs(640, 480, (500, 400, 20), (60, 60, 20))
    found = detector.detect_quick(image, [Window(400, 300, 240)])
    assert len(found) == 1
    np.testing.assert_allclose((found[0].box_xyxy[:2] + found[0].box_xyxy[2:]) / 2 - 0.5, [500, 400], atol=2)
    assert detector.detect_quick(image, [Window(400, 300, 240)], lambda place: False) == []
    assert detector.detect_quick(image, [Window(700, 500, 100)]) == []


def test_windows_of_any_place_and_size_need_few_compiled_forms(checkpoint: Path) -> None:
    shapes = set()
    image = np.zeros((480, 640, 3), np.uint8)
    detector = FastVitDetector(checkpoint)

    def note(picture: np.ndarray) -> np.ndarray:
        shapes.add(picture.shape)
        return np.zeros((8, picture.shape[0] // 8, picture.shape[1] // 8), np.float32)

    detector.engine.hands = note  # type: ignore[method-assign]
    rng = np.random.default_rng(0)
    for x, y, side in rng.integers([-300, -300, 40], [640, 480, 600], (300, 3)):
        detector.detect_quick(image, [Window(int(x), int(y), int(side))])
    assert 5 <= len(shapes) <= 7 and all(max(shape) == 256 for shape in shapes)


def test_float32_is_said_to_the_detector_too(checkpoint: Path) -> None:
    for engine, runtime in (("openvino-float32", "openvino-float32"), ("auto", "openvino"), ("torch-half", "torch")):
        found = make_detector(str(checkpoint), engine)
        assert isinstance(found, FastVitDetector) and found.engine.runtime == runtime


def test_a_place_is_confirmed_and_studied(detector: FastVitDetector) -> None:
    image = discs(640, 480, (300, 200, 40))
    place = Detection(np.array([230.0, 130, 380, 280]), None, 1.0, 77.0)
    confirmed, studied = detector.confirm(image, place), detector.study(image, place)
    assert confirmed is not None and confirmed.is_right is True
    assert studied.is_right is True and abs(studied.rotation_deg) < 1 and studied.score == place.score
    assert detector.study(image, dataclasses.replace(place, is_right=False)).is_right is False
    nowhere = Detection(np.array([10.0, 10, 90, 90]), None, 1.0, 77.0)
    assert detector.confirm(image, nowhere) is None and detector.study(image, nowhere) is nowhere


def test_the_mask_lies_on_the_hand(detector: FastVitDetector) -> None:
    for width, height in ((640, 480), (200, 260)):
        image = discs(width, height, (120, 150, 60))
        mask = detector.segment(image) > 0.5
        truth = image[..., 0] > 0
        assert mask.shape == truth.shape and (mask & truth).sum() / (mask | truth).sum() > 0.93


def test_each_pixel_is_one_hands(hands: list[Hand]) -> None:
    one = hands[0]
    other = dataclasses.replace(hands[1], joints=hands[1].joints + np.array([0.06, 0.02, 0], np.float32))
    probability = np.zeros((60, 80), np.float32)
    for hand in (one, other):
        u, v = np.rint(hand.joints_2d).astype(int).clip(0, [79, 59]).T
        probability[v, u] = 0.9
    probability[0, 0] = 0.9  # far from both
    masked = with_masks([one, other], probability)
    first, second = (hand.mask for hand in masked)
    assert first is not None and second is not None and first.any() and second.any()
    assert not (first & second).any() and not first[0, 0] and not second[0, 0]
    assert ((first | second) <= (probability > 0.5)).all() and (first | second).sum() >= (probability > 0.5).sum() - 1
    assert with_masks([], probability) == [] and one.mask is None and "mask" not in masked[0].to_dict()


def test_detectors_by_name(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDMESH_HOME", str(tmp_path))  # nothing has been fetched here
    assert type(make_detector("mediapipe")).__name__ == "HandDetector"
    assert isinstance(make_detector(str(checkpoint)), FastVitDetector)
    with pytest.raises(HandMeshError, match="auto, fastvit, mediapipe, both"):
        make_detector("yolo")
    with pytest.raises(HandMeshError, match="expected a checkpoint"):
        make_detector(str(tmp_path / "none.safetensors"))
    with pytest.raises(HandMeshError, match="openvino, openvino-float32, torch, onnx"):
        FastVitDetector(checkpoint, "tpu")
    assert isinstance(make_detector("auto"), FastVitDetector)
    monkeypatch.setattr("handmesh.inference.detectors.by_name.are_cached", lambda: True)
    assert isinstance(make_detector("auto"), JointDetector)
    monkeypatch.setattr("handmesh.inference.detectors.fastvit.is_shipped", lambda: False)
    with pytest.raises(HandMeshError, match="the package comes without"):
        make_detector("fastvit")
