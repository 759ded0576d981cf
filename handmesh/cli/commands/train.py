"""``handmesh train``: one process of a training run."""

from __future__ import annotations

from collections.abc import Sequence

from handmesh.errors import CommandParser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the words and do what they ask for. Returns the exit code."""
    parser = CommandParser(
        prog="handmesh train",
        description="train a network (in one process; scripts/train.sh starts several)",
    )
    parser.add_argument("config", help="a YAML file that holds what differs from the defaults, as in configs/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for example data.root=DIR output=RUN")
    args = parser.parse_args(argv)
    from handmesh.config import load_config

    config = load_config(args.config, args.overrides)
    from handmesh.training.trainer import Trainer  # torch and timm, after the settings are known to be right

    trainer = Trainer(config)
    for name, value in trainer.run().items():
        print(f"{name:>20} {value:8.3f}")
    print(f"checkpoints: {trainer.folder / 'best'}, {trainer.folder / 'last'}")
    return 0
