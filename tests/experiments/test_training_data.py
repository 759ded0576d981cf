"""The comparison of data: the same run for every kind of pictures, and a table that says what is gained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.io.images import write_image
from handmesh.labeling.photo_sets import LabelledPhoto

WORDS = (
    "--real photos --kinds basic,plain+full --train 8 --eval 4 --steps 2 --batch 4 --size 32 --width 16 "
    "--render-size 48 --jobs 2 --last-steps 1 --last-size 64 --backbone fastvit_tiny"
).split()


@pytest.fixture
def compare(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("experiments.training_data")


def test_the_table_states_the_change(compare: ModuleType) -> None:
    row = {"photos": "sign-digits", "samples": 7, "pa_mm": 20.0, "error_2d": 0.2}
    text = compare.table({"basic": [row], "full": [{**row, "pa_mm": 14.0, "error_2d": 0.05}]})
    assert "14.00 (-30%)" in text and "5.00 (-75%)" in text and "20.00 ( +0%)" in text


def test_seeds_are_averaged_row_by_row(compare: ModuleType) -> None:
    first = [{"photos": "a", "pa_mm": 8.0, "error_2d": 0.1}, {"photos": "b", "pa_mm": 16.0, "error_2d": 0.3}]
    runs = [{"32 px": first}, {"32 px": [{**row, "pa_mm": row["pa_mm"] * 1.25} for row in first]}]
    assert [(row["photos"], row["pa_mm"]) for row in compare.mean(runs)["32 px"]] == [("a", 9.0), ("b", 18.0)]


def test_runs_differ_in_their_pictures_alone(compare: ModuleType) -> None:
    options = compare.parse([*WORDS, "--output", "runs/x"])
    (one, end), (other, last) = (compare.stages(options, kind, 0) for kind in ("basic", "full"))
    assert {key for key in one if one[key] != other[key]} == {"data.root", "output"}
    assert {key for key in end if end[key] != last[key]} == {"data.root", "output", "train.start_from"}
    assert end["train.start_from"] == f"{one['output']}/last" and end["model.image_size"] == 64
    mixed = compare.stages(options, "plain+full", 0)[0]
    assert mixed["data.source"] == "mixture" and mixed["data.val_root"] == other["data.root"]
    assert [mixed[f"data.mixture.runs/x/data/{kind}"] for kind in ("plain", "full")] == [1, 1]
    assert {key: one[key] for key in one if not key.startswith("data.") and key != "output"} == {
        key: mixed[key] for key in mixed if not key.startswith("data.") and key != "output"
    }
    again = compare.stages(options, "basic", 1)[0]
    assert {key for key in one if one[key] != again[key]} == {"seed", "output"}
    with pytest.raises(HandMeshError, match="got --seeds 0,x"):
        compare.parse(["--real", "x", "--seeds", "0,x"])
    with pytest.raises(HandMeshError, match="kinds of full, plain, basic"):
        compare.parse(["--real", "x", "--kinds", "best"])


@pytest.mark.slow
def test_trains_and_measures_each_kind(
    compare: ModuleType, runs_here: Callable[[], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    runs_here()
    rng = np.random.default_rng(0)
    write_image(tmp_path / "a.png", rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    points, joints = rng.uniform(10, 50, (21, 2)), rng.normal(size=(21, 3)) * 0.04
    label = LabelledPhoto(tmp_path / "a.png", "sign-digits", False, points, joints, True)
    monkeypatch.setattr(compare, "photos_with_landmarks", lambda _: [
        label, replace(label, is_held_out=True), replace(label, disagreement=1.0),
    ])  # fmt: skip
    words = [*WORDS, "--seeds", "0,1", "--output", str(tmp_path / "runs")]
    assert compare.main(words) == 0
    first = capsys.readouterr().out
    unseen = [line.split() for line in first.splitlines() if line.startswith("held out alone") and "+0%" in line]
    assert [cells[3] for cells in unseen] == ["1"] * 4  # two sizes, two measures
    assert first.count("mean of 2 seeds") == first.count("below basic (by seed ") == 4
    assert "8 pictures seen at 32 px" in first and "4 pictures seen at 64 px" in first
    # Asked again, sets and runs that are done are taken up and measured, not begun anew.
    trained = (tmp_path / "runs" / "plain+full-seed1" / "last" / "state.safetensors").stat().st_mtime_ns
    compare.main(words)
    assert capsys.readouterr().out.splitlines()[-1] == first.splitlines()[-1]
    assert (tmp_path / "runs" / "plain+full-seed1" / "last" / "state.safetensors").stat().st_mtime_ns == trained
