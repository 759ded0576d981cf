"""The page: its tabs, what is in them and what happens on a click. Gradio draws it; live.js runs the live view."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from handmesh.errors import HandMeshError
from handmesh.web.clip import MakeTracker
from handmesh.web.clip_tab import clip_tab
from handmesh.web.components import STATIC, fov_slider, take_uploads
from handmesh.web.quota import FileQuota
from handmesh.web.results import (
    Read,
    Recover,
    empty_html,
    error_html,
    process_photo,
    result_html,
)

if TYPE_CHECKING:
    import gradio

#: Photos that wait for their turn; more are asked to come back.
MAX_QUEUE = 32
_HEADER = """<header class="hm-header"><h1>handmesh</h1>
<p>Every hand in a picture as a 3D mesh, in metres. Nothing leaves the machine that serves this page.</p></header>"""


class Example(NamedTuple):
    """A picture to try the page with, and what is to be seen in it."""

    path: Path
    alt: str


#: Rendered with the project's own hand, so that they may be shipped.
EXAMPLES = (
    Example(STATIC / "examples" / "right-hand.jpg", "A right hand"),
    Example(STATIC / "examples" / "left-hand.jpg", "A left hand"),
    Example(STATIC / "examples" / "two-hands.jpg", "A left and a right hand"),
)


def build_page(
    recover: Recover,
    read: Read,
    quota: FileQuota,
    make_tracker: MakeTracker,
    examples: Sequence[Example] = EXAMPLES,
) -> gradio.Blocks:
    """The page as a gradio Blocks, not yet served.

    Args:
        recover: finds the hands; called from several threads.
        read: decodes a visitor's file; called from several threads.
        quota: its folder is where uploads and results live.
        make_tracker: for clips, as of run_clip.
        examples: pictures to try.

    Raises:
        HandMeshError: gradio is not installed.
    """
    gr = _import_gradio(quota.folder)
    results = results_folder(quota.folder)
    gr.set_static_paths([STATIC])
    with gr.Blocks(title="handmesh", analytics_enabled=False) as page:
        gr.HTML(_HEADER)
        with gr.Tabs():
            with gr.Tab("Photo", id="photo-tab"):
                _photo_tab(gr, recover, read, quota, results, examples)
            with gr.Tab("Live camera", id="live-tab"):
                gr.HTML((STATIC / "live.html").read_text(encoding="utf-8"))
            with gr.Tab("Clip", id="clip-tab"):
                clip_tab(gr, make_tracker, quota, results)
    page.queue(max_size=MAX_QUEUE, default_concurrency_limit=1)
    return page


def results_folder(folder: Path) -> Path:
    """Where results live under the page's folder; made here, served by the page."""
    results = folder / "results"
    results.mkdir(parents=True, exist_ok=True)
    return results


def _photo_tab(
    gr: Any, recover: Recover, read: Read, quota: FileQuota, results: Path, examples: Sequence[Example]
) -> None:
    with gr.Row(elem_id="photo-row"):
        with gr.Column(scale=5, elem_id="photo-input"):
            photo = gr.Image(
                type="filepath",
                image_mode=None,  # with a mode, gradio would decode the file itself
                sources=["upload", "webcam", "clipboard"],
                label="Photo",
                show_label=False,
                height=320,
                elem_id="photo",
                placeholder="# Drop a photo of a hand here\nor click to choose one",
                # A mirrored picture of a right hand is a left hand.
                webcam_options=gr.WebcamOptions(mirror=False),
                buttons=[],
            )
            chosen = gr.HTML(
                _examples_html(examples),
                visible=bool(examples),
                elem_id="examples",
                js_on_load=_EXAMPLES_JS,
            )
            fov = fov_slider(
                gr,
                "Over the picture's longer side; 60 suits most. It changes how far away a hand is, not its shape.",
                "fov",
            )
        with gr.Column(scale=7, elem_id="photo-output"):
            result = gr.HTML(empty_html(), elem_id="result")
            with gr.Column(elem_id="files"):  # page.css shows it beside a result alone
                model = gr.Model3D(
                    label="Meshes in 3D: drag to turn",
                    height=340,
                    clear_color=(0.0, 0.0, 0.0, 0.0),
                    camera_position=(90, 90, None),
                    elem_id="mesh",
                    interactive=False,
                )
                with gr.Row(elem_id="downloads"):
                    overlay = gr.DownloadButton("Download picture (JPEG)", size="sm")
                    glb = gr.DownloadButton("Download meshes (GLB)", size="sm")
                    record = gr.DownloadButton("Download numbers (JSON)", size="sm")
    take_uploads(photo, quota.folder / "uploads")

    def on_photo(path: str | None, fov_deg: float) -> dict[Any, Any]:
        if not path:
            return {result: empty_html(), model: None}
        try:
            with quota.in_use(path):
                done = process_photo(path, fov_deg, read, recover, results)
        except HandMeshError as error:
            return {result: error_html(str(error)), model: None}
        finally:
            quota.enforce()
        if done.files is None:
            return {result: result_html(done), model: None}
        return {
            result: result_html(done),
            model: str(done.files.glb),
            overlay: str(done.files.overlay),
            glb: str(done.files.glb),
            record: str(done.files.record),
        }

    def on_example(event: gr.EventData) -> str:
        return str(examples[int(event.index) % len(examples)].path)

    gr.on(
        [photo.change, fov.change],
        on_photo,
        [photo, fov],
        [result, model, overlay, glb, record],
        trigger_mode="always_last",
        show_progress="minimal",
        show_progress_on=[result],
        api_name="recover",
    )
    # gradio reads the annotation: it has to be the class and not its name.
    on_example.__annotations__["event"] = gr.EventData
    chosen.click(on_example, None, photo, show_progress="hidden", api_visibility="private")


def _examples_html(examples: Sequence[Example]) -> str:
    buttons = "".join(
        f'<button type="button" data-index="{index}" title="{html.escape(example.alt, quote=True)}">'
        f'<img src="gradio_api/file={example.path}" alt="{html.escape(example.alt, quote=True)}"></button>'
        for index, example in enumerate(examples)
    )
    return f'<div class="hm-examples"><span>No photo at hand? Try a rendered one:</span><div>{buttons}</div></div>'


_EXAMPLES_JS = """element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-index]');
  if (button) trigger('click', {index: Number(button.dataset.index)});
});"""


def _import_gradio(folder: Path) -> Any:
    """gradio, set before it loads to stay silent and to keep its files under ``folder``."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_RUN_HISTORY"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio
    except ImportError as error:
        raise HandMeshError(f"the page needs gradio: {error}; next: pip install 'handmesh[demo]'") from error
    return gradio
