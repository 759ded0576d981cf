"""A short clip of the open hand moving before a camera, for whoever has no camera, and with known truth for tests.

Every frame is a pure function of its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from handmesh.geometry.camera import intrinsics_from_fov
from handmesh.io.files import cache_dir
from handmesh.io.video.video_writer import ClipWriter
from handmesh.mano.arrays import ManoArrays, load_mano
from handmesh.mano.layers.numpy_layer import NumpyManoLayer
from handmesh.mano.prior.pose_prior import PosePrior
from handmesh.synthesis.appearance.lighting import sample_lighting
from handmesh.synthesis.appearance.skin import sample_appearance
from handmesh.synthesis.appearance.surface import ForearmShape
from handmesh.synthesis.camera_effects import compose, mean_color, tone_curve
from handmesh.synthesis.renderer import HandRenderer

WIDTH, HEIGHT, FPS, FOV_DEG = 640, 480, 30.0, 60.0
DURATION_S = 8.0
#: When the left hand comes in.
LEFT_FROM_S = 4.0
#: Gestures of the right hand, one every _BEAT_S seconds; the left hand runs through them backwards.
_GESTURES = ("spread", "relaxed", "fist", "point", "V, thumb out", "ok", "claw", "thumb up", "loose fist", "four")
_BEAT_S = 1.0
#: Changes with anything that changes the picture, so that no old clip is taken from the cache.
_VERSION = 1
_LOOK_SEED = 0


class ClipHand(NamedTuple):
    """The truth of one hand in one frame; camera frame, metres. Parameters are the mirrored model's for a left hand."""

    is_right: bool
    vertices: np.ndarray  # (778, 3)
    joints: np.ndarray  # (21, 3)
    global_orient: np.ndarray  # (3, 3)
    hand_pose: np.ndarray  # (15, 3, 3)
    betas: np.ndarray  # (10,)


class ClipFrame(NamedTuple):
    """A rendered frame and what is in it."""

    timestamp_s: float
    image: np.ndarray  # (HEIGHT, WIDTH, 3) uint8 RGB
    K: np.ndarray  # (3, 3)
    hands: list[ClipHand]


class DemoScene:
    """The scene: one person's hands, one light, one room."""

    def __init__(self, mano: ManoArrays | None = None) -> None:
        """``mano``: the hand model, None for the open hand."""
        arrays = load_mano("open") if mano is None else mano
        rng = np.random.default_rng(_LOOK_SEED)
        self.hand, self.renderer = NumpyManoLayer(arrays), HandRenderer(arrays)
        prior = PosePrior(arrays)
        self._poses = np.stack([prior.gesture(name) for name in _GESTURES])
        self._appearance, self._light = sample_appearance(rng), sample_lighting(rng)
        self._arm = ForearmShape(growth=1.4)
        self._room = _draw_room()
        self._exposure: tuple[np.ndarray, np.ndarray] | None = None
        self._betas = np.array([0.4, -0.3, 0.2, 0, 0, 0, 0, 0, 0, 0], np.float32)
        self.K = intrinsics_from_fov(WIDTH, HEIGHT, FOV_DEG)
        # The first frame sets the camera's exposure, once for all.
        self.frame(0.0)

    def frame(self, timestamp_s: float) -> ClipFrame:
        """The picture at a time, and its truth."""
        image, hands = self._room.copy(), []
        for is_right in (True, False) if timestamp_s >= LEFT_FROM_S else (True,):
            hand, middle = self._place(timestamp_s, is_right)
            hands.append(_mirrored(hand) if not is_right else hand)
            self._draw(image, hand, middle, is_right)
        return ClipFrame(timestamp_s, image, self.K, hands)

    def hand_at(self, timestamp_s: float, is_right: bool) -> ClipHand:
        """The truth of one hand at a time, without its picture."""
        hand, _ = self._place(timestamp_s, is_right)
        return hand if is_right else _mirrored(hand)

    def frames(self, duration_s: float = DURATION_S, fps: float = FPS) -> Iterator[ClipFrame]:
        """Frames from the start, ``fps`` a second."""
        for index in range(round(duration_s * fps)):
            yield self.frame(index / fps)

    def _place(self, t: float, is_right: bool) -> tuple[ClipHand, np.ndarray]:
        """The hand as a right one (a left hand is drawn mirrored), and the middle (3,) of its vertices."""
        beat = t / _BEAT_S if is_right else len(_GESTURES) - t / _BEAT_S
        pose = _between(self._poses, beat)
        phase = 0.0 if is_right else 1.3
        turn = Rotation.from_euler(
            "zyx", [14 * np.sin(0.9 * t + phase), 38 * np.sin(0.7 * t + phase), 16 * np.sin(1.1 * t)], degrees=True
        )
        orient = (turn.as_matrix() @ self.renderer.upright).astype(np.float32)
        vertices, joints = self.hand.pose(orient, pose, self._betas)
        # Alone the hand wanders over the whole picture; when the other comes up from below, each keeps to its side.
        ease = float(np.clip((t - LEFT_FROM_S + 0.8) / 0.8, 0, 1))
        reach, centre = 0.10 - 0.07 * ease, -0.12 * ease
        enter = 0.0 if is_right else 0.25 * max(0.0, 1.0 - (t - LEFT_FROM_S) / 0.7)
        middle = np.array(
            [
                centre + reach * np.sin(1.3 * t),
                0.03 * np.sin(1.7 * t + phase) + enter,
                0.44 + 0.05 * np.sin(0.8 * t + phase),
            ]
        )
        shift = (middle - 0.5 * (vertices.min(0) + vertices.max(0))).astype(np.float32)
        return ClipHand(True, vertices + shift, joints + shift, orient, pose, self._betas), middle

    def _draw(self, image: np.ndarray, hand: ClipHand, middle: np.ndarray, is_right: bool) -> None:
        """Render a square around the hand and lay it over the picture in place, mirrored for a left hand."""
        side = 480
        column = self.K[0, 0] * middle[0] / middle[2] + self.K[0, 2]
        left, top = int(round(column - side / 2)), 0
        K = self.K.copy()
        K[:2, 2] -= [left, top]
        coarse = self.renderer.mesh(hand.vertices, hand.global_orient, self._arm)
        shaded = self.renderer.render(coarse, K, side, self._appearance, self._light, np.eye(3), 0.5, 0.45)
        color, alpha = shaded.color, shaded.alpha
        if not is_right:
            color, alpha, left = color[:, ::-1], alpha[:, ::-1], WIDTH - left - side
        first, last = max(left, 0), min(left + side, WIDTH)
        part = slice(first - left, last - left)
        if self._exposure is None:
            self._exposure = _expose(mean_color(color, alpha))
        curve, gains = self._exposure
        target = np.ascontiguousarray(image[top : top + side, first:last])
        compose(np.ascontiguousarray(color[:, part]), np.ascontiguousarray(alpha[:, part]), curve, gains, target)
        image[top : top + side, first:last] = target


def render_demo_clip(path: Path, duration_s: float = DURATION_S) -> Path:
    """Render the scene to an mp4 (some seconds of work), whole or not at all; returns ``path``."""
    scene = DemoScene()
    with ClipWriter(path, FPS) as writer:
        for frame in scene.frames(duration_s):
            writer.write(frame.image)
    return path


def demo_clip_path() -> Path:
    """Where the demo clip of today's open hand is kept, whether it is there or not."""
    return cache_dir() / f"demo-clip-{_VERSION}-{load_mano('open').fingerprint()[:8]}.mp4"


def demo_clip() -> Path:
    """The demo clip in the cache folder, rendered when it is not there yet."""
    path = demo_clip_path()
    return path if path.is_file() else render_demo_clip(path)


def _between(poses: np.ndarray, beat: float) -> np.ndarray:
    """(15, 3, 3) between two neighbouring gestures, along the geodesics; resting a little in each."""
    index = int(np.floor(beat))
    share = np.clip((beat - index - 0.15) / 0.7, 0, 1)
    share = share * share * (3 - 2 * share)
    first, second = poses[index % len(poses)], poses[(index + 1) % len(poses)]
    turns = [Slerp([0, 1], Rotation.from_matrix(np.stack(pair)))(share) for pair in zip(first, second, strict=True)]
    return np.stack([turn.as_matrix() for turn in turns]).astype(np.float32)


def _mirrored(hand: ClipHand) -> ClipHand:
    """The truth of the same hand seen in a mirror; the principal point is in the picture's middle."""
    flip = np.array([-1.0, 1.0, 1.0], np.float32)
    mirror: Any = np.diag(flip)
    return ClipHand(
        not hand.is_right, hand.vertices * flip, hand.joints * flip, mirror @ hand.global_orient @ mirror,
        mirror @ hand.hand_pose @ mirror, hand.betas,
    )  # fmt: skip


def _expose(mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tone curve and white balance (3,) that bring a hand of this mean linear colour to a usual skin's."""
    level = float(mean @ [0.25, 0.6, 0.15]) + 1e-4
    gains = (np.array([1.38, 0.92, 0.72]) / (mean / level + 1e-3)) ** 0.85
    return tone_curve(0.30 / level, 0.2), gains.astype(np.float32)


def _draw_room() -> np.ndarray:
    """A quiet room, out of focus: wall, window, shelf, desk."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    wall = np.array([176, 184, 186], np.float32) * (0.72 + 0.28 * (1 - x / WIDTH) * (1 - 0.4 * y / HEIGHT))[..., None]
    room = wall.astype(np.uint8)
    cv2.rectangle(room, (40, 40), (210, 230), (232, 238, 240), -1)
    cv2.line(room, (125, 40), (125, 230), (120, 112, 104), 6)
    cv2.rectangle(room, (36, 36), (214, 234), (120, 112, 104), 6)
    rng = np.random.default_rng(3)
    left = 400
    cv2.rectangle(room, (380, 190), (WIDTH, 202), (112, 88, 66), -1)
    while left < WIDTH - 20:
        width, height = int(rng.integers(12, 26)), int(rng.integers(60, 105))
        colour = tuple(int(c) for c in rng.integers(60, 190, 3))
        cv2.rectangle(room, (left, 190 - height), (left + width, 190), colour, -1)
        left += width + 2
    cv2.rectangle(room, (0, 400), (WIDTH, HEIGHT), (128, 102, 78), -1)
    cv2.rectangle(room, (0, 396), (WIDTH, 402), (150, 122, 96), -1)
    blurred = cv2.GaussianBlur(room, (0, 0), 5).astype(np.float32)
    return np.clip(blurred + rng.normal(0, 2.0, room.shape), 0, 255).astype(np.uint8)
