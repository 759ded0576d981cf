"""What a worker of a cluster does: footage in, its recording out, written whole under the name that follows from it.

A piece of work may be begun by one worker and done by another, or done twice: the result is the same file.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from handmesh.errors import HandMeshError
from handmesh.io.storage import Storage
from handmesh.io.video.sources import ClipSource, PhotoSource
from handmesh.labeling.cluster.items import FootageItem
from handmesh.motion.clip_folder import is_same_run
from handmesh.motion.clips import header_of, record_clip, smoothed
from handmesh.motion.formats.tables import RecordingHeader
from handmesh.motion.recorder import RecordingWriter
from handmesh.motion.recording import RecordedFrame, Recording

if TYPE_CHECKING:
    from handmesh.inference.tracking.tracker import HandTracker
    from handmesh.mano.hand_model import HandModel

#: A piece of work that so many workers died of is given up: it may be a file that crashes its decoder.
MAX_ATTEMPTS = 4


@dataclass(frozen=True)
class FootageJob:
    """What all workers know.

    Attributes:
        source: the footage.
        output: where recordings go.
        smoothing: of clips, one of SMOOTHINGS; photos are never smoothed.
        is_fov_assumed: nobody described the camera.
        settings: what else decides about the numbers; the engine is added.
        make_tracker: makes the tracker in the worker.
        begin: called when a piece of work begins; returns how often it was begun by now.
    """

    source: Storage
    output: Storage
    smoothing: str
    is_fov_assumed: bool
    settings: Mapping[str, str]
    make_tracker: Callable[[], HandTracker]
    begin: Callable[[str], int] = lambda name: 1


class FootageLabeler:
    """Labels pieces of work one after another with one tracker: what Ray makes an actor of."""

    def __init__(self, job: FootageJob) -> None:
        self._job = job

    # When the first piece is there, so that weights that cannot be loaded are reported as that piece's failure.
    @cached_property
    def _tracker(self) -> HandTracker:
        return self._job.make_tracker()

    @cached_property
    def _model(self) -> HandModel:
        from handmesh.inference.predictor import results_model

        return results_model(self._tracker.predictor)

    @cached_property
    def _settings(self) -> dict[str, str]:
        return {**self._job.settings, "engine": self._tracker.predictor.engine.name}

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row of the data set, {"item": JSON of a FootageItem}, labelled.

        Returns:
            A row of the index, and besides ``error`` ("" for none) and ``is_new``.
        """
        item = FootageItem.from_json(row["item"])
        try:
            if self._job.begin(item.name) > MAX_ATTEMPTS:
                raise HandMeshError(f"every worker that began it died, {MAX_ATTEMPTS} of them; look at the file")
            there = self._there(item)
            recording = there or self._label(item)
            return {**index_row(item, recording), "error": "", "is_new": there is None}
        except HandMeshError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - a decoder's fault or ours; the other pieces are to be done
            reason = f"{type(error).__name__}: {error}"
        return {**empty_row(item), "error": reason, "is_new": False}

    def _there(self, item: FootageItem) -> Recording | None:
        """The recording that an earlier run left, if it is whole and of the same footage and settings."""
        output = self._job.output
        if not output.exists(item.recording):
            return None
        with tempfile.TemporaryDirectory() as scratch:
            try:
                recording = Recording.load(output.fetch(item.recording, Path(scratch)))
            except HandMeshError:
                return None
        there = recording.header
        fingerprint = item.fingerprint or self._job.source.sha256_ends(item.name)[:16]
        wanted = replace(
            there, source_fingerprint=fingerprint, settings=self._settings_of(item),
            smoothing="none" if item.photos else self._job.smoothing, is_fov_assumed=self._job.is_fov_assumed,
            hand_model_fingerprint=self._model.arrays.fingerprint(),
        )  # fmt: skip
        return recording if recording.is_complete and is_same_run(there, wanted) else None

    def _settings_of(self, item: FootageItem) -> dict[str, str]:
        """A recording of photos says which they are: frame ``index`` is the photo of that place in the list."""
        names = {"photos": json.dumps([name.rpartition("/")[2] for name in item.photos])} if item.photos else {}
        return {**self._settings, **names}

    def _label(self, item: FootageItem) -> Recording:
        # Unfinished lines stay on this machine: two workers on one piece of work can never meet in one file.
        with tempfile.TemporaryDirectory(prefix="handmesh-footage-") as name:
            scratch = Path(name)
            file = scratch / "recording.jsonl"
            (self._label_photos if item.photos else self._label_clip)(item, scratch, file)
            self._job.output.put(item.recording, file)
            return Recording.load(file)

    def _header(self, source: ClipSource | PhotoSource, item: FootageItem, smoothing: str) -> RecordingHeader:
        return header_of(
            source, self._model, smoothing=smoothing, is_fov_assumed=self._job.is_fov_assumed,
            settings=self._settings_of(item),
        )  # fmt: skip

    def _label_clip(self, item: FootageItem, scratch: Path, file: Path) -> None:
        with closing(ClipSource(self._job.source.fetch(item.name, scratch))) as source:
            part = scratch / "recording.part.jsonl"
            raw = record_clip(source, self._tracker, part, self._header(source, item, "none"))
            smoothed(raw.of_model(self._model), self._job.smoothing).save(file)

    def _label_photos(self, item: FootageItem, scratch: Path, file: Path) -> None:
        photos = [self._job.source.fetch(name, scratch) for name in item.photos]
        source = PhotoSource(photos, item.name)
        header = replace(self._header(source, item, "none"), source_fingerprint=item.fingerprint)
        with RecordingWriter(file, header) as writer:
            for frame in self._tracker.run(source):
                size = (frame.image.shape[1], frame.image.shape[0])
                # The time of a photo is its place in the list; damaged ones leave a gap.
                writer.write(RecordedFrame(round(frame.timestamp_s), frame.timestamp_s, size, frame.K, frame.hands))


def index_row(item: FootageItem, recording: Recording) -> dict[str, Any]:
    """What the index says of a recording."""
    header, frames, hands = recording.header, recording.frames, recording.hands
    per_frame = np.bincount(hands.frame_row, minlength=len(frames))
    return {
        **empty_row(item),
        "source_fingerprint": header.source_fingerprint,
        "frames": len(frames),
        "unreadable_photos": len(item.photos) - len(frames) if item.photos else 0,
        "duration_s": 0.0 if item.photos or not len(frames) else float(np.ptp(frames.timestamp_s)) + 1 / header.fps,
        "fps": 0.0 if item.photos else float(header.fps),
        "width": int(header.image_size[0]),
        "height": int(header.image_size[1]),
        "frames_with_hands": int((per_frame > 0).sum()),
        "frames_with_two_hands": int((per_frame > 1).sum()),
        "hands": len(hands),
        "right_hands": int(hands.is_right.sum()),
        "interpolated_hands": int(hands.is_predicted.sum()),
        "tracks": 0 if item.photos else len(np.unique(hands.track_id)),
        "mean_score": float(hands.score.mean()) if len(hands) else 0.0,
        "smoothing": header.smoothing,
        "weights": header.settings.get("weights", ""),
        "engine": header.settings.get("engine", ""),
        "handmesh": header.handmesh,
    }


def empty_row(item: FootageItem) -> dict[str, Any]:
    """The same keys and types for a piece of work that has no recording."""
    texts = ("source_fingerprint", "smoothing", "weights", "engine", "handmesh")
    numbers = ("frames", "unreadable_photos", "width", "height", "frames_with_hands", "frames_with_two_hands", "hands",
               "right_hands", "interpolated_hands", "tracks")  # fmt: skip
    return {
        "recording": item.recording, "source": item.name, "kind": "photos" if item.photos else "clip",
        **dict.fromkeys(texts, ""), **dict.fromkeys(numbers, 0), "duration_s": 0.0, "fps": 0.0, "mean_score": 0.0,
        "process": f"{os.uname().nodename}:{os.getpid()}" if hasattr(os, "uname") else str(os.getpid()),
    }  # fmt: skip
