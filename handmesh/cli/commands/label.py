"""``handmesh label``: photos without annotation, labelled and written in FreiHAND's layout."""

from __future__ import annotations

from collections.abc import Sequence

from handmesh.errors import CommandParser, HandMeshError


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the words and do what they ask for. Returns the exit code."""
    parser = CommandParser(
        prog="handmesh label",
        description="photos of single hands, without annotation, labelled by landmark models and a fit into "
        "FreiHAND's layout. What they doubt is left out.",
    )
    parser.add_argument("photos", metavar="PHOTOS", help="a folder of photos, or of folders of photos")
    parser.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--copies", type=int, default=0, metavar="N", help="of each hand on other backgrounds")
    parser.add_argument("--backgrounds", metavar="DIR", help="photos for those, besides drawn scenes")
    parser.add_argument("--mano", default="open", metavar="FILE", help="hand model: 'open' or a MANO file")
    parser.add_argument("--held-out", metavar="YAML", help="with labels.jsonl: makers never trained on")
    parser.add_argument("--agree", metavar="C", help="with labels.jsonl: leave out what this network sees otherwise")
    parser.add_argument(
        "--networks", nargs="+", default=[], metavar="TFLITE",
        help="further landmark networks, of MediaPipe's form: photos get the label that all have in common",
    )  # fmt: skip
    parser.add_argument(
        "--no-outlines", action="store_true",
        help="fit landmarks alone: do not draw the mesh's outline to the pixels that our detector says are the hand's",
    )  # fmt: skip
    args = parser.parse_args(argv)
    from handmesh.labeling.agreement import photos_of
    from handmesh.labeling.pseudo_labels import shipped_segmentation, write_pseudo_labelled
    from handmesh.mano.arrays import load_mano

    if args.copies < 0:
        raise HandMeshError(f"expected --copies of 0 or more, got {args.copies}")
    photos, is_flat = photos_of(args.photos, args.held_out, args.agree, args.networks)
    segment = None if args.no_outlines else shipped_segmentation()
    arrays = load_mano(args.mano)
    kept = write_pseudo_labelled(photos, args.out, arrays, True, args.backgrounds, args.copies, is_flat, segment)
    none = "" if kept.evaluation else " (no folder held any out: to train, give data.val_root=FOLDER)"
    print(
        f"{args.out}: {kept.training} training samples ({kept.flat} in 2D alone), {kept.copies} copies, "
        f"{kept.evaluation} evaluation samples{none}; left out: {kept.untrusted} doubted, {kept.unfitted} unfitted"
    )
    return 0
