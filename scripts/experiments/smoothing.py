"""Smoothing on a rendered clip with known truth and added noise: how much less tremble, for how much lag.

The right hand of the demo scene is followed by the default weights through pictures with sensor noise; the same
estimates are then taken as they are and as inference/hand_filter.py gives them. Jitter is measured on the error against
the truth, so that the hand's own motion does not count: RMS acceleration of the joints, and the part of the keypoints'
pixel error above a few hertz. Lag is the time shift along the true motion that explains best, by least squares, how the
steadied hand differs from the unsteadied one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.signal import butter, sosfiltfilt

from handmesh.errors import HandMeshError, run_command
from handmesh.geometry.camera import project_points
from handmesh.inference.hand_filter import HandSteadier
from handmesh.inference.predictor import HandMeshPredictor
from handmesh.inference.tracker import HandTracker
from handmesh.io.files import atomic_path
from handmesh.mano.hand_model import HandModel
from handmesh.results import Hand
from handmesh.skeleton import ROOT_JOINT
from handmesh.synthesis.demo_clip import DURATION_S, DemoScene

#: Errors faster than this are tremble, slower ones are the network's own mistakes, Hz.
HIGH_PASS_HZ = 4.0
#: The filters' first moments, left out.
SETTLE_S = 0.5


class Recording(NamedTuple):
    """What was seen and what was true; one row a frame."""

    times_s: np.ndarray  # (N,)
    hands: list[Hand]
    joints: np.ndarray  # (N, 21, 3) the truth, metres
    keypoints_2d: np.ndarray  # (N, 21, 2) the truth, pixels


def record(scene: DemoScene, tracker: HandTracker, fps: float, noise: float, duration_s: float) -> Recording:
    """Follow the scene's right hand, unsmoothed, through pictures with ``noise`` (standard deviation, of 255)."""
    rng = np.random.default_rng(0)
    times, hands, joints, points = [], [], [], []
    for frame in scene.frames(duration_s, fps):
        image = np.clip(frame.image + rng.normal(0, noise, frame.image.shape), 0, 255).astype(np.uint8)
        right = [hand for hand in tracker.step(image, frame.timestamp_s) if hand.is_right]
        truth = next(hand for hand in frame.hands if hand.is_right)
        seen = project_points(truth.joints, frame.K)
        near = [hand for hand in right if np.abs(hand.keypoints_2d - seen).mean() < 60]
        if near:
            times.append(frame.timestamp_s)
            hands.append(near[0])
            joints.append(truth.joints)
            points.append(seen)
    if len(hands) < 0.9 * duration_s * fps:
        raise HandMeshError(f"expected the hand in nearly every frame, got {len(hands)}; less --noise?")
    return Recording(np.array(times), hands, np.array(joints), np.array(points))


def steadied(recording: Recording, model: HandModel) -> list[Hand]:
    """The recorded hands as the live page shows them."""
    steadier = HandSteadier(model)
    return [steadier(hand, time_s) for hand, time_s in zip(recording.hands, recording.times_s, strict=True)]


def rms_acceleration(values: np.ndarray, fps: float) -> float:
    """Root mean square of the second difference of (N, J, d), unit a second squared; per point, not per axis."""
    return float(np.sqrt((np.diff(values, 2, axis=0) ** 2).sum(-1).mean()) * fps**2)


def high_passed(values: np.ndarray, fps: float) -> float:
    """RMS of what (N, J, d) does above HIGH_PASS_HZ; per point."""
    filtered = sosfiltfilt(butter(2, HIGH_PASS_HZ, "highpass", fs=fps, output="sos"), values, axis=0)
    return float(np.sqrt((filtered**2).sum(-1).mean()))


def lag_ms(after: np.ndarray, before: np.ndarray, truth: np.ndarray, fps: float) -> float:
    """Milliseconds by which ``after`` trails ``before``: their difference regressed on the truth's velocity."""
    velocity = np.gradient(truth, 1 / fps, axis=0)
    return float(-1e3 * ((after - before) * velocity).sum() / (velocity**2).sum())


def measure(recording: Recording, hands: Sequence[Hand], fps: float) -> dict[str, float]:
    """Tremble of these hands against the truth, and their lag behind the recorded ones."""
    first = int(np.ceil(SETTLE_S * fps))

    def rows(values: list[Any] | np.ndarray) -> np.ndarray:
        return np.asarray(values, np.float64)[first:]

    joints, raw = rows([hand.joints for hand in hands]), rows([hand.joints for hand in recording.hands])
    points, raw_points = (rows([h.keypoints_2d for h in some]) for some in (hands, recording.hands))
    truth, truth_points = rows(recording.joints), rows(recording.keypoints_2d)

    def relative(values: np.ndarray) -> np.ndarray:
        return values - values[:, ROOT_JOINT : ROOT_JOINT + 1]

    return {
        "joints, RMS acceleration, m/s2": rms_acceleration(joints - truth, fps),
        "root-relative joints, RMS acceleration, m/s2": rms_acceleration(relative(joints) - relative(truth), fps),
        "keypoints, RMS acceleration, px/s2": rms_acceleration(points - truth_points, fps),
        f"keypoints, error above {HIGH_PASS_HZ:g} Hz, px": high_passed(points - truth_points, fps),
        "mean keypoint error, px": float(np.linalg.norm(points - truth_points, axis=-1).mean()),
        "mean root-relative joint error, mm": float(
            1e3 * np.linalg.norm(relative(joints) - relative(truth), axis=-1).mean()
        ),
        "lag in the picture, ms": lag_ms(points, raw_points, truth_points, fps),
        "lag of the pose, ms": lag_ms(relative(joints), relative(raw), relative(truth), fps),
    }


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.experiments.smoothing", description=__doc__)
    parser.add_argument("--noise", type=float, default=8.0, help="sensor noise, standard deviation of 255 (default 8)")
    parser.add_argument("--fps", type=float, default=30.0, help="frames a second of the clip (default 30)")
    parser.add_argument("--seconds", type=float, default=DURATION_S, help=f"how long (default {DURATION_S:g})")
    parser.add_argument("--checkpoint", default="default")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    args = parser.parse_args(argv)
    if not (args.fps > 2 * HIGH_PASS_HZ and args.seconds > 4 * SETTLE_S and args.noise >= 0):
        raise HandMeshError("expected --fps above 8, --seconds above 2 and --noise of at least 0")
    scene, predictor = DemoScene(), HandMeshPredictor.from_pretrained(args.checkpoint)
    tracker = HandTracker(predictor, smoothing=False, max_hands=2, K=scene.K)
    recording = record(scene, tracker, args.fps, args.noise, args.seconds)
    without = measure(recording, recording.hands, args.fps)
    smoothed = measure(recording, steadied(recording, predictor.model), args.fps)
    print(f"{len(recording.hands)} frames at {args.fps:g} a second, noise {args.noise:g} of 255")
    print(f"  {'':48}{'without':>10}{'with':>10}{'ratio':>8}")
    for name, before in without.items():
        ratio = f"{smoothed[name] / before:8.2f}" if before else ""
        print(f"  {name:48}{before:10.2f}{smoothed[name]:10.2f}{ratio}")
    if args.json:
        with atomic_path(args.json) as part:
            part.write_text(json.dumps({"without": without, "with": smoothed}, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
