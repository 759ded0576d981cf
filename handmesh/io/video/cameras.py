"""The cameras of this machine by number and name, found without opening one."""

from __future__ import annotations

import os
import re
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

_SYSTEM = Path("/sys/class/video4linux")
_DEVICES = Path("/dev")
#: V4L2's VIDIOC_QUERYCAP, _IOR('V', 0, struct v4l2_capability of 104 bytes), and the flags of devices that give video.
_QUERY_CAPABILITIES, _CAPABILITY_BYTES = 0x80685600, 104
_CAPTURES = 0x1 | 0x1000


@dataclass(frozen=True)
class Camera:
    """A camera: its number for ``--source``, its name as the system has it, its device file ("" where it has none)."""

    number: int
    name: str
    device: str = ""
    is_permitted: bool = True

    def __str__(self) -> str:
        return f"{self.number} ({self.name})"


def list_cameras() -> list[Camera]:
    """The cameras of this machine by rising number; [] for none, and where the system cannot be asked."""
    if sys.platform.startswith("linux"):
        return _linux_cameras()
    return _other_cameras()


def _linux_cameras() -> list[Camera]:
    found = []
    try:
        folders = list(_SYSTEM.iterdir())
    except OSError:
        return []
    for folder in folders:
        match = re.fullmatch(r"video(\d+)", folder.name)
        device = _DEVICES / folder.name
        # A container sees the host's list, but only the devices that it was given.
        if match is None or not device.exists():
            continue
        is_permitted = os.access(device, os.R_OK | os.W_OK)
        if is_permitted and not _gives_video(device):
            continue
        try:
            name = (folder / "name").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            name = ""
        found.append(Camera(int(match[1]), _printable(name) or "unnamed", str(device), is_permitted))
    return sorted(found, key=lambda camera: camera.number)


def _gives_video(device: Path) -> bool:
    """Whether a device gives pictures: a webcam has a second one that gives only metadata, encoders have others."""
    import fcntl

    answer = bytearray(_CAPABILITY_BYTES)
    try:
        handle = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return True  # in use: something takes pictures from it
    try:
        fcntl.ioctl(handle, _QUERY_CAPABILITIES, answer)
    except OSError:
        return False
    finally:
        os.close(handle)
    # driver[16], card[32], bus_info[32], version, capabilities, device_caps
    return bool(struct.unpack_from("=I", answer, 88)[0] & _CAPTURES)


def _other_cameras() -> list[Camera]:
    """macOS and Windows: FFmpeg's list, in the order of which OpenCV numbers them as a rule."""
    try:
        from av.device import enumerate_input_devices

        devices = enumerate_input_devices("avfoundation" if sys.platform == "darwin" else "dshow")
    except (ImportError, OSError, ValueError, RuntimeError):
        return []
    names = [_printable(each.description or each.name) for each in devices if "video" in each.media_types]
    return [Camera(number, name) for number, name in enumerate(names)]


def _printable(name: str) -> str:
    return "".join(letter for letter in name if letter.isprintable())
