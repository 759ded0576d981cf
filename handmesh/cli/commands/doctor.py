"""What is installed, found and missing on this machine, each with the one line that mends it.

Reads and reports only: it opens no camera and no window, fetches and writes nothing.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from handmesh.errors import CommandParser, HandMeshError
from handmesh.io.files import cache_dir
from handmesh.io.runtime.cpu_count import available_cores, threads_in_words
from handmesh.io.runtime.system_libraries import install_line, missing_libraries
from handmesh.io.video.cameras import list_cameras

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_MARKS = {"ok": "ok     ", "missing": "MISSING", "optional": "absent "}
_MIN_FREE_GB = 2.0
_ASSETS = Path(__file__).resolve().parents[2] / "assets"
_MANO_NAMES = ("MANO_RIGHT.npz", "MANO_RIGHT.pkl")


class Finding(NamedTuple):
    """One line of the report. ``status``: "ok", "missing" (the main job cannot run) or "optional" (absent, no harm)."""

    what: str
    status: str
    detail: str
    fix: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the words, look at the machine, print what was found. Returns the exit code."""
    parser = CommandParser(
        prog="handmesh doctor",
        description="what is installed, found and missing on this machine, with the one-line fix for each",
    )
    parser.add_argument("--mano", metavar="FILE", help="also check this MANO file")
    parser.add_argument("--data", metavar="ROOT", help="also check this FreiHAND folder")
    args = parser.parse_args(argv)
    text, code = report(examine(args.mano, args.data))
    print(text)
    return code


def examine(mano: str | None = None, data: str | None = None) -> list[Finding]:
    """Look at everything. ``mano`` and ``data``: a MANO file and a FreiHAND folder the user means to use."""
    return [
        *_python(),
        *_packages(),
        *_libraries(),
        *_devices(),
        *_our_files(),
        _mano(mano),
        _freihand(data),
        _disk(),
    ]


def report(findings: Iterable[Finding]) -> tuple[str, int]:
    """The findings as text, and the exit code: 0 when a picture can become a mesh here, else 1."""
    lines, broken = [], []
    for finding in findings:
        lines.append(f"{_MARKS[finding.status]} {finding.what:<22} {finding.detail}")
        if finding.fix and finding.status != "ok":
            lines.append(f"{'':<30} -> {finding.fix}")
        if finding.status == "missing":
            broken.append(finding.what)
    if broken:
        lines.append(f"The main job cannot run here: {', '.join(broken)}. The lines marked -> say what to do.")
    else:
        lines.append("Ready: pictures, clips and cameras can become hand meshes here.")
    return "\n".join(lines), 1 if broken else 0


def _python() -> list[Finding]:
    have = f"{platform.python_version()} ({sys.executable})"
    if (3, 10) <= sys.version_info[:2] <= (3, 13):
        return [Finding("Python", "ok", have)]
    return [Finding("Python", "missing", have, "make the environment with Python 3.10 to 3.13")]


def _packages() -> list[Finding]:
    """Every requirement in the package's own metadata, so that pyproject.toml stays the only list."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return [Finding("packaging", "missing", "not installed", "pip install packaging")]
    try:
        requirements = importlib.metadata.requires("handmesh") or []
    except importlib.metadata.PackageNotFoundError:
        return [Finding("handmesh", "missing", "not installed, run from its folder", "pip install -e .")]
    found: list[Finding] = []
    extras: dict[str, list[str]] = {}
    for requirement in map(Requirement, requirements):
        name, have = requirement.name, _version(requirement.name)
        extra = re.search(r"extra == ['\"](\w+)['\"]", str(requirement.marker or ""))
        is_for_here = requirement.marker is None or requirement.marker.evaluate({"extra": extra[1] if extra else ""})
        line = f"'{name}{requirement.specifier}'"
        if not is_for_here:
            continue
        if extra:
            if extra[1] != "dev" and have is None:
                extras.setdefault(extra[1], []).append(name)
        elif have is None:
            found.append(Finding(name, "missing", "not installed", f"pip install {line}"))
        elif not _fits(requirement.specifier, have):
            found.append(Finding(name, "missing", f"{have} is not {requirement.specifier}", f"pip install -U {line}"))
        else:
            found.append(Finding(name, "ok", have))
    for extra_name, absent in extras.items():
        detail = f"not installed: {', '.join(absent)}"
        found.append(Finding(f"extra '{extra_name}'", "optional", detail, f"pip install 'handmesh[{extra_name}]'"))
    return found


def _fits(specifier: SpecifierSet, version: str) -> bool:
    """Whether an installed version does; one that is no version, of a private build, is let pass."""
    from packaging.version import InvalidVersion, Version

    try:
        return specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return True


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _libraries() -> list[Finding]:
    missing = missing_libraries()
    if not missing:
        return [Finding("system libraries", "ok", "all that cv2 and open3d load")]
    found = []
    for is_required in (True, False):
        group = [library for library in missing if library.is_required == is_required]
        if group:
            users = ", ".join(sorted({library.needed_by for library in group}))
            detail = f"not found: {', '.join(library.soname for library in group)} (for {users})"
            found.append(
                Finding("system libraries", "missing" if is_required else "optional", detail, install_line(group))
            )
    return found


def _devices() -> list[Finding]:
    found = []
    if not sys.platform.startswith("linux"):
        found.append(Finding("display", "ok", f"{platform.system()} has its own"))
    else:
        display = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")
        no_window = "not needed: without one the demo writes a video file; else set DISPLAY, or use ssh -X"
        found.append(
            Finding("display", "ok", display) if display else Finding("display", "optional", "no window", no_window)
        )
    cameras = list_cameras()
    forbidden = [camera.device for camera in cameras if not camera.is_permitted]
    if forbidden:
        fix = "sudo usermod -aG video $USER, then log in again"
        found.append(Finding("camera", "optional", f"no permission for {', '.join(forbidden)}", fix))
    elif cameras:
        found.append(Finding("camera", "ok", ", ".join(map(str, cameras))))
    else:
        fix = "plug one in, or give a clip: handmesh webcam --source clip.mp4"
        found.append(Finding("camera", "optional", "none found", fix))
    found += [_accelerator(), Finding("threads", "ok", threads_in_words())]
    return found


def _accelerator() -> Finding:
    cores = f"{available_cores()} CPU cores"
    try:
        import torch
    except (ImportError, OSError) as error:
        return Finding("PyTorch", "missing", f"cannot be loaded: {error}", "pip install --force-reinstall torch")
    if torch.cuda.is_available():
        return Finding("GPU", "ok", f"{torch.cuda.get_device_name(0)}; {cores}")
    if torch.backends.mps.is_available():
        return Finding("GPU", "ok", f"Apple MPS; {cores}")
    return Finding("GPU", "optional", f"{cores}", "not needed to run; training real networks wants one")


def _our_files() -> list[Finding]:
    from handmesh.detection.model_files import MEMBERS, is_cached

    found = []
    for name in MEMBERS:
        if is_cached(name):
            found.append(Finding("MediaPipe's models", "ok", str(cache_dir() / name)))
        else:
            about = f"{name} is not there; labelling wants it, and more hands are found with it"
            found.append(Finding("MediaPipe's models", "optional", about, "handmesh fetch"))
    ours = (
        ("open hand", "open_hand.npz"), ("default weights", "default.safetensors"),
        ("hand detector", "default-detector.safetensors"),
    )  # fmt: skip
    for what, name in ours:
        path = _ASSETS / name
        if path.is_file():
            found.append(Finding(what, "ok", f"{name}, {path.stat().st_size / 1e6:.1f} MB"))
        else:
            found.append(Finding(what, "missing", f"{path} is not there", "reinstall handmesh: pip install -e ."))
    return found


def _mano(given: str | None) -> Finding:
    places = [Path(given)] if given else [folder / name for folder in (Path(), cache_dir()) for name in _MANO_NAMES]
    for path in places:
        if path.exists():
            from handmesh.mano.arrays import load_mano

            try:
                arrays = load_mano(path)
            except HandMeshError as error:
                return Finding("MANO", "missing" if given else "optional", str(error), "convert or fetch it again")
            return Finding("MANO", "ok", f"{path}, fingerprint {arrays.fingerprint()}")
    looked = ", ".join(str(path) for path in places)
    fix = "not needed (the open hand stands in); register at https://mano.is.tue.mpg.de, then: --mano MANO_RIGHT.pkl"
    return Finding("MANO", "missing" if given else "optional", f"looked for {looked}", fix)


def _freihand(given: str | None) -> Finding:
    root = Path(given) if given else Path("data/freihand")
    needed = ("training_xyz.json", "training_K.json", "training/rgb")
    absent = [name for name in needed if not (root / name).exists()]
    if not absent:
        return Finding("FreiHAND", "ok", f"{root}; check it with: handmesh check-data {root}")
    fix = "not needed to run; fetch FreiHAND from its owners, or: handmesh synth --out DIR"
    return Finding("FreiHAND", "missing" if given else "optional", f"{root} lacks {', '.join(absent)}", fix)


def _disk() -> Finding:
    place = cache_dir()
    while not place.exists():
        place = place.parent
    free_gb = shutil.disk_usage(place).free / 1e9
    if free_gb >= _MIN_FREE_GB:
        return Finding("disk", "ok", f"{free_gb:.0f} GB free at {place}")
    return Finding("disk", "optional", f"{free_gb:.1f} GB free at {place}", "free some space, or set HANDMESH_HOME")
