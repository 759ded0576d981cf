"""Pictures survive a round trip, are turned upright, and bad files end in one clear error."""

from __future__ import annotations

import io
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from handmesh.errors import HandMeshError
from handmesh.io.images import (
    MAX_PIXELS,
    check_header,
    list_images,
    read_image,
    write_image,
)
from handmesh.io.radiance import MAX_MAP_PIXELS, read_radiance


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


def png_with_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data


@pytest.mark.parametrize("size", [(8000, 8000), (20_000, 20_000), (60_000, 60_000), (40_000, 1), (0, 0)])
def test_a_header_that_promises_too_much_or_nothing(tmp_path: Path, size: tuple[int, int]) -> None:
    data = png_with_header(*size)
    (tmp_path / "bomb.png").write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(HandMeshError, match="bomb.png"):
        read_image(tmp_path / "bomb.png")
    with pytest.raises(HandMeshError, match="bomb.png"):
        check_header(data, tmp_path / "bomb.png")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_no_program_is_started_for_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *words, **options: pytest.fail(f"started {words}"))
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n"
    for name, content in (("a.jpg", postscript), ("b.png", b"\xc5\xd0\xd3\xc6" + b"\0" * 60), ("c.jpg", b"%PDF-1.4\n")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(HandMeshError, match=f"{name}: not an image"):
            read_image(tmp_path / name)


def test_rarer_formats_and_damaged_files_end_in_one_line(tmp_path: Path, picture: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    for kind in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "JPEG2000", "ICO", "TGA", "PCX", "SGI", "DDS"):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, kind)
        for _ in range(20):
            data = bytearray(buffer.getvalue())
            for at in rng.integers(0, len(data), 4):
                data[at] = rng.integers(256)
            (tmp_path / "a.jpg").write_bytes(data[: int(rng.integers(1, len(data) + 1))])
            try:
                assert read_image(tmp_path / "a.jpg").dtype == np.uint8
            except HandMeshError as error:
                assert "\n" not in str(error) and "a.jpg" in str(error)


def test_the_name_does_not_matter(tmp_path: Path, picture: np.ndarray) -> None:
    for kind in ("PNG", "BMP", "TIFF"):
        Image.fromarray(picture).save(tmp_path / "photo.xyz", kind)
        assert np.array_equal(read_image(tmp_path / "photo.xyz"), picture)


def test_only_the_orientation_of_odd_metadata_counts(tmp_path: Path, picture: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "makers!"
    data = exif.tobytes()
    # The maker's name claims to be a floating-point number, which Pillow cannot write again.
    odd = data.replace(struct.pack(">HHI", 0x010F, 2, 8), struct.pack(">HHI", 0x010F, 12, 1))
    assert odd != data
    Image.fromarray(np.kron(picture, np.ones((8, 8, 1), np.uint8))).save(tmp_path / "a.jpg", exif=odd, quality=95)
    assert read_image(tmp_path / "a.jpg").shape == (240, 160, 3)


def test_deep_pictures_are_scaled_by_the_range_of_their_type(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 48 * 64).reshape(48, 64)
    for scale in (1.0, 0.1):  # a dark picture stays dark
        expected = np.rint(ramp * scale * 255)
        Image.fromarray((ramp * scale * 65535).astype(np.uint16)).save(tmp_path / "a.png")
        Image.fromarray((ramp * scale * 65535).astype(np.uint16)).save(tmp_path / "b.tif")
        Image.fromarray((ramp * scale).astype(np.float32)).save(tmp_path / "c.tif")
        Image.fromarray((ramp * scale * (2**31 - 1)).astype(np.int32)).save(tmp_path / "d.tif")
        for name in ("a.png", "b.tif", "c.tif", "d.tif"):
            image = read_image(tmp_path / name)
            assert np.abs(image - expected[..., None]).max() <= 1, name
    for value in (np.nan, np.inf, 255.0):
        Image.fromarray(np.where(ramp > 0.5, value, ramp).astype(np.float32)).save(tmp_path / "e.tif")
        with pytest.raises(HandMeshError, match="e.tif: (NaN|pixels up to 255)"):
            read_image(tmp_path / "e.tif")


def test_transparency_is_blended_with_white(tmp_path: Path) -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (30, 20, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    alpha = pixels[..., 3:] / 255
    expected = pixels[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(read_image(tmp_path / "a.png") - expected).max() <= 0.51


def test_a_large_jpeg_is_read_at_half_its_size(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    grey = Image.new("L", (10_000, MAX_PIXELS // 10_000 + 200), 90)
    grey.save(tmp_path / "large.jpg")
    image = read_image(tmp_path / "large.jpg")
    assert image.shape == (2600, 5000, 3) and "read at 5000 x 2600" in caplog.text and (image == 90).all()
    grey.save(tmp_path / "large.jpg", progressive=True)
    with pytest.raises(HandMeshError, match="50 megapixels"):
        read_image(tmp_path / "large.jpg")


def test_a_jpeg_of_thousands_of_scans_is_refused(tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture).save(tmp_path / "a.jpg", progressive=True)
    data = (tmp_path / "a.jpg").read_bytes()
    last = data.rindex(b"\xff\xda")
    (tmp_path / "a.jpg").write_bytes(data[:last] + data[last:-2] * 500 + data[-2:])
    with pytest.raises(HandMeshError, match="scans"):
        read_image(tmp_path / "a.jpg")


def test_heic_needs_its_package(tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 50)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pillow_heif", None)
        with pytest.raises(HandMeshError, match="pip install pillow-heif"):
            read_image(tmp_path / "a.heic")
    heif = pytest.importorskip("pillow_heif")
    with pytest.raises(HandMeshError, match="a.heic"):
        read_image(tmp_path / "a.heic")
    smooth = np.asarray(Image.fromarray(picture[:4, :6]).resize((96, 64), Image.Resampling.BICUBIC))
    heif.from_pillow(Image.fromarray(smooth)).save(tmp_path / "a.heic", quality=95)
    assert np.abs(read_image(tmp_path / "a.heic").astype(int) - smooth).mean() < 6


def test_a_light_map_round_trip_and_its_limits(tmp_path: Path) -> None:
    values = np.random.default_rng(5).random((16, 32, 3)).astype(np.float32) * 50
    cv2.imwrite(str(tmp_path / "a.hdr"), np.ascontiguousarray(values[..., ::-1]))
    np.testing.assert_allclose(read_radiance(tmp_path / "a.hdr"), values, atol=0.3)
    data = (tmp_path / "a.hdr").read_bytes()
    rows = MAX_MAP_PIXELS // 32 + 1
    for wrong in (
        data.replace(b"-Y 16 ", b"-Y %d " % rows),
        data[: len(data) // 3],
        b"#?RADIANCE\n",
        b"",
        png_with_header(9, 9),
    ):
        (tmp_path / "b.hdr").write_bytes(wrong)
        with pytest.raises(HandMeshError, match="b.hdr"):
            read_radiance(tmp_path / "b.hdr")


def test_writing_refuses_unknown_formats_and_leaves_nothing(tmp_path: Path, picture: np.ndarray) -> None:
    for name in ("a.txt", "a"):
        with pytest.raises(HandMeshError, match="jpg"):
            write_image(tmp_path / name, picture)
    with pytest.raises(ValueError, match="uint8"):
        write_image(tmp_path / "a.png", picture.astype(np.float32))
    assert not list(tmp_path.iterdir())


def test_a_folder_lists_its_photos_and_says_what_it_leaves_out(
    tmp_path: Path, picture: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(HandMeshError, match="got none"):
        list_images(tmp_path)
    with pytest.raises(HandMeshError, match="no such folder"):
        list_images(tmp_path / "missing")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(HandMeshError, match="none among 1 files"):
        list_images(tmp_path)
    for name in ("b.png", "a.JPG", ".hidden.png"):
        write_image(tmp_path / name, picture)
    (tmp_path / "a.JPG").rename(tmp_path / "a.jfif")
    (tmp_path / "empty.jpg").write_bytes(b"")  # called a photo: what is wrong with it is said when it is read
    assert [file.name for file in list_images(tmp_path)] == ["a.jfif", "b.png", "empty.jpg"]
    assert "1 of 4 files left out" in caplog.text and "notes.txt" in caplog.text
