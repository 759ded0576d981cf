#!/usr/bin/env python3
"""Score a checkpoint on a set in FreiHAND's layout: ``scripts/evaluate.py --checkpoint C --data ROOT``; see --help."""

from __future__ import annotations

from handmesh.errors import run_door
from handmesh.evaluation_door import main

if __name__ == "__main__":
    run_door(main)
