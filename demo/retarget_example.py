"""A robot hand follows yours: python demo/retarget_example.py --config allegro_right.yml [--source 0|clip.mp4] [--left]

The configuration is one of dex-retargeting's own: which robot (a URDF file), which of its links follow which of the 21
points. Prints one JSON line a frame: the time, how old the picture is, and the robot's joint angles in radians by name.
Needs: pip install "handmesh[robot]"
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

import handmesh
from handmesh.errors import CommandParser, HandMeshError, run_command
from handmesh.motion.formats.robot import operator_points, retargeting_input


def load_retargeting(path: str | Path) -> Any:
    """The optimizer of a configuration file; a URDF is looked for beside it."""
    try:
        from dex_retargeting.retargeting_config import RetargetingConfig
    except ImportError as error:
        raise HandMeshError(f'expected dex-retargeting, got: {error}; pip install "handmesh[robot]"') from error
    file = Path(path)
    if not file.is_file():
        raise HandMeshError(f"expected a configuration of dex-retargeting, got {file}: no such file; check --config")
    try:
        words = yaml.safe_load(file.read_text(encoding="utf-8"))["retargeting"]
        words["urdf_path"] = str((file.parent / words["urdf_path"]).resolve())
        return RetargetingConfig.from_dict(words).build()
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise HandMeshError(f"expected a configuration of dex-retargeting, got {file}: {error}") from None


def retarget(retargeting: Any, hand: handmesh.Hand) -> dict[str, float]:
    """The robot's joint angles, radians, that bring it nearest to the hand's pose."""
    points = operator_points(hand.joints, hand.is_right)
    target = retargeting_input(points, retargeting.optimizer.target_link_human_indices)
    angles = retargeting.retarget(target)
    return {name: float(angle) for name, angle in zip(retargeting.joint_names, angles, strict=True)}


def main(argv: Sequence[str] | None = None) -> None:
    parser: argparse.ArgumentParser = CommandParser(description="A robot hand follows yours.")
    parser.add_argument("--config", required=True, help="a configuration file of dex-retargeting (.yml)")
    parser.add_argument("--source", default="0", help="camera index or clip (default 0)")
    parser.add_argument("--left", action="store_true", help="follow the left hand")
    args = parser.parse_args(argv)
    retargeting = load_retargeting(args.config)
    predictor = handmesh.HandMeshPredictor.from_pretrained()
    for frame in handmesh.HandTracker(predictor).run(args.source):
        for hand in [hand for hand in frame.hands if hand.is_right != args.left][:1]:
            angles = retarget(retargeting, hand)
            age_ms = round(1000 * (time.perf_counter() - frame.grabbed_s), 1)
            print(json.dumps({"timestamp_s": frame.timestamp_s, "age_ms": age_ms, "joints_rad": angles}), flush=True)


if __name__ == "__main__":
    run_command(main)
