"""``handmesh webcam``: a camera, a clip or photos in; a window, a clip, a recording, a stream or pictures out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from handmesh.cli.live_outputs import LiveOutputs
from handmesh.cli.progress import say
from handmesh.cli.tracking import add_run_options, expect_run_options, load_tracker
from handmesh.errors import CommandParser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the words, load the model, run until the source ends or the user does. Returns the exit code."""
    args = parse(argv)
    if args.list_cameras:
        return print_cameras()
    with LiveOutputs(args) as outputs:
        tracker = load_tracker(args, smoothing=not args.no_smoothing)
        for frame in outputs.frames(tracker):
            outputs.put(frame, outputs.draw(frame))
    return outputs.exit_code


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The words of the command line (None: the process's own), checked; wrong ones end the process with exit code 2."""
    parser = CommandParser(prog="handmesh webcam", description="Hand meshes live: from a camera, a clip or photos.")
    parser.add_argument(
        "--source", help="camera number or address (rtsp://...), clip, photo or folder; default: camera 0 if any"
    )
    parser.add_argument("--list-cameras", action="store_true", help="print this machine's cameras and end")
    parser.add_argument("--headless", action="store_true", help="no window, also where there is a display")
    add_run_options(parser)
    parser.add_argument(
        "--stream", action="append", default=[], metavar="URL",
        help="send every frame's hands: udp://HOST:PORT, ws://HOST:PORT or osc://HOST:PORT (VMC), this machine where "
        "HOST is left out; may be given more than once; alone, no clip",
    )  # fmt: skip
    parser.add_argument("--rerun", metavar="FILE.rrd", help="write picture, meshes and milliseconds for rerun's viewer")
    parser.add_argument("--no-smoothing", action="store_true", help="each frame as the network gives it")
    args = parser.parse_args(argv)
    expect_run_options(args)
    return args


def print_cameras() -> int:
    """The cameras of this machine, a line each. Returns the exit code."""
    from handmesh.io.video.cameras import list_cameras

    cameras = list_cameras()
    for camera in cameras:
        note = "" if camera.is_permitted else "  no permission: sudo usermod -aG video $USER, then log in again"
        print(f"{camera.number:>3}  {camera.name}  {camera.device}{note}".rstrip())
    if not cameras:
        say("no camera found; plug one in, or give a clip: handmesh webcam --source clip.mp4")
    return 0
