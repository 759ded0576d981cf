"""The comparison of data: the same run twice but for the pictures, and a table that says what is gained."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from handmesh.images import write_image
from handmesh.real_photos import LabelledPhoto

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
WORDS = "--real photos --steps 2 --batch 4 --size 32 --width 16 --render-size 48 --workers 0".split()


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.delitem(sys.modules, "benchmarks", raising=False)
    return importlib.import_module("benchmarks.compare_data")


def test_the_table_states_the_fall(compare: ModuleType) -> None:
    row = {"photos": "sign-digits", "samples": 7, "pa_mm": 20.0, "error_2d": 0.2}
    text = compare.table([row], [{**row, "pa_mm": 14.0, "error_2d": 0.05}])
    assert "30%" in text and "75%" in text and "14.00" in text


@pytest.mark.slow
def test_both_runs_differ_in_their_pictures_alone(
    compare: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    write_image(tmp_path / "a.png", rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    points, joints = rng.uniform(10, 50, (21, 2)), rng.normal(size=(21, 3)) * 0.04
    label = LabelledPhoto(tmp_path / "a.png", "sign-digits", False, points, joints, True)
    monkeypatch.setattr(compare, "teacher_photos", lambda _: [label, replace(label, disagreement=1.0)])
    configs, train = [], compare.train_and_score

    def remember(config, photos):
        configs.append(config)
        assert len(photos) == 1
        return train(config, photos)

    monkeypatch.setattr(compare, "train_and_score", remember)
    assert compare.main([*WORDS, "--output", str(tmp_path / "runs")]) == 0
    plain, factory = configs
    assert plain.data.plain_pictures and not factory.data.plain_pictures
    assert replace(plain, output="", data=factory.data) == replace(factory, output="")
    assert "falls by" in capsys.readouterr().out
    # Asked again, a run that is done is taken up and measured, not begun anew.
    configs.clear()
    compare.main([*WORDS, "--output", str(tmp_path / "runs")])
    assert all(config.resume for config in configs) and "falls by" in capsys.readouterr().out
