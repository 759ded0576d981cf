"""The page's tab for clips: a short clip in, its progress, the drawn clip to play and the motion to keep."""

from __future__ import annotations

import html
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from handmesh.errors import HandMeshError
from handmesh.web.clip import MAX_SECONDS, ClipProgress, ClipResult, MakeTracker, run_clip
from handmesh.web.components import fov_slider, take_uploads
from handmesh.web.quota import FileQuota
from handmesh.web.results import error_html, file_url


def clip_tab(gr: Any, make_tracker: MakeTracker, quota: FileQuota, results: Path) -> None:
    """Put the tab's pieces into the gradio Blocks that is being built.

    Args:
        gr: gradio.
        make_tracker: as of run_clip.
        quota: its folder is where uploads live.
        results: the folder that results go into.
    """
    with gr.Row(elem_id="clip-row"):
        with gr.Column(scale=5, elem_id="clip-input"):
            clip = gr.File(
                label=f"A clip of at most {MAX_SECONDS:.0f} seconds",
                file_types=[".mp4", ".mov", ".webm", ".mkv", ".avi", ".m4v"],
                file_count="single",
                height=200,
                elem_id="clip",
            )
            fov = fov_slider(gr, "Over the picture's longer side; choose it before the clip.", "clip-fov")
        with gr.Column(scale=7, elem_id="clip-output"):
            result = gr.HTML(_empty_html(), elem_id="clip-result")
    take_uploads(clip, quota.folder / "uploads")

    def on_clip(path: str | None, fov_deg: float) -> Iterator[str]:
        if not path:
            yield _empty_html()
            return
        try:
            with quota.in_use(path), closing(run_clip(path, fov_deg, results, make_tracker)) as steps:
                for step in steps:
                    yield progress_html(step) if isinstance(step, ClipProgress) else clip_html(step)
        except HandMeshError as error:
            yield error_html(str(error))
        finally:
            quota.enforce()

    # One clip at a time, and photos need not wait for it.
    gr.on(
        [clip.change],
        on_clip,
        [clip, fov],
        [result],
        show_progress="hidden",
        concurrency_limit=1,
        concurrency_id="clips",
        api_name="recover_clip",
    )


def _empty_html() -> str:
    return """<div class="hm-empty"><h2>The clip will play here</h2>
<p>Every frame with a mesh over each hand, smoothed without lag, and the motion to keep: as a recording (JSONL), as
animated meshes (GLB) and for animation programs (BVH).</p></div>"""


def progress_html(step: ClipProgress) -> str:
    """How far the clip is, as a bar with words; of one step nothing is counted."""
    if step.total == 1:
        return f"""<div class="hm-message" role="status"><h2>{html.escape(step.stage)} ...</h2></div>"""
    return f"""<div class="hm-message" role="status"><h2>{html.escape(step.stage)}</h2>
<progress max="{step.total}" value="{step.done}" aria-label="{html.escape(step.stage)}"></progress>
<p class="hm-note">{step.done} of {step.total}</p></div>"""


def clip_html(result: ClipResult) -> str:
    """The drawn clip, who is in it, and the files to keep."""
    files = result.files
    hands = "".join(
        f"<li style=\"--hm-tint: {hand['color'] or 'transparent'}\"><strong>{hand['side'].capitalize()} hand</strong>"
        f"<span>{hand['seconds']:.1f} s in view</span></li>"
        for hand in result.hands
    )
    count = f"{len(result.hands)} hand{'s' if len(result.hands) != 1 else ''} found" if hands else "No hand was found"
    offers = (
        ("Download clip (MP4)", files.clip), ("Download recording (JSONL)", files.recording),
        ("Download animation (GLB)", files.glb), ("Download animation (BVH)", files.bvh),
    )  # fmt: skip
    links = "".join(
        f'<a class="hm-button hm-quiet" href="{file_url(path)}" download="{path.name}">{label}</a>'
        for label, path in offers
        if path is not None
    )
    silent = f", without sound: {html.escape(result.lost_sound)}" if result.lost_sound else ""
    return f"""<section class="hm-clip">
<video controls loop playsinline src="{file_url(files.clip)}"
 aria-label="The clip {html.escape(result.name, quote=True)} with a mesh over every hand"></video>
<h2 role="status">{count}</h2><ul class="hm-hands">{hands}</ul>
<p class="hm-note">{result.frames} frames, {result.seconds:.1f} s{silent}</p>
<div class="hm-downloads">{links}</div></section>"""
