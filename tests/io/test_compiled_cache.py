"""Compiled models are kept, read again with the same answers, and made anew where the file was changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handmesh.io.runtime import compiled_cache
from handmesh.io.runtime.openvino_loader import CompiledModel, load_openvino


def model(factor: float) -> Any:
    ov = load_openvino()
    ops = ov.opset13
    given = ops.parameter([1, 4], np.float32)
    return ov.Model([ops.multiply(given, ops.constant(np.full((1, 4), factor, np.float32)))], [given])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HANDMESH_HOME", str(tmp_path))
    return tmp_path / "compiled"


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """An entry for each model that was compiled rather than read."""
    made: list[object] = []
    keep = compiled_cache.keep_compiled
    monkeypatch.setattr(
        "handmesh.io.runtime.openvino_loader.keep_compiled", lambda *words: (made.append(words), keep(*words))[1]
    )
    return made


VALUES = np.arange(4, dtype=np.float32)[None]


def test_a_second_start_reads_what_the_first_compiled(home: Path, compilations: list[object]) -> None:
    for _ in range(3):
        np.testing.assert_array_equal(CompiledModel(model(3.0), 1, keep="three")(VALUES)[0], 3 * VALUES)
    assert len(compilations) == 1 and len(list(home.iterdir())) == 1
    # Another model, other options and a chain's second part have names of their own.
    CompiledModel(model(3.0), 2, keep="three")
    chain = CompiledModel(model(2.0), 1, [(model(5.0), {})], "ten")
    np.testing.assert_array_equal(chain(VALUES)[0], 10 * VALUES)
    assert len(list(home.iterdir())) == 4
    np.testing.assert_array_equal(CompiledModel(model(2.0), 1, [(model(5.0), {})], "ten")(VALUES)[0], 10 * VALUES)
    assert len(compilations) == 4


def test_nothing_is_kept_without_a_name(home: Path) -> None:
    CompiledModel(model(3.0), 1)
    assert not home.exists()


@pytest.mark.parametrize("damage", [lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b[:40], lambda b: b""])
def test_a_changed_file_is_not_read(home: Path, compilations: list[object], damage: Any) -> None:
    CompiledModel(model(3.0), 1, keep="three")
    (file,) = home.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    np.testing.assert_array_equal(CompiledModel(model(3.0), 1, keep="three")(VALUES)[0], 3 * VALUES)
    # What lies there now is whole again. (Its length may differ: it holds names that OpenVINO numbers.)
    np.testing.assert_array_equal(CompiledModel(model(3.0), 1, keep="three")(VALUES)[0], 3 * VALUES)
    assert len(compilations) == 2


def test_what_the_runtime_refuses_is_compiled_anew(home: Path, compilations: list[object]) -> None:
    import hashlib

    CompiledModel(model(3.0), 1, keep="three")
    (file,) = home.iterdir()
    file.write_bytes(hashlib.sha256(b"no model").digest() + b"no model")
    np.testing.assert_array_equal(CompiledModel(model(3.0), 1, keep="three")(VALUES)[0], 3 * VALUES)
    assert len(compilations) == 2


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HANDMESH_HOME", str(tmp_path / "file"))
    np.testing.assert_array_equal(CompiledModel(model(3.0), 1, keep="three")(VALUES)[0], 3 * VALUES)


def test_the_least_used_go(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_cache, "MAX_KEPT", 2)
    for number in range(4):
        CompiledModel(model(1.0), 1, keep=str(number))
    assert len(list(home.iterdir())) == 2
