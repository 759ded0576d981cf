"""``handmesh synth``: labelled pictures of the hand model in FreiHAND's own layout, or scenes for the detector."""

from __future__ import annotations

from collections.abc import Sequence

from handmesh.errors import CommandParser, HandMeshError


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the words and do what they ask for. Returns the exit code."""
    parser = CommandParser(
        prog="handmesh synth",
        description="render labelled pictures of the hand model into a data set in FreiHAND's own layout. The "
        "same words give the same bytes.",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="a new folder, or one to take up again")
    parser.add_argument("--train", type=int, default=2000, metavar="N", help="training samples (default 2000)")
    parser.add_argument("--eval", type=int, default=400, metavar="N", help="evaluation samples (default 400)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, metavar="PX", help="side of a picture (default 224; scenes 384)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one per core)")
    parser.add_argument("--backgrounds", metavar="DIR", help="photos and .hdr maps to put behind the hands")
    parser.add_argument("--mano", default="open", metavar="FILE", help="hand model: 'open' or a MANO file")
    parser.add_argument("--pictures", default="full", metavar="KIND", help="full, grasps, or simpler: plain, basic")
    parser.add_argument(
        "--gestures", nargs="+", default=[], metavar="NAME", help="poses of these alone, such as fist or 'letter M'"
    )
    parser.add_argument(
        "--scenes", action="store_true", help="whole pictures with up to four hands, boxes and masks, for the detector"
    )
    parser.add_argument(
        "--ray", nargs="?", const="local", metavar="ADDRESS",
        help="render on a Ray cluster (auto, HOST:6379; alone: one on this machine); DIR is shared by its machines",
    )  # fmt: skip
    args = parser.parse_args(argv)
    if args.scenes and args.pictures != "full":
        raise HandMeshError(f"expected --scenes or --pictures, got both (--pictures {args.pictures}); leave one out")
    from handmesh.synthesis import write_dataset

    pictures = "scenes" if args.scenes else args.pictures
    size = args.size or (384 if pictures == "scenes" else 224)

    root = write_dataset(
        args.out, args.train, args.eval, args.seed, size, args.workers, args.backgrounds, args.mano,
        pictures=pictures, gestures=args.gestures,
        on_ray=args.ray is not None, ray_address=None if args.ray == "local" else args.ray,
    )  # fmt: skip
    use = f"detector.scenes.{root}/training=1" if pictures == "scenes" else f"data.root={root}"
    print(f"{root}: {args.train} training and {args.eval} evaluation samples; train on it with {use}")
    return 0
