"""The two tables of a recording, one of frames and one of hands: columns, units, and what no recording can hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError
from handmesh.geometry.camera import DEFAULT_FOV_DEG
from handmesh.skeleton import JOINT_NAMES, MANO_JOINT_NAMES

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]
BoolArray = NDArray[np.bool_]

FORMAT = "handmesh-recording"
VERSION = 1
#: How the hands of a recording were filtered: each frame as the network gives it, by the causal filter, or offline.
SMOOTHINGS = ("none", "live", "offline")
UNITS = {
    "timestamp_s": "s since the start of the source", "K": "px", "box_xyxy": "px", "keypoints_2d": "px", "joints": "m",
    "translation": "m", "global_orient": "unit quaternion x y z w",
    "hand_pose": "unit quaternions x y z w, relative to the parent joint",
}  # fmt: skip
CAMERA_FRAME = "camera: x right, y down, z forward"


@dataclass(frozen=True)
class RecordingHeader:
    """What holds for a whole recording; the first line of the file.

    Attributes:
        source: file name of the clip, or "camera 0".
        source_fingerprint: 16 hex digits of the clip's content, "" for a camera.
        fps: nominal rate of the source; each frame has its own timestamp.
        image_size: (width, height) of the first frame, pixels.
        fov_deg: field of view over the longer side of the first frame, degrees.
        is_fov_assumed: nobody described the camera, so that distances may be wrong by a factor.
        hand_model: its name.
        hand_model_fingerprint: 16 hex digits; vertices can only be made with the same model.
        rest_joints: (16, 3) metres, MANO order: joints of the mean shape's flat right hand, in the model's frame.
        smoothing: one of SMOOTHINGS.
        settings: what else decides about the numbers (weights, engine, hands at most, measured hand length).
        handmesh: version of the program.
    """

    source: str = ""
    source_fingerprint: str = ""
    fps: float = 30.0
    image_size: tuple[int, int] = (0, 0)
    fov_deg: float = DEFAULT_FOV_DEG
    is_fov_assumed: bool = True
    hand_model: str = ""
    hand_model_fingerprint: str = ""
    rest_joints: tuple[tuple[float, ...], ...] = ()
    smoothing: str = "none"
    settings: Mapping[str, str] = field(default_factory=dict)
    handmesh: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The header line of a file: these attributes and what every recording of this version has in common."""
        own = asdict(self)
        return {
            "format": FORMAT, "version": VERSION, **own, "settings": dict(self.settings), "units": UNITS,
            "frame": CAMERA_FRAME, "joint_names": list(JOINT_NAMES), "hand_pose_names": list(MANO_JOINT_NAMES[1:]),
        }  # fmt: skip


@dataclass(frozen=True)
class FrameTable:
    """One row a frame, in order of time.

    Attributes:
        index: (F,) number of the frame in its source, from 0, rising.
        timestamp_s: (F,) seconds since the source's start, rising.
        image_size: (F, 2) width and height in pixels.
        K: (F, 3, 3) intrinsics in pixels.
    """

    index: IntArray
    timestamp_s: FloatArray
    image_size: IntArray
    K: FloatArray

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class HandTable:
    """One row a hand in a frame, in the order of the frames. Metres, pixels, camera frame, as in :class:`Hand`.

    Attributes:
        frame_row: (N,) row in the FrameTable.
        track_id: (N,) the same for the same hand in other frames.
        is_right: (N,) right or left hand.
        is_predicted: (N,) not seen in this frame, but interpolated between others.
        score: (N,) 0..1, that there is a hand.
        box_xyxy: (N, 4) pixels.
        keypoints_2d: (N, 21, 2) pixels.
        confidence: (N, 21) 0..1 for each joint.
        joints: (N, 21, 3) metres.
        translation: (N, 3) metres.
        scale: (N,) size of the hand over the hand model's.
        global_orient: (N, 4) unit quaternion.
        hand_pose: (N, 15, 4) unit quaternions, MANO order.
        betas: (N, 10) shape coefficients.
    """

    frame_row: IntArray
    track_id: IntArray
    is_right: BoolArray
    is_predicted: BoolArray
    score: FloatArray
    box_xyxy: FloatArray
    keypoints_2d: FloatArray
    confidence: FloatArray
    joints: FloatArray
    translation: FloatArray
    scale: FloatArray
    global_orient: FloatArray
    hand_pose: FloatArray
    betas: FloatArray

    def __len__(self) -> int:
        return len(self.frame_row)

    def take(self, rows: IntArray | BoolArray) -> HandTable:
        """The rows of these numbers, or where a mask is true."""
        return HandTable(**{each.name: getattr(self, each.name)[rows] for each in fields(self)})


def concatenate_hands(parts: Sequence[HandTable]) -> HandTable:
    """The rows of several tables, one below the other."""
    names = [each.name for each in fields(HandTable)]
    return HandTable(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


class Tables(NamedTuple):
    """What a file holds: the header and both tables; not complete when lines are missing at its end."""

    header: RecordingHeader
    frames: FrameTable
    hands: HandTable
    is_complete: bool = True


class Column(NamedTuple):
    """Type and shape of one row of a column."""

    dtype: type
    shape: tuple[int, ...] = ()


#: Columns as they are in files, in this order; HandTable has ``frame_row`` besides.
FRAME_COLUMNS: dict[str, Column] = {
    "index": Column(np.int64), "timestamp_s": Column(np.float64), "image_size": Column(np.int64, (2,)),
    "K": Column(np.float64, (3, 3)),
}  # fmt: skip
HAND_COLUMNS: dict[str, Column] = {
    "track_id": Column(np.int64), "is_right": Column(np.bool_), "is_predicted": Column(np.bool_),
    "score": Column(np.float64), "box_xyxy": Column(np.float64, (4,)), "keypoints_2d": Column(np.float64, (21, 2)),
    "confidence": Column(np.float64, (21,)), "joints": Column(np.float64, (21, 3)),
    "translation": Column(np.float64, (3,)), "scale": Column(np.float64), "global_orient": Column(np.float64, (4,)),
    "hand_pose": Column(np.float64, (15, 4)), "betas": Column(np.float64, (10,)),
}  # fmt: skip


#: Digits after the point: a micrometre, a thousandth of a pixel; finer than any of these numbers is known.
DECIMALS = {
    "score": 4, "box_xyxy": 3, "keypoints_2d": 3, "confidence": 4, "joints": 6, "translation": 6, "scale": 8,
    "global_orient": 8, "hand_pose": 8, "betas": 6,
}  # fmt: skip


def tables_from_columns(
    frames: Mapping[str, NDArray[Any]], hands: Mapping[str, NDArray[Any]], frame_row: IntArray,
    wrong: Callable[[str], HandMeshError],
) -> tuple[FrameTable, HandTable]:  # fmt: skip
    """Columns as tables, once they are known to be what they must be.

    Args:
        frames: arrays by the names of FRAME_COLUMNS.
        hands: arrays by the names of HAND_COLUMNS.
        frame_row: (N,) row of the frame of each hand.
        wrong: makes the error out of a reason.

    Raises:
        HandMeshError: a shape, a type or a number that no recording has.
    """
    for columns, arrays in ((FRAME_COLUMNS, frames), (HAND_COLUMNS, hands)):
        count = len(next(iter(arrays.values())))
        for name, column in columns.items():
            array = arrays[name]
            if array.dtype != column.dtype or array.shape != (count, *column.shape):
                raise wrong(f"{name} has shape {array.shape} of {array.dtype}, not {('N', *column.shape)}")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise wrong(f"{name} holds NaN or infinity")
    table, rows = FrameTable(**frames), HandTable(frame_row=frame_row, **hands)
    reason = _contradiction(table, rows)
    if reason:
        raise wrong(reason)
    return table, rows


def _contradiction(frames: FrameTable, hands: HandTable) -> str:
    """What cannot be true of these tables, or nothing."""
    if len(frames) and (frames.index[0] < 0 or (np.diff(frames.index) <= 0).any()):
        return "frame numbers do not rise"
    if (np.diff(frames.timestamp_s) <= 0).any():
        return "timestamps do not rise"
    if ((frames.image_size < 1) | (frames.image_size > 65535)).any():
        return "an image_size is outside 1 to 65535 pixels"
    if (frames.K[:, [0, 1], [0, 1]] <= 0).any() or (frames.K[:, 2] != (0, 0, 1)).any():
        return "a K is no matrix of intrinsics"
    if len(hands.frame_row) and not (
        (hands.frame_row >= 0) & (hands.frame_row < len(frames)) & (np.diff(hands.frame_row, prepend=0) >= 0)
    ).all():
        return "hands do not follow the frames"
    pairs = np.stack([hands.frame_row, hands.track_id], 1)
    if (hands.track_id < 0).any() or len(np.unique(pairs, axis=0)) != len(pairs):
        return "a frame has two hands of one track_id, or a negative one"
    for name in ("score", "confidence"):
        values = getattr(hands, name)
        if ((values < 0) | (values > 1)).any():
            return f"a {name} is outside 0 to 1"
    if (hands.scale <= 0).any():
        return "a scale is not positive"
    for name in ("global_orient", "hand_pose"):
        if (np.abs(np.linalg.norm(getattr(hands, name), axis=-1) - 1) > 1e-3).any():
            return f"a quaternion of {name} has not length 1"
    return ""


def empty_columns(columns: Mapping[str, Column]) -> dict[str, NDArray[Any]]:
    """Columns without a row."""
    return {name: np.zeros((0, *column.shape), column.dtype) for name, column in columns.items()}


def concatenate_columns(parts: Sequence[Mapping[str, NDArray[Any]]], columns: Mapping[str, Column]) -> Any:
    """Parts of columns, one below the other."""
    return {name: np.concatenate([part[name] for part in [empty_columns(columns), *parts]]) for name in columns}
