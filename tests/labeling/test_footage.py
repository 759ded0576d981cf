"""A user's footage: what is held out is never near what is trained on, both hands of a frame are found."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from handmesh.detection.landmark_model import Landmarks
from handmesh.errors import HandMeshError
from handmesh.io.images import write_image
from handmesh.io.video.video_writer import ClipWriter
from handmesh.labeling.footage import (
    BLOCKS,
    GAP_S,
    HELD_OUT_BLOCKS,
    FootageFrame,
    gather_frames,
    label_frames,
    split_times,
)
from handmesh.labeling.photo_sets import CUT_OUT_FOV_DEG
from handmesh.results import Detection


@pytest.mark.parametrize("seconds", [2.0, 12.0, 300.0])
def test_held_out_blocks_lie_apart_from_the_rest(seconds: float) -> None:
    times = np.arange(0, seconds, 0.1)
    roles = np.array(split_times(times))
    held, training = times[roles == "held out"], times[roles == "training"]
    assert len(held) == pytest.approx(len(times) * len(HELD_OUT_BLOCKS) / BLOCKS, abs=2)
    assert np.abs(held[:, None] - training).min() >= min(GAP_S, seconds / BLOCKS / 2) - 0.06
    # Contiguous: as many runs of held-out frames as there are blocks.
    is_held = roles == "held out"
    assert int((is_held[1:] & ~is_held[:-1]).sum()) == len(HELD_OUT_BLOCKS)
    assert len(training) > 0.5 * len(times)


def test_no_frames_no_roles() -> None:
    assert split_times(np.zeros(0)) == [] and split_times(np.array([1.0])) == ["training"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds at ten frames a second, each frame's grey its number."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with ClipWriter(path, 10) as writer:
        for number in range(100):
            writer.write(np.full((48, 64, 3), 2 * number, np.uint8))
    return path


def test_a_clip_is_thinned_evenly_and_split_by_blocks(clip: Path, tmp_path: Path) -> None:
    frames = gather_frames(clip, tmp_path, 40)
    assert len(frames) == 40 and all(frame.path.is_file() for frame in frames)
    times = np.array([int(frame.path.stem.split("-")[1]) / 1000 for frame in frames])
    assert (np.diff(times) > 0).all() and times[0] < 0.5 and times[-1] > 9
    assert 4 <= sum(frame.is_held_out for frame in frames) <= 10
    held = times[[frame.is_held_out for frame in frames]]
    assert np.abs(held[:, None] - times[[not frame.is_held_out for frame in frames]]).min() > 0.4
    everything = tmp_path / "all"
    everything.mkdir()
    assert len(gather_frames(clip, everything, 1000)) > 80


def test_a_folder_of_photos_keeps_its_split_when_thinned(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(20):
            (tmp_path / name / f"{number}.webp").touch()
    frames = gather_frames(tmp_path, tmp_path, 20)
    assert len(frames) == 20 and sum(frame.is_held_out for frame in frames) == pytest.approx(4, abs=1)
    for frame in frames:
        assert frame.is_held_out == (int(frame.path.stem) >= 16)


def test_what_is_no_footage_is_named(tmp_path: Path) -> None:
    write_image(tmp_path / "one.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.mp4").write_bytes(b"no clip")
    for name, message in (
        ("absent.mp4", "no such file"), ("one.png", "one photo"), ("empty", "expected photos"),
        ("broken.mp4", "a clip"),
    ):  # fmt: skip
        with pytest.raises(HandMeshError, match=message):
            gather_frames(tmp_path / name, tmp_path, 10)


class FakeDetector:
    """Two hands in every frame, or none where the picture is black; boxes in pixels of the bordered picture."""

    def __init__(self) -> None:
        self.searches: list[bool] = []

    def load(self):
        def detect(image, windows=None):
            self.searches.append(windows is None)
            return [] if image.max() == 0 else [0, 1]

        def keep_hands(image, proposals):
            boxes = [np.array([20.0, 60, 90, 130]), np.array([110.0, 60, 180, 130])]
            return [Detection(boxes[i], True, 1.0, 0.0) for i in proposals]

        return SimpleNamespace(detect=detect), SimpleNamespace(keep_hands=keep_hands)


class FakeLandmarkModel:
    """Sees a hand of a third of its box's side in the middle of the box; the left one of the picture is a left hand."""

    points = np.random.default_rng(0).uniform(-0.5, 0.5, (21, 2)) * 0.9

    def landmarks(self, image, box, rotation_deg, padding, mirror=False) -> Landmarks:
        middle = (box[:2] + box[2:]) / 2
        where = 55.0 if middle[0] < 100 else 145.0
        joints = np.zeros((21, 3)) + self.points[:, :1]
        return Landmarks([where, 95] + 50 * self.points, joints, 1.0, float(where > 100))


def test_both_hands_of_a_frame_are_labelled_in_its_pixels(tmp_path: Path, capsys) -> None:
    write_image(tmp_path / "two.png", np.full((100, 120, 3), 99, np.uint8))
    write_image(tmp_path / "none.png", np.zeros((100, 120, 3), np.uint8))
    (tmp_path / "broken.png").write_bytes(b"?")
    frames = [FootageFrame(tmp_path / name, "g", name == "two.png") for name in ("two.png", "none.png", "broken.png")]
    detector = FakeDetector()
    footage = label_frames(frames, detector, FakeLandmarkModel(), progress=False)
    assert (footage.frames, footage.frames_with_hands, len(footage.hands)) == (2, 1, 2)
    # Where the whole picture shows nothing it is searched in parts.
    assert detector.searches == [False, False, True]
    assert "skipped" in capsys.readouterr().err
    left, right = footage.hands
    assert (left.is_right, right.is_right) == (False, True) and left.is_held_out and left.is_trusted
    # The border of 120 // 4 pixels is taken off again.
    np.testing.assert_allclose(left.keypoints_2d, [55 - 30, 95 - 30] + 50 * FakeLandmarkModel.points)
    assert left.fov_deg > CUT_OUT_FOV_DEG
