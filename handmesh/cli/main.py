"""The ``handmesh`` command: finds the module of the sub-command, whose ``main`` parses the other words and does it.

A command is a file of commands/, imported when it is asked for, so that ``handmesh --help`` is instant.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from handmesh._version import __version__
from handmesh.errors import CommandParser, run_command
from handmesh.io.runtime.cpu_count import limit_library_threads

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
  handmesh export --format onnx                    a file for another runtime, verified before it is kept
  handmesh check-data FREIHAND_ROOT
  handmesh convert-mano MANO_RIGHT.pkl --output mano_right.npz
"""


class _Command(NamedTuple):
    """A sub-command: its file in commands/, and what it does in a line."""

    module: str
    about: str


_COMMANDS = {
    "predict": _Command("predict", "photos, clips, folders of them in; overlays, meshes and numbers out"),
    "webcam": _Command("webcam", "hand meshes live: a camera, a clip or photos in; window, clip or pictures out"),
    "video": _Command("video", "clips in; out: their hands recorded, drawn on every frame, or both"),
    "label-footage": _Command(
        "label_footage", "clips and photos by the thousand, on a Ray cluster: recordings and an index out"
    ),
    "convert": _Command(
        "convert", "a recording as animation (.glb, .bvh), as a table (.csv), or as a recording (.jsonl, .npz)"
    ),
    "export": _Command("export", "a checkpoint as a file for ONNX Runtime, OpenVINO, Core ML, TorchScript"),
    "app": _Command("web_app", "a web page: a photo or the browser's camera in, overlay, mesh, GLB and JSON out"),
    "synth": _Command("synth", "render labelled pictures of the hand model into a data set in FreiHAND's own layout"),
    "label": _Command("label", "photos of single hands, without annotation, labelled and written in FreiHAND's layout"),
    "train": _Command("train", "train a network (in one process; scripts/train.sh starts several)"),
    "evaluate": _Command("evaluate", "score a checkpoint on FreiHAND, or a set in its layout"),
    "adapt": _Command(
        "adapt", "make the weights better for your camera and hands, from your own footage, without annotation"
    ),
    "check-data": _Command(
        "check_data", "is a FreiHAND folder whole and right: files, images, pixels, millimetres; every fault by name"
    ),
    "pack": _Command("pack", "decode a FreiHAND folder once into one file a split, which training then reads instead"),
    "convert-mano": _Command(
        "convert_mano", "read the licensed MANO file safely (no chumpy, no code run from it) and write a plain .npz"
    ),
    "fetch": _Command("fetch", "download MediaPipe's hand models, for labelling and --detector mediapipe (once)"),
    "doctor": _Command(
        "doctor", "what is installed, found and missing on this machine, with the one-line fix for each"
    ),
}


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The console entry point. Leaves with 0, or 2 and one line on stderr, or 130 after Ctrl-C."""
    run_command(lambda: _run(sys.argv[1:] if argv is None else list(argv)))


def command_names() -> list[str]:
    """Every sub-command, in the order of the help."""
    return list(_COMMANDS)


def _run(argv: list[str]) -> int | None:
    limit_library_threads()
    if argv and argv[0] in _COMMANDS:
        module = importlib.import_module(f"handmesh.cli.commands.{_COMMANDS[argv[0]].module}")
        code: int | None = module.main(argv[1:])
        return code
    # Help, the version, or an error that names the commands.
    _parser().parse_args(argv)
    return None


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="handmesh",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"handmesh {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for name, command in _COMMANDS.items():
        commands.add_parser(name, help=command.about)
    return parser


if __name__ == "__main__":
    main()
