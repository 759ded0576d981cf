"""Radiance light maps (.hdr): their size read before OpenCV allocates them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError
from handmesh.io.images import MAX_SIDE

#: A light map of 8192 x 4096 pixels is 400 MB in floating point.
MAX_MAP_PIXELS = 8192 * 4096
#: The line of a Radiance file that names its size, rows first.
_RADIANCE_SIZE = re.compile(rb"\n[-+]Y ([0-9]{1,6}) [-+]X ([0-9]{1,6})\n")


def read_radiance(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """A Radiance light map (.hdr) as linear RGB (H, W, 3) float32.

    Raises:
        HandMeshError: no such file, another format, damaged, or of more than MAX_MAP_PIXELS pixels.
    """
    import cv2

    file = Path(path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise HandMeshError(f"expected a Radiance .hdr map, got {file}: {error.strerror}; check the path") from error
    found = _RADIANCE_SIZE.search(content[:4096]) if content.startswith((b"#?RADIANCE", b"#?RGBE")) else None
    if found is None:
        raise HandMeshError(f"expected a Radiance .hdr map, got {file}: another file; remove it")
    height, width = int(found[1]), int(found[2])
    if not 0 < width * height <= MAX_MAP_PIXELS or max(width, height) > MAX_SIDE:
        raise HandMeshError(
            f"expected a Radiance .hdr map of at most {MAX_MAP_PIXELS // 10**6} megapixels, got {file}: "
            f"{width} x {height}; make it smaller first"
        )
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        picture = None
    if picture is None or picture.ndim != 3 or picture.dtype != np.float32:
        raise HandMeshError(f"expected a Radiance .hdr map, got {file}: it cannot be decoded; remove it")
    return np.ascontiguousarray(picture[:, :, ::-1])
