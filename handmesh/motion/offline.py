"""The second pass over a recording: one identity and one shape a hand, short gaps filled, smoothing without lag.

Everything that the live filter cannot know because it lies ahead is used here: who comes back after a gap, what shape
all frames together speak for, where a motion is going to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.geometry.camera import fit_translation
from handmesh.geometry.crop import box_around
from handmesh.geometry.quaternion import continuous_signs, to_matrix, to_quaternion
from handmesh.inference.tracking.hand_filter import HandFilter
from handmesh.mano.hand_model import HandModel
from handmesh.motion.formats.tables import DECIMALS, HandTable, concatenate_hands
from handmesh.motion.recording import Recording
from handmesh.motion.zero_lag import ZeroLagSettings, smooth_rotations, smooth_vectors
from handmesh.results import Hand

FloatArray = NDArray[np.floating[Any]]

#: A hand that was gone for at most so long is filled in, seconds; across longer gaps nothing is known of it.
MAX_FILLED_GAP_S = 0.5
#: A hand that comes back after at most so long may be the one that went, seconds,
MAX_STITCHED_GAP_S = 2.0
#: if it is of its side, of its size within this factor,
MAX_SIZE_RATIO = 1.8
#: and no farther from where it went than this many sides of its box, and so many more for every second.
STITCH_DISTANCE, STITCH_SPEED = 0.6, 2.0
#: What is seen in fewer frames in all is no hand.
MIN_FRAMES = 3
#: What an interpolated frame weighs beside a seen one.
FILLED_WEIGHT = 0.05


@dataclass(frozen=True)
class OfflineSettings:
    """Speeds: radians a second, box sides a second, nepers (log metres) a second.

    Chosen by scripts/experiments/smoothing.py on the rendered scene with known truth.
    """

    rotations: ZeroLagSettings = ZeroLagSettings(min_cutoff_hz=1.0, beta=0.7)
    points: ZeroLagSettings = ZeroLagSettings(min_cutoff_hz=1.5, beta=2.0)
    log_depth: ZeroLagSettings = ZeroLagSettings(min_cutoff_hz=0.5, beta=1.0)


def smooth_offline(recording: Recording, settings: OfflineSettings | None = None) -> Recording:
    """The recording with its hands stitched, filled, of one shape each, and smoothed without lag.

    Args:
        recording: best of smoothing "none"; one of "offline" is returned as it is.
        settings: how much is smoothed.

    Returns:
        A recording of the same frames, smoothing "offline".
    """
    if recording.header.smoothing == "offline":
        return recording
    settings = settings or OfflineSettings()
    pieces = [_of_one_side(track.hands) for track in recording.tracks().values()]
    parts = []
    for number, joined in enumerate(_stitched(pieces, recording.frames.timestamp_s)):
        if len(joined) >= MIN_FRAMES:
            parts.append(_smooth_track(joined, number, recording, settings))
    return _with_hands(recording, parts, "offline")


def smooth_live(recording: Recording) -> Recording:
    """The recording as the live filter would have shown it: no frame knows of a later one."""
    parts = []
    for track in recording.tracks().values():
        hand_filter, is_right = HandFilter(recording.model), track.is_right
        rows = track.hands
        columns: dict[str, list[Any]] = {name: [] for name in _FILTERED}
        for place, row in enumerate(rows.frame_row):
            if bool(rows.is_right[place]) != is_right:
                hand_filter, is_right = HandFilter(recording.model), not is_right
            hand = _unscaled(rows, place, recording.frames.K[row])
            shown = hand_filter(hand, float(recording.frames.timestamp_s[row]))
            length_m = rows.scale[place] * recording.model.length(hand.betas)
            scale = 1.0 if rows.scale[place] == 1 else length_m / recording.model.length(shown.betas)
            for name, value in (
                ("keypoints_2d", shown.keypoints_2d), ("joints", shown.joints * scale),
                ("translation", shown.translation * scale), ("scale", scale), ("betas", shown.betas),
                ("global_orient", to_quaternion(shown.global_orient)), ("hand_pose", to_quaternion(shown.hand_pose)),
            ):  # fmt: skip
                columns[name].append(value)
        arrays: dict[str, Any] = {name: np.asarray(values, np.float64) for name, values in columns.items()}
        for name in ("global_orient", "hand_pose"):
            arrays[name] = continuous_signs(arrays[name])
        parts.append(replace(rows, **arrays))
    return _with_hands(recording, parts, "live")


_FILTERED = ("keypoints_2d", "joints", "translation", "scale", "betas", "global_orient", "hand_pose")


def _unscaled(rows: HandTable, place: int, K: FloatArray) -> Hand:
    """A recorded hand as the network gave it, before it was brought to its measured length."""
    scale = rows.scale[place]
    joints = rows.joints[place] / scale
    return Hand(
        joints, joints, rows.keypoints_2d[place], bool(rows.is_right[place]), float(rows.score[place]),
        np.zeros((0, 3), np.int32), to_matrix(rows.global_orient[place]), to_matrix(rows.hand_pose[place]),
        rows.betas[place], rows.translation[place] / scale, K, rows.box_xyxy[place], rows.confidence[place],
    )  # fmt: skip


def _with_hands(recording: Recording, parts: Sequence[HandTable], smoothing: str) -> Recording:
    """The recording with these hands instead, rounded to what is written."""
    table = concatenate_hands(parts) if parts else recording.hands.take(np.zeros(0, np.int64))
    rounded = {name: np.round(getattr(table, name), digits) for name, digits in DECIMALS.items()}
    return recording.with_hands(replace(table, **rounded), smoothing)


def _of_one_side(hands: HandTable) -> HandTable:
    """The frames on the side that most of them speak for: the other side's parameters are of the mirrored model."""
    weight = _weights(hands)
    is_right = float(weight[hands.is_right].sum()) * 2 >= float(weight.sum())
    return hands.take(hands.is_right == is_right)


def _weights(hands: HandTable) -> NDArray[np.float64]:
    """How much each row is to be believed, (N,) above 0."""
    return np.asarray(np.maximum(hands.score * hands.confidence.mean(1), 1e-3))


def _stitched(pieces: Sequence[HandTable], timestamp_s: FloatArray) -> list[HandTable]:
    """Pieces joined where one goes on where another ended, the likeliest pairs first; by their first frames."""
    links = []
    for before, ended in enumerate(pieces):
        for after, begun in enumerate(pieces):
            distance = _distance(ended, begun, timestamp_s) if before != after else None
            if distance is not None:
                links.append((distance, before, after))
    following: dict[int, int] = {}
    led: set[int] = set()
    for _, before, after in sorted(links):
        if before not in following and after not in led:
            following[before] = after
            led.add(after)
    chains = []
    for number in range(len(pieces)):
        if number in led:
            continue
        chain = [number]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        chains.append(concatenate_hands([pieces[each] for each in chain]))
    return sorted(chains, key=lambda chain: int(chain.frame_row[0]))


def _distance(ended: HandTable, begun: HandTable, timestamp_s: FloatArray) -> float | None:
    """How far a hand that begins is from one that ended, as a share of what is allowed; None for another hand."""
    gap_s = float(timestamp_s[begun.frame_row[0]] - timestamp_s[ended.frame_row[-1]])
    if not 0 < gap_s <= MAX_STITCHED_GAP_S or bool(ended.is_right[0]) != bool(begun.is_right[0]):
        return None
    sides = [_side(ended, -1), _side(begun, 0)]
    if max(sides) > MAX_SIZE_RATIO * min(sides):
        return None
    moved = np.linalg.norm(ended.keypoints_2d[-1].mean(0) - begun.keypoints_2d[0].mean(0)) / max(sides)
    share = float(moved) / (STITCH_DISTANCE + STITCH_SPEED * gap_s)
    return share if share <= 1 else None


def _side(hands: HandTable, place: int) -> float:
    return max(float(np.ptp(hands.keypoints_2d[place], axis=0).max()), 1.0)


def _smooth_track(hands: HandTable, number: int, recording: Recording, settings: OfflineSettings) -> HandTable:
    """One hand: a shape for all of its frames, then each stretch without a long gap filled and smoothed."""
    weight = _weights(hands)
    betas = np.average(hands.betas, axis=0, weights=weight)
    model = recording.model
    # A measured length stays what it is, whatever the shape: the scale is its own over the shape's.
    lengths = [scale * model.length(shape) for scale, shape in zip(hands.scale, hands.betas, strict=True)]
    scale = 1.0 if (hands.scale == 1).all() else float(np.median(lengths)) / model.length(betas)
    time = recording.frames.timestamp_s[hands.frame_row]
    ends = np.flatnonzero(np.diff(time) > MAX_FILLED_GAP_S) + 1
    parts = []
    for rows in np.split(np.arange(len(hands)), ends):
        seen = replace(
            hands.take(rows), track_id=np.full(len(rows), number), scale=np.full(len(rows), scale),
            betas=np.tile(betas, (len(rows), 1)),
        )  # fmt: skip
        parts.append(_smooth_stretch(_filled(seen, recording.frames.timestamp_s), recording, settings))
    return concatenate_hands(parts)


def _filled(seen: HandTable, timestamp_s: FloatArray) -> HandTable:
    """A row for every frame from the first to the last: numbers between their neighbours, rotations on the geodesic."""
    rows = np.arange(seen.frame_row[0], seen.frame_row[-1] + 1)
    if len(rows) == len(seen):
        return seen
    after = np.searchsorted(seen.frame_row, rows)
    before = np.where(seen.frame_row[after] == rows, after, after - 1)
    times = timestamp_s[seen.frame_row]
    span = np.maximum(times[after] - times[before], 1e-9)
    share = np.where(before == after, 0.0, (timestamp_s[rows] - times[before]) / span)
    columns: dict[str, Any] = {"frame_row": rows, "is_predicted": before != after}
    for name in ("track_id", "is_right"):
        columns[name] = getattr(seen, name)[before]
    for name in ("score", "box_xyxy", "keypoints_2d", "confidence", "joints", "translation", "scale", "betas"):
        values = getattr(seen, name)
        part = share.reshape(-1, *[1] * (values.ndim - 1))
        columns[name] = (1 - part) * values[before] + part * values[after]
    for name in ("global_orient", "hand_pose"):
        values = continuous_signs(getattr(seen, name))
        columns[name] = _slerp(values[before], values[after], share.reshape(-1, *[1] * (values.ndim - 1)))
    return HandTable(**columns)


def _slerp(first: FloatArray, second: FloatArray, share: FloatArray) -> NDArray[np.float64]:
    """Between unit quaternions (..., 4) of like sign, along the shortest arc."""
    angle = np.arccos(np.clip((first * second).sum(-1, keepdims=True), -1, 1))
    sine = np.sin(angle)
    near = sine < 1e-6
    safe = np.where(near, 1.0, sine)
    a = np.where(near, 1 - share, np.sin((1 - share) * angle) / safe)
    b = np.where(near, share, np.sin(share * angle) / safe)
    mixed = a * first + b * second
    return np.asarray(mixed / np.linalg.norm(mixed, axis=-1, keepdims=True))


def _smooth_stretch(hands: HandTable, recording: Recording, settings: OfflineSettings) -> HandTable:
    """Rows of successive frames, smoothed: rotations, points in the picture, depth; then the hand stands on them."""
    time, K = recording.frames.timestamp_s[hands.frame_row], recording.frames.K[hands.frame_row]
    weight = _weights(hands)
    weight = weight / weight[~hands.is_predicted].mean()
    weight[hands.is_predicted] = FILLED_WEIGHT
    raw = np.concatenate([hands.global_orient[:, None], hands.hand_pose], axis=1)
    rotations = smooth_rotations(raw, time, weight[:, None], settings.rotations)
    side_px = float(np.median(hands.box_xyxy[:, 2] - hands.box_xyxy[:, 0]))
    # A point that is hidden follows the others' lead; one that is seen counts by its confidence.
    point_weight = weight[:, None] * np.maximum(hands.confidence, 0.05)
    keypoints = smooth_vectors(hands.keypoints_2d / side_px, time, point_weight, settings.points) * side_px

    def place(quaternions: FloatArray, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Joints in the model's frame (T, 21, 3), and the translations (T, 3) that put them on points (T, 21, 2)."""
        joints = _model_joints(recording.model, hands, quaternions)
        confidence = np.maximum(hands.confidence, 0.01)
        return joints, np.stack([fit_translation(*each) for each in zip(joints, points, K, confidence, strict=True)])

    # Depth comes from the unsmoothed pose on its own points: what the network saw together.
    joints, translation = place(raw, hands.keypoints_2d)
    depth = joints[..., 2].mean(1) + translation[:, 2]
    seen_depth = hands.joints[..., 2].mean(1)
    depth = np.where(np.isfinite(depth) & (depth > 0.25 * seen_depth) & (depth < 4 * seen_depth), depth, seen_depth)
    smooth_depth = np.exp(smooth_vectors(np.log(depth)[:, None, None], time, weight[:, None], settings.log_depth))
    joints, translation = place(rotations, keypoints)
    centre = joints.mean(1) + translation
    is_right = np.isfinite(centre).all(1) & (centre[:, 2] > 0)
    centre = np.where(is_right[:, None], centre, hands.joints.mean(1))
    # Moved along its ray, the hand stays where it is seen.
    translation = centre * (smooth_depth[:, 0] / centre[:, 2:]) - joints.mean(1)
    return replace(
        hands, keypoints_2d=keypoints, joints=joints + translation[:, None], translation=translation,
        global_orient=rotations[:, 0], hand_pose=rotations[:, 1:],
        box_xyxy=np.stack([box_around(points) for points in keypoints]),
    )  # fmt: skip


def _model_joints(model: HandModel, hands: HandTable, rotations: FloatArray) -> NDArray[np.float64]:
    """(T, 21, 3) metres in the model's frame, at the hand's scale, of quaternions (T, 16, 4)."""
    matrices = to_matrix(rotations)
    _, joints = model.pose(bool(hands.is_right[0]), matrices[:, 0], matrices[:, 1:], hands.betas)
    return np.asarray(joints * hands.scale[:, None, None], np.float64)
