"""Where compiled kernels are kept: beside the source, else where HANDMESH_HOME says, else one clear line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from handmesh.errors import HandMeshError
from handmesh.io.runtime import kernels

ROOT = Path(__file__).resolve().parents[2]


def test_what_can_be_written_needs_no_other_place_and_what_the_user_set_stands(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    kernels.keep_kernels(tmp_path, environment)
    assert environment == {}
    environment["NUMBA_CACHE_DIR"] = "mine"
    kernels.keep_kernels(tmp_path / "absent", environment)
    assert environment == {"NUMBA_CACHE_DIR": "mine"}


def test_handmesh_home_is_the_place_of_a_package_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setenv("HANDMESH_HOME", str(tmp_path / "home"))
    environment: dict[str, str] = {}
    kernels.keep_kernels(tmp_path, environment)
    assert Path(environment["NUMBA_CACHE_DIR"]).is_dir() and environment["NUMBA_CACHE_DIR"].startswith(str(tmp_path))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HANDMESH_HOME", str(tmp_path / "file"))
    with pytest.raises(HandMeshError, match="set HANDMESH_HOME to a folder that can be written"):
        kernels.keep_kernels(tmp_path, {})


@pytest.mark.skipif(not shutil.which("setpriv") or os.geteuid() != 0, reason="needs to run as another user")
@pytest.mark.parametrize("home", [None, "/"])
def test_a_user_without_a_home_is_told_in_one_line(home: str | None) -> None:
    code = "from handmesh.errors import run_command\nrun_command(lambda: __import__('handmesh.rendering.rasterizer'))"
    known = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], **({} if home is None else {"HOME": home})}
    done = subprocess.run(
        ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", sys.executable, "-B", "-c", code],
        env=known, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    if "Permission denied" in done.stderr and "HANDMESH_HOME" not in done.stderr:
        pytest.skip("that user may not read this checkout")
    assert done.returncode == 2 and "HANDMESH_HOME" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
