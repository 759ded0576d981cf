"""Text over a picture: drawn in place, inside it, on any size; and a reason instead of a window where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.rendering import window
from handmesh.rendering.hud import KeyHint, draw_hud


@pytest.mark.parametrize("shape", [(480, 640), (1080, 1920), (60, 80), (8, 8)])
def test_text_is_seen_on_black_and_on_white(shape: tuple[int, int]) -> None:
    for level in (0, 255):
        image = np.full((*shape, 3), level, np.uint8)
        draw_hud(image, ["60 fps", "network 5.0 ms"], [KeyHint("m", "mesh", True), KeyHint("q", "quit")])
        if min(shape) >= 60:
            top, bottom = image[: shape[0] // 3], image[-shape[0] // 4 :]
            assert all(int(part.max()) - int(part.min()) > 100 for part in (top, bottom))
    image = np.full((*shape, 3), 200, np.uint8)
    draw_hud(image, [])
    assert (image == 200).all()


def test_no_display_is_a_reason_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window.sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert "DISPLAY" in (window.why_no_window() or "")
    # A display that does not answer: the toolkit ends its own process, not this one.
    monkeypatch.setenv("DISPLAY", ":97")
    assert window.why_no_window()
