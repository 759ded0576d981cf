"""The surface that is drawn: the hand model's mesh with a forearm grown from its wrist rim, subdivided once.

The coarse hand vertices stay where the model puts them: subdivision here is Loop's (1987) with the smoothing of the old
vertices undone beforehand (the control mesh is pushed out by the amount that Loop's rule would pull it in), so that
labels and picture agree to a fraction of a millimetre.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from handmesh.io.runtime.kernels import njit

FOREARM_RINGS = 10
#: Distance of each ring from the rim, metres: dense where the wrist bends and the texture is fine.
RING_DISTANCE_M = np.array([0.010, 0.021, 0.034, 0.050, 0.072, 0.100, 0.140, 0.190, 0.250, 0.320], np.float32)


_SHADING_RINGS = 6  # the arm as far as its shadow can fall on the hand


def rim_loop(faces: np.ndarray) -> np.ndarray:
    """The vertices of the one boundary loop, in order, such that (loop[i], loop[i+1]) is an edge of a face."""
    directed = {(int(a), int(b)) for f in faces for a, b in ((f[0], f[1]), (f[1], f[2]), (f[2], f[0]))}
    following = {a: b for a, b in directed if (b, a) not in directed}
    if not following:
        raise ValueError("expected a mesh with an open rim, got a closed one")
    start = min(following)
    loop = [start]
    while following[loop[-1]] != start:
        loop.append(following[loop[-1]])
        if len(loop) > len(following):
            raise ValueError("expected one boundary loop, got several")
    return np.array(loop, np.int64)


def add_forearm(faces: np.ndarray, num_vertices: int, loop: np.ndarray) -> np.ndarray:
    """Faces of the hand followed by those of FOREARM_RINGS rings of new vertices hung on the rim.

    Args:
        faces: (F, 3) of the hand.
        num_vertices: of the hand; the new ones follow.
        loop: (R,) vertices of the wrist's rim, in order.

    Returns:
        (F', 3) int32.
    """
    count = len(loop)
    previous, rows = loop, [faces]
    for ring in range(FOREARM_RINGS):
        current = num_vertices + ring * count + np.arange(count)
        a, b = previous, np.roll(previous, -1)
        c, d = current, np.roll(current, -1)
        # The rim's edges run a -> b in the hand's faces, so the new faces run b -> a.
        rows += [np.stack([b, a, d], 1), np.stack([a, c, d], 1)]
        previous = current
    return np.concatenate(rows).astype(np.int32)


def loop_subdivision(faces: np.ndarray, num_vertices: int) -> tuple[sp.csr_matrix, np.ndarray]:
    """One Loop step as a matrix: (V', V) weights and (4F, 3) faces, sub-face 4 f + k of face f.

    k = 0, 1, 2 keeps corner k as its corner k; k = 3 is the middle one: corners opposite to corner 0, 1, 2.
    """
    opposite: dict[tuple[int, int], list[int]] = {}
    for f in faces:
        for i in range(3):
            a, b, c = int(f[i]), int(f[(i + 1) % 3]), int(f[(i + 2) % 3])
            opposite.setdefault((min(a, b), max(a, b)), []).append(c)
    edge_id = {edge: num_vertices + i for i, edge in enumerate(opposite)}
    entries: list[tuple[int, int, float]] = []
    neighbours: list[set[int]] = [set() for _ in range(num_vertices)]
    border: list[list[int]] = [[] for _ in range(num_vertices)]
    for (a, b), others in opposite.items():
        row = edge_id[(a, b)]
        neighbours[a].add(b)
        neighbours[b].add(a)
        if len(others) == 2:
            entries += [(row, a, 0.375), (row, b, 0.375), (row, others[0], 0.125), (row, others[1], 0.125)]
        else:
            entries += [(row, a, 0.5), (row, b, 0.5)]
            border[a].append(b)
            border[b].append(a)
    for v in range(num_vertices):
        n = len(border[v] or neighbours[v])
        # Loop's weights of the neighbours: 1/8 each along a border, beta(n) inside.
        beta = 0.125 if border[v] else (0.625 - (0.375 + 0.25 * np.cos(2 * np.pi / max(n, 1))) ** 2) / max(n, 1)
        entries.append((v, v, 1 - n * beta))
        entries += [(v, other, beta) for other in sorted(border[v] or neighbours[v])]
    rows, columns, values = zip(*entries, strict=True)
    weights = sp.csr_matrix((values, (rows, columns)), (num_vertices + len(edge_id), num_vertices))
    fine = np.empty((len(faces), 4, 3), np.int32)
    for i, (a, b, c) in enumerate(faces.tolist()):
        ab, bc, ca = (edge_id[(min(p, q), max(p, q))] for p, q in ((a, b), (b, c), (c, a)))
        fine[i] = [[a, ab, ca], [ab, b, bc], [ca, bc, c], [bc, ca, ab]]
    return weights, fine.reshape(-1, 3)


#: Barycentrics (on the coarse face) of the corners of its four sub-faces: (4, 3 corners, 3).
SUBFACE_BARYCENTRICS = np.array(
    [
        [[1, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5]],
        [[0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5]],
        [[0.5, 0, 0.5], [0, 0.5, 0.5], [0, 0, 1]],
        [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
    ],
    np.float32,
)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _csr_times_points(
    indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, p: np.ndarray, out: np.ndarray
) -> None:
    for row in range(out.shape[0]):
        x = y = z = np.float32(0.0)
        for k in range(indptr[row], indptr[row + 1]):
            w, j = data[np.uintp(k)], indices[np.uintp(k)]
            x += w * p[j, 0]
            y += w * p[j, 1]
            z += w * p[j, 2]
        out[row, 0], out[row, 1], out[row, 2] = x, y, z


@njit(cache=True, nogil=True)
def _grow_rings(
    out: np.ndarray, first: int, loop: np.ndarray, distances: np.ndarray, axis: np.ndarray, side: np.ndarray,
    flexion: float, deviation: float, growth: float, sleeve_m: float, sleeve_ring: int,
) -> None:
    """Fill out[first:] with rings of len(loop) points that carry the rim out[loop] on along the arm.

    axis, side (3,): unit vectors along the forearm and across its breadth. The cross-section goes from the rim's own
    to an ellipse that widens by `growth`; the arm's direction turns by flexion and deviation over the wrist.
    """
    count = loop.shape[0]
    up = np.cross(axis, side)
    centre = np.zeros(3)
    for k in range(count):
        for c in range(3):
            centre[c] += out[loop[k], c] / count
    x, y, lean = np.zeros(count), np.zeros(count), np.zeros(count)
    for k in range(count):
        for c in range(3):
            d = out[loop[k], c] - centre[c]
            x[k] += d * side[c]
            y[k] += d * up[c]
            lean[k] += d * axis[c]
    half_x, half_y = np.abs(x).max() + 1e-9, np.abs(y).max() + 1e-9
    position, previous = centre.copy(), 0.0
    for ring in range(distances.shape[0]):
        distance = float(distances[ring])
        bend = min(1.0, distance / 0.045)
        bend = bend * bend * (3 - 2 * bend)
        direction = axis + np.tan(flexion * bend) * up + np.tan(deviation * bend) * side
        direction /= np.sqrt((direction * direction).sum())
        position = position + direction * (distance - previous)
        previous = distance
        b = up - (up * direction).sum() * direction
        b /= np.sqrt((b * b).sum())
        a = np.cross(b, direction)
        if (a * side).sum() < 0:
            a = -a
        far = min(1.0, distance / 0.25)
        wide = 1.0 + (growth - 1.0) * far**1.3
        thick = 1.0 + (growth * 1.25 - 1.0) * far**1.1
        blend = min(1.0, distance / 0.06)
        for k in range(count):
            angle = np.arctan2(y[k] / half_y, x[k] / half_x)
            px = (1 - blend) * x[k] + blend * half_x * np.cos(angle) * wide
            py = (1 - blend) * y[k] + blend * half_y * np.sin(angle) * thick
            if ring >= sleeve_ring:
                grow = 1.0 + sleeve_m / max(np.sqrt(px * px + py * py), 1e-6)
                px, py = px * grow, py * grow
            for c in range(3):
                point = position[c] + px * a[c] + py * b[c] + (1 - blend) * lean[k] * direction[c]
                out[first + ring * count + k, c] = point


@dataclass(frozen=True)
class ForearmShape:
    """How a forearm continues the hand: wrist flexion and deviation (radians), growth of the half-breadths at
    0.25 m, extra thickness of a sleeve in metres and the first ring it covers (FOREARM_RINGS = no sleeve).
    """

    flexion: float = 0.0
    deviation: float = 0.0
    growth: float = 1.35
    sleeve_m: float = 0.0
    sleeve_ring: int = FOREARM_RINGS


class HandSurface:
    """Coarse mesh (hand then forearm) and its fine subdivision for one hand model.

    num_hand: vertices of the model; coarse_faces (C, 3), hand faces first; fine_faces (4 C, 3): fine face f lies on
    coarse face f // 4 with corner barycentrics SUBFACE_BARYCENTRICS[f % 4].
    """

    def __init__(self, faces: np.ndarray, rest_vertices: np.ndarray, rest_joints: np.ndarray) -> None:
        """The surface of a model's mean shape.

        Args:
            faces: (F, 3).
            rest_vertices: (V, 3) metres.
            rest_joints: (16, 3) metres.
        """
        self.num_hand = len(rest_vertices)
        self.num_hand_faces = len(faces)
        self.num_shading_faces = len(faces) + 2 * len(rim_loop(faces)) * _SHADING_RINGS
        self.loop = rim_loop(faces)
        self.coarse_faces = add_forearm(faces, self.num_hand, self.loop)
        self.num_coarse = self.num_hand + FOREARM_RINGS * len(self.loop)
        step, self.fine_faces = loop_subdivision(self.coarse_faces, self.num_coarse)
        even = step[: self.num_coarse]
        matrix = (step @ (2.0 * sp.identity(self.num_coarse) - even)).tocsr()
        matrix.sort_indices()
        self._indptr, self._indices = matrix.indptr.astype(np.int32), matrix.indices.astype(np.uint32)
        self._data = matrix.data.astype(np.float32)
        self.num_fine = matrix.shape[0]
        self._edges = np.zeros((self.num_fine - self.num_coarse, 2), np.int64)
        corners = self.coarse_faces.astype(np.int64)
        middles = self.fine_faces.reshape(-1, 4, 3)
        for i, j, middle in ((0, 1, middles[:, 0, 1]), (1, 2, middles[:, 1, 2]), (2, 0, middles[:, 0, 2])):
            self._edges[middle - self.num_coarse] = np.stack([corners[:, i], corners[:, j]], 1)
        self._set_axes(rest_vertices, rest_joints)
        self.rest_coarse = self.with_forearm(np.asarray(rest_vertices, np.float32), np.eye(3), ForearmShape(growth=1.3))
        self.ring_distance = np.concatenate([np.zeros(self.num_hand), np.repeat(RING_DISTANCE_M, len(self.loop))])

    def _set_axes(self, vertices: np.ndarray, joints: np.ndarray) -> None:
        fingers = joints[4] - joints[0]
        across = joints[7] - joints[1]
        palm = np.cross(fingers, across)
        self.palm_normal = palm / np.linalg.norm(palm)
        rim = vertices[self.loop]
        normal = np.cross(rim, np.roll(rim, -1, 0)).sum(0)
        normal /= np.linalg.norm(normal)
        if normal @ (rim.mean(0) - joints[4]) < 0:
            normal = -normal
        straight = rim.mean(0) - joints[4]
        axis = normal + straight / np.linalg.norm(straight)
        axis -= (axis @ self.palm_normal) * self.palm_normal * 0.5
        self.arm_axis = axis / np.linalg.norm(axis)
        side = np.cross(self.palm_normal, self.arm_axis)
        self.arm_side = side / np.linalg.norm(side)
        self.finger_axis = fingers / np.linalg.norm(fingers)

    def with_forearm(self, vertices: np.ndarray, global_orient: np.ndarray, shape: ForearmShape) -> np.ndarray:
        """A posed hand followed by the forearm's rings.

        Args:
            vertices: (V, 3) metres, any frame.
            global_orient: (3, 3) rotation of the wrist in it.
            shape: the forearm's.

        Returns:
            (num_coarse, 3) float32, in the vertices' frame.
        """
        rotation = np.asarray(global_orient, np.float64)
        axis, side = rotation @ self.arm_axis, rotation @ self.arm_side
        out = np.empty((self.num_coarse, 3), np.float32)
        out[: self.num_hand] = vertices
        _grow_rings(
            out, self.num_hand, self.loop, RING_DISTANCE_M, axis, side, shape.flexion, shape.deviation, shape.growth,
            shape.sleeve_m, shape.sleeve_ring,
        )
        return out

    def carry(self, values: np.ndarray) -> np.ndarray:
        """Values at the coarse vertices (num_coarse, D) to the fine ones (num_fine, D): halfway along each edge."""
        halfway = values[self._edges[:, 0]] + values[self._edges[:, 1]]
        return np.concatenate([values, np.float32(0.5) * halfway])

    def subdivide(self, coarse: np.ndarray) -> np.ndarray:
        """(num_coarse, 3) float32 -> (num_fine, 3) float32."""
        fine = np.empty((self.num_fine, 3), np.float32)
        _csr_times_points(self._indptr, self._indices, self._data, coarse, fine)
        return fine
