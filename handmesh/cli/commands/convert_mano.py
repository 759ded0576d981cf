"""``handmesh convert-mano``: the licensed MANO file read safely, written as a plain .npz."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from handmesh.errors import CommandParser, HandMeshError


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the words and do what they ask for. Returns the exit code."""
    parser = CommandParser(
        prog="handmesh convert-mano",
        description="read the licensed MANO file safely (no chumpy, no code run from it) and write a plain .npz",
    )
    parser.add_argument("source", metavar="MANO_RIGHT.pkl", help="the file as its owners give it")
    parser.add_argument("--output", metavar="OUT.npz", help="default: the same name with .npz, beside it")
    args = parser.parse_args(argv)
    from handmesh.mano.arrays import load_mano

    output = Path(args.output) if args.output else Path(args.source).with_suffix(".npz")
    if output.suffix != ".npz":
        raise HandMeshError(f"expected --output to end in .npz, got {output.name}")
    if output.exists() and output.resolve() == Path(args.source).resolve():
        raise HandMeshError(f"expected --output to be another file than {args.source}; name one with --output OUT.npz")
    arrays = load_mano(args.source)
    arrays.save_npz(output)
    print(f"wrote {output}: {arrays.name}, fingerprint {arrays.fingerprint()}. Use it with --mano {output}")
    print("It holds MANO's own arrays: their licence forbids passing it on.")
    return 0
