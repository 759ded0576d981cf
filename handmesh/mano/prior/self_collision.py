"""A hand as capsules: fast tests of whether fingers pass through one another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handmesh.mano.arrays import ManoArrays

Array = NDArray[np.float64]

_ROOTS = (13, 1, 4, 10, 7)  # thumb, index, middle, ring, little


class HandCapsules:
    """Fifteen finger segments and four of the palm, with radii measured on the hand's own surface."""

    def __init__(self, arrays: ManoArrays, joints: Array, tips: Array) -> None:
        """Measure the capsules.

        Args:
            arrays: the hand model.
            joints: (16, 3) rest joints, MANO order, metres.
            tips: (5, 3) rest fingertips, thumb first, metres.
        """
        self.joints = joints
        self.tips = tips
        starts, ends, radii = [], [], []
        for root, tip in zip(_ROOTS, tips):
            chain = [*joints[root:root + 3], tip]
            for k in range(3):
                own = arrays.v_template[arrays.weights[:, root + k] > 0.6]
                radius = _radius(own, chain[k], chain[k + 1])
                end = chain[k + 1]
                if k == 2:  # the capsule's cap ends at the fingertip
                    end = end - radius * (end - chain[k]) / np.linalg.norm(end - chain[k])
                starts.append(chain[k])
                ends.append(end)
                radii.append(min(radius, 0.011))
        for root in (1, 4, 10, 7):
            starts.append(joints[0] + 0.35 * (joints[root] - joints[0]))
            ends.append(joints[0] + 0.93 * (joints[root] - joints[0]))
            radii.append(0.0105)
        self.starts, self.ends, self.radii = np.array(starts), np.array(ends), np.array(radii)
        self._pairs()

    def _pairs(self) -> None:
        pairs: list[tuple[int, int, float]] = []
        for a in range(15):
            for b in range(a + 1, 15):
                fa, fb, ka, kb = a // 3, b // 3, a % 3, b % 3
                if fa == fb:
                    if kb - ka == 2 and fa:
                        pairs.append((a, b, 0.75))
                elif fa == 0 and ka == 0:
                    continue  # the thumb's metacarpal lies in the palm
                else:
                    beside = fb - fa == 1 and fa > 0 and ka == kb == 0
                    pairs.append((a, b, 0.6 if beside else 0.88))
            for palm in range(15, 19):
                if a % 3 == 0 or (a < 3 and a < 1):
                    continue
                pairs.append((a, palm, 0.8))
        first, second, slack = (np.array(values) for values in zip(*pairs, strict=True))
        self._a, self._b = first, second
        self._least = slack * (self.radii[self._a] + self.radii[self._b])

    def frames(self, rotations: Array) -> tuple[Array, Array]:
        """rotations (n,15,3,3) -> world rotations (n,16,3,3) and joint positions (n,16,3), wrist at rest."""
        n = len(rotations)
        world = np.empty((n, 16, 3, 3))
        place = np.empty((n, 16, 3))
        world[:, 0], place[:, 0] = np.eye(3), self.joints[0]
        for root in (1, 4, 7, 10, 13):
            for k in range(3):
                joint, parent = root + k, 0 if k == 0 else root + k - 1
                offset = self.joints[joint] - self.joints[parent]
                place[:, joint] = place[:, parent] + world[:, parent] @ offset
                world[:, joint] = world[:, parent] @ rotations[:, joint - 1]
        return world, place

    def posed(self, rotations: Array) -> tuple[Array, Array]:
        """Capsule ends (n,19,3) and (n,19,3) of posed hands."""
        world, place = self.frames(rotations)
        bones = np.array([root + k for root in _ROOTS for k in range(3)] + [0, 0, 0, 0])
        rest = self.joints[bones]
        turned = world[:, bones]
        start = place[:, bones] + np.einsum("nbij,bj->nbi", turned, self.starts - rest)
        end = place[:, bones] + np.einsum("nbij,bj->nbi", turned, self.ends - rest)
        return start, end

    def penetration(self, rotations: Array) -> Array:
        """rotations (n,15,3,3) -> (n,) how deep the worst pair of capsules overlaps beyond soft contact, metres."""
        start, end = self.posed(rotations)
        gap = segment_distance(start[:, self._a], end[:, self._a], start[:, self._b], end[:, self._b])
        return (self._least - gap).max(axis=1)


def _radius(points: Array, start: Array, end: Array) -> float:
    """Mean distance of surface points from a bone's line, metres."""
    direction = (end - start) / np.linalg.norm(end - start)
    offset = points - start
    return float(np.linalg.norm(offset - (offset @ direction)[:, None] * direction, axis=1).mean())


def segment_distance(p0: Array, p1: Array, q0: Array, q1: Array) -> Array:
    """Least distance between segments (Ericson 2005, Real-Time Collision Detection, 5.1.9).

    Args:
        p0, p1: (..., 3) ends of the first.
        q0, q1: (..., 3) ends of the second.

    Returns:
        (...) in the unit of the points.
    """
    d1, d2, r = p1 - p0, q1 - q0, p0 - q0
    a, e = (d1 * d1).sum(-1), (d2 * d2).sum(-1)
    b, c, f = (d1 * d2).sum(-1), (d1 * r).sum(-1), (d2 * r).sum(-1)
    denominator = np.maximum(a * e - b * b, 1e-18)
    s = np.clip((b * f - c * e) / denominator, 0, 1)
    t = np.clip((b * s + f) / e, 0, 1)
    s = np.clip((b * t - c) / a, 0, 1)
    return np.linalg.norm(p0 + s[..., None] * d1 - q0 - t[..., None] * d2, axis=-1)
