"""Things between camera and hand: pens, phones, edges of tables, somebody's shoulder.

Flat shapes with a scene's texture are enough here: what matters is that parts of the hand are missing.
"""

from __future__ import annotations

import cv2
import numpy as np

from handmesh.synthesis.backgrounds.crowd import lay_figure, rounded
from handmesh.synthesis.backgrounds.pool import Backgrounds


def draw_occluder(picture: np.ndarray, rng: np.random.Generator, backgrounds: Backgrounds) -> np.ndarray:
    """Draw one thing over a picture.

    Args:
        picture: (S, S, 3) uint8, changed.
        rng: draws shape, place and texture.
        backgrounds: give the texture.

    Returns:
        (S, S) bool, where it lies.
    """
    size = picture.shape[0]
    mask = np.zeros((size, size), np.uint8)
    kind = rng.integers(4)
    centre = rng.uniform(0.15, 0.85, 2) * size
    if kind == 0:  # a bar: pen, cable, edge of a frame
        angle = rng.uniform(0, np.pi)
        along = np.array([np.cos(angle), np.sin(angle)]) * size * rng.uniform(0.2, 1.2)
        a, b = (tuple((centre + s * along).astype(int).tolist()) for s in (-1, 1))
        cv2.line(mask, a, b, 255, int(rng.uniform(0.02, 0.12) * size), cv2.LINE_AA)
    elif kind == 1:  # a box: phone, book, screen
        extent = rng.uniform(0.08, 0.4, 2) * size
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * extent / 2
        angle = rng.uniform(0, np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        cv2.fillPoly(mask, [(corners @ turn.T + centre).astype(np.int32)], 255, cv2.LINE_AA)
    elif kind == 2:  # something round
        axes = tuple((rng.uniform(0.06, 0.28, 2) * size).astype(int).tolist())
        middle, turned = tuple(centre.astype(int).tolist()), float(rng.uniform(0, 180))
        cv2.ellipse(mask, middle, axes, turned, 0, 360, 255, -1, cv2.LINE_AA)
    else:  # from one side: a table's edge, a shoulder
        side, depth = int(rng.integers(4)), rng.uniform(0.05, 0.3) * size
        lean = rng.normal(0, 0.15) * size
        points = np.array([[-9, -9], [size + 9, -9], [size + 9, depth + lean], [-9, depth - lean]])
        points = points[:, ::-1] if side & 1 else points
        points = size - 1 - points if side & 2 else points
        cv2.fillPoly(mask, [points.astype(np.int32)], 255, cv2.LINE_AA)
    texture = backgrounds.sample(rng, size)
    if rng.random() < 0.5:
        tint = texture.reshape(-1, 3).mean(0)
        texture = cv2.addWeighted(texture, 0.25, np.full_like(texture, tint.astype(np.uint8)), 0.75, 0)
    if kind in (0, 2) and rng.random() < 0.8:  # round things catch the light
        lay_figure(rounded(mask, texture, rng), picture)
        return mask > 127
    if rng.random() < 0.4:
        mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), float(rng.uniform(0.5, 2.5))), np.uint8)
    weight = mask[..., None].astype(np.uint16)
    picture[:] = ((texture * weight + picture * (255 - weight) + 127) // 255).astype(np.uint8)
    return mask > 127
