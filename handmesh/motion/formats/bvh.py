"""Recordings as BVH: bones in centimetres, y up, a position and Z-X-Y angles in degrees for every frame.

BVH knows one rate and no absence: frames are resampled to the recording's rate if theirs is uneven, and a hand that is
not in view rests where it was last.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handmesh.io.files import atomic_path
from handmesh.motion.formats.skeletal import TO_Y_UP, TO_Y_UP_QUATERNION, SkeletalMotion, resampled, skeletal_motions
from handmesh.motion.recording import Recording
from handmesh.skeleton import FINGERS, MANO_JOINT_NAMES, MANO_PARENTS

CM = 100.0
_POSITION = "Xposition Yposition Zposition"
_ROTATION = "Zrotation Xrotation Yrotation"
#: Steps between frames may differ by this share of the rate before they are resampled.
_EVEN = 0.02


def write_bvh(recording: Recording, path: Path, track_id: int | None = None) -> str:
    """Write the recording's hands as one skeleton: a wrist as its root, or a root above the wrists of several.

    Args:
        recording: the recording.
        path: the file.
        track_id: only this track; None for all.

    Returns:
        One line about what was written.

    Raises:
        HandMeshError: no hand, no such track, another hand model, or a place that cannot be written.
    """
    motions = skeletal_motions(recording, track_id)
    times, step_s = _even_times(recording)
    lines = ["HIERARCHY"]
    if len(motions) == 1:
        lines += _bones(motions[0], 0, "", "ROOT")
    else:
        lines += ["ROOT camera", "{", "\tOFFSET 0 0 0", f"\tCHANNELS 6 {_POSITION} {_ROTATION}"]
        names: set[str] = set()
        for motion in motions:
            # Two right hands need two names for each bone.
            suffix = f"_{motion.track_id}" if motion.side in names else ""
            names.add(motion.side)
            lines += _bones(motion, 0, suffix, "JOINT", 1)
        lines.append("}")
    columns = [_channels(motion, times) for motion in motions]
    if len(motions) > 1:
        columns.insert(0, np.zeros((len(times), 6)))
    values = np.concatenate(columns, axis=1)
    lines += ["MOTION", f"Frames: {len(times)}", f"Frame Time: {step_s:.8f}"]
    with atomic_path(path) as part, open(part, "w", encoding="ascii", newline="\n") as file:
        file.write("\n".join(lines) + "\n")
        for row in values:
            file.write(" ".join([f"{value:.6f}" for value in row]) + "\n")
    return f"{len(motions)} hand{'s' if len(motions) > 1 else ''}, {len(times)} frames of {step_s * 1000:.2f} ms"


def _even_times(recording: Recording) -> tuple[NDArray[np.float64], float]:
    """Times of the file's frames, and the step between them, seconds."""
    times = np.asarray(recording.frames.timestamp_s, np.float64)
    if len(times) < 2:
        return times, 1 / recording.header.fps
    steps = np.diff(times)
    step_s = float(np.median(steps))
    if np.abs(times - times[0] - step_s * np.arange(len(times))).max() <= _EVEN * step_s:
        return times, float((times[-1] - times[0]) / (len(times) - 1))
    step_s = 1 / recording.header.fps
    return times[0] + step_s * np.arange(int((times[-1] - times[0]) / step_s + 1.001)), step_s


def _children(joint: int) -> list[int]:
    return [child for child, parent in enumerate(MANO_PARENTS) if parent == joint]


def _bones(motion: SkeletalMotion, joint: int, suffix: str, kind: str, depth: int = 0) -> list[str]:
    """The lines of a joint and all under it."""
    pad = "\t" * depth
    parent = MANO_PARENTS[joint]
    offset = motion.rest_joints[joint] - motion.rest_joints[parent] if joint else np.zeros(3)
    channels = f"CHANNELS 6 {_POSITION} {_ROTATION}" if joint == 0 else f"CHANNELS 3 {_ROTATION}"
    lines = [f"{pad}{kind} {motion.bone_names[joint]}{suffix}", f"{pad}{{", f"{pad}\tOFFSET {_cm(offset)}",
             f"{pad}\t{channels}"]  # fmt: skip
    children = _children(joint)
    for child in children:
        lines += _bones(motion, child, suffix, "JOINT", depth + 1)
    if not children:
        finger = list(FINGERS).index(MANO_JOINT_NAMES[joint].split("_")[0])
        tip = motion.rest_tips[finger] - motion.rest_joints[joint]
        lines += [f"{pad}\tEnd Site", f"{pad}\t{{", f"{pad}\t\tOFFSET {_cm(tip)}", f"{pad}\t}}"]
    return [*lines, f"{pad}}}"]


def _cm(offset: Sequence[float] | NDArray[np.floating]) -> str:
    return " ".join(f"{value:.6f}" for value in np.asarray(offset) * TO_Y_UP * CM)


def _order(joint: int = 0) -> list[int]:
    """Joints in the order of the file: each before what hangs on it."""
    return [joint, *(below for child in _children(joint) for below in _order(child))]


def _channels(motion: SkeletalMotion, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 51): the wrist's position in cm, then the angles of every joint in degrees."""
    if len(times) == len(motion.timestamp_s) and (times == motion.timestamp_s).all():
        rotations, wrist = motion.rotations, motion.wrist
    else:
        rotations, wrist = resampled(motion, times)
    turned = rotations[:, _order()] * TO_Y_UP_QUATERNION
    with warnings.catch_warnings():
        # At 90 degrees about x two angles describe one turn: any split of it is right.
        warnings.filterwarnings("ignore", message="Gimbal lock")
        angles = Rotation.from_quat(turned.reshape(-1, 4)).as_euler("ZXY", degrees=True).reshape(len(times), -1)
    # Programs interpolate the numbers: they must not jump by a full turn.
    angles = np.unwrap(angles, period=360.0, axis=0)
    return np.concatenate([np.asarray(wrist) * TO_Y_UP * CM, angles], axis=1)
