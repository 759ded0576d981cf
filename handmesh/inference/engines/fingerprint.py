"""All that decides what a network is converted to, besides its weights and its hand, as one digest."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[2]
#: Packages that take part in a conversion.
_CONVERTERS = ("torch", "timm", "openvino")
#: Code that does: what the graph computes, in which order of joints, and how it is written.
_CODE = (
    "models/*.py", "mano/**/*.py", "geometry/rotation.py", "geometry/rotation_numpy.py", "skeleton.py",
    "inference/engines/cache.py", "inference/engines/onnx_engine.py",
)  # fmt: skip


def conversion_fingerprint() -> str:
    """All that decides what a network is converted to, besides its weights and its hand: code and converters."""
    digest = hashlib.sha256(" ".join(f"{package} {_version(package)}" for package in _CONVERTERS).encode())
    for source in sorted(file for pattern in _CODE for file in _PACKAGE.glob(pattern)):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
