"""Triangle sizes, skinning weights, vertex numbers and the joint regressor of the open hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from scripts.open_hand.measures import FINGER_ORDER, ROOT_OF

Array = NDArray[np.float64]
Faces = NDArray[np.int64]


# Vertex numbers that the published tables take as fingertips; the first of each is FreiHAND's.
TIP_NUMBERS = {"thumb": (744, 745), "index": (320, 317, 333), "middle": (443, 444, 445), "ring": (555, 554, 556),
               "little": (672, 671, 673)}


def dense_size(vertices: Array, faces: Faces, weights: Array, joints: Array, tips: Array) -> Array:
    """(V,) wished edge length in metres: finer on fingers, at joints, tips and webs, coarser on palm and wrist."""
    fingers = weights[:, 1:13].sum(axis=1) + weights[:, 14:].sum(axis=1)
    size = 0.0108 - 0.0038 * np.clip(fingers * 1.2, 0, 1) - 0.001 * weights[:, 13]
    to_tip = np.linalg.norm(vertices[:, None] - tips, axis=2).min(axis=1)
    size *= 1 - 0.33 * np.exp(-((to_tip / 0.013) ** 2))
    to_joint = np.linalg.norm(vertices[:, None] - joints[1:], axis=2).min(axis=1)
    size *= 1 - 0.12 * np.exp(-((to_joint / 0.014) ** 2))
    # Curved more than a finger (radius about 7 mm): the webs, which would turn angular.
    sharp = _curvature(vertices, faces) * 0.007
    return size * np.clip(sharp ** -0.6, 0.6, 1.0)


def normals(vertices: Array, faces: Faces) -> Array:
    """(V,3) unit normals, faces weighed by area."""
    corners = vertices[faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(total, faces[:, k], cross)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20)


def _curvature(vertices: Array, faces: Faces) -> Array:
    """(V,) how fast the normal turns, at its fastest nearby, per metre."""
    normal = normals(vertices, faces)
    a, b = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).T
    rate = np.linalg.norm(normal[a] - normal[b], axis=1) / np.linalg.norm(vertices[a] - vertices[b], axis=1)
    result = np.zeros(len(vertices))
    np.maximum.at(result, a, rate)
    for _ in range(3):  # a vertex is as sharp as its surroundings
        spread = result.copy()
        np.maximum.at(spread, a, 0.9 * result[b])
        np.maximum.at(spread, b, 0.9 * result[a])
        result = spread
    return np.maximum(result, 1e-3)


def laplacian(faces: Faces, count: int) -> Array:
    """(V,V) row-stochastic neighbour average."""
    adjacency = np.zeros((count, count))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        adjacency[faces[:, a], faces[:, b]] = adjacency[faces[:, b], faces[:, a]] = 1.0
    return adjacency / adjacency.sum(axis=1, keepdims=True)


# How far before and after a joint the skin passes from one bone to the next, metres: first joint, middle, last.
_PASSAGE = {"thumb": ((0.010, 0.011), (0.007, 0.007)), "finger": ((0.0085, 0.0125), (0.0075, 0.0075), (0.006, 0.006))}
_KNUCKLES = (1, 4, 10, 7)  # first joints of index, middle, ring, little


def skin_weights(vertices: Array, sampled: Array, faces: Faces, joints: Array, tips: Array, passes: int = 2) -> Array:
    """sampled (778,16) weights read off the reference -> (778,16), at most four per vertex, rows sum to 1.

    The reference bends its fingers at the webs, where they leave the palm; bones bend at the knuckles, a third of a
    segment before.  So the passage from bone to bone is set anew, about each joint, and the reference says which
    finger, the palm or the thumb a vertex goes with.
    """
    average = laplacian(faces, len(sampled))
    weights = _knuckle_passage(vertices, sampled, joints)
    for name, tip in zip(FINGER_ORDER, tips):
        _segment_passage(vertices, weights, name, np.array([*joints[ROOT_OF[name]:ROOT_OF[name] + 3], tip]))
    for _ in range(passes):
        weights = 0.5 * weights + 0.5 * average @ weights
    fourth = np.sort(weights, axis=1)[:, -4, None]
    weights = np.where((weights >= fourth) & (weights > 0.01), weights, 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def _smooth_step(t: Array) -> Array:
    t = np.clip(t, 0.0, 1.0)
    return t * t * (3 - 2 * t)


def ray_shares(vertices: Array, joints: Array) -> Array:
    """(V,4) how much a vertex lies before the ray of the index, middle, ring and little finger; rows sum to 1."""
    beside = []
    for root in _KNUCKLES:
        along = joints[root + 1] - joints[root]
        across = np.cross(along / np.linalg.norm(along), np.array([0.0, 1.0, 0.0]))
        beside.append(-(((vertices - joints[root]) @ across / 0.0075) ** 2))
    beside = np.array(beside).T
    share = np.exp(beside - beside.max(axis=1, keepdims=True))
    return share / share.sum(axis=1, keepdims=True)


def _knuckle_passage(vertices: Array, sampled: Array, joints: Array) -> Array:
    """Fingers take the palm's distal end from their knuckles on, each the part before its own ray."""
    before, after = _PASSAGE["finger"][0]
    taken, reach = [], []
    for root in _KNUCKLES:
        along = joints[root + 1] - joints[root]
        along = along / np.linalg.norm(along)
        across = np.cross(along, np.array([0.0, 1.0, 0.0]))
        offset = vertices - joints[root]
        taken.append(_smooth_step((offset @ along + before) / (before + after)))
        reach.append(np.exp(-((offset @ across / 0.0075) ** 2)))
    # The edges of the palm, beyond every ray, go with the nearest finger only as far as it reaches.
    reached = np.clip(np.sum(reach, axis=0) / 1e-3, 0.0, 1.0)
    wanted = ray_shares(vertices, joints) * np.array(taken).T * reached[:, None]
    roots = _KNUCKLES
    own = np.stack([sampled[:, r:r + 3].sum(axis=1) for r in roots], axis=1)
    free = 1.0 - sampled[:, 13:].sum(axis=1, keepdims=True)
    total = np.maximum(own, wanted * free)
    total /= np.maximum(total.sum(axis=1, keepdims=True) / np.maximum(free, 1e-9), 1.0)
    weights = sampled.copy()
    weights[:, 1:13] = 0.0
    for k, root in enumerate(roots):
        weights[:, root] = total[:, k]
    weights[:, 0] = np.maximum(free[:, 0] - total.sum(axis=1), 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def _segment_passage(vertices: Array, weights: Array, name: str, chain: Array) -> None:
    """Divides a finger's whole share among its bones by the place along them; in place."""
    root = ROOT_OF[name]
    whole = weights[:, root:root + 3].sum(axis=1)
    passage = _PASSAGE["thumb"] if name == "thumb" else _PASSAGE["finger"][1:]
    past = [np.ones(len(vertices))]
    for k, (before, after) in enumerate(passage, start=1):
        along = chain[k + 1] - chain[k - 1]
        place = (vertices - chain[k]) @ (along / np.linalg.norm(along))
        past.append(past[-1] * _smooth_step((place + before) / (before + after)))
    past.append(np.zeros(len(vertices)))
    for k in range(3):
        weights[:, root + k] = whole * (past[k] - past[k + 1])


def number_vertices(vertices: Array, weights: Array, tips: Array) -> NDArray[np.int64]:
    """(778,) old index of each new vertex: palm first, then finger by finger, tips at the published numbers.

    tips (5,3) as FINGER_ORDER; the first number of a finger goes to the vertex nearest its tip, the others beside it.
    """
    count = len(vertices)
    order = np.full(count, -1)
    for name, tip in zip(FINGER_ORDER, tips):
        numbers = TIP_NUMBERS[name]
        near = np.argsort(np.linalg.norm(vertices - tip, axis=1), kind="stable")
        order[list(numbers)] = near[:len(numbers)]
    rest = np.setdiff1d(np.arange(count), order[order >= 0])
    finger_rank = np.array([0, 2, 2, 2, 3, 3, 3, 5, 5, 5, 4, 4, 4, 6, 6, 6])[weights[rest].argmax(axis=1)]
    rest = rest[np.lexsort((np.round(-vertices[rest, 0], 6), finger_rank))]
    order[order < 0] = rest
    return order


def joint_regressor(vertices: Array, joints: Array) -> Array:
    """(16,778) non-negative rows that sum to 1 and give the joints from a ring of vertices around each.

    A wide, even ring keeps the joint amid the flesh when the shape changes; non-negative least squares (Lawson and
    Hanson 1974) makes it exact on the template.
    """
    regressor = np.zeros((len(joints), len(vertices)))
    for k, joint in enumerate(joints):
        distance = np.linalg.norm(vertices - joint, axis=1)
        reach = np.sort(distance)[8] * 1.15
        ring = np.flatnonzero(distance < max(2.0 * np.sort(distance)[0], reach))
        for widen in (1.0, 1.25, 1.5, 2.0, 2.5):
            ring = np.flatnonzero(distance < max(1.7 * np.sort(distance)[0], reach) * widen)
            row, residual = _even_weights(vertices[ring], joint)
            if residual < 1e-5:
                break
        regressor[k, ring] = row
    return regressor


def _even_weights(points: Array, target: Array) -> tuple[Array, float]:
    """Weights (n,) >= 0, sum 1, as even as they can be with sum w p = target; and the miss in metres."""
    count = len(points)
    exact = np.concatenate([(points - target).T * 1e5, np.full((1, count), 1e3)])
    system = np.concatenate([exact, np.eye(count)])
    goal = np.concatenate([np.zeros(3), [1e3], np.full(count, 1.0 / count)])
    row, _ = nnls(system, goal)
    row[row < 1e-4] = 0.0
    row /= row.sum()
    return row, float(np.linalg.norm(row @ points - target))
