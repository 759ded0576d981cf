"""Pictures survive a round trip, are turned upright, and bad files end in one clear error."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handmesh.errors import HandMeshError
from handmesh.io.images import list_images, read_image, write_image


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_lossless_round_trip(tmp_path: Path, picture: np.ndarray) -> None:
    for suffix in (".png", ".bmp", ".tiff"):
        write_image(tmp_path / f"a{suffix}", picture)
        assert np.array_equal(read_image(tmp_path / f"a{suffix}"), picture)
    write_image(tmp_path / "red.jpg", np.full((16, 16, 3), (255, 0, 0), np.uint8))
    assert np.abs(read_image(tmp_path / "red.jpg").astype(int) - (255, 0, 0)).max() < 5


def test_exif_orientation_is_obeyed(tmp_path: Path, picture: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the stored picture must be turned clockwise
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), np.rot90(picture, -1))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA", "1", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(tmp_path: Path, picture: np.ndarray, mode: str) -> None:
    file = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    if mode == "I;16":
        Image.fromarray(picture[..., 0].astype(np.uint16) * 257).save(file)
    else:
        Image.fromarray(picture).convert(mode).save(file)
    image = read_image(file)
    assert image.shape == (20, 30, 3) and image.dtype == np.uint8 and image.std() > 10


def test_transparent_becomes_white(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4, 4), np.uint8)).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == 255).all()


def test_bad_files(tmp_path: Path, picture: np.ndarray) -> None:
    noisy = np.random.default_rng(1).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    for suffix in (".jpg", ".png"):
        write_image(tmp_path / f"whole{suffix}", noisy)
        data = (tmp_path / f"whole{suffix}").read_bytes()
        (tmp_path / f"cut{suffix}").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.jpg").write_text("this is not an image")
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("cut.jpg", "cut.png", "text.jpg", "empty.png", "missing.png"):
        with pytest.raises(HandMeshError, match=name):
            read_image(tmp_path / name)
    with pytest.raises(HandMeshError, match="no such file"):
        read_image(tmp_path)


@pytest.mark.parametrize("side", [20_000, 60_000, 0])
def test_a_header_that_promises_too_much_or_nothing(tmp_path: Path, side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    (tmp_path / "bomb.png").write_bytes(data)
    with pytest.raises(HandMeshError, match="bomb.png"):
        read_image(tmp_path / "bomb.png")


def test_writing_refuses_unknown_formats_and_leaves_nothing(tmp_path: Path, picture: np.ndarray) -> None:
    for name in ("a.txt", "a"):
        with pytest.raises(HandMeshError, match="jpg"):
            write_image(tmp_path / name, picture)
    with pytest.raises(ValueError, match="uint8"):
        write_image(tmp_path / "a.png", picture.astype(np.float32))
    assert not list(tmp_path.iterdir())


def test_a_folder_lists_its_photos_only(tmp_path: Path, picture: np.ndarray) -> None:
    with pytest.raises(HandMeshError, match="got none"):
        list_images(tmp_path)
    with pytest.raises(HandMeshError, match="no such folder"):
        list_images(tmp_path / "missing")
    for name in ("b.png", "a.JPG", ".hidden.png"):
        write_image(tmp_path / name, picture)
    (tmp_path / "notes.txt").write_text("x")
    assert [file.name for file in list_images(tmp_path)] == ["a.JPG", "b.png"]
