"""What scripts/fuzz.py feeds to every reader of files: whole files as the tests make them, and how they are changed."""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from handmesh.errors import HandMeshError  # noqa: E402

Read = Callable[[Path], object]


class Kind(NamedTuple):
    """What is fuzzed: whole files by name, how they are changed, and what reads them."""

    seeds: Callable[[], dict[str, bytes]]
    change: Callable[[random.Random, str, bytes], bytes]
    read: Read


# How whole files are changed

_BYTES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
_WORDS = (
    "0", "-1", "1e300", "-1e300", "1e999", ".inf", ".nan", "NaN", "null", "true", "''", "[]", "{}", "[[", "]]", "~",
    "99999999999999999999999", "4294967296", "0.5", "x" * 300, "\\u0000", "&a", "*a", "!!python/name:os.system", "${a}",
)  # fmt: skip


def change_bytes(rng: random.Random, _: str, data: bytes) -> bytes:
    """Bits, bytes, lengths and slices."""
    changed = bytearray(data)
    for _change in range(rng.choice((1, 1, 2, 4, 12))):
        at = rng.randrange(len(changed) + 1)
        # Most of what decides is at a file's beginning.
        at = min(at, rng.randrange(200)) if rng.random() < 0.5 else at
        kind = rng.randrange(7)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(changed):
            changed[at] = rng.choice(_BYTES)
        elif kind == 2:
            changed[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"\0\0\0\0"))
        elif kind == 3:
            del changed[at : at + rng.randrange(1, 40)]
        elif kind == 4:
            changed[at:at] = changed[at : at + rng.randrange(1, 200)] * rng.choice((1, 2, 50))
        elif kind == 5:
            changed[at:at] = rng.randbytes(rng.randrange(1, 16))
        elif rng.random() < 0.3:
            del changed[at:]
    return bytes(changed)


def change_text(rng: random.Random, name: str, data: bytes) -> bytes:
    """Numbers, words, brackets and lines; sometimes bytes."""
    if rng.random() < 0.2:
        return change_bytes(rng, name, data)
    text = data.decode("utf-8", "replace")
    for _ in range(rng.choice((1, 1, 2, 3))):
        tokens = [match.span() for match in re.finditer(r"[\w.+-]+|[\[\]{},:]|\n", text)]
        if not tokens:
            break
        start, end = rng.choice(tokens)
        kind = rng.randrange(5)
        if kind == 0:
            text = text[:start] + rng.choice(_WORDS) + text[end:]
        elif kind == 1:
            text = text[:start] + text[end:]
        elif kind == 2:
            text = text[:end] + text[start:end] * rng.choice((1, 3, 2000)) + text[end:]
        elif kind == 3:
            other = rng.choice(tokens)
            text = text[:start] + text[slice(*other)] + text[end:]
        else:
            text = text[:start] + rng.choice("[]{},:-\"'#&*!%") + text[start:]
    return text.encode("utf-8", "replace")


def change_npz(rng: random.Random, name: str, data: bytes) -> bytes:
    """One member's header or bytes, the archive rebuilt around it; sometimes the archive itself."""
    if rng.random() < 0.3:
        return change_bytes(rng, name, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {member.filename: archive.read(member) for member in archive.infolist()}
    chosen = rng.choice(list(members))
    content = members[chosen]
    if rng.random() < 0.5:
        head, body = content[:10], content[10:]
        length = int.from_bytes(head[8:10], "little")
        header = change_text(rng, name, body[:length])
        content = head[:8] + (len(header) % 65536).to_bytes(2, "little") + header + body[length:]
    elif rng.random() < 0.5:
        values = rng.choice((np.array(3), np.zeros((2, 3)), np.full(5, np.nan), np.array("a\x1b[2J"), np.zeros((0, 9))))
        buffer = io.BytesIO()
        np.save(buffer, values)
        content = buffer.getvalue()
    else:
        content = change_bytes(rng, name, content)
    members[chosen] = content
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return buffer.getvalue()


def change_checkpoint(rng: random.Random, name: str, data: bytes) -> bytes:
    """The description or the table of arrays in the header, its length corrected; sometimes any byte."""
    if rng.random() < 0.2:
        return change_bytes(rng, name, data)
    length = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    if rng.random() < 0.6:
        text = header["__metadata__"]["handmesh"]
        header["__metadata__"]["handmesh"] = change_text(rng, name, text.encode()).decode("utf-8", "replace")
        raw = json.dumps(header).encode()
    elif rng.random() < 0.5:
        raw = change_text(rng, name, json.dumps(header).encode())
    else:
        raw = json.dumps(header).encode()
        at = rng.randrange(len(body) // 4) * 4
        body[at : at + 4] = struct.pack("<f", rng.choice((np.nan, np.inf, 1e38, -1e38)))
    return struct.pack("<Q", len(raw)) + raw + bytes(body)


# Whole files


def _encoded(write: Callable[[Path], object], suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"whole{suffix}"
        write(path)
        return path.read_bytes()


def _tests_module(name: str) -> Any:
    import importlib.util

    path = ROOT / "tests" / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def pickles() -> dict[str, bytes]:
    """A MANO file's objects with few numbers in them, as Python 2 and as Python 3 write them."""
    from scipy.sparse import csc_matrix

    maker = _tests_module("mano/test_pickle_reader.py")
    rng = np.random.default_rng(0)
    content = {
        "v_template": rng.normal(size=(4, 3)), "shapedirs": maker.Select(rng.normal(size=(4, 3, 5)), 2),
        "posedirs": np.asfortranarray(rng.normal(size=(4, 3, 2))), "J_regressor": csc_matrix(np.eye(3, 4)),
        "kintree_table": np.arange(6).reshape(2, 3), "J": maker.Ch(rng.normal(size=(2, 3))), "bs_style": "lbs",
    }  # fmt: skip
    return {"python2.pkl": maker.python_2_bytes(content), "python3.pkl": maker.python_3_bytes(content)}


def hands() -> dict[str, bytes]:
    """The tests' fake hand."""
    mano = _tests_module("conftest.py").make_fake_mano()
    return {"hand.npz": _encoded(mano.save_npz, ".npz")}


def checkpoints() -> dict[str, bytes]:
    """An untrained network for the open hand."""
    from handmesh.config import Config, ModelConfig
    from handmesh.mano.arrays import load_mano
    from handmesh.models.checkpoint import save_checkpoint
    from handmesh.models.hand_mesh_net import HandMeshNet

    config = Config(model=ModelConfig(image_size=64, width=16))
    net = HandMeshNet(config.model, load_mano("open"))
    return {"a.safetensors": _encoded(lambda path: save_checkpoint(path, net, config, half=True), ".safetensors")}


def arrays() -> dict[str, bytes]:
    """Lists of points, plain and wrapped, and a file of predictions."""
    points = np.random.default_rng(0).normal(size=(5, 3)).round(3)
    whole = [np.zeros((2, 21, 3)).tolist(), np.zeros((2, 778, 3)).tolist()]
    return {
        "plain.json": json.dumps(points.tolist()).encode(),
        "wrapped.json": json.dumps(points[:, None].tolist(), indent=1).encode(),
        "pred.json": json.dumps(whole).encode(),
    }


def pictures() -> dict[str, bytes]:
    """One picture in every format that is read and in some that are not, and a light map."""
    import cv2
    from PIL import Image, features

    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (20, 28, 4), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    found: dict[str, bytes] = {}
    for kind in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "JPEG2000", "EPS", "ICO", "AVIF"):
        if kind == "AVIF" and not features.check("avif"):
            continue
        buffer = io.BytesIO()
        colour.convert("RGBA" if kind in ("PNG", "TIFF", "WEBP") else "RGB").save(buffer, kind, exif=exif)
        found[f"{kind.lower()}.jpg"] = buffer.getvalue()
    for name, options in (("lzw", {"compression": "tiff_lzw"}), ("deflate", {"compression": "tiff_adobe_deflate"})):
        buffer = io.BytesIO()
        colour.convert("RGB").save(buffer, "TIFF", **options)
        found[f"{name}.tif"] = buffer.getvalue()
    buffer = io.BytesIO()
    colour.convert("RGB").save(buffer, "JPEG", progressive=True)
    found["progressive.jpg"] = buffer.getvalue()
    deep = (rng.random((20, 28)) * 65535).astype(np.uint16)
    for name, picture in (("deep.png", deep), ("float.tif", (deep / 65535).astype(np.float32))):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG" if name.endswith("png") else "TIFF")
        found[name] = buffer.getvalue()
    light = (rng.random((8, 16, 3)) * 9).astype(np.float32)
    found["light.hdr"] = cv2.imencode(".hdr", light)[1].tobytes()
    return found


def clips() -> dict[str, bytes]:
    """A few frames in the containers that are written everywhere."""
    import cv2

    frames = np.random.default_rng(0).integers(0, 256, (6, 48, 64, 3), dtype=np.uint8)

    def write(path: Path) -> None:
        codec = {".mp4": "mp4v", ".avi": "MJPG", ".mkv": "mp4v"}[path.suffix]
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, (64, 48))
        for frame in frames:
            writer.write(frame)
        writer.release()

    return {f"clip{suffix}": _encoded(write, suffix) for suffix in (".mp4", ".avi", ".mkv")}


def configs() -> dict[str, bytes]:
    """The configs of this project."""
    return {path.name: path.read_bytes() for path in sorted((ROOT / "configs").rglob("*.yaml"))}


def calibrations() -> dict[str, bytes]:
    """OpenCV's three formats, ROS's file, and JSON with coefficients by name."""
    import cv2

    maker = _tests_module("io/test_calibration_files.py")

    def write(path: Path) -> None:
        storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
        for name, value in (("image_width", 640), ("image_height", 480), ("camera_matrix", maker.K)):
            storage.write(name, value)
        storage.write("distortion_coefficients", np.array([maker.BARREL]))
        storage.release()

    found = {f"opencv{suffix}": _encoded(write, suffix) for suffix in (".yaml", ".xml", ".json")}
    fisheye = {"model": "fisheye", **maker.BY_NAME, "k4": 0.001}
    return {
        **found, "ros.yaml": maker.ROS_FILE.encode(), "message.yaml": maker.ROS_MESSAGE.encode(),
        "by_name.json": json.dumps(maker.BY_NAME).encode(), "fisheye.json": json.dumps(fisheye).encode(),
    }  # fmt: skip


# What reads them


def read_pickle(path: Path) -> object:
    from handmesh.mano.pickle_reader import read_mano_pickle

    return read_mano_pickle(path)


def read_hand(path: Path) -> object:
    from handmesh.mano.arrays import load_mano

    return load_mano(path)


@lru_cache(maxsize=1)
def _open_hand() -> Any:
    from handmesh.mano.arrays import load_mano

    return load_mano("open")


def read_checkpoint(path: Path) -> object:
    from handmesh.models.checkpoint import load_checkpoint

    return load_checkpoint(path, _open_hand())


def read_arrays(path: Path) -> object:
    from handmesh.data.json_arrays import read_json_array
    from handmesh.evaluation.submission import read_predictions

    return read_predictions(path) if path.name.startswith("pred") else read_json_array(path, (3,))


def read_picture(path: Path) -> object:
    """Both decoders: Pillow's and, for data sets, OpenCV's."""
    from handmesh.data import freihand
    from handmesh.io.images import read_image
    from handmesh.io.radiance import read_radiance

    if path.suffix == ".hdr":
        return read_radiance(path)
    with contextlib.suppress(HandMeshError):
        freihand.read_picture(path)
    return read_image(path)


def read_clip(path: Path) -> object:
    from handmesh.io.video.sources import ClipSource

    source = ClipSource(path)
    for number, _ in enumerate(source):
        if number == 200:
            break
    source.close()
    return None


def read_config(path: Path) -> object:
    from handmesh.config import load_config

    return load_config(path)


def read_calibration(path: Path) -> object:
    """Read, and used on a picture."""
    from handmesh.io.calibration import CameraCalibration

    camera = CameraCalibration.load(path)
    width, height = camera.size or (64, 48)
    scale = max(1, max(width, height) // 64)
    with contextlib.suppress(HandMeshError):
        camera.undistort(np.zeros((max(1, height // scale), max(1, width // scale), 3), np.uint8))
    return None


KINDS = {
    "pickle": Kind(pickles, change_bytes, read_pickle),
    "json": Kind(arrays, change_text, read_arrays),
    "yaml": Kind(configs, change_text, read_config),
    "calibration": Kind(calibrations, change_text, read_calibration),
    "image": Kind(pictures, change_bytes, read_picture),
    "npz": Kind(hands, change_npz, read_hand),
    "checkpoint": Kind(checkpoints, change_checkpoint, read_checkpoint),
    "clip": Kind(clips, change_bytes, read_clip),
}


def inputs(kind: Kind, seed: int, first: int, count: int) -> Iterator[tuple[int, str, bytes]]:
    """Input number, name and bytes; input n is a function of (seed, n)."""
    seeds = kind.seeds()
    names = sorted(seeds)
    for number in range(first, first + count):
        rng = random.Random(f"{seed} {number}")
        name = rng.choice(names)
        yield number, name, kind.change(rng, name, seeds[name])
