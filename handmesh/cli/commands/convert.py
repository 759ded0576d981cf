"""``handmesh convert``: a recording as animation, as a table, or as a recording of the other kind."""

from __future__ import annotations

from collections.abc import Sequence

from handmesh.errors import CommandParser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the words and do what they ask for. Returns the exit code."""
    parser = CommandParser(
        prog="handmesh convert",
        description="a recording as animation (.glb, .bvh), as a table (.csv), or as a recording (.jsonl, .npz).",
    )
    parser.add_argument("source", metavar="RECORDING", help="as of: handmesh video CLIP --recording FILE")
    parser.add_argument("--output", required=True, metavar="FILE", help="its ending chooses the format")
    parser.add_argument("--track", type=int, metavar="ID", help="only the hand of this track (default: all)")
    parser.add_argument("--offline", action="store_true", help="smooth it first, as handmesh video does with clips")
    parser.add_argument("--mano", default="open", metavar="FILE", help="hand model: 'open' or a MANO file")
    args = parser.parse_args(argv)
    from handmesh.motion.formats.convert import convert

    print(convert(args.source, args.output, args.mano, args.track, args.offline))
    return 0
