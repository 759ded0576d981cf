"""Nothing is reported to anybody: OpenVINO is loaded without its telemetry, and by one function only."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "handmesh"
_PROBE = """
import sys
from handmesh.io.openvino_loader import load_openvino
load_openvino()
import openvino.tools.ovc.telemetry_utils as used
print(used.tm.__name__, "openvino_telemetry" in sys.modules)
"""


def test_the_telemetry_is_not_loaded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROBE], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "False"]


def test_only_the_loader_imports_openvino() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imports_it = any(name.split(".")[0] == "openvino" for name in names)
            assert not imports_it or path.name == "openvino_loader.py", path
