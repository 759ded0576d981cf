"""A window on the screen, or a reason why there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from handmesh.io.runtime.system_libraries import install_line, missing_libraries

_PROBE = "import cv2; cv2.namedWindow('probe'); cv2.waitKey(1); cv2.destroyAllWindows()"
_PROBE_TIMEOUT_S = 60
#: A new window is at most this long; the user may make it larger.
_LARGEST_PX = 1280


def why_no_window() -> str | None:
    """None when a window can be opened here; otherwise the reason and the remedy, in one line.

    A toolkit that finds no display ends the whole process, so it is tried in another one.
    """
    if sys.platform.startswith("linux"):
        if not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
            return "there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set)"
        missing = [library for library in missing_libraries() if "cv2" in library.needed_by]
        if missing:
            names = ", ".join(library.soname for library in missing)
            return f"{names} is missing; install it with: {install_line(missing)}"
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, timeout=_PROBE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no window can be opened ({type(error).__name__})"
    if done.returncode == 0:
        return None
    lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
    return f"no window can be opened here ({lines[-1][:120]}); handmesh doctor names what is missing"


class Window:
    """One window; use as a context manager."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._is_sized = False

    def __enter__(self) -> Window:
        # The toolkit in OpenCV's wheel warns of fonts that it does not need here.
        os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
        cv2.namedWindow(self.title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        return self

    def show(self, image: NDArray[np.uint8], wait_ms: int = 1) -> str:
        """Show RGB (H, W, 3) uint8 and wait at most ``wait_ms`` for a key; "" for none, "q" when it was closed."""
        if not self._is_sized:
            scale = min(1.0, _LARGEST_PX / max(image.shape[:2]))
            cv2.resizeWindow(self.title, round(image.shape[1] * scale), round(image.shape[0] * scale))
            self._is_sized = True
        cv2.imshow(self.title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        return self.poll(wait_ms)

    def poll(self, wait_ms: int = 1) -> str:
        """Let the window live for so long without a new picture: the key pressed meanwhile, as of :meth:`show`."""
        key = cv2.waitKey(max(1, wait_ms))
        if cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) < 1:
            return "q"
        return chr(key & 0xFF).lower() if key >= 0 else ""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cv2.destroyAllWindows()
