"""What the tabs of the page share: the field-of-view slider, and how an upload is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from handmesh.geometry.camera import DEFAULT_FOV_DEG
from handmesh.web.results import FOV_RANGE_DEG, clamp_fov

STATIC = Path(__file__).parent / "static"


def fov_slider(gr: Any, info: str, elem_id: str) -> Any:
    """A slider for the camera's field of view, whose typed values are clamped.

    Args:
        gr: gradio.
        info: the line under its label.
        elem_id: its name for the style sheet.
    """
    label = "Camera's field of view, degrees"
    fov = gr.Slider(*FOV_RANGE_DEG, value=DEFAULT_FOV_DEG, step=1, label=label, info=info, elem_id=elem_id)
    fov.preprocess = clamp_fov
    return fov


def take_uploads(upload: Any, uploads: Path) -> None:
    """Have a component hand over the path of what was uploaded, undecoded: no address, no other file.

    Args:
        upload: a gradio component of files or pictures.
        uploads: the folder in which gradio puts uploads; the page's own examples are taken too.
    """
    import gradio as gr

    move_to_cache = upload.async_move_resource_to_block_cache

    async def move_upload_to_cache(path: str | Path | None) -> str | None:
        if str(path).lower().startswith(("http:", "https:")):
            raise gr.Error("expected an uploaded file, got an address; upload the file itself", print_exception=False)
        # gradio judges this as well, and would copy a file that lies beside the uploads of another run.
        places = (uploads.resolve(), STATIC.resolve())
        if path is not None and not any(Path(path).resolve().is_relative_to(place) for place in places):
            raise gr.Error("expected an uploaded file, got another one; upload it first", print_exception=False)
        return await move_to_cache(path)

    upload.async_move_resource_to_block_cache = move_upload_to_cache
    # gradio would decode, fetch and judge it with messages of its own.
    upload.preprocess = lambda payload: payload.path if payload else None
