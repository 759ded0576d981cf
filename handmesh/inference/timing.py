"""How fast a run is: frames a second, milliseconds by stage, latency; for the screen now and for a file at the end."""

from __future__ import annotations

import statistics
import time
from collections import deque
from itertools import islice
from pathlib import Path
from typing import Any

from handmesh.io.files import write_json

#: The screen shows what held over the last so many frames.
_RECENT = 30
#: Durations kept for each stage's median; a longer run keeps the latest, so that memory stays flat: two minutes' worth.
_KEPT = 4096


class LiveStats:
    """Counts of one run, from its first frame to now."""

    def __init__(self, engine: str) -> None:
        """``engine``: its name, for the file."""
        self.engine, self.resolution = engine, ""
        self.frames = self.frames_with_hands = 0
        self._stages: dict[str, deque[float]] = {}
        self._latencies: deque[float] = deque(maxlen=_KEPT)
        self._recent: deque[dict[str, float]] = deque(maxlen=_RECENT)
        self._ends: deque[float] = deque(maxlen=_RECENT)
        self._start_s = time.perf_counter()
        self._end_s = self._start_s

    def add(
        self, stages_ms: dict[str, float], has_hands: bool, width: int, height: int, grabbed_s: float = 0.0
    ) -> None:
        """Count a frame that is finished now.

        Args:
            stages_ms: milliseconds of each stage.
            has_hands: whether it shows a hand.
            width, height: of the frame, pixels.
            grabbed_s: when it was grabbed, on time.perf_counter's clock; 0 for unknown.
        """
        now_s = time.perf_counter()
        self.frames += 1
        self.frames_with_hands += has_hands
        size = f"{width}x{height}"
        self.resolution = size if self.resolution in ("", size) else "various"
        self._recent.append(stages_ms)
        self.add_stages(stages_ms)
        if grabbed_s:
            self._latencies.append((now_s - grabbed_s) * 1000)
        self._ends.append(now_s)
        self._end_s = now_s

    def add_stages(self, stages_ms: dict[str, float]) -> None:
        """More stages of a frame that was counted before, done now."""
        for stage, duration_ms in stages_ms.items():
            self._stages.setdefault(stage, deque(maxlen=_KEPT)).append(duration_ms)
        self._end_s = time.perf_counter()

    @property
    def recent_fps(self) -> float:
        """Frames a second over the last frames."""
        if len(self._ends) < 2:
            return 0.0
        return (len(self._ends) - 1) / max(self._ends[-1] - self._ends[0], 1e-9)

    @property
    def latency_ms(self) -> float:
        """Median time from a frame in hand to a frame finished, over the last frames."""
        latest = list(islice(reversed(self._latencies), _RECENT))
        return statistics.median(latest) if latest else 0.0

    def durations_ms(self, stage: str) -> list[float]:
        """Of each of the latest frames that had this stage, oldest first."""
        return list(self._stages.get(stage, ()))

    def lines(self) -> list[str]:
        """The lines for the screen: speed first, then each stage's share of a frame in milliseconds."""
        count = max(len(self._recent), 1)
        stages = [(stage, sum(each.get(stage, 0.0) for each in self._recent) / count) for stage in self._stages]
        words = [f"{stage} {duration:.1f}" for stage, duration in stages if duration >= 0.05]
        rows = ["   ".join(words[i : i + 4]) for i in range(0, len(words), 4)]
        return [f"{self.recent_fps:.0f} fps   latency {self.latency_ms:.0f} ms   {self.engine}", *rows]

    def summary(self) -> dict[str, Any]:
        """The run in numbers: frames, frames_with_hands, fps, stages_ms (medians of the latest), engine, resolution."""
        duration_s = self._end_s - self._start_s
        return {
            "frames": self.frames,
            "frames_with_hands": self.frames_with_hands,
            "fps": round(self.frames / duration_s, 2) if duration_s > 0 else 0.0,
            "stages_ms": {stage: round(statistics.median(times), 3) for stage, times in self._stages.items()},
            "engine": self.engine,
            "resolution": self.resolution,
        }

    def line(self) -> str:
        """The run in one line."""
        summary = self.summary()
        latency = f"latency {self.latency_ms:.0f} ms, " if self._latencies else ""
        return (
            f"{summary['frames']} frames, {summary['frames_with_hands']} with hands, {summary['fps']:.1f} frames a "
            f"second, {latency}{summary['engine']}, {summary['resolution']}"
        )

    def save(self, path: str | Path) -> None:
        """Write the summary as JSON."""
        write_json(path, self.summary(), indent=2)
