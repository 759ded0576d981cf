"""Folders by path or URI: what is put is there whole, what is fetched has the same bytes, here and in a store."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from handmesh.errors import HandMeshError
from handmesh.io.files import sha256_ends
from handmesh.io.storage import Storage

pytest.importorskip("pyarrow", reason="needs the extra 'cluster'")


def stand_in_for_a_store() -> Storage:
    """A folder in a file system that is not this machine's."""
    from pyarrow import fs

    storage = Storage("mock://bucket/clips")
    remote: Any = fs._MockFileSystem()
    remote.create_dir("bucket/clips")
    storage._opened = remote, "bucket/clips"
    return storage


@pytest.fixture(params=["path", "file", "store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    (tmp_path / "there").mkdir()
    if request.param == "store":
        return stand_in_for_a_store()
    return Storage(str(tmp_path / "there") if request.param == "path" else f"file://{tmp_path}/there")


def test_what_is_put_is_listed_and_comes_back(storage: Storage, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for name, size in (("b.mp4", 10), ("a/c d.mp4", 3_000_000), (".hidden/x.mp4", 5), ("a/.y.mp4", 5)):
        (tmp_path / "file").write_bytes(bytes(range(256)) * (size // 256) + b"e" * (size % 256))
        storage.put(name, tmp_path / "file")
    assert storage.files() == {"a/c d.mp4": 3_000_000, "b.mp4": 10}
    assert storage.exists("b.mp4") and not storage.exists("c.mp4") and not storage.exists("a")
    got = storage.fetch("a/c d.mp4", scratch)
    assert got.name == "c d.mp4" and got.stat().st_size == 3_000_000
    assert storage.sha256_ends("a/c d.mp4") == sha256_ends(got)
    assert storage.sha256_ends("b.mp4") == sha256_ends(storage.fetch("b.mp4", scratch))
    (tmp_path / "file").write_bytes(b"new")
    storage.put("b.mp4", tmp_path / "file")
    assert storage.fetch("b.mp4", scratch).read_bytes() == b"new"
    assert pickle.loads(pickle.dumps(storage)).place == storage.place


def test_a_relative_path_means_the_same_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a.mp4").write_bytes(b"a")
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(Storage("there"))
    monkeypatch.chdir("/")
    assert pickle.loads(sent).files() == {"a.mp4": 1}


def test_what_is_not_there_is_one_clear_error(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(HandMeshError, match=r"none\.mp4"):
        storage.sha256_ends("none.mp4")
    for place, match in ((str(tmp_path / "none"), "no such folder"), ("nothing://x/y", "nothing")):
        with pytest.raises(HandMeshError, match=match):
            Storage(place).files()
    if storage.folder is None:
        with pytest.raises(HandMeshError, match=r"none\.mp4"):
            storage.fetch("none.mp4", tmp_path)
