"""The web page: a photo or the browser's camera in; overlay, 3D mesh, GLB and JSON out.

Knows the page and its files; knows nothing of how a hand is found. Everything stays on this machine: no analytics, no
fonts or scripts from elsewhere, photos and results in a temporary folder that goes when the server stops.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handmesh.cli.options import add_model_options, model_options
from handmesh.errors import CommandParser, HandMeshError
from handmesh.geometry.camera import DEFAULT_FOV_DEG
from handmesh.io.images import read_image, write_image
from handmesh.rendering.overlay import draw_hands
from handmesh.rendering.result_files import side_of, write_glb, write_record
from handmesh.results import Hand

if TYPE_CHECKING:
    import gradio

#: An image and a field of view in degrees in, hands out.
Recover = Callable[[NDArray[np.uint8], float], list[Hand]]

_FOV_RANGE_DEG = (20.0, 120.0)
_MAX_UPLOAD = "50mb"
_KEEP_S = 3600
_INTRO = """# Hand mesh
Drop a photo of a hand, paste one, or use the camera. Every hand becomes a mesh of 778 vertices, in metres, in the
camera's frame. Nothing leaves this machine."""
_NO_HAND = "No hand was found. A hand that fills a good part of the picture, well lit and not cut off, works best."


class Outcome(NamedTuple):
    """What the page shows for one photo; the paths are None when there is no hand."""

    overlay: NDArray[np.uint8]
    glb: Path | None
    record: Path | None
    summary: str


def process_photo(path: str | None, fov_deg: float, both: bool, recover: Recover, folder: Path) -> Outcome:
    """Find the hands of one photo and write their mesh and record into a new folder under ``folder``.

    Raises:
        HandMeshError: no photo, not a picture, a field of view out of range.
    """
    if not path:
        raise HandMeshError("expected a photo, got nothing; drop one into the box on the left")
    if not _FOV_RANGE_DEG[0] <= fov_deg <= _FOV_RANGE_DEG[1]:
        raise HandMeshError(f"expected a field of view of {_FOV_RANGE_DEG[0]:.0f} to {_FOV_RANGE_DEG[1]:.0f} degrees")
    image = _read_upload(path)
    start = time.perf_counter()
    hands = sorted(recover(image, fov_deg), key=lambda hand: -hand.score)
    milliseconds = (time.perf_counter() - start) * 1e3
    if not hands:
        return Outcome(image, None, None, _NO_HAND)
    shown = hands if both else hands[:1]
    place = Path(tempfile.mkdtemp(prefix="hand-", dir=folder))
    glb, record = place / "hands.glb", place / "hands.json"
    write_glb(glb, shown)
    write_record(record, shown, Path(path).name)
    return Outcome(draw_hands(image, shown), glb, record, _summary(shown, len(hands), milliseconds))


def _read_upload(path: str) -> NDArray[np.uint8]:
    try:
        return read_image(path)
    except HandMeshError as error:
        # The server's path of an upload says nothing to the person at the page.
        raise HandMeshError(str(error).replace(path, Path(path).name)) from error


def _summary(shown: Sequence[Hand], found: int, milliseconds: float) -> str:
    lines = [f"**{found} hand{'s' if found > 1 else ''} found** in {milliseconds:.0f} ms"]
    for hand in shown:
        metres = float(np.linalg.norm(hand.joints.mean(axis=0)))
        lines.append(f"- {side_of(hand)} hand, score {hand.score:.2f}, {metres:.2f} m from the camera")
    if found > len(shown):
        lines.append("- tick *all hands* for the rest")
    return "\n".join(lines)


def build_page(recover: Recover, folder: Path, examples: Sequence[Path] = ()) -> gradio.Blocks:
    """The page as a gradio Blocks, not yet served. ``folder``: where uploads and results live."""
    gr = _import_gradio(folder)

    def on_photo(path: str | None, fov_deg: float, both: bool) -> tuple[Any, ...]:
        if not path:
            return None, None, "", gr.update(value=None, interactive=False), gr.update(value=None, interactive=False)
        try:
            done = process_photo(path, fov_deg, both, recover, folder)
        except HandMeshError as error:
            raise gr.Error(str(error), duration=None, print_exception=False) from error
        glb = str(done.glb) if done.glb else None
        record = str(done.record) if done.record else None
        button = {"interactive": done.glb is not None}
        return done.overlay, glb, done.summary, gr.update(value=glb, **button), gr.update(value=record, **button)

    # The cache is cleaned every hour of what is older than one.
    with gr.Blocks(title="handmesh", analytics_enabled=False, delete_cache=(_KEEP_S, _KEEP_S)) as page:
        gr.Markdown(_INTRO)
        with gr.Row():
            with gr.Column():
                photo = gr.Image(
                    type="filepath",
                    # With a mode, gradio would decode the upload itself, whatever it is: EPS would be run.
                    image_mode=None,
                    sources=["upload", "webcam", "clipboard"],
                    label="Photo",
                    height=360,
                    elem_id="photo",
                )
                fov = gr.Slider(*_FOV_RANGE_DEG, value=DEFAULT_FOV_DEG, step=1, label="Camera's field of view, degrees")
                both = gr.Checkbox(value=True, label="all hands, not only the surest one")
                if examples:
                    gr.Examples([[str(path)] for path in examples], inputs=[photo], label="Rendered hands to try")
            with gr.Column():
                overlay = gr.Image(
                    label="Overlay",
                    height=360,
                    interactive=False,
                    format="jpeg",
                    elem_id="overlay",
                    buttons=["download", "fullscreen"],
                )
                summary = gr.Markdown(elem_id="summary")
            with gr.Column():
                model = gr.Model3D(label="Mesh", height=360, clear_color=(0.94, 0.94, 0.96, 1.0), elem_id="mesh")
                with gr.Row():
                    glb = gr.DownloadButton("GLB", interactive=False)
                    record = gr.DownloadButton("JSON", interactive=False)
        # The picture is ours to read, with our messages: gradio's own decoding fails without a readable word.
        photo.preprocess = lambda payload: payload.path if payload else None
        gr.on(
            [photo.change, fov.release, both.change],
            on_photo,
            [photo, fov, both],
            [overlay, model, summary, glb, record],
            concurrency_limit=1,
            api_name="recover",
        )
    return page


def _import_gradio(folder: Path) -> Any:
    """gradio, told before it loads to stay silent and to keep its files under ``folder``."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_RUN_HISTORY"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "gradio")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio
    except ImportError as error:
        raise HandMeshError(f"the page needs gradio: {error}; next: pip install gradio") from error
    return gradio


def check_port(host: str, port: int) -> None:
    """Find out before the model is loaded whether the page could be served there.

    Raises:
        HandMeshError: the port is taken or not allowed, or the address is not this machine's.
    """
    try:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
    except (OSError, OverflowError) as error:
        raise HandMeshError(f"expected {host}:{port} to be free, got: {error}; choose another: --port N") from error


def serve(page: gradio.Blocks, host: str, port: int) -> None:
    """Serve the page until Ctrl-C or SIGTERM."""
    import gradio

    plain_fonts = gradio.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    page.launch(
        server_name=host,
        server_port=port,
        share=False,
        inbrowser=False,
        ssr_mode=False,
        quiet=True,
        prevent_thread_lock=True,
        max_file_size=_MAX_UPLOAD,
        theme=plain_fonts,
        footer_links=[],
    )
    print(f"open http://{host}:{port} in a browser; Ctrl-C stops the server", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    finally:
        page.close(verbose=False)


def make_examples(folder: Path, times_s: Sequence[float] = (1.0, 6.0)) -> list[Path]:
    """Pictures of the open hand, rendered here and now, so that the page can be tried without a photo."""
    from handmesh.synthesis.demo_clip import DemoScene

    scene = DemoScene()
    paths = [folder / f"rendered-hand-{number + 1}.png" for number in range(len(times_s))]
    for path, time_s in zip(paths, times_s, strict=True):
        write_image(path, scene.frame(time_s).image)
    return paths


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the words, load the model once, serve."""
    parser = CommandParser(prog="handmesh app", description="Serve the hand mesh page on this machine.")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 shows the page to the whole network")
    add_model_options(parser)
    args = parser.parse_args(argv)
    check_port(args.host, args.port)
    from handmesh.inference.predictor import HandMeshPredictor

    print("loading the model and rendering two examples (the very first start takes half a minute)", flush=True)
    predictor = HandMeshPredictor.from_pretrained(**model_options(args))
    with tempfile.TemporaryDirectory(prefix="handmesh-app-") as name:
        folder = Path(name)
        examples = make_examples(folder)

        def recover(image: NDArray[np.uint8], fov_deg: float) -> list[Hand]:
            return predictor(image, fov_deg=fov_deg)

        # What is compiled at first use is compiled before the first visitor.
        process_photo(str(examples[0]), DEFAULT_FOV_DEG, True, recover, folder)
        serve(build_page(recover, folder, examples), args.host, args.port)
    return 0
