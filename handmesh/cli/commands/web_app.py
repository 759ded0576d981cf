"""``handmesh app``: the page in the browser, served on this machine."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from handmesh.cli.options import add_model_options, model_options
from handmesh.cli.progress import say
from handmesh.errors import CommandParser, HandMeshError
from handmesh.results import Hand
from handmesh.web.app import hand_page
from handmesh.web.clip import load_tracker
from handmesh.web.guard import LOOPBACK_NAMES
from handmesh.web.server import serve


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the words, load the model once, serve. Returns the exit code."""
    args = parse(argv)
    from handmesh.inference.predictor import HandMeshPredictor
    from handmesh.inference.tracking.tracker import HandTracker

    say("loading the model")
    predictor = HandMeshPredictor.from_pretrained(**model_options(args))

    def recover(image: NDArray[np.uint8], fov_deg: float) -> list[Hand]:
        return predictor(image, fov_deg=fov_deg)

    def track(fov_deg: float) -> HandTracker:
        return HandTracker(predictor, fov_deg=fov_deg)

    with hand_page(recover, track, partial(load_tracker, model_options(args)), args.hosts) as app:
        serve(app, args.host, args.port)
    return 0


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The words of the command line (None: the process's own), checked; ``hosts`` are the names the page answers to.

    Raises:
        HandMeshError: the page could not be served there.
    """
    parser = CommandParser(prog="handmesh app", description="Serve the hand mesh page on this machine.")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 shows the page to the whole network")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="another name that the page is opened by, for example a proxy's; needed with the default --host only",
    )
    add_model_options(parser)
    args = parser.parse_args(argv)
    args.hosts = LOOPBACK_NAMES | set(args.allow_host) if args.host in LOOPBACK_NAMES else None
    check_port(args.host, args.port)
    return args


def check_port(host: str, port: int) -> None:
    """Find out before the model is loaded whether the page could be served there.

    Raises:
        HandMeshError: the port is taken or not allowed, or the address is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except (OSError, OverflowError) as error:
        raise HandMeshError(f"expected {host}:{port} to be free, got: {error}; choose another: --port N") from error
