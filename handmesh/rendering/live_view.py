"""What is drawn on a running picture, and the keys that change it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handmesh.rendering.colors import TrackColors
from handmesh.rendering.hud import KeyHint, draw_hud
from handmesh.rendering.labels import draw_labels
from handmesh.rendering.overlay import draw_hands
from handmesh.rendering.side_view import draw_side_view
from handmesh.results import Hand


@dataclass
class LiveView:
    """The switches of a view and its two pictures: the bare one for files, the annotated one for the window.

    Attributes:
        mesh: the surface is drawn, ``opacity`` opaque (0..1).
        outline: a line around each hand.
        joints: the skeleton.
        is_mirrored: everything but text is shown as in a mirror.
        hud_in_files: files get the annotated picture too.
        labels: side, score and track at each hand, in the annotated picture.
        side: the hands from the side, in the annotated picture.
        stages: milliseconds of each stage under the one line of the annotated picture.
        smoothing, views: whether hands are to be filtered, and seen in several views a frame; the view only shows it.
        is_paused, is_over, wants_picture: what the user asked for last.
    """

    opacity: float = 0.85
    outline: bool = False
    is_mirrored: bool = False
    hud_in_files: bool = False
    mesh: bool = True
    joints: bool = False
    labels: bool = True
    side: bool = False
    stages: bool = False
    smoothing: bool = True
    views: bool = False
    is_paused: bool = False
    is_over: bool = False
    wants_picture: bool = False

    def __post_init__(self) -> None:
        self._track_colors = TrackColors()

    def press(self, key: str) -> None:
        """Take in a key; "" is none."""
        self.mesh ^= key == "m"
        self.outline ^= key == "o"
        self.joints ^= key == "j"
        self.labels ^= key == "l"
        self.side ^= key == "v"
        self.is_mirrored ^= key == "r"
        self.smoothing ^= key == "f"
        self.views ^= key == "w"
        self.stages ^= key == "t"
        self.is_paused ^= key in (" ", "p")
        self.is_over |= key in ("q", "\x1b")
        self.wants_picture = key == "s"

    def keys(self) -> list[KeyHint]:
        """The keys and the state of each switch."""
        switches = (
            ("m", "mesh", self.mesh), ("o", "outline", self.outline), ("j", "joints", self.joints),
            ("l", "labels", self.labels), ("v", "side view", self.side), ("r", "mirror", self.is_mirrored),
            ("f", "smoothing", self.smoothing), ("w", "views", self.views), ("t", "timings", self.stages),
            ("space", "pause", self.is_paused),
        )  # fmt: skip
        return [*(KeyHint(*switch) for switch in switches), KeyHint("s", "save"), KeyHint("q", "quit")]

    def draw(self, image: NDArray[np.uint8], hands: Sequence[Hand], ids: Sequence[int]) -> NDArray[np.uint8]:
        """The hands over their picture and nothing else: what files get.

        Args:
            image: (H, W, 3) uint8 RGB.
            hands: in it.
            ids: the track of each.

        Returns:
            A new image, mirrored if the view is.
        """
        picture = draw_hands(
            image, hands, mesh=self.mesh, joints=self.joints, alpha=self.opacity, outline=self.outline,
            colors=self._track_colors(hands, ids),
        )  # fmt: skip
        return np.asarray(cv2.flip(picture, 1)) if self.is_mirrored else picture

    def annotate(
        self,
        drawn: NDArray[np.uint8],
        hands: Sequence[Hand],
        ids: Sequence[int],
        lines: Sequence[str] = (),
        has_keys: bool = False,
    ) -> NDArray[np.uint8]:
        """What :meth:`draw` gave with labels, side view and text.

        Args:
            drawn: what :meth:`draw` gave; it stays as it is.
            hands: the same as there.
            ids: the same as there.
            lines: about speed; the first always shows, the others where ``stages`` is on.
            has_keys: whether keys work, and are shown.

        Returns:
            A new image.
        """
        picture = drawn.copy()
        colors = self._track_colors(hands, ids)
        if self.labels:
            draw_labels(picture, hands, ids, colors, self.is_mirrored)
        if self.side:
            draw_side_view(picture, hands, colors)
        draw_hud(picture, lines if self.stages else lines[:1], self.keys() if has_keys else ())
        return picture
