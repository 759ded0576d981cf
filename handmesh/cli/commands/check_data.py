"""``handmesh check-data``: every fault of a folder in FreiHAND's layout, by name."""

from __future__ import annotations

from collections.abc import Sequence

from handmesh.errors import CommandParser, HandMeshError


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the words and do what they ask for. Returns the exit code."""
    parser = CommandParser(
        prog="handmesh check-data",
        description="is a FreiHAND folder whole and right: files, images, pixels, millimetres; every fault by name",
    )
    parser.add_argument("root", metavar="ROOT", help="the folder that holds training_K.json")
    parser.add_argument("--mano", default="open", help="hand model of the labels: MANO_RIGHT.pkl, an .npz, or 'open'")
    parser.add_argument("--no-images", action="store_true", help="do not open every image")
    args = parser.parse_args(argv)
    from handmesh.data.check import check_data
    from handmesh.mano.arrays import load_mano

    report = check_data(args.root, load_mano(args.mano), not args.no_images, with_bar=True)
    print(report)
    if report.problems:
        raise HandMeshError(
            f"expected a whole data set in {args.root}, found {len(report.problems)} problems, listed above; "
            "mend them or download the set again"
        )
    return 0
