"""The server of the page: gradio and the live view behind one guard, under uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handmesh.web.guard import LOOPBACK_NAMES, App, Guard, Limits
from handmesh.web.live import LiveSessions, live_routes
from handmesh.web.page import STATIC, results_folder
from handmesh.web.quota import FileQuota
from handmesh.web.results import clamp_fov

if TYPE_CHECKING:
    import gradio
    import uvicorn

#: A connection on which no request is being answered is closed after this long, or twice as long at most, seconds.
IDLE_CONNECTION_S = 15.0
#: What is old is looked for this often, seconds.
_SWEEP_S = 60.0


def build_app(
    page: gradio.Blocks,
    sessions: LiveSessions,
    quota: FileQuota,
    hosts: frozenset[str] | None = LOOPBACK_NAMES,
    limits: Limits | None = None,
) -> App:
    """The whole page as an ASGI app.

    Args:
        page: as of build_page.
        sessions: the live view's.
        quota: what visitors leave on the disk; applied after each upload and every minute.
        hosts: as of Guard.
        limits: as of Guard.
    """
    import fastapi
    import gradio

    limits = limits or Limits()

    @contextlib.asynccontextmanager
    async def sweeping(_: fastapi.FastAPI) -> AsyncIterator[None]:
        async def sweep() -> None:
            while True:
                await asyncio.sleep(_SWEEP_S)
                await asyncio.to_thread(quota.enforce)

        task = asyncio.create_task(sweep())
        yield
        task.cancel()

    app = fastapi.FastAPI(lifespan=sweeping, docs_url=None, redoc_url=None, openapi_url=None)
    app.router.routes.extend(live_routes(sessions, clamp_fov))
    gradio.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        allowed_paths=[str(results_folder(quota.folder))],
        max_file_size=limits.upload_bytes,
        ssr_mode=False,
        run_history=False,
        theme=_theme(),
        css_paths=STATIC / "page.css",
        head=_head(),
        favicon_path=str(STATIC / "favicon.png"),
    )

    async def enforce() -> None:
        await asyncio.to_thread(quota.enforce)

    return Guard(app, hosts, limits, enforce)


def _head() -> str:
    """The scripts of the page: its own, and gradio's 3D viewer ahead of the first result.

    The viewer (some megabytes) loads with the first mesh otherwise, and gradio 6.31 shows nothing where anything else
    on the page changes meanwhile.
    """
    import gradio

    viewers = sorted((Path(gradio.__file__).parent / "templates/frontend/assets").glob("Canvas3D-*.js"))
    loads = "".join(f'import("./assets/{viewer.name}");' for viewer in viewers)
    ahead = f'<script type="module">addEventListener("load", () => setTimeout(() => {{ {loads} }}, 1500))</script>'
    scripts = "".join((STATIC / name).read_text(encoding="utf-8") for name in ("live.js", "photo.js"))
    return f"<script>{scripts}</script>{ahead}"


def _theme() -> Any:
    """Quiet greys, one blue, and fonts that every machine has: none is fetched."""
    import gradio

    return gradio.themes.Base(
        primary_hue="blue",
        neutral_hue="slate",
        radius_size="lg",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        # The theme's own grey is too faint to read for many: 2.6 : 1 on white, where 4.5 : 1 is asked for.
        body_text_color_subdued="*neutral_500",
        block_info_text_color="*neutral_500",
        block_label_text_color="*neutral_600",
    )


def make_server(app: App, host: str, port: int) -> uvicorn.Server:
    """uvicorn for the page, not yet started; it writes the page's address to stdout once it answers.

    Args:
        app: the page, as of :func:`build_app`.
        host: name or address that it listens at.
        port: a free one.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            shown = f"[{host}]" if ":" in host else host
            sys.stdout.write(f"open http://{shown}:{port} in a browser; Ctrl-C stops the server\n")
            sys.stdout.flush()

    return Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]
            host=host,
            port=port,
            http=_protocol(),
            ws="none",
            lifespan="on",
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
    )


def serve(app: App, host: str, port: int) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        app, host, port: as of :func:`make_server`.
    """
    # uvicorn ends in good order at either signal and then raises it once more.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        make_server(app, host, port).run()
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")


def _protocol() -> Any:
    """uvicorn's HTTP over h11 that closes connections on which nothing happens, or half a request."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Protocol(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._close_when_idle(None, is_first=True)

        def _close_when_idle(self, last_cycle: Any, is_first: bool = False) -> None:
            if self.transport.is_closing():
                return
            is_idle = self.cycle is None or self.cycle.response_complete
            if is_idle and self.cycle is last_cycle and not is_first:
                self.transport.close()
                return
            self.loop.call_later(IDLE_CONNECTION_S, self._close_when_idle, self.cycle)

    return Protocol
