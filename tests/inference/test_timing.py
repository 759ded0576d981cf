"""The numbers of a run: medians, counts and rates as the frames were."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import pytest

from handmesh.inference.stage_clock import StageClock
from handmesh.inference.timing import _KEPT, LiveStats


def test_summary_counts_and_takes_medians(tmp_path: Path) -> None:
    stats = LiveStats("engine")
    for index, duration in enumerate((1.0, 9.0, 2.0)):
        time.sleep(0.01)
        stats.add(
            {"network": duration, **({"detect": 7.0} if index == 1 else {})},
            index > 0,
            640,
            480,
            time.perf_counter() - 0.02,
        )
    stats.save(tmp_path / "stats.json")
    summary = json.loads((tmp_path / "stats.json").read_text())
    assert summary["frames"] == 3 and summary["frames_with_hands"] == 2 and summary["resolution"] == "640x480"
    assert summary["stages_ms"] == {"network": 2.0, "detect": 7.0}
    assert 20 < summary["fps"] < 100 and 15 < stats.latency_ms < 60 and stats.recent_fps > 20
    assert "network" in " ".join(stats.lines()) and "engine" in stats.lines()[0]
    stats.add({}, False, 320, 240)
    assert stats.summary()["resolution"] == "various"


def test_a_clock_adds_up_also_when_a_stage_fails() -> None:
    clock = StageClock()
    with pytest.raises(ZeroDivisionError), clock("a"):
        raise ZeroDivisionError
    for _ in range(2):
        with clock("a"):
            time.sleep(0.002)
    clock.add("b", 5.0)
    assert clock.stages_ms["a"] >= 4 and clock.stages_ms["b"] == 5.0


def test_a_long_run_keeps_the_latest_only() -> None:
    stats = LiveStats("fake")
    for index in range(_KEPT + 50):
        stats.add({"network": float(index)}, True, 64, 48, grabbed_s=1e-9)
    kept = stats.durations_ms("network")
    assert len(kept) == _KEPT == len(stats._latencies) and kept[0] == 50.0 and stats.frames == _KEPT + 50
    assert stats.latency_ms == pytest.approx(statistics.median(list(stats._latencies)[-30:]))
