"""Smoothing on a rendered clip with known truth and added noise: how much less jitter, for how much lag and error.

The right hand of the demo scene is followed by the default weights through pictures with sensor noise; the same
recording is then taken as it is, as the live filter gives it, and as the offline pass does. Jitter is measured on the
error against the truth, so that the hand's own motion does not count: RMS acceleration of the joints, and the part of
the keypoints' pixel error above a few hertz. Lag is the time shift along the true motion that explains best, by least
squares, how a smoothed hand differs from the unsmoothed one. ``--recording FILE`` keeps the unsmoothed recording, and
takes it from there when it exists.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.signal import butter, sosfiltfilt

from handmesh.errors import HandMeshError, run_command
from handmesh.geometry.camera import project_points
from handmesh.inference.predictor import HandMeshPredictor
from handmesh.inference.tracking.tracker import HandTracker
from handmesh.inference.views import STILL_VIEWS
from handmesh.io.files import write_json
from handmesh.mano.arrays import load_mano
from handmesh.mano.hand_model import HandModel
from handmesh.motion.clips import smoothed
from handmesh.motion.formats.tables import SMOOTHINGS, RecordingHeader
from handmesh.motion.recorder import recording_of
from handmesh.motion.recording import RecordedFrame, Recording
from handmesh.skeleton import ROOT_JOINT
from handmesh.synthesis.demo_clip import DURATION_S, HEIGHT, WIDTH, DemoScene

#: Errors faster than this are jitter, slower ones are the network's own mistakes, Hz.
HIGH_PASS_HZ = 4.0
#: The live filter's first moments, left out.
SETTLE_S = 0.5


class Motion(NamedTuple):
    """The right hand in every frame where it was seen: (N, 21, 3) metres and (N, 21, 2) pixels."""

    joints: np.ndarray
    keypoints_2d: np.ndarray


def record(scene: DemoScene, tracker: HandTracker, fps: float, noise: float, duration_s: float) -> Recording:
    """Follow the scene's hands, unsmoothed, through pictures with ``noise`` (standard deviation, of 255)."""
    rng = np.random.default_rng(0)
    frames = []
    for index, frame in enumerate(scene.frames(duration_s, fps)):
        image = np.clip(frame.image + rng.normal(0, noise, frame.image.shape), 0, 255).astype(np.uint8)
        hands = tracker.step(image, frame.timestamp_s)
        frames.append(RecordedFrame(index, frame.timestamp_s, (WIDTH, HEIGHT), frame.K, hands))
    arrays = tracker.predictor.model.arrays
    joints = (arrays.J_regressor @ arrays.v_template).round(6)
    header = RecordingHeader(
        source="demo scene", fps=fps, hand_model=arrays.name, hand_model_fingerprint=arrays.fingerprint(),
        image_size=(WIDTH, HEIGHT), rest_joints=tuple(tuple(row) for row in joints.tolist()),
    )  # fmt: skip
    return recording_of(header, frames)


def right_hand(recording: Recording) -> tuple[np.ndarray, Motion]:
    """Rows of the frames where the longest right track was seen, and its motion there."""
    tracks = [track for track in recording.tracks().values() if track.is_right]
    if not tracks:
        raise HandMeshError("expected a right hand in the recording, got none; less --noise?")
    hands = max(tracks, key=len).hands
    return hands.frame_row, Motion(hands.joints, hands.keypoints_2d)


def truth_of(scene: DemoScene, times_s: np.ndarray) -> Motion:
    """The scene's right hand at these times."""
    joints = np.stack([scene.hand_at(float(time_s), True).joints for time_s in times_s]).astype(np.float64)
    return Motion(joints, project_points(joints, scene.K))


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


def measure(motion: Motion, raw: Motion, truth: Motion, fps: float) -> dict[str, float]:
    """Jitter and error of a motion against the truth, and its lag behind the unsmoothed one."""
    first = int(np.ceil(SETTLE_S * fps))
    joints, raw_joints, true_joints = (each.joints[first:] for each in (motion, raw, truth))
    points, raw_points, true_points = (each.keypoints_2d[first:] for each in (motion, raw, truth))

    def relative(values: np.ndarray) -> np.ndarray:
        return np.asarray(values - values[:, ROOT_JOINT : ROOT_JOINT + 1])

    def mean_mm(values: np.ndarray) -> float:
        return float(1e3 * np.linalg.norm(values, axis=-1).mean())

    return {
        "joints, RMS acceleration, m/s2": rms_acceleration(joints - true_joints, fps),
        "root-relative joints, RMS acceleration, m/s2": rms_acceleration(relative(joints) - relative(true_joints), fps),
        "keypoints, RMS acceleration, px/s2": rms_acceleration(points - true_points, fps),
        f"keypoints, error above {HIGH_PASS_HZ:g} Hz, px": high_passed(points - true_points, fps),
        "mean keypoint error, px": float(np.linalg.norm(points - true_points, axis=-1).mean()),
        "mean root-relative joint error, mm": mean_mm(relative(joints) - relative(true_joints)),
        "mean joint error, mm": mean_mm(joints - true_joints),
        "lag in the picture, ms": lag_ms(points, raw_points, true_points, fps),
        "lag of the pose, ms": lag_ms(relative(joints), relative(raw_joints), relative(true_joints), fps),
    }


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--noise", type=float, default=8.0, help="sensor noise, standard deviation of 255 (default 8)")
    parser.add_argument("--fps", type=float, default=30.0, help="frames a second of the clip (default 30)")
    parser.add_argument("--seconds", type=float, default=DURATION_S, help=f"how long (default {DURATION_S:g})")
    parser.add_argument("--checkpoint", default="default")
    parser.add_argument("--tta", action="store_true", help="each hand in several views a frame")
    parser.add_argument("--recording", type=Path, help="keep the unsmoothed recording here, or take it from here")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    args = parser.parse_args(argv)
    if not (args.fps > 2 * HIGH_PASS_HZ and args.seconds > 4 * SETTLE_S and args.noise >= 0):
        raise HandMeshError("expected --fps above 8, --seconds above 2 and --noise of at least 0")
    scene = DemoScene()
    if args.recording and args.recording.is_file():
        recording = Recording.load(args.recording)
    else:
        predictor = HandMeshPredictor.from_pretrained(args.checkpoint)
        views = STILL_VIEWS if args.tta else ()
        tracker = HandTracker(predictor, smoothing=False, max_hands=2, K=scene.K, views=views)
        recording = record(scene, tracker, args.fps, args.noise, args.seconds)
        if args.recording:
            recording.save(args.recording)
    recording = recording.of_model(HandModel(load_mano("open")))
    fps, table = recording.header.fps, {}
    rows, raw = right_hand(recording)
    truth = truth_of(scene, recording.frames.timestamp_s[rows])
    for smoothing in SMOOTHINGS:
        there, motion = right_hand(smoothed(recording, smoothing))
        # Where a gap was filled there is more than was seen: compared is what all have.
        kept = np.isin(there, rows)
        table[smoothing] = measure(Motion(motion.joints[kept], motion.keypoints_2d[kept]), raw, truth, fps)
    print(f"{len(rows)} frames at {fps:g} a second")
    print(f"  {'':48}" + "".join(f"{name:>10}" for name in table))
    for name in table["none"]:
        print(f"  {name:48}" + "".join(f"{table[smoothing][name]:10.2f}" for smoothing in table))
    if args.json:
        write_json(args.json, table, indent=2)
    return 0


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
