"""Train a network: ``python scripts/train.py CONFIG [key=value ...]``. scripts/train.sh starts several processes."""

from __future__ import annotations

import argparse

from handmesh.config import load_config
from handmesh.errors import run_door


def main() -> int:
    """Read the settings, run, print the last scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="a file of configs/, or any YAML of settings that differ from the defaults")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for example output=runs/a train.steps=2000")
    arguments = parser.parse_args()
    config = load_config(arguments.config, arguments.overrides)

    from handmesh.training import Trainer  # torch and timm, after the settings are known to be right

    trainer = Trainer(config)
    scores = trainer.run()
    if trainer.is_main:
        for name, value in scores.items():
            print(f"{name:>20} {value:8.3f}")
        print(f"checkpoints: {trainer.folder / 'best'}, {trainer.folder / 'last'}")
    return 0


if __name__ == "__main__":
    run_door(main)
