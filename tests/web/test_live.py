"""The live view's sessions: a tracker a visitor, one frame at a time, nothing mirrored, and an end to all of them."""

from __future__ import annotations

import io
import threading
from typing import Any

import numpy as np
import pytest
from PIL import Image

from handmesh.errors import HandMeshError
from handmesh.results import Hand
from handmesh.web.live import IDLE_S, MAX_SIDE_PX, LiveSessions, TooManyCameras, decode_jpeg


class FakeTracker:
    """Keeps what it is given and finds the predictor's hands in it."""

    def __init__(self, predictor: Any, fov_deg: float) -> None:
        self.predictor, self.fov_deg = predictor, fov_deg
        self.images: list[np.ndarray] = []
        self.times_s: list[float] = []
        self.gate = threading.Event()
        self.gate.set()

    def step(self, image: np.ndarray, timestamp_s: float) -> list[Hand]:
        self.images.append(image)
        self.times_s.append(timestamp_s)
        assert self.gate.wait(30.0)
        hands: list[Hand] = self.predictor(image, self.fov_deg)
        return hands


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        self.now_s += 0.01
        return self.now_s


@pytest.fixture
def made() -> list[FakeTracker]:
    return []


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(predictor: Any, made: list[FakeTracker], clock: Clock) -> LiveSessions:
    def make(fov_deg: float) -> FakeTracker:
        made.append(FakeTracker(predictor, fov_deg))
        return made[-1]

    return LiveSessions(make, max_sessions=2, clock=clock)


def jpeg(image: np.ndarray, kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, kind, quality=95)
    return out.getvalue()


def half_red(width: int = 160, height: int = 120) -> np.ndarray:
    """Red on the left, grey on the right."""
    image = np.full((height, width, 3), 90, np.uint8)
    image[:, : width // 2] = (200, 20, 20)
    return image


def test_a_frame_comes_back_with_meshes_and_is_not_mirrored(sessions: LiveSessions, made: list[FakeTracker]) -> None:
    done = sessions.step("a", jpeg(half_red()), 60.0)
    seen = made[0].images[0]
    assert seen.shape == (120, 160, 3) and abs(seen.astype(int) - half_red()).mean() < 3
    shown = decode_jpeg(done.jpeg)
    assert shown.shape == seen.shape and (abs(shown.astype(int) - seen) > 30).mean() > 0.02, "meshes are drawn"
    assert shown[2, 2, 0] > 150 > shown[2, -3, 0], "red is still on the left"
    assert [(hand["side"], hand["score"]) for hand in done.hands] == [("right", 0.7), ("left", 0.9)]
    assert all(0.3 < hand["distance_m"] < 0.7 and hand["color"].startswith("#") for hand in done.hands)


def test_each_visitor_has_a_tracker_and_time_rises(sessions: LiveSessions, made: list[FakeTracker]) -> None:
    for _ in range(3):
        sessions.step("a", jpeg(half_red()), 60.0)
        sessions.step("b", jpeg(half_red()), 60.0)
    assert len(made) == 2 and len(sessions) == 2
    assert all(len(tracker.times_s) == 3 and np.all(np.diff(tracker.times_s) > 0) for tracker in made)
    sessions.step("a", jpeg(half_red()), 75.0)
    assert [tracker.fov_deg for tracker in made] == [60.0, 60.0, 75.0], "another field of view starts anew"


def test_places_are_limited_and_come_back(sessions: LiveSessions, clock: Clock) -> None:
    frame = jpeg(half_red())
    sessions.step("a", frame, 60.0)
    sessions.step("b", frame, 60.0)
    with pytest.raises(TooManyCameras, match="at most 2 cameras"):
        sessions.step("c", frame, 60.0)
    sessions.stop("a")
    sessions.step("c", frame, 60.0)
    clock.now_s += IDLE_S
    assert len(sessions) == 0
    sessions.step("d", frame, 60.0)


def test_a_second_frame_before_the_answer_is_refused(sessions: LiveSessions, made: list[FakeTracker]) -> None:
    frame = jpeg(half_red())
    sessions.step("a", frame, 60.0)
    made[0].gate.clear()
    first = threading.Thread(target=sessions.step, args=("a", frame, 60.0))
    first.start()
    while len(made[0].images) < 2:
        pass
    with pytest.raises(HandMeshError, match="one frame at a time"):
        sessions.step("a", frame, 60.0)
    made[0].gate.set()
    first.join(30.0)
    assert len(made[0].images) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"", b"not a picture", jpeg(half_red())[:300], jpeg(half_red(), "PNG"),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{} loop\n", jpeg(half_red(MAX_SIDE_PX + 1, 8)),
    ],
)  # fmt: skip
def test_only_whole_jpegs_of_a_camera_s_size_are_decoded(data: bytes, sessions: LiveSessions) -> None:
    with pytest.raises(HandMeshError, match="expected a frame"):
        sessions.step("a", data, 60.0)
    assert len(sessions) == 0, "a bad frame takes no place"
