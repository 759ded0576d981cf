"""The whole page as one ASGI app, from the functions that find hands."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from handmesh.geometry.camera import DEFAULT_FOV_DEG
from handmesh.web.clip import MakeTracker
from handmesh.web.decoder import PhotoDecoder
from handmesh.web.guard import LOOPBACK_NAMES, App
from handmesh.web.live import LiveSessions, Tracker
from handmesh.web.page import EXAMPLES, build_page, results_folder
from handmesh.web.quota import FileQuota
from handmesh.web.results import Recover, process_photo
from handmesh.web.server import build_app

#: What visitors leave on the disk, oldest out first; all of it goes when the server stops.
_MAX_BYTES, _MAX_FILES, _MAX_AGE_S = 1 << 30, 2000, 3600.0


@contextmanager
def hand_page(
    recover: Recover,
    track: Callable[[float], Tracker],
    load_clip_tracker: MakeTracker,
    hosts: frozenset[str] | None = LOOPBACK_NAMES,
) -> Iterator[App]:
    """The page with its folder, its decoder and its guard, for :func:`handmesh.web.server.serve`.

    Args:
        recover: the hands of a photo (H, W, 3) uint8 RGB under a field of view in degrees; called from several threads.
        track: a tracker for one visitor's camera, by its field of view.
        load_clip_tracker: makes the tracker of a clip, in a process of its own: it has to be picklable.
        hosts: names that the page may be opened under; None for any.

    Raises:
        HandMeshError: gradio is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="handmesh-app-") as name, closing(PhotoDecoder()) as read:
        quota = FileQuota(Path(name).resolve(), _MAX_BYTES, _MAX_FILES, _MAX_AGE_S)
        page = build_page(recover, read, quota, load_clip_tracker)
        # What is compiled at first use is compiled before the first visitor.
        process_photo(str(EXAMPLES[-1].path), DEFAULT_FOV_DEG, read, recover, results_folder(quota.folder))
        yield build_app(page, LiveSessions(track), quota, hosts)
