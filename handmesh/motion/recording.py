"""A recording: what was found in every frame of a clip or a camera, as one table of frames and one of hands.

Rotations are unit quaternions (x, y, z, w) whose sign never jumps along a track. Vertices are not stored: they follow
from the parameters and the hand model, and are made when asked for. ``recording_files`` reads and writes it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError
from handmesh.geometry.quaternion import to_matrix
from handmesh.mano.arrays import load_mano
from handmesh.mano.hand_model import HandModel
from handmesh.motion.formats.tables import FloatArray, FrameTable, HandTable, IntArray, RecordingHeader, Tables
from handmesh.motion.recording_files import load_tables, save_tables
from handmesh.results import Hand


@dataclass(frozen=True)
class Track:
    """One hand through time.

    Attributes:
        track_id: its number.
        is_right: the side that most of its frames have.
        frame_index: (T,) number of each of its frames in the source.
        timestamp_s: (T,) seconds.
        hands: its rows, T of them.
    """

    track_id: int
    is_right: bool
    frame_index: IntArray
    timestamp_s: FloatArray
    hands: HandTable

    def __len__(self) -> int:
        return len(self.hands)


@dataclass(frozen=True)
class RecordedFrame:
    """A frame without its picture.

    Attributes:
        index: number of the frame in its source, from 0.
        timestamp_s: seconds since the source's start.
        image_size: (width, height) in pixels.
        K: (3, 3) intrinsics in pixels.
        hands: as :class:`handmesh.HandTracker` gives them.
    """

    index: int
    timestamp_s: float
    image_size: tuple[int, int]
    K: FloatArray
    hands: Sequence[Hand]


@dataclass(frozen=True, eq=False)
class Recording:
    """Header, frames and hands. The tables are not to be changed in place.

    Attributes:
        is_complete: False when lines are missing at the end of the file.
        mano: hand model that vertices are made with: "open", or the path of a MANO file.
    """

    header: RecordingHeader
    frames: FrameTable
    hands: HandTable
    is_complete: bool = True
    mano: str = "open"
    _model: list[HandModel] = field(default_factory=list, repr=False)

    @staticmethod
    def load(path: str | os.PathLike[str], mano: str | os.PathLike[str] = "open") -> Recording:
        """Read a recording (.jsonl or .npz), to its last whole line when it was cut off.

        Args:
            path: the file.
            mano: hand model for :meth:`vertices`: "open", or the path of a MANO file. It is read when first needed.

        Raises:
            HandMeshError: no such file, not a recording, one of a newer version, numbers that cannot be.
        """
        return Recording(*load_tables(path), mano=str(mano))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it whole to ``path`` (.jsonl or .npz); every number keeps its last bit in both.

        Raises:
            HandMeshError: another ending, or a place that cannot be written.
        """
        save_tables(Tables(self.header, self.frames, self.hands), path)

    @property
    def model(self) -> HandModel:
        """The hand model that this recording was made with.

        Raises:
            HandMeshError: ``mano`` is another one.
        """
        if not self._model:
            arrays = load_mano(self.mano)
            if arrays.fingerprint() != self.header.hand_model_fingerprint:
                raise HandMeshError(
                    f"expected the hand model of this recording, {self.header.hand_model} (fingerprint "
                    f"{self.header.hand_model_fingerprint}), got {arrays.name} ({arrays.fingerprint()}); "
                    "name its file with --mano, or Recording.load(path, mano=FILE)"
                )
            self._model.append(HandModel(arrays))
        return self._model[0]

    def of_model(self, model: HandModel) -> Recording:
        """The same with a hand model that is in memory, which must be the one that it was made with."""
        return replace(self, _model=[model])

    def with_hands(self, hands: HandTable, smoothing: str | None = None) -> Recording:
        """The same frames with these hands instead, in the order of the frames; ``smoothing`` is how they were made."""
        header = self.header if smoothing is None else replace(self.header, smoothing=smoothing)
        return replace(self, header=header, hands=hands.take(np.lexsort((hands.track_id, hands.frame_row))))

    def tracks(self) -> dict[int, Track]:
        """Every hand by its track's number, in the order of their first frames."""
        found: dict[int, Track] = {}
        ids, first = np.unique(self.hands.track_id, return_index=True)
        for track_id in ids[np.argsort(first, kind="stable")]:
            hands = self.hands.take(np.flatnonzero(self.hands.track_id == track_id))
            is_right = bool(2 * hands.is_right.sum() >= len(hands))
            rows = hands.frame_row
            found[int(track_id)] = Track(
                int(track_id), is_right, self.frames.index[rows], self.frames.timestamp_s[rows], hands
            )
        return found

    def track(self, track_id: int) -> Track:
        """One track by its number.

        Raises:
            HandMeshError: there is no such track.
        """
        tracks = self.tracks()
        if track_id not in tracks:
            there = ", ".join(map(str, tracks)) or "none"
            name = self.header.source or "the recording"
            raise HandMeshError(f"expected a track of {name} ({there}), got {track_id}")
        return tracks[track_id]

    def vertices(self, track_id: int, frame_index: int) -> NDArray[np.float32]:
        """Mesh of one hand in one frame.

        Args:
            track_id: the track's number.
            frame_index: number of the frame in the source, as in FrameTable.index.

        Returns:
            (778, 3) metres, camera frame: what was drawn, to within 0.1 mm.

        Raises:
            HandMeshError: no such hand in that frame, or another hand model.
        """
        row = np.flatnonzero((self.hands.track_id == track_id) & (self._index_of_hands == frame_index))
        if not len(row):
            seen = self._index_of_hands[self.hands.track_id == track_id]
            where = f"frames {seen.min()} to {seen.max()}" if len(seen) else "none"
            raise HandMeshError(f"expected a frame with track {track_id} (it has {where}), got frame {frame_index}")
        return self._vertices_of(int(row[0]))

    def frame(self, row: int) -> RecordedFrame:
        """Row ``row`` of the frames with its hands, vertices and all, as the tracker gave them."""
        first, last = np.searchsorted(self.hands.frame_row, [row, row + 1])
        K = self.frames.K[row]
        hands = [self._hand(number, K) for number in range(int(first), int(last))]
        width, height = self.frames.image_size[row].tolist()
        return RecordedFrame(
            int(self.frames.index[row]), float(self.frames.timestamp_s[row]), (width, height), K, hands
        )

    @property
    def _index_of_hands(self) -> IntArray:
        return self.frames.index[self.hands.frame_row]

    def _vertices_of(self, row: int) -> NDArray[np.float32]:
        hands = self.hands
        vertices, _ = self.model.pose(
            bool(hands.is_right[row]), to_matrix(hands.global_orient[row]), to_matrix(hands.hand_pose[row]),
            hands.betas[row],
        )  # fmt: skip
        return np.asarray(vertices * hands.scale[row] + hands.translation[row], np.float32)

    def _hand(self, row: int, K: FloatArray) -> Hand:
        hands = self.hands
        is_right = bool(hands.is_right[row])

        def f32(values: FloatArray) -> NDArray[np.float32]:
            return np.asarray(values, np.float32)

        return Hand(
            vertices=self._vertices_of(row),
            joints=f32(hands.joints[row]),
            keypoints_2d=f32(hands.keypoints_2d[row]),
            is_right=is_right,
            score=float(hands.score[row]),
            faces=self.model.faces(is_right),
            global_orient=f32(to_matrix(hands.global_orient[row])),
            hand_pose=f32(to_matrix(hands.hand_pose[row])),
            betas=f32(hands.betas[row]),
            translation=f32(hands.translation[row]),
            K=f32(K),
            box_xyxy=f32(hands.box_xyxy[row]),
            confidence=f32(hands.confidence[row]),
            scale=float(hands.scale[row]),
            track_id=int(hands.track_id[row]),
            is_predicted=bool(hands.is_predicted[row]),
        )
