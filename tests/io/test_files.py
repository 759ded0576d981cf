"""A file is whole or absent."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from handmesh.errors import HandMeshError
from handmesh.io import files
from handmesh.io.files import atomic_path, cache_dir, sha256_file, user_path


def test_the_final_name_appears_only_when_the_block_ends_well(tmp_path: Path) -> None:
    target = tmp_path / "new" / "mesh.obj"
    with atomic_path(target) as path:
        path.write_text("whole")
        assert path.suffix == ".obj" and not target.exists()
    assert target.read_text() == "whole"
    with pytest.raises(RuntimeError), atomic_path(target) as path:
        path.write_text("half")
        raise RuntimeError
    assert target.read_text() == "whole"
    assert os.listdir(target.parent) == ["mesh.obj"]


def test_a_folder_that_cannot_be_made_is_an_error_for_the_user(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HandMeshError, match="expected to write"), atomic_path(tmp_path / "file" / "x.json"):
        pass


def test_a_full_disk_leaves_the_last_good_file(tmp_path: Path) -> None:
    target = tmp_path / "weights.bin"
    target.write_bytes(b"good")
    with pytest.raises(HandMeshError, match="No space left"), atomic_path(target) as path:
        path.write_bytes(b"par")
        raise OSError(28, "No space left on device")
    assert target.read_bytes() == b"good" and len(os.listdir(tmp_path)) == 1


def test_checksum_is_sha256_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"hand" * 1_000_000)
    assert sha256_file(path) == hashlib.sha256(b"hand" * 1_000_000).hexdigest()


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HANDMESH_HOME", str(tmp_path))
    assert cache_dir() == tmp_path


def test_without_a_home_folder_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a container that runs as a number without an entry.
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("HANDMESH_HOME", raising=False)
    monkeypatch.setattr(Path, "home", classmethod(lambda cls: (_ for _ in ()).throw(RuntimeError("no home"))))
    with pytest.raises(HandMeshError, match="set HANDMESH_HOME"):
        cache_dir()
    monkeypatch.setenv("HANDMESH_HOME", str(tmp_path))
    assert cache_dir() == tmp_path


def test_paths_that_no_system_has_are_one_line(tmp_path: Path) -> None:
    assert user_path(tmp_path) == tmp_path and user_path("~root").is_absolute()
    with pytest.raises(HandMeshError, match="no home folder is known"):
        user_path("~no-such-user-here/photos")
    with pytest.raises(HandMeshError, match="zero byte"):
        user_path("a\0b")
    with pytest.raises(HandMeshError, match="zero byte"), atomic_path(tmp_path / "a\0b"):
        pass
_HELD = """
import sys, time
from handmesh.io.files import atomic_path
with atomic_path(sys.argv[1]) as part:
    part.write_bytes(b"half")
    print("held", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(
    tmp_path: Path, killed_after: Any
) -> None:
    target = tmp_path / "clip.mp4"
    (tmp_path / ".clip.mine.mp4").write_text("another program's")

    def parts() -> list[str]:
        return [name for name in os.listdir(tmp_path) if "handmesh-" in name]

    with subprocess.Popen(
        [sys.executable, "-c", _HELD, str(target)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
    ) as process:
        assert process.stdout is not None
        with killed_after(process):
            assert process.stdout.readline() == b"held\n"
        files._cleared.clear()
        with atomic_path(tmp_path / "other.json") as path:
            path.write_text("{}")
        assert len(parts()) == 1
        process.kill()
    assert len(parts()) == 1
    files._cleared.clear()
    with atomic_path(tmp_path / "other.json") as path:
        path.write_text("{}")
    assert sorted(os.listdir(tmp_path)) == [".clip.mine.mp4", "other.json"]
