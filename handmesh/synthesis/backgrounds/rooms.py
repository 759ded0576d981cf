"""Rooms as a webcam shows them: a plain wall in uneven light, and few things on it or before it.

Pictures are (size, size, 3), camera values 0..255.
"""

from __future__ import annotations

import cv2
import numpy as np

from handmesh.synthesis.drawing import any_color, clutter, noise_field

_Color = tuple[float, ...]


def _wall_color(rng: np.random.Generator) -> np.ndarray:
    """(3,) mostly pale and nearly grey, as painted walls are."""
    kind = rng.random()
    if kind < 0.72:
        return np.clip(rng.uniform(130, 240) + rng.normal(0, 4, 3) + np.array([7, 1, -8]) * rng.normal(0.5, 1), 0, 255)
    return any_color(rng, 0.92 if kind < 0.93 else 0.0)


def _tuple(color: np.ndarray) -> _Color:
    return tuple(float(c) for c in np.clip(color, 0, 255))


def _light(rng: np.random.Generator, size: int) -> np.ndarray:
    """(size, size, 1) gain about 1: a slope and the pool of one lamp."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = axis[None], axis[:, None]
    slope = x * np.float32(rng.normal(0, 0.12)) + y * np.float32(rng.normal(-0.06, 0.12))
    cx, cy = rng.uniform(-1.2, 1.2, 2)
    pool = np.exp(-((x - np.float32(cx)) ** 2 + (y - np.float32(cy)) ** 2) / np.float32(2 * rng.uniform(0.5, 1.3) ** 2))
    strength = np.float32(rng.uniform(0, 0.5))
    return np.clip(1 + slope + strength * (pool - 0.5), 0.25, 1.6)[..., None]


def _texture(rng: np.random.Generator, picture: np.ndarray) -> None:
    """Plaster, bricks or boards, in place."""
    size, kind = picture.shape[0], rng.random()
    if kind < 0.45:
        picture *= 1 + rng.uniform(0.01, 0.06) * (noise_field(rng, size, 36, 3)[..., None] - 0.5) * 2
    elif kind < 0.55:
        high, wide = rng.uniform(10, 22), rng.uniform(24, 60)
        joint = _tuple(picture.mean((0, 1)) * rng.uniform(0.6, 1.3))
        for row in range(int(size / high) + 1):
            y = int(row * high)
            for column in range(int(size / wide) + 2):
                x = int((column - 0.5 * (row % 2)) * wide)
                picture[y : y + int(high), max(0, x) : max(0, x + int(wide))] *= rng.normal(1, 0.06)
                cv2.line(picture, (x, y), (x, y + int(high)), joint, 1)
            cv2.line(picture, (0, y), (size, y), joint, 1)
    elif kind < 0.72:
        x = 0
        while x < size:
            wide = int(rng.integers(14, 50))
            picture[:, x : x + wide] *= rng.normal(1, 0.06)
            picture[:, x : x + 1] *= 0.7
            x += wide


def _planes(rng: np.random.Generator, picture: np.ndarray) -> None:
    """A second wall, a ceiling, a floor or a table, in place."""
    size = picture.shape[0]

    def plane(points: list[tuple[float, float]], color: np.ndarray) -> None:
        cv2.fillPoly(picture, [np.array(points, np.float64).astype(np.int32)], _tuple(color), cv2.LINE_AA)

    wall = picture.mean((0, 1))
    if rng.random() < 0.4:
        x = rng.uniform(0.1, 0.9) * size
        far = size if rng.random() < 0.5 else 0
        plane([(x, 0), (far, 0), (far, size), (x + rng.normal(0, 4), size)], wall * rng.uniform(0.72, 1.12))
    if rng.random() < 0.3:
        a, b = rng.uniform(0.05, 0.35, 2) * size
        plane([(0, 0), (size, 0), (size, a), (rng.uniform(0, size), b), (0, a)], wall * rng.uniform(0.85, 1.2))
    if rng.random() < 0.2:
        y = rng.uniform(0.65, 0.95) * size
        plane([(0, y), (size, y + rng.normal(0, 10)), (size, size), (0, size)], any_color(rng, 0.95))


def _door(rng: np.random.Generator, picture: np.ndarray) -> None:
    size = picture.shape[0]
    x, wide = int(rng.uniform(-0.2, 0.9) * size), int(rng.uniform(0.25, 0.5) * size)
    top, frame = int(rng.uniform(-0.2, 0.3) * size), int(rng.integers(5, 14))
    leaf = any_color(rng, 0.95) * (rng.uniform(0.1, 0.5) if rng.random() < 0.5 else 1.0)
    rim = picture.mean((0, 1)) * rng.uniform(0.75, 1.15)
    cv2.rectangle(picture, (x - frame, top - frame), (x + wide + frame, size), _tuple(rim), -1)
    cv2.rectangle(picture, (x, top), (x + wide, size), _tuple(leaf), -1)
    for edge in (x - frame, x, x + wide, x + wide + frame):
        cv2.line(picture, (edge, top - frame), (edge, size), _tuple(rim * 0.62), 1, cv2.LINE_AA)
    if rng.random() < 0.5:  # a handle
        cv2.ellipse(picture, (x + wide - 9, size - 60), (7, 3), 0, 0, 360, (190.0, 185.0, 175.0), -1, cv2.LINE_AA)


def _window(rng: np.random.Generator, picture: np.ndarray) -> None:
    size = picture.shape[0]
    x, y = (int(v) for v in rng.uniform(-0.2, 0.8, 2) * size)
    w, h = (int(v) for v in rng.uniform(0.2, 0.6, 2) * size)
    day = rng.random() < 0.8
    glass = np.array([238, 243, 250]) * rng.uniform(0.8, 1.05) if day else rng.uniform(8, 40, 3)
    cv2.rectangle(picture, (x, y), (x + w, y + h), _tuple(glass), -1)
    if rng.random() < 0.35:  # blinds
        for level in range(y, y + h, int(rng.integers(5, 10))):
            cv2.line(picture, (x, level), (x + w, level), _tuple(glass * 0.78), 2)
    bars = int(rng.integers(1, 4))
    for i in range(bars + 1):
        cv2.line(picture, (x + i * w // bars, y), (x + i * w // bars, y + h), (172.0, 168.0, 160.0), 4, cv2.LINE_AA)
    cv2.rectangle(picture, (x, y), (x + w, y + h), (165.0, 162.0, 155.0), 5)
    if day:
        glow = np.zeros((size // 4, size // 4), np.float32)
        cv2.rectangle(glow, (x // 4, y // 4), ((x + w) // 4, (y + h) // 4), 1.0, -1)
        glow = np.asarray(cv2.GaussianBlur(glow, (0, 0), size / 32), np.float32)
        picture += cv2.resize(glow, (size, size))[..., None] * np.float32(rng.uniform(10, 60))


def _curtain(rng: np.random.Generator, picture: np.ndarray) -> None:
    """Hanging cloth: folds of uneven width that drift a little on their way down."""
    size = picture.shape[0]
    x0 = int(rng.uniform(-0.3, 0.7) * size)
    x1 = int(min(size, x0 + rng.uniform(0.3, 1.3) * size))
    x0 = max(0, x0)
    x = np.arange(x0, x1, dtype=np.float32)[None]
    y = np.arange(size, dtype=np.float32)[:, None] / size
    period = np.float32(rng.uniform(14, 48))
    phase = x / period * 6.28 + 1.4 * np.sin(x / period * 1.7 + np.float32(rng.uniform(0, 6))) + y * np.float32(
        rng.normal(0, 0.8)
    ) + 0.5 * np.sin(y * 5 + x * 0.02)
    fold = 0.62 + 0.28 * np.sin(phase) + 0.12 * np.sin(2 * phase + np.float32(rng.uniform(0, 6)))
    picture[:, x0:x1] = any_color(rng, 0.93) * fold[..., None] * 1.15


def _shelf(rng: np.random.Generator, picture: np.ndarray) -> None:
    size = picture.shape[0]
    y, x = int(rng.integers(40, size)), int(rng.integers(-60, size - 60))
    wide = int(rng.integers(100, 260))
    wood = any_color(rng, 0.97)
    for level in range(y, y + 230, int(rng.integers(60, 100))):
        at = x + int(rng.integers(0, 50))
        while at < x + wide - 24 and rng.random() < 0.94:
            w, h = int(rng.integers(5, 20)), int(rng.integers(22, 54))
            cv2.rectangle(picture, (at, level - h), (at + w, level), _tuple(any_color(rng, 0.75) * 0.75), -1)
            at += w + 1 + (int(rng.integers(4, 40)) if rng.random() < 0.12 else 0)
        cv2.rectangle(picture, (x, level), (x + wide, level + 6), _tuple(wood), -1)
        cv2.line(picture, (x, level + 8), (x + wide, level + 8), _tuple(wood * 0.5), 2)
        if rng.random() < 0.4:
            break


def _board(rng: np.random.Generator, picture: np.ndarray) -> None:
    """A whiteboard, a screen or a picture on the wall."""
    size = picture.shape[0]
    x, y = (int(v) for v in rng.uniform(-0.1, 0.8, 2) * size)
    w, h = (int(v) for v in np.exp(rng.uniform(np.log(0.08), np.log(0.7), 2)) * size)
    face = np.full(3, rng.uniform(215, 250)) if rng.random() < 0.45 else any_color(rng, 0.6)
    cv2.rectangle(picture, (x + 3, y + 4), (x + w + 3, y + h + 4), _tuple(picture.mean((0, 1)) * 0.6), -1)
    cv2.rectangle(picture, (x, y), (x + w, y + h), _tuple(face), -1)
    cv2.rectangle(picture, (x, y), (x + w, y + h), _tuple(any_color(rng)), int(rng.integers(1, 5)))
    for _ in range(int(rng.integers(0, 6))):  # writing
        points = np.cumsum(rng.normal(0, 6, (14, 2)) + [4, 0], 0) + [x + 0.1 * w, y + rng.uniform(0.1, 0.9) * h]
        points = np.clip(points, [x + 3, y + 3], [max(x + 3, x + w - 3), max(y + 3, y + h - 3)])
        cv2.polylines(picture, [points.astype(np.int32)], False, _tuple(any_color(rng, 0.5) * 0.6), 1, cv2.LINE_AA)


def _lamp(rng: np.random.Generator, picture: np.ndarray) -> None:
    """A tube or a bulb and its glow."""
    size = picture.shape[0]
    glow = np.zeros((size, size), np.float32)
    x, y = rng.uniform(0, 1) * size, rng.uniform(0, 0.5) * size
    if rng.random() < 0.6:
        run = rng.normal(0, 1, 2) * [0.2, 0.08] * size
        end = (int(x + run[0]), int(y + run[1]))
        cv2.line(glow, (int(x), int(y)), end, 1.0, int(rng.integers(5, 16)), cv2.LINE_AA)
    else:
        cv2.circle(glow, (int(x), int(y)), int(rng.integers(6, 26)), 1.0, -1, cv2.LINE_AA)
    small = np.asarray(cv2.GaussianBlur(cv2.resize(glow, (size // 4, size // 4)), (0, 0), size / 40), np.float32)
    wide = cv2.resize(small, (size, size)) * np.float32(rng.uniform(0.3, 1.0))
    picture += (glow + wide)[..., None] * np.array([250, 244, 230], np.float32)


#: What may be in a room, from the back to the front, and how often it is.
_THINGS = (
    (_door, 0.26), (_window, 0.16), (_curtain, 0.18), (_shelf, 0.22), (_board, 0.30), (_board, 0.15), (_lamp, 0.2),
)


def draw_room(rng: np.random.Generator, size: int) -> np.ndarray:
    """Part of a room (size, size, 3) float32: a wall or two, what stands there, out of focus more often than not."""
    picture = np.empty((size, size, 3), np.float32)
    picture[:] = _wall_color(rng)
    _texture(rng, picture)
    _planes(rng, picture)
    for draw, share in _THINGS:
        if rng.random() < share:
            draw(rng, picture)
    if rng.random() < 0.2:
        drawn = np.clip(picture, 0, 255).astype(np.uint8)
        clutter(rng, drawn, int(rng.integers(1, 5)))
        picture = drawn.astype(np.float32)
    corners = np.array([[0, 0], [size, 0], [size, size], [0, size]], np.float32)
    shifted = corners * 1.1 - 0.05 * size + rng.normal(0, 0.035 * size, (4, 2))
    lens = cv2.getPerspectiveTransform(corners, shifted.astype(np.float32))
    picture = np.asarray(cv2.warpPerspective(picture, lens, (size, size), borderMode=cv2.BORDER_REFLECT_101))
    picture = picture * _light(rng, size)
    if rng.random() < 0.65:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.6, 4.0)))
    return np.asarray(np.clip(picture, 0, 255), np.float32)
