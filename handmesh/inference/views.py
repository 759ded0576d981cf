"""One hand seen in several crops, turned and zoomed a little: the mean of the network's answers is better than one.

For stills, where some milliseconds more are nothing; a live picture has the frames before it instead. A network that
was trained at several sizes sees the hand at two or three: their errors differ more than those of views of one size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handmesh.geometry.crop import LEAST_DENSITY, CropTransform
from handmesh.inference.engines.base import EngineOutput


class View(NamedTuple):
    """A crop turned clockwise by ``turn_deg`` and zoomed, at the size for which the picture has the pixels.

    ``density`` is how many of the picture's pixels each of its pixels needs, along a side: of a hand of 150 pixels
    (padding included) 0.8 makes a crop of 160 pixels, where the network was trained at that size, and 1.5 one of 96.
    """

    turn_deg: float
    zoom: float = 1.0
    density: float = LEAST_DENSITY


Views = Sequence[View]
_AROUND = ((-12.0, 1.04), (12.0, 0.96), (12.0, 1.04), (-12.0, 0.96))
#: Those of a still: four each of two densities, and two of a third.
STILL_VIEWS: Views = (
    *(View(*view) for view in _AROUND), *(View(*view, 1.1) for view in _AROUND),
    *(View(*view, 1.5) for view in _AROUND[:2]),
)  # fmt: skip
#: A view whose hand is turned farther than this from the most typical one's has seen another hand, degrees.
_SAME_TURN_DEG = 40.0

Array = NDArray[np.float64]


def merge_views(
    output: EngineOutput, groups: Sequence[Sequence[CropTransform]], crops: Sequence[CropTransform]
) -> EngineOutput:
    """The answers about several views of each hand as one a hand, in the terms of a crop.

    Args:
        output: a row a view, hand by hand.
        groups: each hand's views.
        crops: of each hand, another crop of the same picture, mirrored or not as the views are.

    Returns:
        A row a hand: means, of rotations the nearest rotation to the mean. A view whose hand is turned another way than
        the most typical one's has no part in it. Without vertices, joints and camera, which are not known of a mean:
        (B, 0, 3), (B, 0, 3) and (B, 0).
    """
    ends = np.cumsum([0, *map(len, groups)])
    rows = [
        _merge(EngineOutput(*(part[ends[i] : ends[i + 1]] for part in output)), group, crop)
        for i, (group, crop) in enumerate(zip(groups, crops, strict=True))
    ]
    return EngineOutput(*map(np.concatenate, zip(*rows, strict=True)))


def _merge(output: EngineOutput, views: Sequence[CropTransform], crop: CropTransform) -> EngineOutput:
    """One hand's."""
    points = np.stack([
        crop.apply_points_2d(view.invert_points_2d(row)) for view, row in zip(views, output.keypoints_2d, strict=True)
    ])  # fmt: skip
    rotations = output.rotations.astype(np.float64)
    rotations[:, 0] = [
        crop.apply_rotation(view.invert_rotation(row)) for view, row in zip(views, rotations[:, 0], strict=True)
    ]
    typical = int(np.linalg.norm(points - np.median(points, axis=0), axis=-1).sum(-1).argmin())
    traces = np.einsum("ij,nij->n", rotations[typical, 0], rotations[:, 0])
    agree = (traces - 1) / 2 >= np.cos(np.radians(_SAME_TURN_DEG))
    none = np.empty((1, 0, 3), np.float32)

    def mean(values: NDArray[np.floating]) -> NDArray[np.float32]:
        return values[agree].mean(0, keepdims=True).astype(np.float32)

    return EngineOutput(
        none, none, _nearest_rotations(rotations[agree].mean(0))[None].astype(np.float32), mean(output.betas),
        none[..., 0], mean(points), mean(output.confidence), mean(output.presence), mean(output.is_right),
    )  # fmt: skip


def _nearest_rotations(matrices: Array) -> Array:
    """The rotations (..., 3, 3) nearest to matrices (..., 3, 3), by their singular values."""
    u, _, vt = np.linalg.svd(matrices)
    u[..., -1] *= np.linalg.det(u @ vt)[..., None]
    return np.asarray(u @ vt)
