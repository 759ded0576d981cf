"""Hands of labelled photos cut out and laid on other backgrounds, as FreiHAND's makers did with their green screens.

The fitted mesh says where the hand surely is, GrabCut (Rother et al., SIGGRAPH 2004; OpenCV's) finds its outline and
the forearm's. A cut-out that misses much of the mesh or spills far beyond it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from handmesh.data.sample import Sample
from handmesh.rendering.rasterizer import rasterize
from handmesh.synthesis.backgrounds.pool import Backgrounds

#: Distances from the mesh's outline in shares of the hand's longer side: inside the first all is hand, outside the
#: second a pixel whose colour is not the hand's is background.
_SURELY_IN, _SURELY_OUT = 0.035, 0.28
#: How far from the hand's median colour (CIELAB, lightness at half weight) a pixel is no skin.
_OTHER_COLOUR = 18.0
_ROUNDS = 3
#: GrabCut looks at the picture in this size: its time goes with the pixels, and fingers are still ten pixels wide.
_WORKING_PX = 144
#: A good cut-out holds this share of the mesh's pixels, and beyond the mesh at most this many times its pixels.
_LEAST_INSIDE, _MOST_OUTSIDE = 0.85, 0.6


def on_backgrounds(
    sample: Sample, alpha: NDArray[np.float32] | None, backgrounds: Backgrounds, copies: int, rng: np.random.Generator
) -> Iterator[Sample]:
    """A labelled hand before other scenes and in other light. Nothing where the hand cannot be segmented.

    Args:
        sample: as :meth:`FreiHandDataset.sample` gives it, with a square picture.
        alpha: of :func:`cut_out` for its picture and mesh.
        backgrounds: gives the scenes.
        copies: how many.
        rng: draws scenes and light.
    """
    if alpha is None:
        return
    for _ in range(copies):
        scene = backgrounds.sample(rng, len(alpha))
        # The lamp that lit the hand is not the scene's: a little exposure and tint of its own.
        gain = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.05, 3))
        hand = np.clip(sample["image"] * gain, 0, 255)
        picture = scene + alpha[..., None] * (hand - scene)
        yield {**sample, "image": np.round(picture).astype(np.uint8)}


def cut_out(
    image: NDArray[np.uint8], vertices: NDArray[np.floating], faces: NDArray[np.integer], K: NDArray[np.floating]
) -> NDArray[np.float32] | None:
    """How much of each pixel is the hand or its arm.

    Args:
        image: (S, S, 3) uint8 RGB.
        vertices: (V, 3) of a mesh near the hand in it, metres, camera frame.
        faces: (F, 3).
        K: (3, 3) intrinsics, pixels.

    Returns:
        (S, S) float32, 0..1; None where no outline can be trusted.
    """
    size = len(image)
    scale = _WORKING_PX / size
    image = np.asarray(cv2.resize(image, (_WORKING_PX, _WORKING_PX), interpolation=cv2.INTER_AREA), np.uint8)
    K = np.diag([scale, scale, 1.0]) @ K
    mesh = (rasterize(vertices, faces, K, _WORKING_PX, _WORKING_PX).face_index >= 0).astype(np.uint8)
    if not mesh.any():
        return None
    side = int(np.ptp(np.argwhere(mesh), axis=0).max())
    inside = cv2.erode(mesh, _disc(_SURELY_IN * side)) > 0
    outside = (cv2.dilate(mesh, _disc(_SURELY_OUT * side)) == 0) & _is_other_colour(image, inside)
    if not inside.any() or not outside.any():
        return None
    labels = np.where(mesh > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[inside], labels[outside] = cv2.GC_FGD, cv2.GC_BGD
    # The two colour models are the function's to fill; without a seed their start would differ from run to run.
    cv2.setRNGSeed(0)
    cv2.grabCut(image, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), _ROUNDS, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    hand = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    hand = _pieces_with(np.asarray(cv2.morphologyEx(hand, cv2.MORPH_OPEN, _disc(1)), np.uint8), inside)
    area = float(mesh.sum())
    if (hand * mesh).sum() < _LEAST_INSIDE * area or (hand * (1 - mesh)).sum() > _MOST_OUTSIDE * area:
        return None
    # A soft edge that lies a little inside the outline: what shines through at the very edge is the old background.
    large = cv2.resize(hand.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip((cv2.GaussianBlur(large, (0, 0), 1.2) - 0.35) / 0.5, 0, 1)


def _is_other_colour(image: NDArray[np.uint8], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where the colour is not that of the pixels ``inside``."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    skin = np.median(lab[inside], axis=0) if inside.any() else np.zeros(3)
    return np.asarray(np.linalg.norm((lab - skin) * [0.5, 1, 1], axis=2) > _OTHER_COLOUR)


def _pieces_with(hand: NDArray[np.uint8], inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Only the connected pieces that hold some of ``inside``."""
    _, pieces = cv2.connectedComponents(hand)
    wanted = np.unique(pieces[inside])
    return np.isin(pieces, wanted[wanted > 0]).astype(np.uint8)


def _disc(radius: float) -> NDArray[np.uint8]:
    size = 2 * int(radius) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)
