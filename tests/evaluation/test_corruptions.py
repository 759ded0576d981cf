"""Corruptions keep a picture's form, repeat, and grow with their severity."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_repeats_and_grows_with_severity(make_sample, name):
    changes = []
    for severity in SEVERITIES:
        total = 0.0
        for index in range(6):
            sample = make_sample(index)
            worse = corrupt(sample, name, severity)
            assert worse.shape == sample["image"].shape and worse.dtype == np.uint8
            np.testing.assert_array_equal(worse, corrupt(sample, name, severity))
            total += float(np.abs(worse.astype(float) - sample["image"]).mean())
        changes.append(total)
    assert changes[0] > 0 and changes[-1] > 1.3 * changes[0]
    assert name == "occlusion" or changes == sorted(changes)


def test_the_sample_itself_is_left_alone(make_sample):
    sample = make_sample(0)
    before = sample["image"].copy()
    for name in CORRUPTIONS:
        corrupt(sample, name, 5)
    np.testing.assert_array_equal(sample["image"], before)
