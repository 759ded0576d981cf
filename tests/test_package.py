"""What is installed elsewhere is whole: a wheel built from the sdist works in another folder, without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: What a build reads besides the package.
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "NOTICE")
_BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_{kind}(sys.argv[1]))"


def _build(kind: str, tree: Path, out: Path) -> Path:
    """The file that setuptools builds of a tree, as pip would have it build, with what is installed here."""
    command = [sys.executable, "-c", _BUILD.format(kind=kind), str(out)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return out / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the sdist of a copy of this tree."""
    work = tmp_path_factory.mktemp("package")
    tree = work / "tree"
    shutil.copytree(ROOT / "handmesh", tree / "handmesh", ignore=shutil.ignore_patterns("__pycache__", "*.nb[ic]"))
    for name in SOURCES:
        shutil.copy(ROOT / name, tree / name)
    with tarfile.open(_build("sdist", tree, work)) as packed:
        packed.extractall(work / "unpacked", filter="data")
    (unpacked,) = (work / "unpacked").iterdir()
    return _build("wheel", unpacked, work)


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("handmesh/")}
    there = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "handmesh").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "handmesh/py.typed" in packed and "handmesh/assets/default.safetensors" in packed
    assert packed == there
    assert wheel.stat().st_size < 25e6


def test_the_wheel_works_in_another_folder(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    assert run("-m", "handmesh", "--version").startswith("handmesh ")
    code = (
        "import handmesh; from handmesh.models.checkpoint import load_checkpoint\n"
        "print(handmesh.__file__, handmesh.load_mano('open').name, load_checkpoint('default')[1]['step'])"
    )
    assert run("-c", code).startswith(str(tmp_path / "site"))
