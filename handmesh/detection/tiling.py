"""Square windows over a picture, so that hands too small for one pass of the detector are seen larger.

The palm model sees 192 x 192 pixels: in a whole-picture pass a palm of 5 % of the picture is 10 pixels wide and lost.
"""

from __future__ import annotations

from typing import NamedTuple

#: A still is searched whole and wide, then in windows of half and of a third of its longer side.
STILL_DIVISORS = (2, 3)
#: Parts smaller than this many pixels would only be blown up: there is nothing more to see in them.
MIN_SIDE = 128
#: The palm model was made for hands smaller than the picture: a hand that fills it is found with this much around it.
WIDE = 1.5


class Window(NamedTuple):
    """A square part of the picture: its top-left corner and side in pixels; it may reach past the picture's edge."""

    x: int
    y: int
    side: int


def whole_window(width: int, height: int) -> Window:
    """The letterboxed whole picture: the square around it, centred."""
    side = max(width, height)
    return Window((width - side) // 2, (height - side) // 2, side)


def wide_window(width: int, height: int) -> Window:
    """The whole picture with empty space around it."""
    side = round(WIDE * max(width, height))
    return Window((width - side) // 2, (height - side) // 2, side)


def tile_windows(width: int, height: int, divisor: int, overlap: float = 0.5) -> list[Window]:
    """Windows that cover a picture. Where it is narrower than a window, the window is centred across it.

    Args:
        width, height: of the picture, pixels.
        divisor: a window's side is the picture's longer side divided by this.
        overlap: share of its side that a window has in common with its neighbour, at least.
    """
    if divisor <= 1:
        return [whole_window(width, height)]
    side = max(1, -(-max(width, height) // divisor))
    return [Window(x, y, side) for y in _starts(height, side, overlap) for x in _starts(width, side, overlap)]


def still_windows(width: int, height: int, divisors: tuple[int, ...] = STILL_DIVISORS) -> list[Window]:
    """Every window in which a still is searched: whole, wide, then ever smaller ones.

    Args:
        width, height: of the picture, pixels.
        divisors: of the smaller ones; those whose windows would be smaller than MIN_SIDE are left out.
    """
    useful = [divisor for divisor in divisors if divisor > 1 and max(width, height) / divisor >= MIN_SIDE]
    tiles = [window for divisor in useful for window in tile_windows(width, height, divisor)]
    return [whole_window(width, height), wide_window(width, height), *tiles]


def search_rounds(width: int, height: int, tiles_per_round: int = 2) -> list[list[Window]]:
    """A still's windows spread over the frames of a clip: the whole picture and a few of the others in turn.

    Args:
        width, height: of a frame, pixels.
        tiles_per_round: windows of a frame in which the whole picture is not searched.

    Returns:
        Windows of one frame each. Going round the list, the whole picture is searched every second frame and every
        window in time.
    """
    whole, *tiles = still_windows(width, height)
    groups = [tiles[i : i + tiles_per_round] for i in range(0, len(tiles), tiles_per_round)]
    return [windows for group in groups for windows in ([whole], group)]


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Evenly spread starts of intervals of `side` that cover `length`."""
    if side >= length:
        return [(length - side) // 2]
    steps = -(-(length - side) // max(1, int(side * (1.0 - overlap))))
    return [round(i * (length - side) / steps) for i in range(steps + 1)]
