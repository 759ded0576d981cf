"""A picture's first bytes tell its format and size, whatever its name says."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from handmesh.io.picture_headers import HEAD_BYTES, jpeg_header, photo_format, png_size


def encoded(kind: str, size: tuple[int, int] = (31, 17), **options: object) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "AVIF"])
def test_the_formats_of_photos_are_told_by_their_content(kind: str) -> None:
    from PIL import features

    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    assert photo_format(encoded(kind)[:HEAD_BYTES]) == kind


@pytest.mark.parametrize(
    "content",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"\xc5\xd0\xd3\xc6",
        b"BMW is a maker of cars, and this is a text about it",
        b"BM",
        b"\0\0\0\x18ftypmp42\0\0\0\0isommp42",
        b"RIFF\0\0\0\0AVI LIST",
        b"\0\0\0\x0cjP  \r\n\x87\n",
        b"8BPS\0\1",
        b"\x1a\x45\xdf\xa3",
        b"",
    ],
)
def test_nothing_else_is_a_photo(content: bytes) -> None:
    assert photo_format(content) is None


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 20}, {"restart_marker_blocks": 2}])
def test_a_jpeg_tells_its_size_and_scans(options: dict[str, object]) -> None:
    header = jpeg_header(encoded("JPEG", (320, 90), **options))
    assert header is not None and (header.width, header.height) == (320, 90)
    assert header.is_progressive == bool(options.get("progressive"))
    assert (header.scans > 3) == header.is_progressive and header.scans < 20


def test_what_follows_the_picture_does_not_count() -> None:
    data = encoded("JPEG", (64, 64)) + b"\xff\xda\0\2" * 1000
    header = jpeg_header(data)
    assert header is not None and header.scans == 1


def test_cut_or_foreign_files_have_no_size() -> None:
    assert jpeg_header(b"\xff\xd8\xff") is None and jpeg_header(encoded("JPEG")[:20]) is None
    assert png_size(encoded("PNG")) == (31, 17)
    assert png_size(encoded("PNG")[:20]) is None and png_size(b"\x89PNG\r\n\x1a\n" + b"\0" * 16) is None
    assert png_size(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 0, 5)) is None


@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\xff\xff"])
def test_a_chunk_that_says_more_than_the_file_holds_is_no_picture(length: bytes) -> None:
    """A decoder would make room for all of it, 4 GB for a file of a kilobyte."""
    whole = encoded("PNG")
    at = whole.index(b"IDAT") - 4
    assert png_size(whole[:at] + length + whole[at + 4 :]) is None
    assert png_size(whole + b"more") == png_size(whole)
