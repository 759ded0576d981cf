"""Remeshing: a given surface carried by exactly so many vertices, with well-shaped triangles and a fixed rim."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import spsolve
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
Faces = NDArray[np.int64]


class Surface:
    """A dense triangle surface to project onto: nearest points, and per-vertex attributes there."""

    def __init__(self, vertices: Array, faces: Faces) -> None:
        self.vertices, self.faces = vertices, faces
        self._tree = cKDTree(vertices[faces].mean(axis=1))

    def nearest(self, points: Array) -> tuple[Array, NDArray[np.int64], Array]:
        """points (N,3) -> nearest surface points (N,3), their face (N,), barycentric (N,3)."""
        _, candidates = self._tree.query(points, k=12)
        corners = self.vertices[self.faces[candidates]]
        barycentric = _closest_barycentric(points[:, None], corners)
        projected = np.einsum("nkc,nkcd->nkd", barycentric, corners)
        best = np.argmin(((projected - points[:, None]) ** 2).sum(-1), axis=1)
        rows = np.arange(len(points))
        return projected[rows, best], candidates[rows, best], barycentric[rows, best]

    def project(self, points: Array) -> Array:
        """points (N,3) -> (N,3) on the surface."""
        return self.nearest(points)[0]

    def sample(self, points: Array, attribute: Array) -> Array:
        """attribute (V,...) of the surface's vertices, interpolated at the points nearest to points (N,3)."""
        _, face, barycentric = self.nearest(points)
        return np.einsum("nc,nc...->n...", barycentric, attribute[self.faces[face]])


def _closest_barycentric(points: Array, corners: Array) -> Array:
    """Barycentric coordinates of the closest point of triangles corners (...,3,3) to points (...,3)."""
    a, b, c = corners[..., 0, :], corners[..., 1, :], corners[..., 2, :]
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = (ab * ab).sum(-1), (ab * ac).sum(-1), (ac * ac).sum(-1)
    d20, d21 = (ap * ab).sum(-1), (ap * ac).sum(-1)
    determinant = np.maximum(d00 * d11 - d01 * d01, 1e-30)
    v = (d11 * d20 - d01 * d21) / determinant
    w = (d00 * d21 - d01 * d20) / determinant
    inside = np.stack([1 - v - w, v, w], -1)
    options = [inside]
    for start, end, (i, j) in ((a, b, (0, 1)), (b, c, (1, 2)), (c, a, (2, 0))):
        edge = end - start
        t = np.clip(((points - start) * edge).sum(-1) / np.maximum((edge * edge).sum(-1), 1e-30), 0, 1)
        flat = np.zeros_like(inside)
        flat[..., i], flat[..., j] = 1 - t, t
        options.append(flat)
    stack = np.stack(options)
    reached = np.einsum("o...c,...cd->o...d", stack, corners)
    distance = ((reached - points) ** 2).sum(-1)
    distance[0] = np.where((inside >= 0).all(-1), -1.0, np.inf)
    best = np.argmin(distance, axis=0)
    return np.take_along_axis(stack, best[None, ..., None], axis=0)[0]


def fit_to_surface(vertices: Array, faces: Faces, surface: Surface, rounds: int = 3) -> Array:
    """Moves vertices so that the triangles, not just their corners, lie on the surface: least squares over its points.

    A coarse mesh with its corners on a round surface cuts inside it and would measure too thin.  The rim stays.
    """
    fixed = np.array(boundary_loop(faces))
    free = np.setdiff1d(np.arange(len(vertices)), fixed)
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    graph = coo_matrix((np.ones(len(pairs)), pairs.T), (len(vertices), len(vertices))).tocsr()
    graph = diags(np.asarray((graph + graph.T).sum(axis=1)).ravel()) - (graph + graph.T)
    start = vertices
    for _ in range(rounds):
        _, face, barycentric = Surface(vertices, faces).nearest(surface.vertices)
        rows = np.repeat(np.arange(len(face)), 3)
        shares = coo_matrix((barycentric.ravel(), (rows, faces[face].ravel())), (len(face), len(vertices))).tocsr()
        # The move is kept smooth, so that sparse stretches of the surface do not wrinkle the mesh.
        system = shares.T @ shares + 3.0 * graph.T @ graph
        right = shares.T @ (surface.vertices - shares @ start)
        move = np.zeros_like(vertices)
        move[free] = spsolve(system[free][:, free].tocsc(), right[free])
        length = np.linalg.norm(move, axis=1, keepdims=True)
        move *= np.minimum(1.0, 0.0009 / np.maximum(length, 1e-9))  # a sharp border must not grow spikes
        vertices = start + move
    return vertices


def boundary_loop(faces: Faces) -> list[int]:
    """The vertices of the one boundary loop in order; empty when the surface is closed."""
    directed = {(int(a), int(b)) for f in faces for a, b in zip(f, np.roll(f, -1))}
    follow = {b: a for a, b in directed if (b, a) not in directed}
    if not follow:
        return []
    loop = [min(follow)]
    while follow[loop[-1]] != loop[0]:
        loop.append(follow[loop[-1]])
    return loop


class Mesh:
    """Vertices and faces under local edits.  ring vertices (the rim) never move, split or vanish."""

    def __init__(self, vertices: Array, faces: Faces) -> None:
        self.points: list[Array] = [np.array(p) for p in vertices]
        self.faces: dict[int, tuple[int, int, int]] = {i: (int(a), int(b), int(c)) for i, (a, b, c) in enumerate(faces)}
        self.at: dict[int, set[int]] = defaultdict(set)
        for i, face in self.faces.items():
            for vertex in face:
                self.at[vertex].add(i)
        self.rim: set[int] = set(boundary_loop(faces))
        self._next = len(self.faces)

    def edges(self) -> list[tuple[int, int]]:
        """Every edge once, smaller vertex first."""
        return sorted({(min(a, b), max(a, b)) for f in self.faces.values() for a, b in zip(f, (f[1], f[2], f[0]))})

    def count(self) -> int:
        """How many vertices are in use."""
        return sum(1 for faces in self.at.values() if faces)

    def wings(self, a: int, b: int) -> list[int]:
        """The faces at an edge: two, one at the rim, none where there is no such edge."""
        return sorted(self.at[a] & self.at[b])

    def ring(self, a: int) -> set[int]:
        """The neighbours of a vertex."""
        return {v for i in self.at[a] for v in self.faces[i]} - {a}

    def length(self, a: int, b: int) -> float:
        """The distance of two vertices in metres."""
        return float(np.linalg.norm(self.points[a] - self.points[b]))

    def _normal(self, face: tuple[int, int, int]) -> Array:
        p, q, r = (self.points[k] for k in face)
        return np.cross(q - p, r - p)

    def _put(self, i: int, face: tuple[int, int, int]) -> None:
        for vertex in self.faces.get(i, ()):
            self.at[vertex].discard(i)
        self.faces[i] = face
        for vertex in face:
            self.at[vertex].add(i)

    def _drop(self, i: int) -> None:
        for vertex in self.faces.pop(i):
            self.at[vertex].discard(i)

    def split(self, a: int, b: int) -> bool:
        """Puts a vertex at the middle of an inner edge."""
        wings = self.wings(a, b)
        if len(wings) != 2:
            return False
        self.points.append(0.5 * (self.points[a] + self.points[b]))
        middle = len(self.points) - 1
        for i in wings:
            face = self.faces[i]
            self._put(i, tuple(middle if v == b else v for v in face))  # type: ignore[arg-type]
            self._put(self._next, tuple(middle if v == a else v for v in face))  # type: ignore[arg-type]
            self._next += 1
        return True

    def collapse(self, a: int, b: int, on_rim: bool = False) -> bool:
        """Merges b into a, when the surface stays a manifold and no face turns over."""
        if on_rim != (a in self.rim and b in self.rim):
            return False
        if b in self.rim and not on_rim:
            a, b = b, a
        wings = self.wings(a, b)
        if len(wings) != (1 if on_rim else 2) or len(self.ring(a) & self.ring(b)) != len(wings):
            return False
        if any(len(self.ring(v)) <= (2 if v in self.rim else 3) + 0
               for i in wings for v in self.faces[i] if v not in (a, b)):
            return False
        target = self.points[a] if a in self.rim and not on_rim else 0.5 * (self.points[a] + self.points[b])
        moved = [(self.at[k] - set(wings), k) for k in (a, b)]
        before = {i: self._normal(self.faces[i]) for faces, _ in moved for i in faces}
        old_a, old_b = self.points[a], self.points[b]
        self.points[a] = self.points[b] = target
        for i, normal in before.items():
            new = self._normal(self.faces[i])
            if new @ normal < 0.3 * np.linalg.norm(new) * np.linalg.norm(normal) or np.linalg.norm(new) < 1e-12:
                self.points[a], self.points[b] = old_a, old_b
                return False
        for i in wings:
            self._drop(i)
        for i in list(self.at[b]):
            self._put(i, tuple(a if v == b else v for v in self.faces[i]))  # type: ignore[arg-type]
        self.rim.discard(b)
        return True

    def flip(self, a: int, b: int) -> bool:
        """Turns an inner edge when valences or angles gain by it and no face turns over."""
        wings = self.wings(a, b)
        if len(wings) != 2:
            return False
        first, second = (self.faces[i] for i in wings)
        (c,) = set(first) - {a, b}
        (d,) = set(second) - {a, b}
        if d in self.ring(c) or len(self.ring(a)) <= 3 or len(self.ring(b)) <= 3:
            return False
        if (first.index(a) + 1) % 3 != first.index(b):
            c, d = d, c
        new = ((a, d, c), (d, b, c))
        if self._gain(a, b, c, d) <= 0:
            return False
        old_normal = self._normal(first) + self._normal(second)
        for face in new:
            normal = self._normal(face)
            if normal @ old_normal < 0.5 * np.linalg.norm(normal) * np.linalg.norm(old_normal):
                return False
        for i, face in zip(wings, new):
            self._put(i, face)
        return True

    def _gain(self, a: int, b: int, c: int, d: int) -> float:
        """How much squared valence error and the smaller angles gain from edge (a,b) becoming (c,d)."""
        def error(v: int, change: int) -> float:
            return (len(self.ring(v)) + change - (4 if v in self.rim else 6)) ** 2
        valence = sum(error(v, 0) for v in (a, b, c, d)) - sum(error(v, -1) for v in (a, b)) \
            - sum(error(v, 1) for v in (c, d))
        now = min(self._angle(a, b, c), self._angle(b, a, d))
        then = min(self._angle(a, d, c), self._angle(d, b, c))
        return 0.15 * valence + (then - now) / 0.5

    def _angle(self, a: int, b: int, c: int) -> float:
        """The smallest angle of triangle a, b, c in radians."""
        sides = sorted((self.length(a, b), self.length(b, c), self.length(c, a)))
        cosine = (sides[1] ** 2 + sides[2] ** 2 - sides[0] ** 2) / max(2 * sides[1] * sides[2], 1e-20)
        return float(np.arccos(np.clip(cosine, -1, 1)))

    def arrays(self) -> tuple[Array, Faces]:
        """Vertices and faces without the vertices that vanished."""
        faces = np.array([self.faces[i] for i in sorted(self.faces)], np.int64)
        used, faces = np.unique(faces, return_inverse=True)
        return np.array(self.points)[used], faces.reshape(-1, 3).astype(np.int64)


def thin_rim(mesh: Mesh, count: int) -> None:
    """Collapses the shortest rim edges until count are left, then spreads the rim evenly along its own curve."""
    loop = _loop_of(mesh)
    curve = np.array([mesh.points[v] for v in loop])
    while len(mesh.rim) > count:
        loop = _loop_of(mesh)
        pairs = sorted((mesh.length(a, b), a, b) for a, b in zip(loop, loop[1:] + loop[:1]))
        if not any(mesh.collapse(a, b, on_rim=True) for _, a, b in pairs):
            raise ValueError("expected a rim that can be thinned, got one locked by its triangles")
    loop = _loop_of(mesh)
    closed = np.concatenate([curve, curve[:1]])
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    start = arc[np.argmin(np.linalg.norm(curve - mesh.points[loop[0]], axis=1))]
    for k, vertex in enumerate(loop):
        s = (start + arc[-1] * k / count) % arc[-1]
        mesh.points[vertex] = np.array([np.interp(s, arc, closed[:, d]) for d in range(3)])


def _loop_of(mesh: Mesh) -> list[int]:
    return boundary_loop(np.array([mesh.faces[i] for i in sorted(mesh.faces)]))


def remesh(mesh: Mesh, surface: Surface, size_at: Callable[[Array], Array], count: int,
           rounds: int = 14) -> tuple[Array, Faces]:
    """Remeshes in place to exactly count vertices with edges near size_at(points (N,3)) -> (N,) metres."""
    for _ in range(rounds):
        size = size_at(np.array(mesh.points))
        _split_long(mesh, size)
        size = size_at(np.array(mesh.points))
        _collapse_short(mesh, size)
        _flip_and_relax(mesh, surface, size_at, 2)
    for _ in range(12):
        _settle(mesh, size_at, count)
        _flip_and_relax(mesh, surface, size_at, 4)
    assert mesh.count() == count
    return mesh.arrays()


def _ratios(mesh: Mesh, size: Array) -> list[tuple[float, int, int]]:
    return [(mesh.length(a, b) / (0.5 * (size[a] + size[b])), a, b) for a, b in mesh.edges()]


def _split_long(mesh: Mesh, size: Array) -> None:
    for ratio, a, b in sorted(_ratios(mesh, size), reverse=True):
        if ratio > 4.0 / 3.0:
            mesh.split(a, b)


def _collapse_short(mesh: Mesh, size: Array) -> None:
    touched: set[int] = set()
    for ratio, a, b in sorted(_ratios(mesh, size)):
        if ratio < 0.8 and a not in touched and b not in touched:
            ring = mesh.ring(a) | mesh.ring(b)
            if mesh.collapse(a, b):
                touched |= ring


def _settle(mesh: Mesh, size_at: Callable[[Array], Array], count: int) -> None:
    """Collapses the relatively shortest or splits the relatively longest edges until the count is right."""
    while mesh.count() != count:
        size = size_at(np.array(mesh.points))
        ranked = sorted(_ratios(mesh, size))
        if mesh.count() > count:
            changed = any(mesh.collapse(a, b) for _, a, b in ranked)
        else:
            changed = any(mesh.split(a, b) for _, a, b in reversed(ranked))
        if not changed:
            raise ValueError(f"expected to reach {count} vertices, got stuck at {mesh.count()}")


def _flip_and_relax(mesh: Mesh, surface: Surface, size_at: Callable[[Array], Array], passes: int) -> None:
    for _ in range(passes):
        for a, b in mesh.edges():
            if len(mesh.wings(a, b)) == 2:
                mesh.flip(a, b)
        _relax(mesh, surface, size_at)


def _relax(mesh: Mesh, surface: Surface, size_at: Callable[[Array], Array]) -> None:
    """Moves inner vertices to the size-weighted centroid of their triangles along the tangent plane, then projects."""
    points = np.array(mesh.points)
    faces = np.array(list(mesh.faces.values()))
    size = size_at(points)
    corners = points[faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    weight = 0.5 * np.linalg.norm(cross, axis=1) / size[faces].mean(axis=1) ** 2
    total, centre, normal = np.zeros(len(points)), np.zeros_like(points), np.zeros_like(points)
    for k in range(3):
        np.add.at(total, faces[:, k], weight)
        np.add.at(centre, faces[:, k], weight[:, None] * corners.mean(axis=1))
        np.add.at(normal, faces[:, k], cross)
    free = np.array([v for v in np.unique(faces) if v not in mesh.rim])
    n = normal[free] / np.maximum(np.linalg.norm(normal[free], axis=1, keepdims=True), 1e-20)
    step = centre[free] / total[free, None] - points[free]
    step -= (step * n).sum(axis=1, keepdims=True) * n
    for vertex, point in zip(free, surface.project(points[free] + 0.6 * step)):
        mesh.points[vertex] = point
