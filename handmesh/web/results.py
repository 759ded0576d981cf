"""One photo's results: its files in a folder, and what the page says of them."""

from __future__ import annotations

import html
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from handmesh.geometry.camera import DEFAULT_FOV_DEG
from handmesh.io.images import write_image
from handmesh.rendering.colors import Color, hand_colors
from handmesh.rendering.overlay import draw_hands
from handmesh.rendering.result_files import write_glb, write_record
from handmesh.results import Hand

#: An image and a field of view in degrees in, hands out.
Recover = Callable[[NDArray[np.uint8], float], list[Hand]]
#: A picture's path in, (H, W, 3) uint8 RGB out.
Read = Callable[[str], NDArray[np.uint8]]

FOV_RANGE_DEG = (20.0, 120.0)
#: What the browser is shown is no larger, pixels of the longer side; the files to download keep the photo's size.
_SHOWN_PX = 1600


class PhotoFiles(NamedTuple):
    """What was made of one photo that has hands."""

    photo: Path  # as it was read, upright, for browsers that cannot show the upload's own format
    overlay: Path
    shown_overlay: Path
    glb: Path
    record: Path


class PhotoResult(NamedTuple):
    """What one photo gave; ``files`` is None where there is no hand."""

    name: str
    width: int
    height: int
    hands: list[Hand]
    fov_deg: float
    milliseconds: float
    files: PhotoFiles | None


def clamp_fov(value: object) -> float:
    """A field of view from what a person typed: the nearest one allowed, the default for what is no number."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return DEFAULT_FOV_DEG
    return min(max(number, FOV_RANGE_DEG[0]), FOV_RANGE_DEG[1]) if math.isfinite(number) else DEFAULT_FOV_DEG


def process_photo(path: str, fov_deg: float, read: Read, recover: Recover, folder: Path) -> PhotoResult:
    """Find the hands of one photo and write overlay, mesh and numbers into a new folder.

    Args:
        path: the photo.
        fov_deg: the camera's field of view over the longer side, degrees; clamped to FOV_RANGE_DEG.
        read: decodes the photo.
        recover: finds the hands.
        folder: the new folder goes here; it must exist.

    Raises:
        HandMeshError: not a picture, or the results could not be written.
    """
    fov_deg, image = clamp_fov(fov_deg), read(path)
    start_s = time.perf_counter()
    hands = sorted(recover(image, fov_deg), key=lambda hand: -hand.score)
    milliseconds = (time.perf_counter() - start_s) * 1e3
    height, width = image.shape[:2]
    name = Path(path).name
    files = _write_files(image, hands, name, folder) if hands else None
    return PhotoResult(name, width, height, hands, fov_deg, milliseconds, files)


def _write_files(image: NDArray[np.uint8], hands: Sequence[Hand], name: str, folder: Path) -> PhotoFiles:
    place = Path(tempfile.mkdtemp(prefix="hand-", dir=folder))
    stem = plain_stem(name)
    files = PhotoFiles(
        photo=place / "photo.jpg",
        overlay=place / f"{stem}-hands.jpg",
        shown_overlay=place / "overlay.jpg",
        glb=place / f"{stem}-hands.glb",
        record=place / f"{stem}-hands.json",
    )
    overlay = draw_hands(image, hands)
    write_image(files.photo, _shrink(image))
    write_image(files.overlay, overlay)
    write_image(files.shown_overlay, _shrink(overlay))
    write_glb(files.glb, hands, hand_colors(hands))
    write_record(files.record, hands, name)
    return files


def plain_stem(name: str) -> str:
    """A file's name without folder and suffix, of letters, digits, "-" and "_" alone and not too long."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in Path(name).stem)[:60] or "file"


def _shrink(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    factor = _SHOWN_PX / max(image.shape[:2])
    if factor >= 1:
        return image
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def describe_hands(hands: Sequence[Hand], colors: Sequence[Color] | None = None) -> list[dict[str, Any]]:
    """What the page shows of each hand: side, colour in the picture as #rrggbb, score, distance.

    Args:
        hands: of one picture.
        colors: RGB 0..255 that they are drawn with; None: draw_hands' own.
    """
    return [
        {
            "side": "right" if hand.is_right else "left",
            "color": "#{:02x}{:02x}{:02x}".format(*color),
            "score": round(float(hand.score), 3),
            "distance_m": round(float(np.linalg.norm(hand.joints.mean(axis=0))), 3),
        }
        for hand, color in zip(hands, hand_colors(hands) if colors is None else colors, strict=True)
    ]


def empty_html() -> str:
    """The place of the results before there are any."""
    return """<div class="hm-empty">
<svg viewBox="0 0 64 64" width="56" height="56" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="2"
 stroke-linejoin="round" stroke-linecap="round"><path d="M22 58 14 44 8 33l3-3 9 8V14l4-2 3 2 2 18 1-24 4-2 4 2v24l3-20
 4-1 3 3-2 22 5-12 4 1 1 4-8 24-4 9z"/><path d="m20 38 8-6 9 1 8 3 5-1M28 32l-6 14 15-13 8 13 0-10M22 46l10 4 13-4M22
 46v12M32 50l-10 8M32 50l12 8M45 46l-1 12"/></svg>
<h2>The result will come here</h2>
<p>Your photo with a mesh over every hand, the meshes in 3D to turn around, and files to keep: picture, GLB,
JSON.</p>
</div>"""


def error_html(message: str) -> str:
    """An error, in the place of the results: it leaves with the next file."""
    return f"""<div class="hm-message hm-error" role="alert"><h2>This file could not be used</h2>
<p>{html.escape(_sentence(message))}</p></div>"""


def result_html(result: PhotoResult) -> str:
    """The photo under its overlay with a control that fades between them, and a list of the hands."""
    if result.files is None:
        return """<div class="hm-message" role="status"><h2>No hand was found</h2>
<p>A hand that fills a good part of the picture, well lit and not cut off, works best. Try another photo, or move the
camera nearer.</p></div>"""
    words = describe_hands(result.hands)
    count = f"{len(words)} hand{'s' if len(words) > 1 else ''} found"
    sides = " and ".join(f"a {word['side']} hand" for word in words)
    entries = "".join(_entry(word) for word in words)
    return f"""<section class="hm-result" style="--hm-shape: {result.width} / {result.height}">
<figure class="hm-compare">
<img src="{file_url(result.files.photo)}" alt="The photo {html.escape(result.name, quote=True)}">
<img src="{file_url(result.files.shown_overlay)}" alt="The same photo with a mesh drawn over {sides}" class="hm-over">
</figure>
<label class="hm-fade"><span>Photo</span><input type="range" min="0" max="100" value="100"
 aria-label="Fade between the photo and the meshes" oninput="this.closest('.hm-result').style.setProperty('--hm-fade',
 this.value / 100)"><span>Meshes</span></label>
<h2 role="status">{count}</h2>
<ul class="hm-hands">{entries}</ul>
<p class="hm-note">{result.width} x {result.height} pixels, {result.milliseconds:.0f} ms, field of view
 {result.fov_deg:.0f} degrees</p>
</section>"""


def _entry(word: dict[str, Any]) -> str:
    return (
        f'<li style="--hm-tint: {word["color"]}"><strong>{word["side"].capitalize()} hand</strong>'
        f"<span>{word['distance_m']:.2f} m away</span><span>score {word['score']:.2f}</span></li>"
    )


def file_url(path: Path) -> str:
    """Where the page serves a result."""
    return "gradio_api/file=" + quote(str(path))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
