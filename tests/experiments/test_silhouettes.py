"""Outlines of meshes against hands: measured to a pixel, summed up by maker."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.experiments.silhouettes import (
    Outline,
    finger_widths,
    iou,
    summarize,
    width_across,
)

SIZE = 256
Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


def test_widths_are_those_of_the_fingers(flat_hand: Drawn) -> None:
    mesh, points, joints = flat_hand
    bar = np.zeros((SIZE, SIZE), bool)
    bar[:, 100:121] = True
    assert width_across(bar, np.array([110.0, 50]), np.array([1.0, 0])) == pytest.approx(21, abs=0.6)
    assert width_across(bar, np.array([10.0, 50]), np.array([1.0, 0])) == 0
    widths = finger_widths(mesh, mesh, points, joints)
    assert len(widths) >= 6 and all(ours == theirs > 5 for ours, theirs in widths)


def test_groups_and_all() -> None:
    rows = [Outline("a", 0.8, 1.0, [(11.0, 10.0)], 0.5), Outline("b", 0.9, 1.2, [], 0.7)]
    table = summarize(rows)
    assert table["a"]["finger"] == pytest.approx(1.1) and np.isnan(table["b"]["finger"])
    assert table["all"]["iou"] == pytest.approx(0.85) and table["all"]["photos"] == 2
    assert table["all"]["mask"] == pytest.approx(0.6)
    assert iou(np.eye(2) > 0, np.ones((2, 2), bool)) == 0.5 and iou(*np.zeros((2, 2, 2), bool)) == 1
