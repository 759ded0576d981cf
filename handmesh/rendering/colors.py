"""One colour for each hand: none of skin's hue, a right one blue, a left one green, the same for as long as in view."""

from __future__ import annotations

from collections.abc import Sequence

from handmesh.results import Hand

Color = tuple[int, int, int]

#: RGB 0..255 by side. Skin lies between red and yellow; these do not. The first two differ in lightness as well as in
#: hue, so that the colour-blind tell them apart too.
RIGHT_COLORS: tuple[Color, ...] = ((72, 146, 255), (150, 110, 255), (40, 205, 225), (60, 90, 230))
LEFT_COLORS: tuple[Color, ...] = ((104, 212, 92), (255, 90, 215), (40, 220, 150), (190, 60, 190))


def hand_colors(hands: Sequence[Hand]) -> list[Color]:
    """A colour for each hand of one picture: hands on one side take that side's colours in their order."""
    colors, counts = [], [0, 0]
    for hand in hands:
        palette = RIGHT_COLORS if hand.is_right else LEFT_COLORS
        colors.append(palette[counts[hand.is_right] % len(palette)])
        counts[hand.is_right] += 1
    return colors


class TrackColors:
    """Colours for the hands of following frames: a track keeps its own for as long as it is in view."""

    def __init__(self) -> None:
        self._slots: dict[tuple[int, bool], int] = {}

    def __call__(self, hands: Sequence[Hand], ids: Sequence[int]) -> list[Color]:
        """A colour for each hand of this frame.

        Args:
            hands: the frame's hands.
            ids: the track of each.

        Returns:
            RGB 0..255 for each; the least colour of its side that no other hand in view has, for a new track.
        """
        keys = [(number, bool(hand.is_right)) for number, hand in zip(ids, hands, strict=True)]
        self._slots = {key: slot for key, slot in self._slots.items() if key in keys}
        colors = []
        for key in keys:
            if key not in self._slots:
                taken = {slot for other, slot in self._slots.items() if other[1] == key[1]}
                self._slots[key] = next(slot for slot in range(len(keys) + 1) if slot not in taken)
            palette = RIGHT_COLORS if key[1] else LEFT_COLORS
            colors.append(palette[self._slots[key] % len(palette)])
        return colors
