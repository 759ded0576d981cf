"""Pictures on disk: read as the person who took them saw them, written whole or not at all.

Knows files, formats and colour order: every array here is (H, W, 3) uint8 RGB. Does not know what is in the picture.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError
from handmesh.io.files import atomic_path

if TYPE_CHECKING:
    from PIL import Image

#: What the predictor takes for a picture: RGB (H, W, 3) uint8, a file's path, or a Pillow image.
ImageLike: TypeAlias = "NDArray[np.uint8] | str | os.PathLike[str] | Image.Image"
#: Suffixes that are taken for photos in a folder.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
#: Decoded, this is 300 MB; a larger size in a header is more likely an attack or an accident than a photo.
MAX_PIXELS = 100_000_000


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """An image file as RGB (H, W, 3) uint8, turned upright by its EXIF orientation; transparency becomes white.

    Raises:
        HandMeshError: no such file, not an image, cut short, empty, or of more than MAX_PIXELS pixels.
    """
    from PIL import Image, ImageOps

    file = Path(path)
    if not file.is_file():
        raise HandMeshError(f"expected an image file, got {file}: no such file; check the path")
    if file.stat().st_size == 0:
        raise HandMeshError(f"expected an image, got {file}: an empty file; copy it again from its source")
    try:
        with warnings.catch_warnings():
            # Pillow warns of pictures half as large as it refuses; the limit below is ours.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file) as picture:
                # The header is read and nothing is decoded yet.
                _check_size(file, picture.size)
                # exif_transpose decodes the picture: a cut file fails here.
                upright: Any = ImageOps.exif_transpose(picture)
                return np.array(_to_rgb(upright), dtype=np.uint8)
    except Image.DecompressionBombError as error:
        raise HandMeshError(_too_large(file, "far more")) from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        # Pillow reports a damaged PNG as SyntaxError.
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
    """The image files of a folder, by name, without its sub-folders.

    Raises:
        HandMeshError: no such folder, or none in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise HandMeshError(f"expected a folder of photos, got {root}: no such folder; check the path")
    found = sorted(
        file
        for file in root.iterdir()
        if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file() and not file.name.startswith(".")
    )
    if not found:
        raise HandMeshError(
            f"expected photos ({', '.join(IMAGE_SUFFIXES)}) in {root}, got none; name the folder that holds them"
        )
    return found


def _check_size(file: Path, size: tuple[int, int]) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise HandMeshError(f"expected an image, got {file}: {width} x {height} pixels; copy it again from its source")
    if width * height > MAX_PIXELS:
        raise HandMeshError(_too_large(file, f"{width} x {height}"))


def _too_large(file: Path, size: str) -> str:
    return f"expected an image of at most {MAX_PIXELS // 10**6} megapixels, got {file}: {size}; make it smaller first"


def _to_rgb(picture: Any) -> Any:
    """An RGB picture from any mode Pillow decodes."""
    from PIL import Image

    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, picture).convert("RGB")
    if picture.mode.startswith("I"):
        # 16 bits a channel: convert() would clip instead of scale.
        values = np.asarray(picture).astype(np.float64)
        return Image.fromarray((values / max(np.max(values), 1.0) * 255).astype(np.uint8)).convert("RGB")
    return picture.convert("RGB")


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return "not an image" if "cannot identify" in text else text or type(error).__name__
