"""``handmesh app``: the page in the browser, served on this machine."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handmesh.cli.options import add_model_options, model_options
from handmesh.errors import CommandParser, HandMeshError
from handmesh.geometry.camera import DEFAULT_FOV_DEG
from handmesh.results import Hand
from handmesh.web.clip import load_tracker
from handmesh.web.decoder import PhotoDecoder
from handmesh.web.guard import LOOPBACK_NAMES
from handmesh.web.live import LiveSessions
from handmesh.web.page import EXAMPLES, build_page, results_folder
from handmesh.web.quota import FileQuota
from handmesh.web.results import process_photo
from handmesh.web.server import build_app, serve

#: What visitors leave on the disk, oldest out first; all of it goes when the server stops.
_MAX_BYTES, _MAX_FILES, _MAX_AGE_S = 1 << 30, 2000, 3600.0


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


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the words, load the model once, serve."""
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
    check_port(args.host, args.port)
    from handmesh.inference.predictor import HandMeshPredictor
    from handmesh.inference.tracker import HandTracker

    print("loading the model", flush=True)
    predictor = HandMeshPredictor.from_pretrained(**model_options(args))

    def recover(image: NDArray[np.uint8], fov_deg: float) -> list[Hand]:
        return predictor(image, fov_deg=fov_deg)

    with tempfile.TemporaryDirectory(prefix="handmesh-app-") as name, closing(PhotoDecoder()) as read:
        quota = FileQuota(Path(name).resolve(), _MAX_BYTES, _MAX_FILES, _MAX_AGE_S)
        page = build_page(recover, read, quota, partial(load_tracker, model_options(args)))
        # What is compiled at first use is compiled before the first visitor.
        process_photo(str(EXAMPLES[-1].path), DEFAULT_FOV_DEG, read, recover, results_folder(quota.folder))
        sessions = LiveSessions(lambda fov_deg: HandTracker(predictor, fov_deg=fov_deg))
        hosts = LOOPBACK_NAMES | set(args.allow_host) if args.host in LOOPBACK_NAMES else None
        serve(build_app(page, sessions, quota, hosts), args.host, args.port)
    return 0
