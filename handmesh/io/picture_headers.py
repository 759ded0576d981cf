"""What the first bytes of a picture say, before anything is decoded: its format, its size, how often it is scanned.

A file's name proves nothing: an EPS file called photo.jpg would be run by an interpreter of PostScript.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

#: So many bytes tell every format apart.
HEAD_BYTES = 64
#: First bytes of the formats that cameras, phones and browsers write. Only these are ever decoded.
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
#: Brands of the ISO container that pictures use; clips have others.
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIF"),
}
#: Sizes of the second header that a BMP may have: two letters alone would make photos of texts.
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
#: A marker in a JPEG that is neither a stuffed byte, a restart nor filling.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_START_OF_SCAN, _END = 0xDA, 0xD9
#: Start of frame, whichever way it is coded; C4, C8 and CC are other segments.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Frames that are coded progressively, which need every coefficient in memory.
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))


class JpegHeader(NamedTuple):
    """Size in pixels, number of scans of the first picture in the file, and whether it is progressive."""

    width: int
    height: int
    scans: int
    is_progressive: bool


def photo_format(head: bytes) -> str | None:
    """The format of a file that begins with these HEAD_BYTES bytes, as Pillow names it; None for no photo."""
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if head[4:8] == b"ftyp":
        size = min(int.from_bytes(head[:4], "big"), len(head))
        # The main brand, then, after a version, the compatible ones: "mif1" alone says only that it is a picture.
        brands = [head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))]
        return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), None)
    return None


def jpeg_header(content: bytes) -> JpegHeader | None:
    """What the markers of a JPEG say, up to the end of its first picture; None where they make no JPEG."""
    width = height = scans = 0
    is_progressive = False
    at = 2
    while True:
        found = _MARKER.search(content, at)
        if found is None:
            break
        marker, at = content[found.start() + 1], found.end()
        if marker == _END:
            break
        if at + 2 > len(content):
            break
        length = int.from_bytes(content[at : at + 2], "big")
        if marker in _FRAMES and at + 7 <= len(content) and not width:
            height, width = struct.unpack(">HH", content[at + 3 : at + 7])
            is_progressive = marker in _PROGRESSIVE
        scans += marker == _START_OF_SCAN
        at += max(length, 2)
    return JpegHeader(width, height, scans, is_progressive) if width and height else None


def png_size(content: bytes) -> tuple[int, int] | None:
    """Width and height in pixels that a PNG's first chunk names; None where the file ends before a chunk does.

    OpenCV makes room for what a chunk says it holds, up to 4 GB, before it looks whether that is there.
    """
    if len(content) < 24 or content[12:16] != b"IHDR":
        return None
    at, kind = 8, b""
    while kind != b"IEND":
        if at + 12 > len(content):
            return None
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        at += 12 + length
        if at > len(content):
            return None
    width, height = struct.unpack(">II", content[16:24])
    return (width, height) if width and height else None
