#!/usr/bin/env python3
"""How fast things are on this machine: ``scripts/benchmark.py NAME [options]``.

Each benchmark is a module of scripts/benchmarks/ with a docstring and ``main(argv) -> int | None``.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from handmesh.errors import HandMeshError, run_door

FOLDER = Path(__file__).resolve().parent / "benchmarks"


def main() -> int | None:
    names = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))
    if len(sys.argv) < 2 or sys.argv[1] not in names:
        raise HandMeshError(f"expected a benchmark, one of {', '.join(names)}; for example: benchmark.py {names[0]}")
    module = importlib.import_module(f"benchmarks.{sys.argv[1]}")
    return module.main(sys.argv[2:])


if __name__ == "__main__":
    run_door(main)
