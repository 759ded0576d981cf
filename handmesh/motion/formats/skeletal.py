"""A track as a moving skeleton: rest pose, bone by bone rotations, and the wrist's place; what animation formats hold.

The 16 joints of the hand model's chain turn; the 21 recorded joints are measured on the posed surface (their positions
differ by a few millimetres). Both come out right where a format carries the surface too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from handmesh.errors import HandMeshError
from handmesh.geometry.quaternion import continuous_signs, to_matrix
from handmesh.mano.hand_model import HandModel
from handmesh.motion.formats.tables import FloatArray, IntArray
from handmesh.motion.recording import Recording, Track
from handmesh.skeleton import FINGERTIP_VERTICES, MANO_JOINT_NAMES, MANO_PARENTS

#: Half a turn about x: from the camera's axes (x right, y down, z forward) to those of glTF and of BVH files here
#: (x right, y up, z towards the viewer). For points (x, y, z) and for quaternions (x, y, z, w).
TO_Y_UP = np.array([1.0, -1.0, -1.0])
TO_Y_UP_QUATERNION = np.array([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class SkeletalMotion:
    """One hand's skeleton and how it moves; metres, camera axes.

    Attributes:
        track_id: the track's number.
        is_right: right or left hand.
        frame_row: (T,) rows of the recording's frames.
        timestamp_s: (T,) seconds.
        betas: (10,) shape of the whole track.
        scale: size over the hand model's.
        rest_joints: (16, 3) in the rest pose, relative to the wrist; MANO order.
        rest_tips: (5, 3) fingertips likewise, thumb to little finger.
        rotations: (T, 16, 4) quaternions x y z w without jumps of the sign: the wrist's in the camera frame, each
            other joint's relative to its parent.
        wrist: (T, 3) position.
    """

    track_id: int
    is_right: bool
    frame_row: IntArray
    timestamp_s: FloatArray
    betas: FloatArray
    scale: float
    rest_joints: FloatArray
    rest_tips: FloatArray
    rotations: FloatArray
    wrist: FloatArray

    @property
    def side(self) -> str:
        """ "right" or "left"."""
        return "right" if self.is_right else "left"

    @property
    def bone_names(self) -> list[str]:
        """(16) "right_wrist", "right_index_1", ... in MANO order."""
        return [f"{self.side}_{name}" for name in MANO_JOINT_NAMES]

    def joint_positions(self) -> NDArray[np.float64]:
        """(T, 16, 3) metres, camera frame: where the chain of bones puts its joints."""
        matrices = to_matrix(self.rotations)
        turned = matrices.copy()
        places = np.empty((*self.rotations.shape[:2], 3))
        places[:, 0] = self.wrist
        for joint in range(1, 16):
            parent = MANO_PARENTS[joint]
            bone = self.rest_joints[joint] - self.rest_joints[parent]
            places[:, joint] = places[:, parent] + turned[:, parent] @ bone
            turned[:, joint] = turned[:, parent] @ matrices[:, joint]
        return places


def skeletal_motions(recording: Recording, track_id: int | None = None) -> list[SkeletalMotion]:
    """The tracks of a recording as moving skeletons.

    Args:
        recording: the recording; its hand model must be at hand.
        track_id: only this track; None for all.

    Raises:
        HandMeshError: no such track, no hand at all, or another hand model.
    """
    tracks = list(recording.tracks().values()) if track_id is None else [recording.track(track_id)]
    if not tracks:
        raise HandMeshError(f"expected hands in the recording of {recording.header.source}, got none; film them nearer")
    return [_motion(recording, track) for track in tracks]


def _motion(recording: Recording, track: Track) -> SkeletalMotion:
    # Of a track whose side was voted anew, the frames of the other side are those of a mirrored model.
    hands = track.hands.take(track.hands.is_right == track.is_right)
    model, weight = recording.model, np.maximum(hands.score * hands.confidence.mean(1), 1e-3)
    betas = np.average(hands.betas, axis=0, weights=weight)
    scale = float(np.median(hands.scale))
    joints, tips = _rest_points(model, track.is_right, betas)
    wrists = np.stack([model.rest_wrist(track.is_right, each) for each in hands.betas])
    rotations = np.concatenate([hands.global_orient[:, None], hands.hand_pose], axis=1)
    return SkeletalMotion(
        track.track_id, track.is_right, hands.frame_row, recording.frames.timestamp_s[hands.frame_row], betas, scale,
        (joints - joints[0]) * scale, (tips - joints[0]) * scale, continuous_signs(rotations),
        hands.scale[:, None] * wrists + hands.translation,
    )  # fmt: skip


def _rest_points(model: HandModel, is_right: bool, betas: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Joints (16, 3) and fingertips (5, 3) of the flat hand of that shape, in the model's frame."""
    flip = np.array([1.0 if is_right else -1.0, 1.0, 1.0])
    vertices = model.arrays.v_template + model.arrays.shapedirs @ betas
    tips = vertices[list(FINGERTIP_VERTICES["freihand"])]
    return model.arrays.J_regressor @ vertices * flip, tips * flip


def resampled(motion: SkeletalMotion, timestamp_s: FloatArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotations (N, 16, 4) and the wrist (N, 3) at other times: between its neighbours; held before and after.

    Args:
        motion: the moving skeleton.
        timestamp_s: (N,) seconds.
    """
    time = np.asarray(motion.timestamp_s, np.float64)
    if len(time) == 1:
        count = len(timestamp_s)
        return np.repeat(motion.rotations, count, 0), np.repeat(motion.wrist, count, 0)
    at = np.clip(timestamp_s, time[0], time[-1])
    wrist = np.stack([np.interp(at, time, motion.wrist[:, axis]) for axis in range(3)], axis=1)
    rotations = np.stack(
        [Slerp(time, Rotation.from_quat(motion.rotations[:, joint]))(at).as_quat() for joint in range(16)], axis=1
    )
    return continuous_signs(rotations), wrist
