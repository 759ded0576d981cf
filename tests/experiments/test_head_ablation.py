"""The ablation: rows that add one part each, runs that are kept, and a table made of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from handmesh.errors import HandMeshError

WORDS = (
    "--only paper,all --seeds 2 --steps 2 --batch 4 --size 32 --width 16 --stride 8 --train 8 --eval 4 "
    "--render-size 48 --backbone fastvit_tiny"
).split()


@pytest.fixture
def ablation(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("experiments.head_ablation")


def run(ablation: ModuleType, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["ablation.py", *words])
    ablation.main()


def test_every_row_has_what_the_rows_above_have(ablation: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ablation.py", "--output", "x"])
    args = ablation.parse()
    names = [name for _, name, _ in ablation.PARTS]
    rows = [ablation.settings(args, name) for name in names]
    for (_, name, changes), above, row in zip(ablation.PARTS[1:], rows, rows[1:], strict=False):
        assert {key for key in row if row[key] != above.get(key)} == set(changes), name
    assert rows[0]["model.head"] == "pooled" and rows[-1]["train.loss.direct_vertices"] > 0


@pytest.mark.slow
def test_a_table_of_runs_that_are_not_done_twice(
    ablation: ModuleType, runs_here: Callable[[], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs_here()
    words = [*WORDS, "--output", str(tmp_path)]
    run(ablation, monkeypatch, words)
    table = (tmp_path / "table.md").read_text()
    results = [json.loads((tmp_path / "runs" / f"{part}-{seed}.json").read_text())
               for part in ("paper", "all") for seed in (0, 1)]  # fmt: skip
    mean = (results[2]["pa_mpjpe"] + results[3]["pa_mpjpe"]) / 2
    assert f"| {mean:.2f} ±" in table and "8 images seen a run, 2 seeds" in table
    assert len({result["data"] for result in results}) == 1
    monkeypatch.setattr(ablation, "train", lambda *_: pytest.fail("a finished run was trained again"))
    run(ablation, monkeypatch, words)
    with pytest.raises(HandMeshError, match="give another --output"):
        run(ablation, monkeypatch, [*words, "--batch", "2"])
