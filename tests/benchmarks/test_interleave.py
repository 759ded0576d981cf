"""Commands that a script starts: their threads, their package, their log, and one line where one fails."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from handmesh.errors import HandMeshError

_CODE = "import os, sys, handmesh; print(handmesh.__file__, os.environ['OMP_NUM_THREADS']); sys.exit(int(sys.argv[1]))"


def test_a_command_has_its_threads_this_package_and_a_log(tmp_path: Path, script: Callable[[str], ModuleType]) -> None:
    module, log = script("benchmarks._interleave"), tmp_path / "runs" / "log"
    command = [sys.executable, "-c", _CODE]
    for _ in range(2):
        module.call([*command, "0"], 3, log)
    expected = f"{Path(__file__).parents[2] / 'handmesh' / '__init__.py'} 3"
    assert log.read_text().splitlines() == [expected] * 2
    with pytest.raises(HandMeshError, match=f"got exit code 5; see {log}"):
        module.call([*command, "5"], 1, log)
