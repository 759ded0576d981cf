"""The second pass: identities hold across gaps, gaps are filled and flagged, meshes obey the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handmesh.inference.tracking.hand_filter import HandFilter
from handmesh.mano.hand_model import HandModel
from handmesh.motion.formats.tables import RecordingHeader
from handmesh.motion.offline import smooth_live, smooth_offline
from handmesh.motion.recorder import recording_of
from handmesh.motion.recording import RecordedFrame, Recording

Make = Callable[..., list[RecordedFrame]]


def with_gap(make: Make, first: int, last: int, count: int = 90) -> list[RecordedFrame]:
    """Both hands, the right one missed in frames first..last and under another number afterwards."""
    frames = make(count=count, sees=lambda index, side: not (side and first <= index <= last))
    return [
        replace(frame, hands=[replace(hand, track_id=9) if hand.is_right and frame.index > last else hand
                              for hand in frame.hands])
        for frame in frames
    ]  # fmt: skip


def noisy(recording: Recording, seed: int = 0, size: float = 1.0) -> Recording:
    rng, hands = np.random.default_rng(seed), recording.hands

    def shaken(quaternions: np.ndarray) -> np.ndarray:
        flat = Rotation.from_quat(quaternions.reshape(-1, 4))
        flat = flat * Rotation.from_rotvec(rng.normal(0, 0.04 * size, (len(flat), 3)))
        return flat.as_quat().reshape(quaternions.shape)

    return replace(
        recording,
        hands=replace(
            hands, global_orient=shaken(hands.global_orient), hand_pose=shaken(hands.hand_pose),
            keypoints_2d=hands.keypoints_2d + rng.normal(0, 1.0 * size, hands.keypoints_2d.shape),
            betas=hands.betas + rng.normal(0, 0.3 * size, hands.betas.shape),
        ),
    )  # fmt: skip


def joints_of(frames: list[RecordedFrame], is_right: bool) -> np.ndarray:
    return np.array([hand.joints for frame in frames for hand in frame.hands if hand.is_right == is_right])


def test_a_gap_is_stitched_filled_and_flagged(make_frames: Make, header: RecordingHeader, model: HandModel) -> None:
    recording = recording_of(header, with_gap(make_frames, 40, 50)).of_model(model)
    assert len(recording.tracks()) == 3
    result = smooth_offline(recording)
    assert result.header.smoothing == "offline" and len(result.tracks()) == 2
    right = next(track for track in result.tracks().values() if track.is_right)
    assert right.frame_index.tolist() == list(range(90))
    assert np.flatnonzero(right.hands.is_predicted).tolist() == list(range(40, 51))
    # A fast hand, guessed for eleven frames: far nearer than where it was last seen, or seen next.
    truth, filled = joints_of(make_frames(count=90), True), slice(40, 51)
    error, last, following = (
        np.linalg.norm(joints - truth[filled], axis=-1).mean()
        for joints in (right.hands.joints[filled], truth[39], truth[51])
    )
    assert error < 0.5 * min(last, following)
    assert smooth_offline(result) is result


def test_a_longer_gap_stays_open_and_other_hands_are_not_stitched(
    make_frames: Make, header: RecordingHeader, model: HandModel
) -> None:
    result = smooth_offline(recording_of(header, with_gap(make_frames, 30, 55)).of_model(model))
    right = next(track for track in result.tracks().values() if track.is_right)
    assert not set(range(30, 56)) & set(right.frame_index.tolist()) and not right.hands.is_predicted.any()
    assert len(result.tracks()) == 2
    far = with_gap(make_frames, 40, 50)
    moved = [
        replace(frame, hands=[replace(hand, keypoints_2d=hand.keypoints_2d + 5000) if hand.track_id == 9 else hand
                              for hand in frame.hands])
        for frame in far
    ]  # fmt: skip
    assert len(smooth_offline(recording_of(header, moved).of_model(model)).tracks()) == 3


def test_each_hand_has_one_shape_and_obeys_the_model(
    make_frames: Make, header: RecordingHeader, model: HandModel
) -> None:
    result = smooth_offline(noisy(recording_of(header, make_frames(count=60)).of_model(model)))
    for track in result.tracks().values():
        assert len(np.unique(track.hands.betas, axis=0)) == 1
        for place in (0, 20, 40):
            row = int(track.hands.frame_row[place])
            hand = next(each for each in result.frame(row).hands if each.track_id == track.track_id)
            vertices, joints = model.pose(hand.is_right, hand.global_orient, hand.hand_pose, hand.betas)
            assert np.abs(joints * hand.scale + hand.translation - hand.joints).max() < 1e-5
            assert np.abs(vertices * hand.scale + hand.translation - hand.vertices).max() < 1e-5


def test_noise_goes_without_lag(make_frames: Make, header: RecordingHeader, model: HandModel) -> None:
    frames = make_frames(count=90)
    raw = noisy(recording_of(header, frames).of_model(model))
    truth = joints_of(frames, True)

    def errors(recording: Recording) -> tuple[float, float]:
        joints = next(t for t in recording.tracks().values() if t.is_right).hands.joints
        # Relative to the wrist: how far the hand is away is another matter.
        error = (joints - joints[:, :1]) - (truth - truth[:, :1])
        jitter = np.linalg.norm(np.diff(error, 2, axis=0), axis=-1).mean()
        return float(np.linalg.norm(error, axis=-1).mean()), float(jitter)

    # The joints of a noisy recording are still the true ones: they are made anew from its parameters.
    none, offline = errors(_posed(raw, model)), errors(smooth_offline(raw))
    assert offline[0] < 0.6 * none[0] and offline[1] < 0.3 * none[1]


def _posed(recording: Recording, model: HandModel) -> Recording:
    joints = []
    for row in range(len(recording.hands)):
        hand = recording.frame(int(recording.hands.frame_row[row])).hands
        hand = [each for each in hand if each.track_id == recording.hands.track_id[row]]
        _, posed = model.pose(hand[0].is_right, hand[0].global_orient, hand[0].hand_pose, hand[0].betas)
        joints.append(posed + hand[0].translation)
    return replace(recording, hands=replace(recording.hands, joints=np.array(joints, np.float64)))


def test_a_measured_hand_keeps_its_length(make_frames: Make, header: RecordingHeader, model: HandModel) -> None:
    raw = noisy(recording_of(header, make_frames(count=30)).of_model(model))
    lengths = np.array([model.length(betas) for betas in raw.hands.betas])
    hands = replace(raw.hands, scale=0.19 / lengths, translation=raw.hands.translation * (0.19 / lengths)[:, None])
    for smooth in (smooth_offline, smooth_live):
        result = smooth(replace(raw, hands=hands))
        assert [scale * model.length(betas) for scale, betas in zip(result.hands.scale, result.hands.betas, strict=True)
                ] == pytest.approx([0.19] * len(result.hands), abs=1e-5)  # fmt: skip


def test_frames_of_the_wrong_side_are_replaced(make_frames: Make, header: RecordingHeader, model: HandModel) -> None:
    raw = recording_of(header, make_frames(count=40)).of_model(model)
    wrong = (raw.hands.track_id == 0) & np.isin(raw.hands.frame_row, (20, 21, 22))
    result = smooth_offline(replace(raw, hands=replace(raw.hands, is_right=raw.hands.is_right ^ wrong)))
    assert len(result.tracks()) == 2
    right = next(track for track in result.tracks().values() if track.is_right)
    assert right.hands.is_right.all() and np.flatnonzero(right.hands.is_predicted).tolist() == [20, 21, 22]


def test_the_live_filter_gives_what_the_tracker_shows(
    make_frames: Make, header: RecordingHeader, model: HandModel
) -> None:
    frames = make_frames(count=25)
    result = smooth_live(recording_of(header, frames).of_model(model))
    filters: dict[bool, HandFilter] = {}
    for row, frame in enumerate(frames):
        for hand, shown in zip(frame.hands, result.frame(row).hands, strict=True):
            wanted = filters.setdefault(hand.is_right, HandFilter(model))(hand, frame.timestamp_s)
            assert np.abs(wanted.vertices - shown.vertices).max() < 2e-5
            assert np.abs(wanted.keypoints_2d - shown.keypoints_2d).max() < 2e-3


def test_a_flash_is_no_hand_and_an_empty_recording_stays_one(
    make_frames: Make, header: RecordingHeader, model: HandModel
) -> None:
    frames = make_frames(count=30, sees=lambda index, side: side or index == 12)
    assert len(smooth_offline(recording_of(header, frames).of_model(model)).tracks()) == 1
    none = recording_of(header, make_frames(count=3, sees=lambda index, side: False)).of_model(model)
    assert len(smooth_offline(none).hands) == 0 and len(smooth_offline(none).frames) == 3
