"""Pose correctives of the open hand: what linear blend skinning takes from a bent joint, given back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from handmesh.geometry.rotation_numpy import axis_angle_to_matrix_np, matrix_to_axis_angle_np
from scripts.open_hand.skinning import ray_shares
from scripts.open_hand.volumes import volume

Array = NDArray[np.float64]
Faces = NDArray[np.int64]

_PARENT = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
_FLEXIONS_DEG = (-25, 15, 30, 45, 60, 75, 90, 100)
_ABDUCTIONS_DEG = (-25, -12, 12, 25)


def subtree(joint: int) -> list[int]:
    """The joint and all that hang on it."""
    members = [joint]
    for k in range(joint + 1, 16):
        if _PARENT[k] in members:
            members.append(k)
    return members


class JointBend:
    """One joint of the rest hand bent by a rotation, all else at rest."""

    def __init__(self, vertices: Array, faces: Faces, weights: Array, joints: Array, joint: int, dorsal: Array,
                 rim: list[int]) -> None:
        """dorsal: (3,) unit vector to the back of the joint; other arrays as in ManoArrays."""
        self.vertices, self.faces, self.rim = vertices, faces, rim
        self.pivot = joints[joint]
        self.child = weights[:, subtree(joint)].sum(axis=1)
        ends = subtree(joint)
        bone = joints[ends[1]] - self.pivot if len(ends) > 1 else self.pivot - joints[_PARENT[joint]]
        self.bone = bone / np.linalg.norm(bone)
        self.along = (vertices - self.pivot) @ self.bone
        corners = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        self.edges = np.unique(np.sort(corners, axis=1), axis=0)
        self.active = self._active()
        # Webs belong to two fingers.  Each corrects its share, or a fist would correct them twice.
        knuckles = (1, 4, 10, 7)
        self.own = np.ones(len(vertices))
        if joint in knuckles:
            self.own = ray_shares(vertices, joints)[:, knuckles.index(joint)]
        self.bump = self._bump(dorsal)
        self.rest_volume = volume(vertices, faces, rim)

    def _active(self) -> NDArray[np.bool_]:
        """Vertices the bend may correct: the blend zone and two rings around it."""
        zone = (self.child > 0.005) & (self.child < 0.995)
        for _ in range(2):
            grown = zone.copy()
            for a, b in ((0, 1), (1, 0)):
                grown[self.edges[zone[self.edges[:, a]], b]] = True
            zone = grown
        return zone & (np.abs(self.along) < 0.035)

    def _bump(self, dorsal: Array) -> Array:
        """(778,) where flesh goes when it is pressed: about the joint, more to the sides and the palm than the back."""
        side = np.clip((self.vertices - self.pivot) @ dorsal / 0.008, -1.0, 1.0)
        bump = self.active * 4 * self.child * (1 - self.child) * (0.75 - 0.35 * side)
        return self.smooth(bump, 3) * self.active * self.own

    def smooth(self, field: Array, passes: int) -> Array:
        """field (778,...) averaged with its neighbours."""
        ends = np.bincount(self.edges.ravel(), minlength=len(field)).reshape(-1, *[1] * (field.ndim - 1))
        for _ in range(passes):
            around = np.zeros_like(field)
            for a, b in ((0, 1), (1, 0)):
                np.add.at(around, self.edges[:, a], field[self.edges[:, b]])
            field = 0.5 * field + 0.5 * around / ends
        return field

    def blended(self, rotation: Array) -> Array:
        """(778,3,3) linear part of linear blend skinning."""
        return np.eye(3) + self.child[:, None, None] * (rotation - np.eye(3))

    def plain(self, rotation: Array) -> Array:
        """(778,3) linear blend skinning without correctives."""
        return self.pivot + np.einsum("nij,nj->ni", self.blended(rotation), self.vertices - self.pivot)

    def target(self, rotation: Array) -> Array:
        """(778,3) how the bent joint should look."""
        x = self.plain(rotation)
        turn = matrix_to_axis_angle_np(rotation)
        a, b = self.edges.T
        used = self.active[a] | self.active[b]
        a, b = a[used], b[used]
        mean = 0.5 * (self.child[a] + self.child[b])
        wanted = np.einsum("nij,nj->ni", axis_angle_to_matrix_np(mean[:, None] * turn),
                           self.vertices[a] - self.vertices[b])
        half = axis_angle_to_matrix_np(0.5 * turn) @ self.bone
        free = np.flatnonzero(self.active)
        index = np.full(len(x), -1)
        index[free] = np.arange(len(free))
        for _ in range(8):
            x[free] = self._solve(x, a, b, wanted, index, free, half)
            x = x + self.swell(x)
        return x

    def _solve(self, x: Array, a: Array, b: Array, wanted: Array, index: NDArray[np.intp],
               free: NDArray[np.intp], half: Array) -> Array:
        """Edges as wanted, staying near x, kept on its own side of the fold."""
        count = len(free)
        system, right = np.zeros((count, count)), np.zeros((count, 3))
        for i, j, sign in ((a, b, 1.0), (b, a, -1.0)):
            inside = index[i] >= 0
            np.add.at(system, (index[i][inside], index[i][inside]), 1.0)
            np.add.at(right, index[i][inside], sign * wanted[inside])
            both = inside & (index[j] >= 0)
            np.add.at(system, (index[i][both], index[j][both]), -1.0)
            edge = inside & (index[j] < 0)
            np.add.at(right, index[i][edge], x[j[edge]])
        anchor = x[free].copy()
        height = (anchor - self.pivot) @ half
        # Flesh of either bone stops at the plane that halves the bend; a little of its rest distance stays.
        along = self.along[free]
        keep = np.sign(along) * np.maximum(np.sign(along) * height, np.minimum(0.12 * np.abs(along), 0.0008))
        pushed = np.abs(keep - height) > 1e-9
        anchor += (keep - height)[:, None] * half
        strength = np.where(pushed, 1.5, 0.15)
        system[np.arange(count), np.arange(count)] += strength
        return cho_solve(cho_factor(system), right + strength[:, None] * anchor)

    def swell(self, x: Array, most: float = 0.0015) -> Array:
        """(778,3) the move along the normals of the blend zone that gives posed vertices x their rest volume back."""
        corners = x[self.faces]
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normal = np.zeros_like(x)
        for k in range(3):
            np.add.at(normal, self.faces[:, k], cross / 6.0)
        bump = self.bump
        length = np.maximum(np.linalg.norm(normal, axis=1), 1e-12)
        push = (bump / length)[:, None] * normal
        gain = float((push * normal).sum())
        lack = self.rest_volume - volume(x, self.faces, self.rim)
        return np.clip(lack / max(gain, 1e-12), -most, most) * push

    def corrective(self, rotation: Array) -> Array:
        """(778,3) what must be added to the rest vertices so that skinning gives the target."""
        move = self.target(rotation) - self.plain(rotation)
        return np.linalg.solve(self.blended(rotation), move[..., None])[..., 0] * (self.active * self.own)[:, None]


def pose_directions(vertices: Array, faces: Faces, weights: Array, joints: Array, axes: Array,
                    rim: list[int]) -> Array:
    """(778,3,135) correctives, linear in vec(R - I) of the 15 joints, fitted by ridge regression.

    axes: (15,3,3) flexion, abduction and twist axis per joint.
    """
    directions = np.zeros((len(vertices), 3, 135))
    for joint in range(1, 16):
        bend = JointBend(vertices, faces, weights, joints, joint, axes[joint - 1, 1], rim)
        turns = [np.radians(d) * axes[joint - 1, 0] for d in _FLEXIONS_DEG]
        if joint in (1, 4, 7, 10, 13):
            turns += [np.radians(d) * axes[joint - 1, 1] for d in _ABDUCTIONS_DEG]
        rotations = [axis_angle_to_matrix_np(turn) for turn in turns]
        # A target at 90 degrees matters more than one at rest, which is right by itself.
        trust = np.sqrt([np.linalg.norm(turn) for turn in turns])
        features = np.array([(r - np.eye(3)).reshape(9) for r in rotations]) * trust[:, None]
        wanted = np.array([bend.corrective(r).reshape(-1) for r in rotations]) * trust[:, None]
        gram = features.T @ features + 2e-3 * np.eye(9)
        solution = np.linalg.solve(gram, features.T @ wanted).T.reshape(len(vertices), 3, 9)
        # The mesh is coarse in a fold; smoothing takes the teeth out of it.
        solution = bend.smooth(solution, 1) * bend.active[:, None, None]
        columns = slice(9 * (joint - 1), 9 * joint)
        directions[:, :, columns] = _keep_volume(bend, solution, axes[joint - 1, 0])
    return directions


def _keep_volume(bend: JointBend, solution: Array, axis: Array) -> Array:
    """The fit (778,3,9), changed so that the volume is kept at 45 and at 90 degrees about a unit axis.

    For turns about one axis vec(R - I) is sin(t) K + (1 - cos(t)) K^2, K the axis's cross product matrix; so what is
    wanted at two angles fixes one field along K and one along K^2.
    """
    cross = np.cross(np.eye(3), axis)
    parts = np.stack([cross.reshape(9), (cross @ cross).reshape(9)]) / 2.0  # duals: products give sin(t), 1 - cos(t)
    angles = np.radians([45.0, 90.0])
    mixing = np.linalg.inv(np.stack([np.sin(angles), 1 - np.cos(angles)], axis=1))
    for _ in range(8):
        moves = []
        for angle in angles:
            rotation = axis_angle_to_matrix_np(angle * axis)
            blended = bend.blended(rotation)
            rest = bend.vertices + solution @ (rotation - np.eye(3)).reshape(9)
            posed = bend.pivot + np.einsum("nij,nj->ni", blended, rest - bend.pivot)
            moves.append(np.linalg.solve(blended, bend.swell(posed)[..., None])[..., 0])
        solution = solution + np.einsum("pf,pa,and->ndf", parts, mixing, np.array(moves))
    return solution
