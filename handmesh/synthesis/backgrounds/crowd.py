"""Puts people, and what only has the colour of skin, behind the hand.

People are drawn once per pool and stand in every picture anew: other place, size, side, light, focus. Pictures are (S,
S, 3) uint8 RGB.
"""

from __future__ import annotations

import cv2
import numpy as np

from handmesh.io.runtime.kernels import njit
from handmesh.synthesis.appearance.skin import sample_tone
from handmesh.synthesis.backgrounds.people import HEAD, HEIGHT, UNIT, WIDTH, draw_person
from handmesh.synthesis.drawing import color_mix, to_srgb

_PEOPLE = 80


@njit(cache=True, nogil=True)
def lay_figure(figure: np.ndarray, picture: np.ndarray) -> None:
    """Lay premultiplied figure (H, W, 4) over picture (H, W, 3), both uint8, in place."""
    for v in range(picture.shape[0]):
        for u in range(picture.shape[1]):
            hidden = np.int32(figure[v, u, 3])
            if hidden == 0:
                continue
            for c in range(3):
                value = np.int32(figure[v, u, c]) + (np.int32(picture[v, u, c]) * (255 - hidden) + 127) // 255
                picture[v, u, c] = np.uint8(min(value, 255))


class PersonPool:
    """Drawn people; each is a function of (seed, its number), made when first asked for."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._drawn: dict[int, np.ndarray] = {}

    def person(self, number: int) -> np.ndarray:
        """The cut-out (HEIGHT, WIDTH, 4) uint8 of one of them."""
        if number not in self._drawn:
            self._drawn[number] = draw_person(np.random.default_rng([self.seed, 13, number]))
        return self._drawn[number]

    def fill(self) -> None:
        """Draw everybody now."""
        for number in range(_PEOPLE):
            self.person(number)

    def place(
        self, picture: np.ndarray, rng: np.random.Generator, heads: tuple[float, float] = (0.3, 1.05)
    ) -> tuple[float, float, float]:
        """Let somebody stand in a picture, by default close and cut off at its edge more often than not.

        Args:
            picture: (S, S, 3) uint8, changed.
            rng: draws who, where and in what light.
            heads: least and largest height of the head, in pictures.

        Returns:
            x and y of the head's centre and the head's height, pixels.
        """
        size = picture.shape[0]
        figure = self.person(int(rng.integers(_PEOPLE)))
        head = float(np.exp(rng.uniform(*np.log(heads))))  # head height, in pictures
        x = float(np.clip(rng.normal(0.5, 0.5), -0.9 * head, 1 + 0.9 * head))
        highest = 1.0 - head * (HEIGHT - HEAD[1] - 4) / UNIT  # the cut-out's lower end stays below the picture
        if rng.random() < 0.55:  # only trunk and perhaps chin
            y = float(rng.uniform(-1.7 * head, -0.3 * head))
        else:
            y = float(rng.uniform(-0.2 * head, 0.6))
        y = max(y, highest)
        turn, scale = np.radians(rng.normal(0, 5)), UNIT / (head * size)
        c, s = np.cos(turn) * scale, np.sin(turn) * scale
        mirror = -1.0 if rng.random() < 0.5 else 1.0
        sigma = float(abs(rng.normal(0, 2.2))) * size / 224 if rng.random() < 0.7 else 0.0
        shrink = 1 if sigma < 1.2 else 2 if sigma < 3 else 4
        warp = np.array([[mirror * c, -mirror * s, 0], [s, c, 0]]) * shrink
        warp[:, 2] = HEAD - warp[:, :2] @ np.array([x, y]) * (size / shrink)
        side = -(-size // shrink)
        if scale * shrink > 1.5:
            figure = cv2.resize(figure, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
            warp = warp * 0.5
            warp[:, 2] -= 0.25
        drawn = cv2.warpAffine(figure, warp, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        if sigma / shrink > 0.3:
            drawn = cv2.GaussianBlur(drawn, (0, 0), sigma / shrink)
        if shrink > 1:
            drawn = cv2.resize(drawn, (size, size), interpolation=cv2.INTER_LINEAR)
        level, vivid = float(np.exp(rng.normal(-0.1, 0.25))), float(rng.uniform(0.6, 1.0))
        mix = np.eye(4)
        mix[:3, :3] = color_mix(level, vivid)
        lay_figure(cv2.transform(drawn, mix), picture)
        return x * size, y * size, head * size


def draw_distractor(picture: np.ndarray, rng: np.random.Generator) -> None:
    """A rounded blob or limb in the colour of skin, in place: what is not a hand but has its colour."""
    size = picture.shape[0]
    tone, _ = sample_tone(rng)
    color = to_srgb(tone * rng.uniform(0.4, 1.3))
    mask = np.zeros((size, size), np.uint8)
    if rng.random() < 0.5:
        a, b = rng.uniform(-0.2, 1.2, (2, 2)) * size
        width = int(rng.uniform(0.06, 0.3) * size)
        cv2.line(mask, tuple(a.astype(int).tolist()), tuple(b.astype(int).tolist()), 255, width, cv2.LINE_AA)
    else:
        centre = tuple((rng.uniform(0, 1, 2) * size).astype(int).tolist())
        axes = tuple((rng.uniform(0.06, 0.35, 2) * size).astype(int).tolist())
        cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1, cv2.LINE_AA)
    lay_figure(rounded(mask, color, rng), picture)


def rounded(mask: np.ndarray, color: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A thing that fills a mask, lit from one side and darker at its rim.

    Args:
        mask: (S, S) uint8.
        color: (3,) or (S, S, 3) camera values, 0..255.
        rng: draws light and softness of the edge.

    Returns:
        (S, S, 4) uint8, premultiplied.
    """
    size = mask.shape[0]
    small = cv2.resize(mask, (size // 2, size // 2), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    inside = np.asarray(cv2.blur(cv2.blur(small, (size // 14 | 1,) * 2), (size // 14 | 1,) * 2), np.float32)
    slope = np.asarray(cv2.Sobel(inside, cv2.CV_32F, 1, 0)) * np.float32(rng.normal(0, 1))
    slope += np.asarray(cv2.Sobel(inside, cv2.CV_32F, 0, 1)) * np.float32(rng.normal(0.6, 0.6))
    light = cv2.resize(np.clip(0.45 + 0.6 * inside + slope, 0.2, 1.3), (size, size), interpolation=cv2.INTER_LINEAR)
    edge = cv2.GaussianBlur(mask, (0, 0), float(rng.uniform(0.5, 3.0)))
    alpha = edge.astype(np.float32) / 255
    shaded = np.clip(light[..., None] * np.asarray(color, np.float32), 0, 255) * alpha[..., None]
    return np.dstack([shaded, edge]).astype(np.uint8)
