"""A list of equal entries is read as the json module reads it, and nothing else is taken for one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from handmesh.data import json_arrays
from handmesh.data.json_arrays import read_json_array
from handmesh.errors import HandMeshError

SHAPES = ((), (3,), (61,), (3, 3), (4, 3), (2, 3, 4))


@pytest.fixture(params=[7, 64, 1 << 24])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Files are read in pieces; where they are cut must not matter."""
    monkeypatch.setattr(json_arrays, "_CHUNK", request.param)
    size: int = request.param
    return size


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_lists_are_read_in_bulk_as_by_the_json_module(
    tmp_path: Path, chunk: int, shape: tuple[int, ...], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).normal(size=(count, *shape)) * 10.0 ** np.arange(-2, 2)[0]
    monkeypatch.setattr(json_arrays, "_parse_slow", None)
    for indent in (None, 1):
        for wrapped in (values, values[:, None]):
            (tmp_path / "a.json").write_text(json.dumps(wrapped.tolist(), indent=indent))
            np.testing.assert_array_equal(read_json_array(tmp_path / "a.json", shape), values)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("[[1,2],[3,4,5,6]]", (3,)),
        ("[[[1,2,3,4,5,6]]]", (3,)),
        ("[[[1,2,3],[4,5,6]]]", (3,)),
        ("[[],[],1,2,3,4,5,6]", (3,)),
        ("[1,2,3],[4,5,6]]]][[", (3,)),
        ("]]]1,2,3[[[", (3,)),
        ("[1[,2,3]]", (3,)),
        ("[[1,2,3]4]", (3,)),
        ("[[1,2,3],]", (3,)),
        ("[[1,2,3],[4,5,6],", (3,)),
        ("[[1,2,3]]]", (3,)),
        ("[[1,2,3]] [[4,5,6]]", (3,)),
        ("[[1,2,3] [4,5,6]]", (3,)),
        ("[[1,2 3,4]]", (3,)),
        ("[[1,,3]]", (3,)),
        ("[[1,2,3],[4,5,6],[[7,8,9]]]", (3,)),
        ("[[[1,2,3]],[4,5,6]]", (3,)),
        ("[5]", (3,)),
        ("[[5]]", (3,)),
        ("[[1,2,3],[4,5,null]]", (3,)),
        ("[[1,2,3],[4,5,NaN]]", (3,)),
        ('[[1,2,3],[4,5,"6"]]', (3,)),
        ("[[1,2,3],[4,5,true]]", (3,)),
        ("[[1,2,3],[4,5,1e999]]", (3,)),
        ("[[1,2,3],[4,5,0x10]]", (3,)),
        ("[1,[2],3]", ()),
        ("[[[1]],[[2]]]", ()),
        ("5", ()),
        ('{"a": [1,2,3]}', (3,)),
        ("[[1,2,3],[4,5]]", (3,)),
        ("", ()),
        ("[" * 100_000, (3,)),
        ("[[" + "9" * 6000 + ",1,2]]", (3,)),
    ],
)
def test_nothing_else_is_taken_for_one(tmp_path: Path, chunk: int, text: str, shape: tuple[int, ...]) -> None:
    (tmp_path / "a.json").write_text(text)
    try:
        array = read_json_array(tmp_path / "a.json", shape)
    except HandMeshError as error:
        assert "a.json" in str(error) and "\n" not in str(error)
    else:
        # A wrapped entry among plain ones says the same numbers in the same order: the json module's way reads it.
        entries = json.loads(text)
        assert len(array) == len(entries)
        for entry, row in zip(entries, array, strict=True):
            np.testing.assert_array_equal(np.asarray(entry, float).reshape(shape), row)
            assert np.shape(entry) in (shape, (1, *shape))


def test_a_large_file_names_where_it_goes_wrong_without_the_json_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_arrays, "_MAX_SLOW_BYTES", 100)
    monkeypatch.setattr(json_arrays, "_CHUNK", 64)
    monkeypatch.setattr(json_arrays, "_parse_slow", None)
    good = [[1.5, 2.5, 3.5]] * 40
    (tmp_path / "a.json").write_text(json.dumps([*good, [1, 2]]))
    with pytest.raises(HandMeshError, match=r"from entry (3[5-9]|40) on"):
        read_json_array(tmp_path / "a.json", (3,))
