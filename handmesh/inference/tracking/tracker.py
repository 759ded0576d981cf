"""Hands through time: crop from the last frame, detect only where a hand is missing, keep identities, vote on sides.

The only stateful object of the library.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from handmesh.detection.nms import drop_repeats
from handmesh.detection.tiling import Window, search_rounds
from handmesh.errors import HandMeshError, reason_of
from handmesh.inference.alignment.placement import Estimate, check_hand_length
from handmesh.inference.arguments import camera_matrix
from handmesh.inference.predictor import FloatArray, HandMeshPredictor
from handmesh.inference.same_hand import is_same_hand
from handmesh.inference.stage_clock import StageClock
from handmesh.inference.tracking.track import VOTE_FOR_A_PAIR, Track
from handmesh.inference.views import Views
from handmesh.io.calibration import CameraCalibration
from handmesh.io.images import image_array
from handmesh.io.video.frames import IterableSource
from handmesh.io.video.sources import Source, open_source
from handmesh.results import Detection, Hand

#: A hand is kept at a lower presence than it takes to be found: it should not flicker.
KEEP_PRESENCE = 0.35
#: Frames that a hand may be missing before its slot is free; it is looked for around its last place meanwhile.
MAX_MISSES = 3
#: With a hand in view, the search for another one takes a step of one window only this often, seconds: no frame then
#: waits for more than one pass of the detector.
SEARCH_PERIOD_S = 0.2
#: Every hand in view is checked by the detector's landmark model this often, seconds: the network alone cannot know
#: what it was never shown. One that is sure of its fit is checked half as often. So many checks in a row that see no
#: hand end the track; a failed check is repeated at once.
CONFIRM_PERIOD_S, SURE_CONFIRM_PERIOD_S = 0.5, 1.0
MAX_DOUBTS = 3
#: Smallest side of a box that still is a hand, pixels.
MIN_SIDE_PX = 12.0


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of :meth:`HandTracker.run`.

    Attributes:
        timestamp_s: seconds since the source's start.
        image: (H, W, 3) uint8 RGB, undistorted where a calibrated camera has distortion.
        hands: as of :meth:`HandTracker.step`, for photos as of the predictor.
        ids: the track of each hand, a number that stays with it while it is in view.
        stages_ms: wall time by stage: read, undistort, detect, confirm, crop, network, place, filter.
        name: a photo's file name.
        grabbed_s: ``time.perf_counter()`` when the source had the frame.
        K: (3, 3) intrinsics in pixels that hands are placed with.
    """

    timestamp_s: float
    image: NDArray[np.uint8]
    hands: list[Hand]
    ids: list[int] = field(default_factory=list)
    stages_ms: dict[str, float] = field(default_factory=dict)
    name: str = ""
    grabbed_s: float = 0.0
    K: FloatArray = field(default_factory=lambda: np.eye(3))

    def __repr__(self) -> str:
        size = f"{self.image.shape[1]} x {self.image.shape[0]}"
        return f"Frame({self.name or f'{self.timestamp_s:.3f} s'}, {size}, hands={self.hands})"


class HandTracker:
    """Follows up to ``max_hands`` hands through a clip or a camera's frames."""

    def __init__(
        self,
        predictor: HandMeshPredictor,
        smoothing: bool = True,
        max_hands: int = 2,
        K: FloatArray | None = None,
        fov_deg: float | None = None,
        camera: CameraCalibration | None = None,
        hand_length_m: float | None = None,
        min_score: float = 0.0,
        views: Views = (),
    ) -> None:
        """Compose a tracker. One tracker follows one scene, in one thread.

        Args:
            predictor: finds and predicts the hands.
            smoothing: filter what is found; it may be switched later.
            max_hands: at most so many are followed.
            K: (3, 3) intrinsics, pixels, as for the predictor.
            fov_deg: field of view over the longer side, as for the predictor.
            camera: a calibration instead of those: :meth:`run` gives frames undistorted, :meth:`step` wants them so.
            hand_length_m: wrist crease to middle fingertip, measured, of the person in view.
            min_score: hands of a lower score (0..1) are followed but not among the results; it may be changed later.
            views: turns and zooms in which each hand is seen in every frame, as of HandEstimator.estimate; for clips
                and for cameras that leave the time.

        Raises:
            HandMeshError: the camera given twice, no hands to follow, a length or a score out of range.
        """
        if camera is not None and not (K is None and fov_deg is None):
            raise HandMeshError("expected the camera as K, fov_deg or camera, got two; a calibration holds all of it")
        if max_hands < 1:
            raise HandMeshError(f"expected max_hands of 1 or more, got {max_hands}")
        if not 0 <= min_score <= 1:
            raise HandMeshError(f"expected min_score between 0 and 1, got {min_score}")
        check_hand_length(hand_length_m)
        self.min_score, self.views = min_score, views
        self.predictor, self.smoothing, self.max_hands = predictor, smoothing, max_hands
        self._K, self._fov_deg, self._camera, self._hand_length_m = K, fov_deg, camera, hand_length_m
        self.clock = StageClock()
        self.reset()

    def reset(self) -> None:
        """Forget every hand, as before the first frame."""
        self._tracks: list[Track] = []
        self._next_number = 0
        self._last_search_s = -np.inf
        self._round = 0
        self._size = (0, 0)
        self._search: list[list[Window]] = []
        self._calm_search: list[list[Window]] = []

    def state(self) -> dict[str, Any]:
        """What following the next frame without smoothing depends on, as plain numbers for JSON, to the last bit."""
        return {
            "next_number": self._next_number, "last_search_s": float(self._last_search_s), "round": self._round,
            "size": list(self._size), "tracks": [track.state() for track in self._tracks],
        }  # fmt: skip

    def _restore(self, state: dict[str, Any]) -> None:
        """Be as after the frame that :meth:`state` was taken after.

        Raises:
            HandMeshError: it is no such state.
        """
        try:
            self._see_size((int(state["size"][0]), int(state["size"][1])))
            # JSON has no infinity: none is before the first search.
            searched_s = state["last_search_s"]
            self._last_search_s = -np.inf if searched_s is None else float(searched_s)
            self._next_number, self._round = int(state["next_number"]), int(state["round"])
            self._tracks = [Track.restored(each, self.predictor.model) for each in state["tracks"]]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise HandMeshError(
                f"expected the tracker's state of an unfinished recording, one that is damaged ({reason_of(error)}); "
                "delete the recording's .part.jsonl to begin anew"
            ) from None

    @property
    def ids(self) -> list[int]:
        """The track numbers of the hands that the last step returned, in its order."""
        return [track.number for track in self._given()]

    def _given(self) -> list[Track]:
        """The tracks whose hands a step returns."""
        return [track for track in self._tracks if track.misses == 0 and track.shown.score >= self.min_score]

    def step(self, image: NDArray[np.uint8], timestamp_s: float) -> list[Hand]:
        """The hands in the next frame.

        Args:
            image: (H, W, 3) uint8 RGB. A frame of another size starts anew.
            timestamp_s: seconds, from any start, rising; one that falls is taken for the last one's.

        Returns:
            The hands in view, oldest track first; :attr:`ids` names their tracks.

        Raises:
            HandMeshError: not such an image, or a timestamp that is not a finite number.
        """
        image = image_array(image)
        if not np.isfinite(timestamp_s):
            raise HandMeshError(
                f"expected the frame's time in seconds, got {timestamp_s}; number the frames instead"
            )
        self.clock = StageClock()
        if image.shape[:2] != self._size:
            self.reset()
            self._see_size(image.shape[:2])
        found = self._look_for_hands(image, timestamp_s)
        self._confirm_one(image, timestamp_s)
        places = [track.place(timestamp_s) for track in self._tracks] + found
        # The filter poses the mesh anew: it is posed once a frame.
        mesh = not self.smoothing
        estimates = self.predictor.predict_places(image, self._matrix(image), places, self.clock, mesh, self.views)
        with self.clock("filter"):
            known = len(self._tracks)
            self._follow(estimates[:known], timestamp_s, image.shape)
            self._welcome(estimates[known:], timestamp_s)
            self._drop_duplicates()
        return [
            replace(self.predictor.finished(track.shown, self._hand_length_m), track_id=track.number)
            for track in self._given()
        ]

    def _see_size(self, size: tuple[int, int]) -> None:
        """Pictures are of that height and width."""
        self._size = size
        self._search = search_rounds(size[1], size[0])
        self._calm_search = search_rounds(size[1], size[0], tiles_per_round=1)

    def run(
        self,
        source: int | str | os.PathLike[str] | Source | Iterable[object],
        fps: float = 30.0,
        skip: int = 0,
        state: dict[str, Any] | None = None,
    ) -> Iterator[Frame]:
        """Frames with their hands, from anything that gives frames.

        Every frame of a clip is given, the newest of a camera. Photos do not follow one another: each is searched
        thoroughly and understood on its own. A source opened here is closed here.

        Args:
            source: a camera's index, a clip, a photo or a folder of photos, an open Source, or any iterable of frames:
                RGB arrays (H, W, 3) uint8, or objects with ``image`` and ``timestamp_s`` such as a Frame.
            fps: of an iterable of arrays, which do not say their times.
            skip: frames at the start that are passed over, because they were followed in an earlier run.
            state: :meth:`state` after the last of those, to go on as if there had been one run.

        Raises:
            HandMeshError: a source that cannot be opened, or a frame that is none.
        """
        if isinstance(source, int | str | os.PathLike):
            opened = open_source(source)
        else:
            opened = cast(Source, source) if hasattr(source, "is_photos") else IterableSource(source, fps)
        self.reset()
        if state is not None:
            self._restore(state)
        try:
            asked_s = time.perf_counter()
            for item in islice(opened, skip, None):
                clock = StageClock()
                clock.add("read", (time.perf_counter() - asked_s) * 1000)
                image = item.image
                if self._camera is not None and self._camera.has_distortion:
                    with clock("undistort"):
                        image = self._camera.undistort(image)
                if opened.is_photos:
                    hands, ids = self._understand_photo(image), []
                else:
                    hands, ids = self.step(image, item.timestamp_s), self.ids
                stages = {**clock.stages_ms, **self.clock.stages_ms}
                K = self._matrix(image)
                yield Frame(item.timestamp_s, image, hands, ids, stages, item.name, item.grabbed_s, K)
                asked_s = time.perf_counter()
        finally:
            if opened is not source:
                opened.close()

    def _understand_photo(self, image: NDArray[np.uint8]) -> list[Hand]:
        self.clock = StageClock()
        hands = self.predictor(image, K=self._matrix(image), hand_length_m=self._hand_length_m, clock=self.clock)
        return hands[: self.max_hands]

    def _matrix(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        K = self._K if self._camera is None else self._camera.matrix(image.shape[1], image.shape[0])
        return camera_matrix(image, K, self._fov_deg)

    def _look_for_hands(self, image: NDArray[np.uint8], timestamp_s: float) -> list[Detection]:
        """New places, when a slot is free and a search is due; a few windows a frame, in turn."""
        free = self.max_hands - len(self._tracks)
        is_due = not self._tracks or timestamp_s - self._last_search_s >= SEARCH_PERIOD_S
        if free <= 0 or not is_due:
            return []
        self._last_search_s = timestamp_s
        with self.clock("detect"):
            rounds = self._calm_search if self._tracks else self._search
            windows = rounds[self._round % len(rounds)]
            self._round += 1
            # The hands that are followed already are seen too, and need no second check.
            return self.predictor.detector.detect_quick(image, windows, self._is_news)[:free]

    def _is_news(self, place: Detection) -> bool:
        return not any(_is_about(place, track.hand) for track in self._tracks)

    def _confirm_one(self, image: NDArray[np.uint8], timestamp_s: float) -> None:
        """Have the landmark model check one track, the one that has waited longest, when it is due."""
        due = [track for track in self._tracks if track.doubts or timestamp_s >= _next_check_s(track)]
        if not due:
            return
        track = min(due, key=lambda each: each.confirmed_s)
        with self.clock("confirm"):
            track.confirm(self.predictor.detector.confirm(image, track.place(timestamp_s)), timestamp_s)
        if track.doubts >= MAX_DOUBTS:
            self._tracks.remove(track)

    def _follow(self, estimates: list[Estimate], timestamp_s: float, shape: tuple[int, ...]) -> None:
        for track, estimate in zip(self._tracks, estimates, strict=True):
            if estimate.presence >= KEEP_PRESENCE and _is_in_view(estimate.hand, shape):
                track.follow(estimate, timestamp_s, self.smoothing, self._lean(track))
            else:
                track.misses += 1
        self._tracks = [track for track in self._tracks if track.misses <= MAX_MISSES]

    def _lean(self, track: Track) -> float:
        """Votes a second for a right hand because of the other hands in view."""
        rivals = [each for each in self._tracks if each is not track and each.is_right == track.is_right]
        if not any(abs(rival.vote) > abs(track.vote) for rival in rivals):
            return 0.0
        return -VOTE_FOR_A_PAIR if track.is_right else VOTE_FOR_A_PAIR

    def _welcome(self, estimates: list[Estimate], timestamp_s: float) -> None:
        for estimate in estimates:
            if estimate.presence >= self.predictor.presence_threshold:
                track = Track(self._next_number, estimate.hand, timestamp_s, self.predictor.model)
                track.follow(estimate, timestamp_s, self.smoothing)
                self._next_number += 1
                self._tracks.append(track)

    def _drop_duplicates(self) -> None:
        """Two tracks on one hand: the older one stays."""
        self._tracks = drop_repeats(self._tracks, lambda track, other: is_same_hand(track.hand, other.hand))


def _next_check_s(track: Track) -> float:
    return track.confirmed_s + (SURE_CONFIRM_PERIOD_S if track.is_sure else CONFIRM_PERIOD_S)


def _is_about(place: Detection, hand: Hand) -> bool:
    """Whether a detection is of a hand that is followed already: its middle lies well inside that hand's box."""
    centre = (place.box_xyxy[:2] + place.box_xyxy[2:]) / 2
    middle, half = (hand.box_xyxy[:2] + hand.box_xyxy[2:]) / 2, (hand.box_xyxy[2:] - hand.box_xyxy[:2]) / 2
    return bool((np.abs(centre - middle) < 0.6 * half).all())


def _is_in_view(hand: Hand, shape: tuple[int, ...]) -> bool:
    """Whether the points make a hand somewhere in a picture of that shape."""
    x0, y0, x1, y1 = numbers = hand.box_xyxy.tolist()
    if not all(map(math.isfinite, numbers)):
        return False
    # A box counts from the border of the first pixel, half a pixel before its centre.
    x, y = (x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2
    return x1 - x0 >= MIN_SIDE_PX and 0 <= x < shape[1] and 0 <= y < shape[0]
