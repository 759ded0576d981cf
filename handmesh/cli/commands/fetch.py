"""``handmesh fetch``: MediaPipe's hand models, for labelling and for --detector mediapipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from handmesh.errors import CommandParser, HandMeshError
from handmesh.io.files import cache_dir


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the words and do what they ask for. Returns the exit code."""
    parser = CommandParser(
        prog="handmesh fetch",
        description="download MediaPipe's hand models, for labelling and --detector mediapipe (once; checksums pinned)",
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing when it is there already")
    parser.add_argument("--from", dest="wheel", metavar="FILE.whl", help="a copy of its wheel, for a machine offline")
    args = parser.parse_args(argv)
    from handmesh.detection.model_files import are_cached, ensure_palm_detector, extract_members

    if args.wheel:
        if not Path(args.wheel).is_file():
            raise HandMeshError(f"expected the mediapipe wheel, got {args.wheel}: no such file; check the path")
        extract_members(Path(args.wheel), cache_dir())
    if not are_cached():
        print("fetching MediaPipe's hand models (36 MB, once)", flush=True)
    path = ensure_palm_detector()
    if not args.quiet:
        print(f"MediaPipe's hand models: {path.parent}")
    return 0
