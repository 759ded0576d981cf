"""Laws of clips: their own times, the picture that players show, damage passed over, every refusal in one line."""

from __future__ import annotations

import gc
import struct
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.io.video import clip_source
from handmesh.io.video.clip_check import expect_whole
from handmesh.io.video.clip_source import ClipSource, apply_display_matrix
from handmesh.io.video.video_writer import ClipWriter


def make_clip(path: Path, count: int = 8, fps: float = 25, size: tuple[int, int] = (64, 48)) -> Path:
    """Black frames with a red corner above on the left and a green one below on the left."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[:16, :16, 0] = image[-16:, :16, 1] = 255
    with ClipWriter(path, fps) as writer:
        for _ in range(count):
            writer.write(image)
    return path


def matrix_of(a: int, b: int, c: int, d: int) -> tuple[int, ...]:
    one = 1 << 16
    return a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30


def turn(path: Path, matrix: tuple[int, ...]) -> Path:
    """The mp4 with another display matrix in its track's header."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    data[place : place + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)
    return path


SYMMETRIES = [
    (a, b, c, d) for a, b, c, d in product((-1, 0, 1), repeat=4) if abs(a * d - b * c) == 1 and abs(a) + abs(b) == 1
    and abs(c) + abs(d) == 1
]  # fmt: skip


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_a_display_matrix_moves_every_pixel_as_it_says(symmetry: tuple[int, int, int, int]) -> None:
    a, b, c, d = symmetry
    image = np.random.default_rng(0).integers(0, 255, (6, 9, 3), dtype=np.uint8)
    shown = apply_display_matrix(image, matrix_of(a, b, c, d))
    y, x = np.indices(image.shape[:2])
    u, v = a * x + c * y, b * x + d * y
    np.testing.assert_array_equal(shown[v - v.min(), u - u.min()], image)
    assert len(SYMMETRIES) == 8


@pytest.mark.parametrize(
    ("matrix", "red", "green"),
    [
        ((1, 0, 0, 1), (0, 0), (-1, 0)),
        # A phone held upright: a quarter turn clockwise.
        ((0, 1, -1, 0), (0, -1), (0, 0)),
        # A front camera: mirrored, upright.
        ((-1, 0, 0, 1), (0, -1), (-1, -1)),
        ((-1, 0, 0, -1), (-1, -1), (0, -1)),
    ],
)
def test_a_clip_is_seen_as_players_show_it(
    matrix: tuple[int, int, int, int], red: tuple[int, int], green: tuple[int, int], tmp_path: Path
) -> None:
    (frame, *_) = ClipSource(turn(make_clip(tmp_path / "a.mp4"), matrix_of(*matrix)))
    assert frame.image.shape[:2] == ((64, 48) if matrix[0] == 0 else (48, 64)) and frame.image.flags.c_contiguous
    inside = [tuple(4 if place == 0 else -5 for place in corner) for corner in (red, green)]
    assert frame.image[inside[0]].argmax() == 0 and frame.image[inside[0]].max() > 150
    assert frame.image[inside[1]].argmax() == 1 and frame.image[inside[1]].max() > 150


def test_oblong_pixels_are_shown_square(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    (frame,) = ClipSource(tmp_path / "a.mkv")
    assert frame.image.shape == (48, 85, 3)


@pytest.mark.parametrize("suffix", [".webm", ".mp4"])
def test_the_rate_comes_from_the_times_not_from_the_header(suffix: str, tmp_path: Path) -> None:
    """A browser's recording says 1000 frames a second."""
    with ClipWriter(tmp_path / f"a{suffix}", 1000) as writer:
        for index in range(40):
            writer.write(np.full((48, 64, 3), 5 * index, np.uint8), index / 24)
    clip = ClipSource(tmp_path / f"a{suffix}")
    assert clip.fps == pytest.approx(24, rel=0.01) and abs(clip.frame_count - 40) <= 1
    assert clip.duration_s == pytest.approx(40 / 24, abs=0.05)
    np.testing.assert_allclose([frame.timestamp_s for frame in clip], np.arange(40) / 24, atol=1e-3)


def test_a_clip_of_one_frame_that_begins_late_keeps_its_time(tmp_path: Path) -> None:
    with ClipWriter(tmp_path / "a.mkv", 25) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8), 5.0)
    clip = ClipSource(tmp_path / "a.mkv")
    assert [frame.timestamp_s for frame in clip] == [5.0] and clip.fps > 0


@pytest.mark.parametrize("name", ["rtsp:hand.mp4", "concat:a.mp4", "100%d.mp4", "-i.mp4", "ä b'\"|.mp4"])
def test_any_name_is_a_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip(Path(name))
    assert len(list(ClipSource(name))) == 8


def test_damage_is_passed_over_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    noise = np.random.default_rng(0)
    with ClipWriter(tmp_path / "a.mp4", 25) as writer:
        for _ in range(20):
            writer.write(noise.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    start = data.index(b"mdat") + 4
    data[start + 8000 : start + 30000] = bytes(22000)
    (tmp_path / "a.mp4").write_bytes(data)
    frames = list(ClipSource(tmp_path / "a.mp4"))
    assert 0 < len(frames) <= 20 and "passed over" in caplog.text


def test_what_cannot_be_shown_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(tmp_path / "a.mp4").read_bytes()
    (tmp_path / "text.mp4").write_text("no clip" * 100)
    (tmp_path / "unknown.mp4").write_bytes(clip.replace(b"avc1", b"evc1"))
    with av.open(str(tmp_path / "sound.m4a"), "w") as container:
        audio = container.add_stream("aac", rate=48000)
        samples = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        samples.sample_rate = 48000
        container.mux(audio.encode(samples))
        container.mux(audio.encode(None))
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    for name, reason in (
        ("text.mp4", "no video that FFmpeg can read"), ("unknown.mp4", "cannot decode EVC"),
        ("sound.m4a", "no moving picture"), ("list.m3u8", "FFmpeg|no moving picture|no frame"),
    ):  # fmt: skip
        with pytest.raises(HandMeshError, match=f"(?s){name}.*({reason})"):
            ClipSource(tmp_path / name)
    monkeypatch.setattr(clip_source, "MAX_PIXELS", 1000)
    with pytest.raises(HandMeshError, match="64 x 48 pixels"):
        ClipSource(tmp_path / "a.mp4")


@pytest.mark.parametrize(("mark", "name"), [(b"av01", "AV1"), (b"hvc1", "HEVC"), (b"V_AV1", "AV1"), (b"", "its codec")])
def test_a_codec_is_named_by_the_mark_in_the_header(mark: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(bytes(3_000_000) + mark + bytes(100))
    assert clip_source._codec_name(tmp_path / "a.mp4").startswith(name)


def test_av1_is_decoded_where_ffmpeg_can(tmp_path: Path) -> None:
    if not {"libsvtav1", "libdav1d"} <= av.codec.codecs_available:
        pytest.skip("this FFmpeg has no AV1")
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libsvtav1", rate=25, options={"preset": "12"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    (frame,) = ClipSource(tmp_path / "a.mp4")
    assert abs(float(frame.image.mean()) - 90) < 6


def test_a_reading_that_ended_leaves_no_decoder(tmp_path: Path) -> None:
    source = ClipSource(make_clip(tmp_path / "a.mp4"))

    def left() -> int:
        return sum(str(type(each).__module__).startswith("av.") for each in gc.get_objects())

    gc.disable()  # what the collector would find by chance sooner or later
    try:
        counts = []
        for _ in range(4):
            assert sum(1 for _ in source) == 8
            counts.append(left())
    finally:
        gc.enable()
    assert counts[-1] <= counts[0]


def test_names_inside_a_clip_may_be_of_any_encoding(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "latin.mp4")
    data = path.read_bytes()
    assert b"Lavf" in data
    path.write_bytes(data.replace(b"Lavf", b"\xe9\xff\x80f"))
    with pytest.raises(UnicodeDecodeError), av.open(str(path)) as container:
        _ = container.metadata
    assert len(list(ClipSource(path))) == 8
    expect_whole(path, path, 8)
    with clip_source.open_container(path) as container:
        assert "f" in container.metadata["encoder"]
