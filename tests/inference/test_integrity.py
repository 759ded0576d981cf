"""Kept files are intact only while every byte of every one of them is what was recorded."""

from __future__ import annotations

import json
from pathlib import Path

from handmesh.inference.engines.integrity import is_intact, record, record_of


def test_every_byte_of_every_file_counts(tmp_path: Path) -> None:
    model, weights = tmp_path / "a.xml", tmp_path / "a.bin"
    model.write_bytes(b"model")
    weights.write_bytes(b"weights")
    assert not is_intact(model)
    record([model, weights])
    assert is_intact(model)
    for file in (model, weights):
        content = file.read_bytes()
        file.write_bytes(content[:-1] + b"?")
        assert not is_intact(model)
        file.unlink()
        assert not is_intact(model)
        file.write_bytes(content)
        assert is_intact(model)


def test_a_damaged_record_proves_nothing(tmp_path: Path) -> None:
    model = tmp_path / "a.xml"
    model.write_bytes(b"model")
    record([model])
    for text in ("", "[]", "5", "{}", '{"a.xml": 5}', '{"b.xml": "0"}', "[" * 100_000):
        record_of(model).write_text(text)
        assert not is_intact(model)
    outside = tmp_path / "folder"
    outside.mkdir()
    record([model])
    sums = json.loads(record_of(model).read_text())
    record_of(model).write_text(json.dumps({**sums, "../x": "0"}))
    assert not is_intact(model)
