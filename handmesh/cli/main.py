"""The ``handmesh`` command: parses words, calls the function behind them, prints what came of it.

Everything heavy is imported by the command that needs it, so that ``handmesh --help`` is instant.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from handmesh._version import __version__
from handmesh.errors import CommandParser, HandMeshError, run_command
from handmesh.io.cpu_count import limit_library_threads
from handmesh.io.files import cache_dir, user_path

_DESCRIPTION = "3D hand meshes from a picture, a clip or a webcam; rendered data, training and scores."
_EXAMPLES = """\
examples:
  handmesh doctor                                  what is here, what is missing, how to mend it
  handmesh webcam                                  the camera live; a clip it renders itself where there is none
  handmesh webcam --camera calib.yaml --hand-length 18.5
  handmesh video clip.mp4 --output out.mp4 --recording out.jsonl
  handmesh convert out.jsonl --output hands.glb    the recording as animation: .glb, .bvh; or .npz, .csv
  handmesh label-footage s3://bucket/clips --output /shared/labels --ray auto
  handmesh predict photos/ --output out/           overlay, meshes and numbers of every photo
  handmesh predict hand.jpg --view                 the same, then its meshes in a 3D window to be turned
  handmesh app                                     a web page on this machine: photo in, mesh out
  handmesh synth --out data/synth --train 2000 --eval 400 --seed 0
  handmesh train configs/smoke.yaml data.root=data/synth output=runs/smoke
  handmesh adapt my_clip.mp4 --output adapted/     better weights for your own camera, from your own footage
  handmesh export --format onnx                    a file for another runtime, tried before it is kept
  handmesh check-data FREIHAND_ROOT
  handmesh convert-mano MANO_RIGHT.pkl --output mano_right.npz
"""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The console entry point. Leaves with 0, or 2 and one line on stderr, or 130 after Ctrl-C."""
    run_command(lambda: _run(sys.argv[1:] if argv is None else list(argv)))


def _run(argv: list[str]) -> int | None:
    limit_library_threads()
    if argv and argv[0] in _WITH_OWN_PARSER:
        command = _WITH_OWN_PARSER[argv[0]]
        code: int | None = getattr(importlib.import_module(command.module), command.function)(argv[1:])
        return code
    parser = _build_parser()
    args = parser.parse_args(argv)
    run: Callable[[argparse.Namespace], int | None] = args.run
    return run(args)


def _build_parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="handmesh",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"handmesh {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for name, command in _WITH_OWN_PARSER.items():
        commands.add_parser(name, help=command.about)
    for add in (
        _add_convert, _add_synth, _add_label, _add_train, _add_adapt, _add_check_data, _add_pack, _add_convert_mano,
        _add_fetch, _add_doctor,
    ):  # fmt: skip
        add(commands)
    return parser


class _Command(NamedTuple):
    """A command that has its own parser, because it can be started without this one too."""

    module: str
    about: str
    function: str = "main"


_WITH_OWN_PARSER = {
    "predict": _Command("handmesh.cli.predict", "photos, clips, folders of them in; overlays, meshes and numbers out"),
    "webcam": _Command(
        "handmesh.cli.webcam", "hand meshes live: a camera, a clip or photos in; window, clip or pictures out"
    ),
    "video": _Command("handmesh.cli.video", "clips in; out: their hands recorded, drawn on every frame, or both"),
    "label-footage": _Command(
        "handmesh.cli.label_footage", "clips and photos by the thousand, on a Ray cluster: recordings and an index out"
    ),
    "evaluate": _Command("handmesh.cli.evaluate", "score a checkpoint on FreiHAND, or a set in its layout"),
    "export": _Command(
        "handmesh.cli.export", "a checkpoint as a file for ONNX Runtime, OpenVINO, Core ML, TorchScript"
    ),
    "app": _Command(
        "handmesh.cli.web_app", "a web page: a photo or the browser's camera in, overlay, mesh, GLB and JSON out"
    ),
}


def command_names() -> list[str]:
    """Every sub-command, in the order of the help."""
    return [name for action in _build_parser()._actions for name in (action.choices or ())]


def _add_convert(commands: argparse._SubParsersAction[CommandParser]) -> None:
    about = "a recording as animation (.glb, .bvh), as a table (.csv), or as a recording (.jsonl, .npz)"
    command = commands.add_parser("convert", help=about, description=f"{about}.")
    command.add_argument("source", metavar="RECORDING", help="as of: handmesh video CLIP --recording FILE")
    command.add_argument("--output", required=True, metavar="FILE", help="its ending chooses the format")
    command.add_argument("--track", type=int, metavar="ID", help="only the hand of this track (default: all)")
    command.add_argument("--offline", action="store_true", help="smooth it first, as handmesh video does with clips")
    command.add_argument("--mano", default="open", metavar="FILE", help="hand model: 'open' or a MANO file")
    command.set_defaults(run=_convert)


def _convert(args: argparse.Namespace) -> None:
    from handmesh.motion.convert import convert

    print(convert(args.source, args.output, args.mano, args.track, args.offline))


def _add_synth(commands: argparse._SubParsersAction[CommandParser]) -> None:
    about = "render labelled pictures of the hand model into a data set in FreiHAND's own layout"
    command = commands.add_parser("synth", help=about, description=f"{about}. The same words give the same bytes.")
    command.add_argument("--out", required=True, metavar="DIR", help="a new folder, or one to take up again")
    command.add_argument("--train", type=int, default=2000, metavar="N", help="training samples (default 2000)")
    command.add_argument("--eval", type=int, default=400, metavar="N", help="evaluation samples (default 400)")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--size", type=int, default=224, metavar="PX", help="side of a picture (default 224)")
    command.add_argument("--workers", type=int, metavar="N", help="processes (default: one per core)")
    command.add_argument("--backgrounds", metavar="DIR", help="photos and .hdr maps to put behind the hands")
    command.add_argument("--mano", default="open", metavar="FILE", help="hand model: 'open' or a MANO file")
    command.add_argument("--pictures", default="full", metavar="KIND", help="full, or simpler: plain, basic")
    command.set_defaults(run=_synth)


def _synth(args: argparse.Namespace) -> None:
    from handmesh.synthesis import write_dataset

    root = write_dataset(
        args.out, args.train, args.eval, args.seed, args.size, args.workers, args.backgrounds, args.mano,
        pictures=args.pictures,
    )  # fmt: skip
    print(f"{root}: {args.train} training and {args.eval} evaluation samples; train on it with data.root={root}")


def _add_label(commands: argparse._SubParsersAction[CommandParser]) -> None:
    about = "photos of single hands, without annotation, labelled by a teacher and a fit into FreiHAND's layout"
    command = commands.add_parser("label", help=about, description=f"{about}. What the teacher doubts is left out.")
    command.add_argument("photos", metavar="PHOTOS", help="a folder of photos, or of folders of photos")
    command.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    command.add_argument("--copies", type=int, default=0, metavar="N", help="of each hand on other backgrounds")
    command.add_argument("--backgrounds", metavar="DIR", help="photos for those, besides drawn scenes")
    command.add_argument("--mano", default="open", metavar="FILE", help="hand model: 'open' or a MANO file")
    command.add_argument("--held-out", metavar="YAML", help="with labels.jsonl: makers never trained on")
    command.add_argument("--agree", metavar="C", help="with labels.jsonl: leave out what this network sees otherwise")
    command.set_defaults(run=_label)


def _label(args: argparse.Namespace) -> None:
    from handmesh.labeling.agreement import photos_of
    from handmesh.labeling.pseudo_labels import write_pseudo_labelled
    from handmesh.mano.arrays import load_mano

    if args.copies < 0:
        raise HandMeshError(f"expected --copies of 0 or more, got {args.copies}")
    photos, is_flat = photos_of(args.photos, args.held_out, args.agree)
    kept = write_pseudo_labelled(photos, args.out, load_mano(args.mano), True, args.backgrounds, args.copies, is_flat)
    none = "" if kept.evaluation else " (no folder held any out: to train, give data.val_root=FOLDER)"
    print(
        f"{args.out}: {kept.training} training samples ({kept.flat} in 2D alone), {kept.copies} copies, "
        f"{kept.evaluation} evaluation samples{none}; left out: {kept.untrusted} doubted, {kept.unfitted} unfitted"
    )


def _add_train(commands: argparse._SubParsersAction[CommandParser]) -> None:
    about = "train a network (in one process; scripts/train.sh starts several)"
    command = commands.add_parser("train", help=about, description=about)
    command.add_argument("config", help="a YAML file that holds what differs from the defaults, as in configs/")
    command.add_argument("overrides", nargs="*", metavar="key=value", help="for example data.root=DIR output=RUN")
    command.set_defaults(run=_train)


def _train(args: argparse.Namespace) -> None:
    from handmesh.config import load_config

    config = load_config(args.config, args.overrides)
    from handmesh.training.trainer import Trainer  # torch and timm, after the settings are known to be right

    trainer = Trainer(config)
    for name, value in trainer.run().items():
        print(f"{name:>20} {value:8.3f}")
    print(f"checkpoints: {trainer.folder / 'best'}, {trainer.folder / 'last'}")


def _add_adapt(commands: argparse._SubParsersAction[CommandParser]) -> None:
    about = "make the weights better for your camera and hands, from your own footage, without annotation"
    command = commands.add_parser(
        "adapt", help=about, description=f"{about}. They are written only if held-out frames say that they are better."
    )
    command.add_argument("source", metavar="CLIP_OR_FOLDER", help="a clip, or a folder of photos, of hands in use")
    command.add_argument("--output", default="adapted", metavar="DIR", help="the new checkpoint (default adapted/)")
    command.add_argument("--checkpoint", default="default", help="weights to start from: a file, a run's folder")
    command.add_argument("--minutes", type=float, default=3.0, metavar="M", help="of training (default 3)")
    command.add_argument("--frames", type=int, default=240, metavar="N", help="frames looked at (default 240)")
    command.add_argument("--backgrounds", default="", metavar="DIR", help="photos and .hdr maps behind rendered hands")
    command.add_argument("--mano", default="open", metavar="FILE", help="hand model: 'open' or a MANO file")
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=_adapt)


def _adapt(args: argparse.Namespace) -> None:
    from handmesh.training.adaptation import adapt, report

    result = adapt(
        args.source, args.output, args.checkpoint, args.mano, args.minutes, args.frames, args.backgrounds, args.seed
    )
    print(report(result))


def _add_check_data(commands: argparse._SubParsersAction[CommandParser]) -> None:
    about = "is a FreiHAND folder whole and right: files, images, pixels, millimetres; every fault by name"
    command = commands.add_parser("check-data", help=about, description=about)
    command.add_argument("root", metavar="ROOT", help="the folder that holds training_K.json")
    command.add_argument("--mano", default="open", help="hand model of the labels: MANO_RIGHT.pkl, an .npz, or 'open'")
    command.add_argument("--no-images", action="store_true", help="do not open every image")
    command.set_defaults(run=_check_data)


def _check_data(args: argparse.Namespace) -> None:
    from handmesh.data.check import check_data
    from handmesh.mano.arrays import load_mano

    report = check_data(args.root, load_mano(args.mano), not args.no_images, with_bar=True)
    print(report)
    if report.problems:
        raise HandMeshError(
            f"expected a whole data set in {args.root}, found {len(report.problems)} problems, listed above; "
            "mend them or download the set again"
        )


def _add_pack(commands: argparse._SubParsersAction[CommandParser]) -> None:
    about = "decode a FreiHAND folder once into one file a split, which training then reads instead"
    command = commands.add_parser("pack", help=about, description=f"{about}; 150 kB an image, 20 GB for all of it.")
    command.add_argument("root", metavar="ROOT", help="the folder that holds training_K.json")
    command.add_argument("--split", choices=("training", "evaluation"), help="default: both, where they are")
    command.set_defaults(run=_pack)


def _pack(args: argparse.Namespace) -> None:
    from handmesh.data.packed import pack_split

    root = user_path(args.root)
    there = [split for split in ("training", "evaluation") if (root / f"{split}_K.json").is_file()]
    for split in [args.split] if args.split else there or ["training"]:
        path = pack_split(root, split, with_bar=True)
        print(f"wrote {path}: {path.stat().st_size / 1e6:.0f} MB; delete it to read the folder again")


def _add_convert_mano(commands: argparse._SubParsersAction[CommandParser]) -> None:
    about = "read the licensed MANO file safely (no chumpy, no code run from it) and write a plain .npz"
    command = commands.add_parser("convert-mano", help=about, description=about)
    command.add_argument("source", metavar="MANO_RIGHT.pkl", help="the file as its owners give it")
    command.add_argument("--output", metavar="OUT.npz", help="default: the same name with .npz, beside it")
    command.set_defaults(run=_convert_mano)


def _convert_mano(args: argparse.Namespace) -> None:
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


def _add_fetch(commands: argparse._SubParsersAction[CommandParser]) -> None:
    about = "download the hand detector that set-up needs (once; checked against its checksum)"
    command = commands.add_parser("fetch", help=about, description=about)
    command.add_argument("--quiet", action="store_true", help="say nothing when it is there already")
    command.add_argument("--from", dest="wheel", metavar="FILE.whl", help="a copy of its wheel, for a machine offline")
    command.set_defaults(run=_fetch)


def _fetch(args: argparse.Namespace) -> None:
    from handmesh.detection.model_files import MEMBERS, ensure_palm_detector, extract_members, is_cached

    if args.wheel:
        if not Path(args.wheel).is_file():
            raise HandMeshError(f"expected the mediapipe wheel, got {args.wheel}: no such file; check the path")
        extract_members(Path(args.wheel), cache_dir())
    if not all(is_cached(name) for name in MEMBERS):
        print("fetching the hand detector (36 MB, once)", flush=True)
    path = ensure_palm_detector()
    if not args.quiet:
        print(f"hand detector: {path.parent}")


def _add_doctor(commands: argparse._SubParsersAction[CommandParser]) -> None:
    about = "what is installed, found and missing on this machine, with the one-line fix for each"
    command = commands.add_parser("doctor", help=about, description=about)
    command.add_argument("--mano", metavar="FILE", help="also check this MANO file")
    command.add_argument("--data", metavar="ROOT", help="also check this FreiHAND folder")
    command.set_defaults(run=_doctor)


def _doctor(args: argparse.Namespace) -> int:
    from handmesh.cli.doctor import examine, report

    text, code = report(examine(args.mano, args.data))
    print(text)
    return code


if __name__ == "__main__":
    main()
