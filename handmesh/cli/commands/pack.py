"""``handmesh pack``: a folder in FreiHAND's layout decoded once into one file a split."""

from __future__ import annotations

from collections.abc import Sequence

from handmesh.errors import CommandParser
from handmesh.io.files import user_path


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the words and do what they ask for. Returns the exit code."""
    parser = CommandParser(
        prog="handmesh pack",
        description="decode a FreiHAND folder once into one file a split, which training then reads instead; "
        "150 kB an image, 20 GB for all of it.",
    )
    parser.add_argument("root", metavar="ROOT", help="the folder that holds training_K.json")
    parser.add_argument("--split", choices=("training", "evaluation"), help="default: both, where they are")
    args = parser.parse_args(argv)
    from handmesh.data.packed import pack_split

    root = user_path(args.root)
    there = [split for split in ("training", "evaluation") if (root / f"{split}_K.json").is_file()]
    for split in [args.split] if args.split else there or ["training"]:
        path = pack_split(root, split, with_bar=True)
        print(f"wrote {path}: {path.stat().st_size / 1e6:.0f} MB; delete it to read the folder again")
    return 0
