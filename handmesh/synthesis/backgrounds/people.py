"""Somebody from the waist up, as a cut-out: shaded head with hair and features, neck, shoulders, clothes with folds.

Lengths are in heights of the head, from its centre: x right, y down; chin at y = 0.5. Colours are linear until the end.
"""

from __future__ import annotations

import copy
from functools import partial

import cv2
import numpy as np

from handmesh.synthesis.appearance.skin import sample_tone
from handmesh.synthesis.appearance.skin_map import smoothstep
from handmesh.synthesis.drawing import any_color, cloth, noise_field, to_srgb

UNIT = 88  # pixels to a head's height
WIDTH, HEIGHT = 256, 384
HEAD = (127.5, 66.0)  # pixel of the head's centre
_FACE = 120  # rows of pixels above the chin and a little more
_X = ((np.arange(WIDTH, dtype=np.float32) - np.float32(HEAD[0])) / np.float32(UNIT))[None]
_Y = ((np.arange(HEIGHT, dtype=np.float32) - np.float32(HEAD[1])) / np.float32(UNIT))[:, None]
#: Outline of the right half of neck, shoulder and hanging arm.
_TORSO = np.array(
    [[0.2, 0.55], [0.30, 0.69], [0.55, 0.80], [0.85, 0.92], [1.02, 1.12], [1.11, 1.5], [1.17, 2.2], [1.2, 5.0]]
)


def _bump(x: float, y: float, a: float, b: float, rows: int = HEIGHT) -> np.ndarray:
    """(rows, WIDTH) Gaussian of height 1 at (x, y), widths a and b."""
    across = np.exp(-(((_X - np.float32(x)) / np.float32(a)) ** 2))
    return across * np.exp(-(((_Y[:rows] - np.float32(y)) / np.float32(b)) ** 2))


def _oval(
    x: float, y: float, a: float | np.ndarray, b: float, power: float = 2.0, rows: int = HEIGHT
) -> np.ndarray:
    """(rows, WIDTH) coverage 0..1 of a superellipse with an edge a pixel wide."""
    down = np.abs((_Y[:rows] - np.float32(y)) / np.float32(b)) ** np.float32(power)
    r = (np.abs((_X - np.float32(x)) / np.float32(a)) ** np.float32(power) + down) ** np.float32(1 / power)
    edge = np.float32(UNIT * min(float(np.min(a)), b))
    return np.clip((1 - r) * edge + 0.5, 0, 1).astype(np.float32)


class _CutOut:
    """color (HEIGHT, WIDTH, 3) linear and alpha (HEIGHT, WIDTH), painted from the back to the front."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.color = np.zeros((HEIGHT, WIDTH, 3), np.float32)
        self.alpha = np.zeros((HEIGHT, WIDTH), np.float32)
        light = np.array([rng.normal(0, 0.7), -abs(rng.normal(0.5, 0.3)), rng.uniform(0.5, 1.2)])
        self.light = (light / np.linalg.norm(light)).astype(np.float32)
        self.ambient = np.float32(rng.uniform(0.35, 0.75))

    def upper(self, rows: int) -> _CutOut:
        """The same cut-out's upper rows, to paint on."""
        part = copy.copy(self)
        part.color, part.alpha = self.color[:rows], self.alpha[:rows]
        return part

    def lay(self, color: np.ndarray, cover: np.ndarray) -> None:
        """Paint color, (3,) or (HEIGHT, WIDTH, 3), where cover (HEIGHT, WIDTH) says."""
        cover = np.asarray(cover, np.float32)
        weight = cover[..., None]
        self.color += (np.asarray(color, np.float32) - self.color) * weight
        self.alpha += (1 - self.alpha) * cover

    def tint(self, gain: np.ndarray, cover: np.ndarray) -> None:
        """Multiply by gain (3,) where cover says."""
        self.color *= 1 + (np.asarray(gain, np.float32) - 1) * np.asarray(cover, np.float32)[..., None]

    def shade(self, height: np.ndarray) -> np.ndarray:
        """(HEIGHT, WIDTH, 1) light on the surface with this height in head heights."""
        nx = -cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=UNIT / 8)
        ny = -cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=UNIT / 8)
        facing = (nx * self.light[0] + ny * self.light[1] + self.light[2]) / np.sqrt(1 + nx * nx + ny * ny)
        return (self.ambient + (1 - self.ambient) * 1.3 * np.maximum(facing, 0))[..., None]

    def picture(self) -> np.ndarray:
        """(HEIGHT, WIDTH, 4) uint8: camera colours times alpha, and alpha."""
        srgb = to_srgb(self.color) * self.alpha[..., None]
        return np.dstack([srgb, 255 * self.alpha]).round().clip(0, 255).astype(np.uint8)


def _garment_color(rng: np.random.Generator) -> np.ndarray:
    """(3,) camera values: dark and muted more often than not."""
    color = any_color(rng, 0.65)
    return color * rng.uniform(0.1, 0.5) if rng.random() < 0.55 else color


def _plaid(rng: np.random.Generator) -> np.ndarray:
    """(HEIGHT, HEIGHT, 3) camera values: bands of a few colours that cross."""
    x = np.arange(HEIGHT, dtype=np.float32)
    picture = np.tile(_garment_color(rng).astype(np.float32), (HEIGHT, HEIGHT, 1))
    period = rng.uniform(24, 64)
    for _ in range(int(rng.integers(2, 5))):
        place, wide = rng.random(), rng.choice([rng.uniform(0.02, 0.07), rng.uniform(0.15, 0.4)])
        band = ((x / period + place) % 1 < wide).astype(np.float32) * np.float32(rng.uniform(0.3, 0.7))
        color = any_color(rng, 0.5).astype(np.float32)
        for axis in (0, 1):
            picture += (color - picture) * np.expand_dims(band, axis)[..., None]
    return picture


def _print(rng: np.random.Generator, picture: np.ndarray) -> None:
    """A word and a badge on the chest, in place."""
    color = tuple(float(c) for c in any_color(rng, 0.5))
    x, y = int(HEAD[0] + rng.normal(0, 12)), int(HEAD[1] + rng.uniform(1.25, 2.0) * UNIT)
    reach = int(rng.integers(10, 46))
    if rng.random() < 0.6:
        for _ in range(int(rng.integers(1, 5))):
            axes = tuple(int(v) for v in rng.uniform(0.2, 1.0, 2) * reach)
            cv2.ellipse(picture, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, color, int(rng.integers(1, 4)))
    if rng.random() < 0.7:
        word = "".join(chr(int(c)) for c in rng.integers(65, 91, int(rng.integers(3, 9))))
        (w, _), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, 1.0, 2)
        scale = min(1.6, 2.2 * reach / w)
        ink = tuple(float(c) for c in any_color(rng, 0.4))
        cv2.putText(picture, word, (x - int(w * scale / 2), y + 8), cv2.FONT_HERSHEY_DUPLEX, scale, ink, 2, cv2.LINE_AA)


def _fabric(rng: np.random.Generator, folds: np.ndarray) -> np.ndarray:
    """(HEIGHT, WIDTH, 3) linear: a garment's cloth, drawn along by its folds."""
    kind = rng.choice(4, p=[0.46, 0.22, 0.16, 0.16])
    if kind == 1:
        flat = _plaid(rng)
    elif kind == 3:
        flat = np.asarray(cloth(rng, HEIGHT), np.float32)
    else:
        flat = np.tile(_garment_color(rng).clip(0, 255).astype(np.uint8), (HEIGHT, HEIGHT, 1))
        if kind == 2:
            _print(rng, flat)
    turn = np.radians(rng.normal(0, 4))
    column, row = np.arange(WIDTH, dtype=np.float32)[None], np.arange(HEIGHT, dtype=np.float32)[:, None]
    pull = np.float32(rng.uniform(6, 26)) * (folds - folds.mean())
    u = column + np.float32(np.sin(turn)) * (row - 200) + pull
    v = row - np.float32(np.sin(turn)) * (column - 128) + 0.7 * pull
    drawn = cv2.remap(flat, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return (np.clip(drawn, 4, 250) / 255).astype(np.float32) ** np.float32(2.2)


def _outline(rng: np.random.Generator, breadth: float) -> np.ndarray:
    """Coverage of shoulders, arms and trunk."""
    half = _TORSO * [breadth, 1.0] + rng.normal(0, 0.018, _TORSO.shape)
    half[-1, 1] = 5.0
    points = np.concatenate([half, half[::-1] * [-1, 1] + rng.normal(0, 0.012, half.shape)])
    for _ in range(3):  # corner cutting
        ahead = np.roll(points, -1, 0)
        points = np.stack([0.75 * points + 0.25 * ahead, 0.25 * points + 0.75 * ahead], 1).reshape(-1, 2)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels = np.rint((points * UNIT + HEAD) * 16).astype(np.int32)
    cv2.fillPoly(mask, [pixels], 255, cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255


def _dress(figure: _CutOut, rng: np.random.Generator, skin: np.ndarray) -> None:
    """Trunk, arms, neck and clothes."""
    breadth = rng.uniform(0.82, 1.12)
    body = _outline(rng, breadth)
    across = noise_field(rng, HEIGHT, int(rng.integers(3, 7)), 3)
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), float(rng.uniform(-50, 50)), 1.0)
    turn[0] *= 1.8  # folds are longer than wide
    folds = cv2.warpAffine(across, turn, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    round_ = np.asarray(cv2.blur(cv2.blur(body, (61, 61)), (61, 61)), np.float32)
    gap = np.float32(0.70 * breadth)
    armpit = smoothstep(1.25, 1.7, _Y) * np.exp(-(((np.abs(_X) - gap - 0.06 * _Y) / np.float32(0.05)) ** 2))
    light = figure.shade(0.9 * round_ + np.float32(rng.uniform(0.05, 0.3)) * folds) * (1 - 0.45 * armpit[..., None])
    figure.lay(_fabric(rng, folds) * light * np.float32(rng.uniform(0.8, 1.2)), body)
    if rng.random() < 0.3:  # short sleeves
        hem = rng.uniform(1.6, 2.0)
        bare = smoothstep(hem, hem + 0.02, _Y + 0 * _X) * smoothstep(gap, gap + 0.02, np.abs(_X) - 0.06 * _Y) * body
        figure.lay(skin * 0.85 * light, bare)
    style = rng.choice(4, p=[0.45, 0.2, 0.2, 0.15])
    deep, wide = rng.uniform(0.08, 0.2), rng.uniform(0.22, 0.32)
    if style == 1:  # open collar
        deep = rng.uniform(0.25, 0.5)
    opening = _oval(0, 0.68, wide, deep) * body
    if style == 2:  # a hood lies round the neck
        hood = _oval(0, 0.72, 0.52, 0.24, 2.4)
        figure.tint(np.full(3, 0.72), np.clip(cv2.GaussianBlur(hood, (0, 0), 3), 0, 1))
    else:
        rim = _oval(0, 0.68, wide + 0.05, deep + 0.05)
        figure.tint(np.full(3, rng.uniform(0.6, 0.9)) if rng.random() < 0.8 else np.full(3, 1.8), rim * body)
    if style in (1, 3):  # a row of buttons or a zip
        figure.tint(np.full(3, 0.6), np.exp(-((_X / np.float32(0.018)) ** 2)) * smoothstep(0.7 + deep, 0.75 + deep, _Y))
    thick = rng.uniform(0.19, 0.25)
    neck = np.maximum(_oval(0, 0.5, thick, 0.42, 6.0) * (1 - smoothstep(0.66, 0.72, _Y)), opening)
    shadow = 1 - 0.5 * _bump(0, 0.48, 0.4, 0.16)
    column = np.sqrt(np.clip(1 - (_X / 0.34) ** 2, 0, 1)) * 0.3 + 0 * _Y
    figure.lay(skin * figure.shade(column.astype(np.float32)) * shadow[..., None], neck)


def _face(figure: _CutOut, rng: np.random.Generator, skin: np.ndarray, hair: np.ndarray) -> None:
    """Ears and a face: sockets, eyes, brows, nose, mouth; at times a beard, at times glasses."""
    figure, y = figure.upper(_FACE), _Y[:_FACE]
    bump, oval = partial(_bump, rows=_FACE), partial(_oval, rows=_FACE)
    yaw = rng.normal(0, 0.09)
    jaw = rng.uniform(0.14, 0.34)
    half = np.float32(rng.uniform(0.33, 0.39)) * (1 - np.float32(jaw) * smoothstep(0.0, 0.55, y))
    cover = oval(0, 0, half + 0 * _X, 0.5)
    for side in (-1, 1):
        if side * yaw < 0.1:
            ear = oval(side * 0.355, 0.03, 0.055, 0.11)
            inner = bump(side * 0.35, 0.03, 0.03, 0.06)[..., None]
            figure.lay(skin * np.array([0.85, 0.68, 0.65]) * (1 - 0.35 * inner), ear)
    dome = np.sqrt(np.clip(1 - (_X / (half + 0.03)) ** 2 - (y / np.float32(0.54)) ** 2, 0.02, 1)) * np.float32(0.36)
    nose = 0.07 * bump(yaw, 0.10, 0.055, 0.07) + 0.035 * bump(yaw * 0.9, 0.0, 0.035, 0.12)
    lips = 0.012 * bump(yaw * 0.9, 0.245, 0.11, 0.045)
    sockets = np.sum([bump(s * 0.15 + yaw * 0.8, -0.055, 0.085, 0.045) for s in (-1, 1)], 0)
    cheeks = np.sum([bump(s * 0.2 + yaw * 0.5, 0.12, 0.11, 0.1) for s in (-1, 1)], 0)
    light = figure.shade((dome + nose + lips - 0.02 * sockets + 0.012 * cheeks).astype(np.float32))
    figure.lay(skin * light, cover)
    figure.tint(np.array([1.06, 0.86, 0.86]), 0.6 * cheeks)
    figure.tint(np.full(3, 0.55), 0.55 * sockets + 0.5 * bump(yaw, 0.165, 0.06, 0.018))
    figure.tint(np.array([0.78, 0.52, 0.52]), oval(yaw * 0.9, 0.25, 0.11, 0.035, 1.7) * rng.uniform(0.3, 0.9))
    figure.tint(np.full(3, 0.4), bump(yaw * 0.9, 0.245, 0.11, 0.010))
    brow, opened = rng.uniform(0.014, 0.028), rng.uniform(0.008, 0.026)
    for side in (-1, 1):
        x = side * 0.15 + yaw * 0.85
        if abs(x) > 0.29:
            continue
        eye = oval(x, -0.055, 0.062, opened, 1.8)
        figure.lay(np.full(3, 0.42) * light, 0.75 * eye)
        figure.lay(hair * 0.4, oval(x, -0.055, 0.028, 0.028) * eye)
        figure.tint(np.full(3, 0.3), bump(x, -0.055 - opened, 0.07, 0.010))
        arch = np.float32(-0.13) + 0.6 * (_X - np.float32(x)) ** 2
        reach = smoothstep(0.1, 0.07, np.abs(_X - np.float32(x)))
        figure.lay(hair, 0.8 * np.exp(-(((y - arch) / np.float32(brow)) ** 2)) * reach)
    if rng.random() < 0.3:
        full = rng.uniform(0.35, 0.95)
        edge = y + 0.55 * np.abs(_X - np.float32(yaw)) - np.float32(0.02) * noise_field(rng, WIDTH, 40, 2)[:_FACE]
        mouth = oval(yaw * 0.9, 0.25, 0.10, 0.03)
        beard = np.maximum(smoothstep(0.24, 0.32, edge), bump(yaw * 0.9, 0.20, 0.11, 0.025)) * cover * (1 - mouth)
        figure.lay(hair * light, full * beard)
    if rng.random() < 0.3:
        _glasses(figure, rng, yaw)


def _glasses(figure: _CutOut, rng: np.random.Generator, yaw: float) -> None:
    """Two rims and a bridge on the upper rows of a figure."""
    frame = any_color(rng, 0.8) / 255 * rng.choice([0.06, 0.4], p=[0.8, 0.2])
    high, wide, power = rng.uniform(0.07, 0.1), rng.uniform(0.1, 0.125), rng.choice([2.0, 3.5])
    for side in (-1, 1):
        x = side * 0.15 + yaw
        outer = _oval(x, -0.04, wide + 0.014, high + 0.014, power, _FACE)
        inner = _oval(x, -0.04, wide - 0.008, high - 0.008, power, _FACE)
        figure.lay(frame, np.clip(outer - 0.95 * inner, 0, 1))
    bridge = np.exp(-(((_Y[:_FACE] + 0.06) / np.float32(0.011)) ** 2))
    figure.lay(frame, bridge * smoothstep(0.06, 0.04, np.abs(_X - np.float32(yaw))))


def _strands(rng: np.random.Generator) -> np.ndarray:
    """(HEIGHT, WIDTH, 1) light and dark along hair."""
    fine = noise_field(rng, HEIGHT, 24, 2)
    long = cv2.resize(fine[:96], (HEIGHT, HEIGHT), interpolation=cv2.INTER_LINEAR)[:, :WIDTH]
    return (0.4 + 1.2 * long)[..., None]


def draw_person(rng: np.random.Generator) -> np.ndarray:
    """A new person (HEIGHT, WIDTH, 4) uint8: colours times alpha, and alpha; the head's centre is at HEAD."""
    figure = _CutOut(rng)
    tone, _ = sample_tone(rng)
    skin = tone.astype(np.float32) * np.float32(rng.uniform(0.6, 1.1))
    hair = np.array([0.05, 0.034, 0.024]) * np.exp(rng.normal(-0.4, 0.9))
    if rng.random() < 0.1:
        hair = np.full(3, rng.uniform(0.15, 0.5))
    style = rng.choice(4, p=[0.12, 0.5, 0.28, 0.10])  # none, short, long, a cap
    strands = _strands(rng)
    dome = np.sqrt(np.clip(1 - (_X / 0.5) ** 2 - ((_Y + 0.1) / np.float32(0.6)) ** 2, 0.02, 1)) * np.float32(0.4)
    lock = hair * strands * figure.shade(dome.astype(np.float32))
    length = rng.uniform(0.35, 1.4)
    if style == 2:
        figure.lay(lock * 0.7, _oval(0, length - 0.5, rng.uniform(0.42, 0.55), length, 2.6))
    _dress(figure, rng, skin)
    _face(figure, rng, skin, hair)
    if style:
        head, y = figure.upper(_FACE), _Y[:_FACE]
        part, low = rng.normal(0, 0.15), rng.uniform(0.0, 0.12)
        crown = _oval(0, -0.06, rng.uniform(0.39, 0.45), rng.uniform(0.5, 0.58), rng.uniform(2.0, 2.4), _FACE)
        rough = 0.05 * noise_field(rng, WIDTH, 30, 2)[:_FACE]
        line = np.float32(-0.27) + np.float32(0.5) * np.abs(_X - np.float32(part)) ** 2 + rough
        sides = smoothstep(0.27, 0.31, np.abs(_X) + rough) * smoothstep(low + 0.06, low, y)
        top = smoothstep(0.03, -0.02, y - line)
        cover = crown * np.maximum(top, sides)
        if style == 3:
            lock = _garment_color(rng) ** 2.2 / 255**2.2 * head.shade(dome[:_FACE].astype(np.float32))
            cover = crown * smoothstep(-0.18, -0.21, y + 0.25 * _X**2)
        head.lay(lock[:_FACE], cv2.GaussianBlur(cover.astype(np.float32), (0, 0), 1.0))
    return figure.picture()
