"""Pictures on disk: read as the person who took them saw them, written whole or not at all.

Every array here is (H, W, 3) uint8 RGB. Only formats of photos are decoded, recognised by their content and not
by their name, and only after their size is known: anyone may have written the file.
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError, reason_of
from handmesh.io.files import atomic_path
from handmesh.io.picture_headers import HEAD_BYTES, jpeg_header, photo_format, png_size

if TYPE_CHECKING:
    from PIL import Image

#: What the predictor takes for a picture: RGB (H, W, 3) uint8, a file's path, or a Pillow image.
ImageLike: TypeAlias = "NDArray[np.uint8] | str | os.PathLike[str] | Image.Image"
#: Suffixes that are taken for photos in a folder.
#: Suffixes of pictures that can be written, and that are taken for photos in a folder whatever is in them.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
#: Decoded, this is 150 MB: more than a phone's usual picture, and what two copies of leave the memory usable.
MAX_PIXELS = 50_000_000
#: A baseline JPEG of up to so many is read at half its size or less, which costs no memory for the whole.
MAX_PIXELS_REDUCED = 170_000_000
#: Longest side in pixels: OpenCV, which cuts crops out of it, counts pixels of one side in 16 bits.
MAX_SIDE = 32_000
#: An encoder makes about ten scans. Each costs a pass over the whole picture and, made to harm, a few bytes.
MAX_SCANS = 100
#: What is read of one file; an uncompressed TIFF of 16 bits a channel at MAX_PIXELS is 300 MB.
MAX_FILE_BYTES = 512 * 2**20
#: Pixels converted at a time, so that no second and third copy of a whole picture exists.
_STRIP_PIXELS = 2_000_000
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE, _SAMPLE_FORMAT, _SIGNED = 258, 339, 2
_WANTED = "JPEG, PNG, WebP, TIFF, BMP, GIF or AVIF"
_LOG = logging.getLogger("handmesh")


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """An image file as RGB (H, W, 3) uint8, turned upright by its EXIF orientation; transparency becomes white.

    JPEG, PNG, WebP, TIFF, BMP, GIF (the first frame), MPO and AVIF, whatever the file is called; HEIC where pillow-heif
    is installed. 16-bit and floating-point pictures are scaled by the range of their type (0 to 1 for floating point),
    never by their own brightest pixel. A baseline JPEG of more than MAX_PIXELS is read at half its size (logged).

    Raises:
        HandMeshError: no such file, not a photo, damaged, empty, or of more than MAX_PIXELS pixels.
    """
    file = Path(path)
    kind = _format_of(file)
    try:
        with warnings.catch_warnings():
            # Pillow warns of pictures and of metadata that are odd; what counts is whether they can be read.
            warnings.simplefilter("ignore")
            with _open(file, kind) as picture:
                _prepare(file, kind, picture)
                picture.load()
                return _upright(_to_rgb(picture), _orientation(picture))
    except HandMeshError:
        raise
    except Exception as error:  # readers of damaged files raise nearly anything
        raise HandMeshError(f"expected an image, got {file}: {_reason(error)}; save it again as JPEG or PNG") from error


def image_array(image: ImageLike) -> NDArray[np.uint8]:
    """A picture in any of the forms that the library takes, as RGB (H, W, 3) uint8.

    Args:
        image: such an array, which is returned as it is; a file's path, read by :func:`read_image`; or a Pillow image,
            turned upright by its EXIF orientation like a file's.

    Raises:
        HandMeshError: another array (grey, float, with alpha), no pixels, another type, or a file that cannot be read.
    """
    if isinstance(image, str | os.PathLike):
        return read_image(image)
    if not isinstance(image, np.ndarray):
        if not hasattr(image, "getexif"):
            raise HandMeshError(
                f"expected an image as RGB array (H, W, 3) uint8, path or Pillow image, got {type(image).__name__}; "
                "handmesh.read_image gives an array"
            )
        from PIL import ImageOps

        upright: Any = ImageOps.exif_transpose(image)
        image = np.array(_to_rgb(upright), dtype=np.uint8)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise HandMeshError(
            f"expected an RGB image (H, W, 3) uint8, got an array of shape {image.shape} and type {image.dtype}; "
            "handmesh.read_image gives one"
        )
    if 0 in image.shape:
        raise HandMeshError(f"expected an image with pixels, got one of {image.shape[1]} x {image.shape[0]}; check it")
    return image
def is_photo(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a photo by its first bytes, or by its name: its reader then says what is wrong with it."""
    file = Path(path)
    if file.suffix.lower() in IMAGE_SUFFIXES:
        return True
    try:
        with open(file, "rb") as opened:
            return photo_format(opened.read(HEAD_BYTES)) is not None
    except OSError:
        return False


def check_header(content: bytes, path: str | os.PathLike[str]) -> None:
    """Check a JPEG's or PNG's size before a decoder that checks nothing allocates it.

    Args:
        content: the whole file.
        path: names it in the error.

    Raises:
        HandMeshError: another format, no size in it, more than MAX_PIXELS, or far more scans than a picture needs.
    """
    kind = photo_format(content[:HEAD_BYTES])
    if kind == "JPEG":
        header = jpeg_header(content)
        size = None if header is None else (header.width, header.height)
        _check_scans(Path(path), 0 if header is None else header.scans)
    else:
        size = png_size(content) if kind == "PNG" else None
    if size is None:
        raise HandMeshError(f"expected a JPEG or PNG image at {path}, got an empty or corrupt file; restore it")
    _check_size(Path(path), size, MAX_PIXELS)


def write_image(path: str | os.PathLike[str], image: NDArray[np.uint8]) -> None:
    """Write RGB (H, W, 3) uint8 to a file whose suffix names the format.

    Raises:
        HandMeshError: an unknown suffix, or the folder cannot be written.
    """
    from PIL import Image

    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected an image of shape (H, W, 3) uint8, got {image.shape} {image.dtype}")
    target = Path(path)
    if target.suffix.lower() not in IMAGE_SUFFIXES:
        raise HandMeshError(
            f"expected a name ending in one of {', '.join(IMAGE_SUFFIXES)}, got {target.name}; choose one of them"
        )
    options: dict[str, Any] = {"quality": 92} if target.suffix.lower() in (".jpg", ".jpeg", ".webp") else {}
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, Image.registered_extensions()[target.suffix.lower()], **options)
    with atomic_path(target) as part:
        # Through Python: given a file, Pillow's JPEG writer overlooks that the disk took only a part of it.
        part.write_bytes(encoded.getbuffer())


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """The image files of a folder, by name, without its sub-folders; what else lies there is counted and logged.

    Raises:
        HandMeshError: no such folder, or none in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise HandMeshError(f"expected a folder of photos, got {root}: no such folder; check the path")
    files = sorted(file for file in root.iterdir() if file.is_file() and not file.name.startswith("."))
    found = [file for file in files if is_photo(file)]
    others = [file.name for file in files if file not in set(found)]
    if not found:
        held = f"none among {len(others)} files" if others else "none"
        raise HandMeshError(f"expected photos ({_WANTED}) in {root}, got {held}; name the folder that holds them")
    if others:
        shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        _LOG.warning("%s: %d of %d files left out, which are no photos (%s)", root, len(others), len(files), shown)
    return found


def _format_of(file: Path) -> str:
    """The format that a file's first bytes show; HandMeshError for no file and for what is no photo."""
    if not file.is_file():
        raise HandMeshError(f"expected an image file, got {file}: no such file; check the path")
    try:
        size = file.stat().st_size
        with open(file, "rb") as opened:
            head = opened.read(HEAD_BYTES)
    except OSError as error:
        raise HandMeshError(f"expected an image, got {file}: {error.strerror}; check the file") from error
    if not head:
        raise HandMeshError(f"expected an image, got {file}: an empty file; copy it again from its source")
    if size > MAX_FILE_BYTES:
        limit = MAX_FILE_BYTES >> 20
        raise HandMeshError(f"expected an image of at most {limit} MB, got {file}: {size >> 20} MB; save it as JPEG")
    kind = photo_format(head)
    if kind is None:
        raise HandMeshError(f"expected an image ({_WANTED}), got {file}: not an image; save it again as JPEG or PNG")
    return kind


def _open(file: Path, kind: str) -> Any:
    """The picture, its header read and nothing decoded, by the reader of its own format alone."""
    from PIL import Image, features

    if kind == "HEIF":
        try:
            from pillow_heif import register_heif_opener
        except ImportError as error:
            raise HandMeshError(
                f"expected an image ({_WANTED}), got {file}: HEIC, which needs another package; "
                "run pip install pillow-heif, or save it as JPEG"
            ) from error
        register_heif_opener(thumbnails=False)
    if kind == "AVIF" and not features.check("avif"):
        raise HandMeshError(f"expected an image, got {file}: AVIF, which needs Pillow 11.3; run pip install -U pillow")
    try:
        return Image.open(file, formats=["JPEG", "MPO"] if kind == "JPEG" else [kind])
    except Image.DecompressionBombError as error:
        raise HandMeshError(_too_large(file, "far more", MAX_PIXELS)) from error


def _prepare(file: Path, kind: str, picture: Any) -> None:
    """Refuse what would cost too much; have a large JPEG decoded at half its size or less."""
    limit = MAX_PIXELS
    if kind == "JPEG":
        header = jpeg_header(file.read_bytes())
        _check_scans(file, 0 if header is None else header.scans)
        if header is not None and not header.is_progressive and len(picture.tile) == 1:
            limit = MAX_PIXELS_REDUCED
    _check_size(file, picture.size, limit)
    width, height = picture.size
    if width * height > MAX_PIXELS:
        picture.draft(None, (width // 2, height // 2))
        _LOG.warning(
            "%s: %d x %d pixels, read at %d x %d; everything is given in pixels of that size",
            file.name, width, height, *picture.size,
        )  # fmt: skip


def _check_size(file: Path, size: tuple[int, int], limit: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise HandMeshError(f"expected an image, got {file}: {width} x {height} pixels; copy it again from its source")
    if width * height > limit or max(size) > MAX_SIDE:
        raise HandMeshError(_too_large(file, f"{width} x {height}", limit))


def _check_scans(file: Path, scans: int) -> None:
    if scans > MAX_SCANS:
        raise HandMeshError(f"expected a JPEG of some ten scans, got {file}: {scans} of them; save it again as PNG")


def _too_large(file: Path, size: str, limit: int) -> str:
    return (
        f"expected an image of at most {limit // 10**6} megapixels and {MAX_SIDE} pixels a side, got {file}: {size}; "
        "make it smaller first"
    )


def _to_rgb(picture: Any) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 from any mode Pillow decodes, a strip at a time."""
    width, height = picture.size
    image = np.empty((height, width, 3), np.uint8)
    has_alpha = picture.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in picture.info
    is_wide = picture.mode == "F" or picture.mode.startswith("I")
    top = _top_value(picture) if is_wide else 0.0
    for start, strip in _strips(picture):
        rows = image[start : start + strip.size[1]]
        if is_wide:
            rows[:] = _scaled(np.asarray(strip), top)[..., None]
        elif has_alpha:
            pixels = np.asarray(strip.convert("RGBA")).astype(np.uint16)
            alpha = pixels[..., 3:]
            rows[:] = (pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
        else:
            rows[:] = np.asarray(strip.convert("RGB"))
    return image


def _strips(picture: Any) -> Iterator[tuple[int, Any]]:
    width, height = picture.size
    rows = max(1, _STRIP_PIXELS // width)
    for start in range(0, height, rows):
        yield start, picture.crop((0, start, width, min(start + rows, height)))


def _top_value(picture: Any) -> float:
    """What is white in a picture of more than 8 bits: the largest value of its type, whatever it holds."""
    if picture.mode == "F":
        return 1.0
    tags = getattr(picture, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, 16)
    bits = int(bits[0] if isinstance(bits, tuple) else bits)
    sample = tags.get(_SAMPLE_FORMAT, 1)
    is_signed = (sample[0] if isinstance(sample, tuple) else sample) == _SIGNED
    # PNG has 16 bits, though Pillow may hold them in 32.
    return float(2 ** (bits - is_signed) - 1)


def _scaled(values: NDArray[Any], top: float) -> NDArray[np.uint8]:
    """Values 0..top as 0..255.

    Raises:
        ValueError: NaN or infinity, or a floating-point picture in other units than 0 to 1.
    """
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("NaN or infinity among its pixels")
    if values.size and values.max() > 2 * top:
        # Resampling overshoots white a little; twice as bright is another unit.
        raise ValueError(f"pixels up to {values.max():g}, where {top:g} is white")
    return np.rint(np.clip(values / top, 0, 1) * 255).astype(np.uint8)


def _orientation(picture: Any) -> int:
    """How the camera was held, EXIF's 1 to 8; nothing else of the metadata is looked at."""
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - odd metadata is no fault of the picture's
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    turned = image
    if orientation in (5, 6, 7, 8):
        turned = turned.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)


def _reason(error: Exception) -> str:
    text = reason_of(error)
    return "not an image" if "cannot identify" in text else text or type(error).__name__
