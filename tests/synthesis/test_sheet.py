"""The sheet's command writes one picture, or says in one line what was wrong."""

from __future__ import annotations

import pytest

from handmesh.errors import HandMeshError
from handmesh.images import read_image
from handmesh.synthesis.sheet import main


def test_sheet_is_written(tmp_path) -> None:
    plain, marked = tmp_path / "a.png", tmp_path / "b.png"
    words = ["--count", "5", "--columns", "3", "--size", "64"]
    assert main([str(plain), *words]) == 0
    assert main([str(marked), *words, "--labels"]) == 0
    assert read_image(plain).shape == (2 * 66 - 2, 3 * 66 - 2, 3)
    assert (read_image(plain) != read_image(marked)).any(-1).mean() < 0.4


@pytest.mark.parametrize("wrong", [["--count", "0"], ["--size", "8"], ["--columns", "-1"], ["--backgrounds", "absent"]])
def test_impossible_sheets(tmp_path, wrong) -> None:
    with pytest.raises(HandMeshError, match="expected"):
        main([str(tmp_path / "a.png"), *wrong])
    assert not list(tmp_path.iterdir())
