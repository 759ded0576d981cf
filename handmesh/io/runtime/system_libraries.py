"""Which shared libraries of the operating system the Python packages here load, and who sells them.

Read off the wheels with ``readelf -d`` (opencv-python 5.0.0.93, open3d 0.20.0).
"""

from __future__ import annotations

import ctypes
import sys
from typing import NamedTuple


class SystemLibrary(NamedTuple):
    """One shared library: its file name for the loader, the Debian package that holds it, and who needs it."""

    soname: str
    debian_package: str
    needed_by: str
    is_required: bool
    """Without it ``import cv2`` fails and nothing runs; the others cost only a window or the 3D viewer."""


SYSTEM_LIBRARIES = (
    SystemLibrary("libGL.so.1", "libgl1", "cv2, open3d", True),
    SystemLibrary("libgthread-2.0.so.0", "libglib2.0-0", "cv2", True),
    SystemLibrary("libxcb.so.1", "libxcb1", "cv2", True),
    SystemLibrary("libSM.so.6", "libsm6", "cv2 window", False),
    SystemLibrary("libICE.so.6", "libice6", "cv2 window", False),
    SystemLibrary("libXext.so.6", "libxext6", "cv2 window", False),
    SystemLibrary("libX11.so.6", "libx11-6", "cv2 window, open3d", False),
    SystemLibrary("libEGL.so.1", "libegl1", "open3d", False),
    SystemLibrary("libusb-1.0.so.0", "libusb-1.0-0", "open3d", False),
    SystemLibrary("libudev.so.1", "libudev1", "open3d", False),
    SystemLibrary("libidn2.so.0", "libidn2-0", "open3d", False),
)


def is_loadable(soname: str) -> bool:
    """True when the dynamic loader finds the library."""
    try:
        ctypes.CDLL(soname)
    except OSError:
        return False
    return True


def missing_libraries() -> list[SystemLibrary]:
    """The libraries that this machine lacks. Empty off Linux, where the wheels bring their own."""
    if not sys.platform.startswith("linux"):
        return []
    return [library for library in SYSTEM_LIBRARIES if not is_loadable(library.soname)]


def install_line(missing: list[SystemLibrary]) -> str:
    """The command that installs ``missing`` on Debian and Ubuntu."""
    return "sudo apt-get install -y " + " ".join(sorted({library.debian_package for library in missing}))


def main() -> int:
    """Print the missing Debian packages on one line; exit 0 none, 3 some, 4 some without which nothing runs."""
    missing = missing_libraries()
    if not missing:
        return 0
    sys.stdout.write(" ".join(sorted({library.debian_package for library in missing})) + "\n")
    return 4 if any(library.is_required for library in missing) else 3


if __name__ == "__main__":
    sys.exit(main())
