"""``handmesh adapt``: weights adapted to a camera and its hands, from footage without annotation."""

from __future__ import annotations

from collections.abc import Sequence

from handmesh.errors import CommandParser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the words and do what they ask for. Returns the exit code."""
    parser = CommandParser(
        prog="handmesh adapt",
        description="make the weights better for your camera and hands, from your own footage, without "
        "annotation. They are written only if held-out frames say that they are better.",
    )
    parser.add_argument("source", metavar="CLIP_OR_FOLDER", help="a clip, or a folder of photos, of hands in use")
    parser.add_argument("--output", default="adapted", metavar="DIR", help="the new checkpoint (default adapted/)")
    parser.add_argument("--checkpoint", default="default", help="weights to start from: a file, a run's folder")
    parser.add_argument("--minutes", type=float, default=3.0, metavar="M", help="of training (default 3)")
    parser.add_argument("--frames", type=int, default=240, metavar="N", help="frames used (default 240)")
    parser.add_argument("--backgrounds", default="", metavar="DIR", help="photos and .hdr maps behind rendered hands")
    parser.add_argument("--mano", default="open", metavar="FILE", help="hand model: 'open' or a MANO file")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    from handmesh.training.adaptation import adapt, report

    result = adapt(
        args.source, args.output, args.checkpoint, args.mano, args.minutes, args.frames, args.backgrounds, args.seed
    )
    print(report(result))
    return 0
