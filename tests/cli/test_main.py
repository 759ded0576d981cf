"""The handmesh command: instant help, thin commands, one line for a mistake."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from handmesh import __version__
from handmesh.cli import main as cli

ROOT = Path(__file__).resolve().parents[2]


def run(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of ``handmesh words...`` in this process."""
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys, contextlib\nfrom handmesh.cli import main as cli\n"
        "with contextlib.suppress(SystemExit): cli.main(['--help'])\n"
        "print(sorted({'numpy', 'torch', 'cv2', 'gradio'} & set(sys.modules)))"
    )
    start = time.perf_counter()
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert time.perf_counter() - start < 2.0  # 0.05 s on an idle machine
    assert done.stdout.strip().endswith("[]")


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in cli.command_names():
        code, out, _ = run(name, "--help", capsys=capsys)
        assert code == 0 and f"handmesh {name}" in out and len(out.splitlines()) > 3, name


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version", capsys=capsys) == (0, f"handmesh {__version__}\n", "")


@pytest.mark.parametrize("words", [(), ("no-such-command",), ("doctor", "--no-such-option"), ("convert-mano",)])
def test_a_mistyped_command_is_one_line_and_exit_code_2(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(*words, capsys=capsys)
    assert code == 2 and not out and err.startswith("error: ") and err.count("\n") == 1 and "--help" in err


def test_doctor_prints_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("doctor", capsys=capsys)
    assert code in (0, 1) and "Python" in out and "hand detector" in out
