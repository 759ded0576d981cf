"""scripts/setup.sh with a stand-in for pip: what it installs when, and what it says when it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(sys.platform == "win32" or shutil.which("bash") is None, reason="needs bash")

#: Stands for the environment's interpreter: writes pip's arguments down, has the package, lacks no library.
_PYTHON = """#!/bin/sh
case "$*" in
    "-m pip"*) echo "$@" >> "$LOG"; exit ${PIP_STATUS:-0} ;;
    *system_libraries*) exit 0 ;;
    *) exit 0 ;;
esac
"""


class Trial:
    """A copy of what setup.sh reads, an environment with the stand-in, and a log of pip's calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "scripts").mkdir()
        (folder / "handmesh").mkdir()
        shutil.copy(ROOT / "scripts" / "setup.sh", folder / "scripts")
        shutil.copy(ROOT / "pyproject.toml", folder)
        self.python = folder / "env" / "bin" / "python"
        self.python.parent.mkdir(parents=True)
        self.python.write_text(_PYTHON)
        self.python.chmod(0o755)

    def run(self, *words: str, **environment: str) -> tuple[int, list[str], str]:
        """Exit code, pip's calls, stderr."""
        log = self.folder / "log"
        log.write_text("")
        done = subprocess.run(
            ["bash", "scripts/setup.sh", *words], cwd=self.folder, env={**os.environ, "LOG": str(log), **environment},
            capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return done.returncode, log.read_text().splitlines(), done.stderr


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def test_it_installs_once(trial: Trial) -> None:
    code, calls, _ = trial.run("env")
    assert code == 0 and len(calls) == 1 and calls[0].endswith("-e .")
    assert trial.run("env") == (0, [], "")


def test_extras_add_up(trial: Trial) -> None:
    trial.run("env")
    assert trial.run("env", "dev")[1][0].endswith("-e .[dev]")
    assert trial.run("env")[1] == [], "what has the extra has the rest"
    assert trial.run("env", "train")[1][0].endswith("-e .[dev,train]")
    assert trial.run("env", "dev")[1] == []
    assert trial.run("env", "dev,view")[1][0].endswith("-e .[dev,train,view]")
    assert trial.run("env", "view,train")[1] == []


def test_a_changed_pyproject_installs_again(trial: Trial) -> None:
    trial.run("env", "dev")
    with (trial.folder / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert trial.run("env")[1][0].endswith("-e .[dev]")
    assert trial.run("env")[1] == []


def test_a_failed_install_is_tried_again(trial: Trial) -> None:
    code, _, err = trial.run("env", PIP_STATUS="1")
    assert code == 2 and err.startswith("setup: pip could not install")
    assert trial.run("env")[1], "a failure leaves no stamp"


def test_a_named_torch_comes_first(trial: Trial) -> None:
    calls = trial.run("env", TORCH="torch==2.13.0")[1]
    assert calls[0].endswith("torch==2.13.0") and calls[1].endswith("-e .")


def test_an_interpreter_that_is_missing_or_too_old_is_one_line(trial: Trial, tmp_path: Path) -> None:
    code, _, err = trial.run("new-env", PYTHON="no-such-python")
    assert code == 2 and err.count("\n") == 1 and "no-such-python" in err
    old = tmp_path / "old-python"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.8.1"\nexit 1\n')
    old.chmod(0o755)
    code, _, err = trial.run("new-env", PYTHON=str(old))
    assert code == 2 and "expected Python 3.10 to 3.13, got Python 3.8.1" in err
    assert not (trial.folder / "new-env").exists()
