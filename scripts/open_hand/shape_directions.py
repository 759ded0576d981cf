"""Ten shape directions: principal components of a plausible population of hands.

The covariance: standard deviations follow the published spread of adult hand length, breadth, thickness and segment
lengths (about 5 % of the mean within a sex and 6 % over both); factors shared by all segments make them correlate as
anthropometric surveys report (length with breadth about 0.6; segment with hand length about 0.75).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.open_hand.measures import FINGER_ORDER, ROOT_OF
from scripts.open_hand.skinning import laplacian

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """One way a hand varies: its displacement (778,3) m for +100 %, its own standard deviation, its shared factors."""

    name: str
    field: Array
    own_sd: float
    loadings: dict[str, float]


def shape_directions(vertices: Array, faces: NDArray[np.int64], weights: Array, joints: Array,
                     tips: Array) -> tuple[Array, Array]:
    """(778,3,10) directions, one unit = one standard deviation, largest first; (10,) share of the variance each."""
    measures = _measures(vertices, weights, joints, tips)
    average = laplacian(faces, len(vertices))
    fields = []
    for measure in measures:
        field = measure.field
        for _ in range(2):
            field = 0.5 * field + 0.5 * average @ field
        fields.append(field.reshape(-1))
    covariance = population_covariance(measures)
    root = np.linalg.cholesky(covariance + 1e-12 * np.eye(len(covariance)))
    left, singular, _ = np.linalg.svd(np.array(fields).T @ root, full_matrices=False)
    directions = left[:, :10] * singular[:10]
    # A sign that a person can read: up means a larger hand, or else a longer middle finger.
    span = vertices - joints[0]
    directions *= np.where(directions.T @ span.reshape(-1) < 0, -1.0, 1.0)
    return directions.reshape(-1, 3, 10), singular[:10] ** 2 / (singular ** 2).sum()


def population_covariance(measures: list[Measure]) -> Array:
    """(P,P) covariance of relative deviations: shared factors (loadings) plus each measure's own variance."""
    factors = sorted({f for m in measures for f in m.loadings})
    loading = np.array([[m.loadings.get(f, 0.0) for f in factors] for m in measures])
    return loading @ loading.T + np.diag([m.own_sd ** 2 for m in measures])


def _measures(vertices: Array, weights: Array, joints: Array, tips: Array) -> list[Measure]:
    palm = weights[:, 0] + 0.0
    rest = vertices - joints[0]
    measures = [Measure("size", rest, 0.0, {"size": 0.055})]

    def carried(direction: Array) -> Array:
        """The palm stretched along a direction; fingers go along with their first joint."""
        field = palm[:, None] * (rest * direction)
        for root in ROOT_OF.values():
            share = weights[:, root:root + 3].sum(axis=1, keepdims=True)
            field = field + share * ((joints[root] - joints[0]) * direction)
        return field

    measures += [
        Measure("palm length", carried(np.array([1.0, 0, 0])), 0.025, {"length": -0.012}),
        Measure("palm breadth", carried(np.array([0, 0, 1.0])), 0.03, {"build": 0.04}),
        Measure("palm thickness", carried(np.array([0, 1.0, 0])), 0.06, {"build": 0.05}),
    ]
    for name, tip in zip(FINGER_ORDER, tips):
        measures += _finger_measures(name, vertices, weights, joints, tip)
    measures.append(_wrist_breadth(vertices, palm, joints))
    measures += _thumb_place(vertices, weights, joints)
    return measures


def _finger_measures(name: str, vertices: Array, weights: Array, joints: Array, tip: Array) -> list[Measure]:
    root = ROOT_OF[name]
    chain = np.array([*joints[root:root + 3], tip])
    bones = np.diff(chain, axis=0)
    unit = bones / np.linalg.norm(bones, axis=1, keepdims=True)
    out = []
    lengths = np.zeros_like(vertices)
    radial, taper, knuckle = (np.zeros_like(vertices) for _ in range(3))
    reach = np.linalg.norm(bones, axis=1).sum()
    travelled = 0.0
    for k in range(3):
        offset = vertices - chain[k]
        along = offset @ unit[k]
        share = weights[:, root + k, None]
        stretch = share * along[:, None] * unit[k] + weights[:, root + k + 1:root + 3].sum(1)[:, None] * bones[k]
        lengths += stretch
        out.append(Measure(f"{name} segment {k + 1}", stretch, 0.035, {}))
        across = offset - along[:, None] * unit[k]
        if name == "thumb" and k == 0:
            across = 0.4 * across  # the ball of the thumb is palm as much as thumb
        place = (travelled + along) / reach
        radial += share * across
        taper += share * across * (0.5 - place)[:, None]
        knuckle += share * across * np.exp(-((along / 0.006) ** 2))[:, None] * (k > 0)
        travelled += float(np.linalg.norm(bones[k]))
    own = 0.03 if name in ("thumb", "little") else 0.025
    return [*out, Measure(f"{name} length", lengths, own, {"length": 0.035}),
            Measure(f"{name} thickness", radial, 0.035, {"build": 0.065}),
            Measure(f"{name} taper", taper, 0.05, {"taper": 0.12}),
            Measure(f"{name} knuckles", knuckle, 0.03, {"knuckles": 0.06})]


def _wrist_breadth(vertices: Array, palm: Array, joints: Array) -> Measure:
    near = 1.0 / (1.0 + np.exp(-(vertices[:, 0] - joints[0, 0] + 0.012) / 0.008))
    field = (palm * near)[:, None] * (vertices - joints[0]) * np.array([0, 1.0, 1.0])
    return Measure("wrist breadth", field, 0.03, {"build": 0.045})


def _thumb_place(vertices: Array, weights: Array, joints: Array) -> list[Measure]:
    """The thumb as a whole set on farther along the palm, or farther out."""
    share = weights[:, 13:16].sum(axis=1, keepdims=True)
    return [Measure("thumb set farther on", share * np.array([-0.1, 0, 0]), 0.03, {}),
            Measure("ball of the thumb", weights[:, 13, None] * (vertices - joints[13]) * np.array([0.3, 1, 1]), 0.04,
                    {"build": 0.04})]
