"""Frames of a clip at their own pace."""

from __future__ import annotations

import time

import numpy as np

from handmesh.io.video.frames import IterableSource, PacedSource


def test_a_clip_is_paced_and_whole() -> None:
    images = [np.full((4, 4, 3), value, np.uint8) for value in range(6)]
    given, times = [], []
    start_s = time.perf_counter()
    for frame in PacedSource(IterableSource(images, fps=50.0)):
        times.append(time.perf_counter())
        given.append((frame.timestamp_s, int(frame.image[0, 0, 0])))
        assert frame.grabbed_s <= times[-1]
    assert given == [(number / 50, number) for number in range(6)]
    # Never before its time; later on a machine that is busy.
    assert all(at - start_s >= stamp for at, (stamp, _) in zip(times, given, strict=True))
    paced = PacedSource(IterableSource(images, fps=0.01))
    frames = iter(paced)
    next(frames)
    paced.close()
    assert list(frames) == [] and paced.fps == 0.01
