"""The z-buffer against a slow ray caster, and what must hold for every mesh."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.rendering.rasterizer import NEAR_M, rasterize, vertex_normals

WIDTH, HEIGHT = 48, 40
K = np.array([[45.0, 0, 23.3], [0, 47.0, 19.1], [0, 0, 1]])


def random_triangles(seed: int, count: int = 30, low: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = rng.uniform([-0.4, -0.4, low], [0.4, 0.4, 1.6], (count, 1, 3))
    vertices = centres + rng.normal(0, 0.15, (count, 3, 3))
    return vertices.reshape(-1, 3).astype(np.float32), np.arange(3 * count).reshape(-1, 3)


def cast_rays(vertices: np.ndarray, faces: np.ndarray, cull: bool) -> tuple[np.ndarray, np.ndarray]:
    """Depth and face by intersecting every pixel's ray with every face in float64 (Moeller and Trumbore 1997)."""
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u, float)], -1)
    depth = np.full((HEIGHT, WIDTH), np.inf)
    index = np.full((HEIGHT, WIDTH), -1)
    for f, (a, b, c) in enumerate(vertices.astype(np.float64)[faces]):
        e1, e2 = b - a, c - a
        p = np.cross(rays, e2)
        determinant = p @ e1
        with np.errstate(divide="ignore", invalid="ignore"):
            s = -a
            x = (p @ s) / determinant
            q = np.cross(s, e1)
            y = (rays @ q) / determinant
            t = (e2 @ q) / determinant
        # Outward is counter-clockwise seen from outside; a ray hits the outside where it runs against the normal.
        hit = (x >= 0) & (y >= 0) & (x + y <= 1) & (t > NEAR_M) & (t < depth)
        if cull:
            hit &= rays @ np.cross(e1, e2) < 0
        depth[hit], index[hit] = t[hit], f
    return depth, index


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("cull", [True, False])
def test_agrees_with_ray_casting(seed: int, cull: bool) -> None:
    vertices, faces = random_triangles(seed)
    buffers = rasterize(vertices, faces, K, WIDTH, HEIGHT, cull=cull)
    depth, index = cast_rays(vertices, faces, cull)
    same = buffers.face_index == index
    assert same.mean() > 0.998  # pixels exactly on an edge may fall either way
    both = same & (index >= 0)
    assert both.sum() > 100
    np.testing.assert_allclose(buffers.depth[both], depth[both], rtol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_faces_across_the_eye_plane_are_cut_there(seed: int) -> None:
    vertices, faces = random_triangles(seed, low=-0.4)
    depth, index = cast_rays(vertices, faces, True)
    buffers = rasterize(vertices, faces, K, WIDTH, HEIGHT)
    assert (buffers.face_index == index).mean() > 0.998
    assert np.nanmin(buffers.depth) >= NEAR_M * 0.999


def test_barycentrics_give_the_pixel_back() -> None:
    vertices, faces = random_triangles(7)
    depth, index, barycentric = rasterize(vertices, faces, K, WIDTH, HEIGHT)
    v, u = np.nonzero(index >= 0)
    points = np.einsum("nk,nkc->nc", barycentric[v, u], vertices[faces[index[v, u]]])
    uvw = points @ K.T
    np.testing.assert_allclose(uvw[:, :2] / uvw[:, 2:], np.stack([u, v], 1), atol=2e-3)
    np.testing.assert_allclose(points[:, 2], depth[v, u], rtol=1e-4)
    np.testing.assert_allclose(barycentric.sum(-1), index >= 0, atol=1e-5)


def test_neighbouring_faces_leave_no_cracks() -> None:
    # A wavy sheet of thin faces that fills the picture: every pixel must be hit.
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 40), np.linspace(-1, 1, 33), indexing="xy"), -1)
    vertices = np.concatenate([grid, 1.0 + 0.02 * rng.normal(size=(33, 40, 1))], -1).reshape(-1, 3)
    a = (np.arange(32)[:, None] * 40 + np.arange(39)).ravel()
    faces = np.concatenate([np.stack([a, a + 1, a + 41], 1), np.stack([a, a + 41, a + 40], 1)])
    for flip in (faces, faces[:, ::-1]):
        index = rasterize(vertices, flip, K, WIDTH, HEIGHT, cull=False).face_index
        assert (index >= 0).all()


def test_faces_that_look_away_are_not_drawn() -> None:
    front = np.array([[-0.2, -0.2, 1], [-0.2, 0.2, 1], [0.2, 0.0, 1]])
    for faces, drawn in (([[0, 2, 1]], False), ([[0, 1, 2]], True)):
        buffers = rasterize(front, np.array(faces), K, WIDTH, HEIGHT)
        normal = np.cross(front[faces[0][1]] - front[faces[0][0]], front[faces[0][2]] - front[faces[0][0]])
        assert (normal[2] < 0) == drawn
        assert (buffers.face_index >= 0).any() == drawn


def test_normals_of_a_sphere_point_outward() -> None:
    rng = np.random.default_rng(1)
    from scipy.spatial import ConvexHull

    points = rng.normal(size=(300, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    faces = ConvexHull(points).simplices
    a, b, c = (points[faces[:, i]] for i in range(3))
    outward = np.einsum("fc,fc->f", np.cross(b - a, c - a), a)
    faces = np.where((outward > 0)[:, None], faces, faces[:, ::-1])
    normals = np.empty((300, 3), np.float32)
    vertex_normals(points.astype(np.float32), faces.astype(np.int32), normals)
    assert np.einsum("vc,vc->v", normals, points).min() > 0.95


def test_hand_has_no_holes(open_mano) -> None:
    """Seen from outside, the rasterised hand covers what its silhouette covers without culling."""
    vertices = open_mano.v_template - open_mano.v_template.mean(0) + [0, 0, 0.45]
    intrinsics = np.array([[500.0, 0, 127.5], [0, 500.0, 127.5], [0, 0, 1]])
    culled = rasterize(vertices, open_mano.faces, intrinsics, 256, 256).face_index >= 0
    every = rasterize(vertices, open_mano.faces, intrinsics, 256, 256, cull=False).face_index >= 0
    assert every.sum() > 3000
    # Only the open wrist shows its inside.
    assert (every & ~culled).sum() < 0.02 * every.sum()
