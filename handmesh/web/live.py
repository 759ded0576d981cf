"""The live view: a camera's frames from a browser, one request each, and the frames with their meshes back.

A visitor's browser sends a frame when the answer to the one before has come, so that a slow network or a busy server
lowers the rate and never adds delay.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError
from handmesh.rendering.colors import TrackColors
from handmesh.rendering.overlay import draw_hands
from handmesh.results import Hand
from handmesh.web.results import describe_hands

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

#: A frame's longer side, pixels.
MAX_SIDE_PX = 1280
MAX_SESSIONS = 4
#: A session without a frame for so long is over.
IDLE_S = 10.0
_JPEG_QUALITY = 85


class TooManyCameras(HandMeshError):
    """All places for a live camera are taken."""


class Tracker(Protocol):
    """What a session needs of a HandTracker."""

    def step(self, image: NDArray[np.uint8], timestamp_s: float) -> list[Hand]:
        """The hands of the next frame."""


class LiveResult(NamedTuple):
    """What a visitor gets for a frame: the picture, and one entry a hand as of describe_hands."""

    jpeg: bytes
    hands: list[dict[str, Any]]
    milliseconds: float


class _Session:
    def __init__(self, tracker: Tracker, fov_deg: float, now_s: float) -> None:
        self.tracker, self.fov_deg, self.start_s, self.last_s = tracker, fov_deg, now_s, now_s
        self.colors, self.lock = TrackColors(), threading.Lock()


class LiveSessions:
    """The trackers of all visitors who have their camera on."""

    def __init__(
        self,
        make_tracker: Callable[[float], Tracker],
        max_sessions: int = MAX_SESSIONS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Compose the sessions.

        Args:
            make_tracker: a field of view in degrees in, a new tracker out.
            max_sessions: how many visitors may have their camera on at once.
            clock: seconds, rising.
        """
        self._make_tracker, self._max_sessions, self._clock = make_tracker, max_sessions, clock
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many sessions are open."""
        self._drop_idle()
        return len(self._sessions)

    def step(self, name: str, jpeg: bytes, fov_deg: float, has_joints: bool = False) -> LiveResult:
        """Follow one visitor's hands into the next frame.

        Args:
            name: the visitor's session, made up by the browser.
            jpeg: the frame as the camera has it, not mirrored.
            fov_deg: the camera's field of view over the longer side; another one starts anew.
            has_joints: draw the skeleton too.

        Raises:
            HandMeshError: not a JPEG, too large a frame, too many visitors, a frame while another one is at work.
        """
        image = decode_jpeg(jpeg)
        session = self._session(name, fov_deg)
        if not session.lock.acquire(blocking=False):
            raise HandMeshError("expected one frame at a time, got another one before the answer")
        try:
            start_s = session.last_s = self._clock()
            hands = session.tracker.step(image, start_s - session.start_s)
            milliseconds = (self._clock() - start_s) * 1e3
            colors = session.colors(hands, [hand.track_id or 0 for hand in hands])
        finally:
            session.lock.release()
        picture = draw_hands(image, hands, joints=has_joints, colors=colors)
        return LiveResult(_encode_jpeg(picture), describe_hands(hands, colors), milliseconds)

    def stop(self, name: str) -> None:
        """Forget a session; unknown ones too."""
        with self._lock:
            self._sessions.pop(name, None)

    def _session(self, name: str, fov_deg: float) -> _Session:
        self._drop_idle()
        with self._lock:
            session = self._sessions.get(name)
            if session is None or session.fov_deg != fov_deg:
                if session is None and len(self._sessions) >= self._max_sessions:
                    raise TooManyCameras(
                        f"expected at most {self._max_sessions} cameras at once, and so many are on; "
                        "try again in a minute"
                    )
                session = self._sessions[name] = _Session(self._make_tracker(fov_deg), fov_deg, self._clock())
            return session

    def _drop_idle(self) -> None:
        with self._lock:
            now_s = self._clock()
            self._sessions = {n: s for n, s in self._sessions.items() if now_s - s.last_s < IDLE_S}


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """A JPEG as (H, W, 3) uint8 RGB, its size checked before anything is decoded.

    Raises:
        HandMeshError: anything else than a whole JPEG of at most MAX_SIDE_PX.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
            if max(picture.size) > MAX_SIDE_PX:
                raise HandMeshError(f"expected a frame of at most {MAX_SIDE_PX} pixels a side, got {picture.size}")
            return np.array(picture.convert("RGB"), dtype=np.uint8)
    except HandMeshError:
        raise
    except Exception as error:  # a damaged file may raise anything
        raise HandMeshError(f"expected a frame as JPEG, got {len(data)} bytes that are none") from error


def _encode_jpeg(picture: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=_JPEG_QUALITY)
    return out.getvalue()


def live_routes(sessions: LiveSessions, clamp_fov: Callable[[object], float]) -> Sequence[Any]:
    """The two routes of the live view, for a Starlette or FastAPI app."""
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    async def frame(request: Request) -> Response:
        words = request.query_params
        fov_deg = clamp_fov(words.get("fov"))
        body = await request.body()
        try:
            done = await run_in_threadpool(
                sessions.step, words.get("session", "")[:64], body, fov_deg, words.get("joints") == "1"
            )
        except HandMeshError as error:
            return JSONResponse({"error": str(error)}, 503 if isinstance(error, TooManyCameras) else 400)
        header = json.dumps({"hands": done.hands, "ms": round(done.milliseconds, 1)})
        return Response(done.jpeg, media_type="image/jpeg", headers={"x-handmesh": header, "cache-control": "no-store"})

    async def stop(request: Request) -> Response:
        sessions.stop(request.query_params.get("session", "")[:64])
        return Response(status_code=204)

    return [Route("/live/frame", frame, methods=["POST"]), Route("/live/stop", stop, methods=["POST"])]
