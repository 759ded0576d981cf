"""A CPU z-buffer: triangles in the camera's frame to depth, face index and barycentrics per pixel.

Pixel centres lie on integer coordinates. Triangles are rasterised by their homogeneous edge functions (Olano and Greer
1997, "Triangle scan conversion using 2D homogeneous coordinates"), so that a triangle that crosses the camera's plane
needs no clipping and barycentrics are perspective-correct by construction: for a face with camera-frame corners P0, P1,
P2 the rows e_i of inv([P0 P1 P2]) inv(K) give b_i / z = e_i . (u, v, 1) at pixel (u, v).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from handmesh.io.runtime.kernels import njit

NEAR_M = 0.02  # nothing nearer than this to the camera is drawn
_EDGE_TOLERANCE = np.float32(1e-5)  # of the largest barycentric; closes cracks between faces that share an edge


class RasterBuffers(NamedTuple):
    """What lies under each pixel: depth (H, W) float32 metres (inf = empty), face_index (H, W) int32 (-1 = empty),
    barycentric (H, W, 3) float32 (zeros where empty).
    """

    depth: np.ndarray
    face_index: np.ndarray
    barycentric: np.ndarray


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def vertex_normals(vertices: np.ndarray, faces: np.ndarray, out: np.ndarray) -> None:
    """Unit normals: the area-weighted mean of the faces round each vertex.

    Args:
        vertices: (V, 3) float32.
        faces: (F, 3) int32.
        out: (V, 3) float32, filled.
    """
    out[:] = 0.0
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux = vertices[b, 0] - vertices[a, 0]
        uy = vertices[b, 1] - vertices[a, 1]
        uz = vertices[b, 2] - vertices[a, 2]
        vx = vertices[c, 0] - vertices[a, 0]
        vy = vertices[c, 1] - vertices[a, 1]
        vz = vertices[c, 2] - vertices[a, 2]
        nx = uy * vz - uz * vy
        ny = uz * vx - ux * vz
        nz = ux * vy - uy * vx
        for k in (a, b, c):
            out[k, 0] += nx
            out[k, 1] += ny
            out[k, 2] += nz
    for v in range(out.shape[0]):
        length = np.sqrt(out[v, 0] * out[v, 0] + out[v, 1] * out[v, 1] + out[v, 2] * out[v, 2])
        scale = np.float32(1.0) / max(length, np.float32(1e-20))
        out[v, 0] *= scale
        out[v, 1] *= scale
        out[v, 2] *= scale


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def setup_edges(
    vertices: np.ndarray, faces: np.ndarray, K: np.ndarray, width: int, height: int, near: float, cull: bool,
    edges: np.ndarray, boxes: np.ndarray,
) -> None:
    """What :func:`fill_faces` needs of each face.

    Args:
        vertices: (V, 3) float32, metres, camera frame.
        faces: (F, 3) int32, counter-clockwise seen from outside.
        K: (3, 3) float64 intrinsics, pixels.
        width, height: of the picture, pixels.
        near: distance from which anything is drawn, metres.
        cull: leave out faces that look away from the camera.
        edges: (F, 3, 3) float32, filled: rows e_i such that b_i / z = e_i . (u - u0, v - v0, 1) with (u0, v0) the first
            corner of the face's box.
        boxes: (F, 4) int32, filled: u0, v0, u1, v1 (exclusive; u1 = u0 when nothing is to be drawn).
    """
    fx, fy, cx, cy, skew = K[0, 0], K[1, 1], K[0, 2], K[1, 2], K[0, 1]
    for f in range(faces.shape[0]):
        boxes[f, 0] = boxes[f, 1] = boxes[f, 2] = boxes[f, 3] = 0
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        z0, z1, z2 = np.float64(vertices[a, 2]), np.float64(vertices[b, 2]), np.float64(vertices[c, 2])
        if z0 < near and z1 < near and z2 < near:
            continue
        # homogeneous pixel coordinates: (u z, v z, z)
        x0 = fx * vertices[a, 0] + skew * vertices[a, 1] + cx * z0
        x1 = fx * vertices[b, 0] + skew * vertices[b, 1] + cx * z1
        x2 = fx * vertices[c, 0] + skew * vertices[c, 1] + cx * z2
        y0 = fy * vertices[a, 1] + cy * z0
        y1 = fy * vertices[b, 1] + cy * z1
        y2 = fy * vertices[c, 1] + cy * z2
        a00, a01, a02 = y1 * z2 - y2 * z1, x2 * z1 - x1 * z2, x1 * y2 - x2 * y1
        determinant = x0 * a00 + y0 * a01 + z0 * a02
        # The determinant is the volume spanned by the eye and the face: negative when the face looks at the camera
        # (counter-clockwise seen from outside, y down).
        if determinant == 0.0 or (cull and determinant > 0.0):
            continue
        if z0 < near or z1 < near or z2 < near:
            lo_u, lo_v, hi_u, hi_v = 0, 0, width, height
        else:
            u0, u1, u2 = x0 / z0, x1 / z1, x2 / z2
            v0, v1, v2 = y0 / z0, y1 / z1, y2 / z2
            least_u, most_u = min(u0, u1, u2), max(u0, u1, u2)
            least_v, most_v = min(v0, v1, v2), max(v0, v1, v2)
            if most_u < 0 or most_v < 0 or least_u > width - 1 or least_v > height - 1:
                continue
            lo_u, lo_v = int(np.ceil(max(least_u, 0.0))), int(np.ceil(max(least_v, 0.0)))
            hi_u = int(np.floor(min(most_u, width - 1.0))) + 1
            hi_v = int(np.floor(min(most_v, height - 1.0))) + 1
        if hi_u <= lo_u or hi_v <= lo_v:
            continue
        inverse = 1.0 / determinant
        for i in range(3):
            if i == 0:
                p, q, r = a00, a01, a02
            elif i == 1:
                p, q, r = y2 * z0 - y0 * z2, x0 * z2 - x2 * z0, x2 * y0 - x0 * y2
            else:
                p, q, r = y0 * z1 - y1 * z0, x1 * z0 - x0 * z1, x0 * y1 - x1 * y0
            edges[f, i, 0] = p * inverse
            edges[f, i, 1] = q * inverse
            edges[f, i, 2] = (p * lo_u + q * lo_v + r) * inverse
        boxes[f, 0], boxes[f, 1], boxes[f, 2], boxes[f, 3] = lo_u, lo_v, hi_u, hi_v


@njit(cache=True, nogil=True, fastmath={"contract", "arcp", "nsz"}, error_model="numpy")
def fill_faces(
    edges: np.ndarray, boxes: np.ndarray, near: float, first_index: int,
    inverse_depth: np.ndarray, face_index: np.ndarray,
) -> None:
    """Draw every face.

    Each row of a face is one span, found by solving the three edge functions for u: most faces of a hand are a few
    pixels wide, and testing every pixel of a box against three edges costs twice as much.

    Args:
        edges, boxes: of :func:`setup_edges`.
        near: distance from which anything is drawn, metres.
        first_index: the index of the first face in face_index.
        inverse_depth: (H, W) float32, 1 / metres, 0 = empty; changed where a face is nearer.
        face_index: (H, W) int32, changed with it.
    """
    nearest = np.float32(1.0 / near)
    one, zero = np.float32(1.0), np.float32(0.0)
    for f in range(edges.shape[0]):
        u0, v0, u1, v1 = boxes[f, 0], boxes[f, 1], boxes[f, 2], boxes[f, 3]
        if u1 <= u0:
            continue
        slope = edges[f, 0, 0] + edges[f, 1, 0] + edges[f, 2, 0]
        rise = edges[f, 0, 1] + edges[f, 1, 1] + edges[f, 2, 1]
        base = edges[f, 0, 2] + edges[f, 1, 2] + edges[f, 2, 2]
        slack = _EDGE_TOLERANCE * max(abs(base), abs(base + rise * np.float32(v1 - v0)))
        widest = np.float32(u1 - 1 - u0)
        index = first_index + f
        for v in range(v0, v1):
            dv = np.float32(v - v0)
            low, high = zero, widest
            for i in range(3):
                a = edges[f, i, 0]
                e = edges[f, i, 1] * dv + edges[f, i, 2] + slack
                if a > zero:
                    low = max(low, -e * (one / a))
                elif a < zero:
                    high = min(high, -e * (one / a))
                elif e < zero:
                    high = np.float32(-1.0)
            if high < low:
                continue
            first, last = int(np.ceil(low)), int(high)
            total = base + rise * dv + slope * np.float32(first)
            for u in range(u0 + first, u0 + last + 1):
                if inverse_depth[v, u] < total <= nearest:
                    inverse_depth[v, u] = total
                    face_index[v, u] = index
                total += slope


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _resolve(
    edges: np.ndarray, boxes: np.ndarray, inverse_depth: np.ndarray, face_index: np.ndarray,
    depth: np.ndarray, barycentric: np.ndarray,
) -> None:
    for v in range(depth.shape[0]):
        for u in range(depth.shape[1]):
            f = face_index[v, u]
            if f < 0:
                continue
            depth[v, u] = np.float32(1.0) / inverse_depth[v, u]
            du, dv = np.float32(u - boxes[f, 0]), np.float32(v - boxes[f, 1])
            total = np.float32(0.0)
            for i in range(3):
                w = max(edges[f, i, 0] * du + edges[f, i, 1] * dv + edges[f, i, 2], np.float32(0.0))
                barycentric[v, u, i] = w
                total += w
            for i in range(3):
                barycentric[v, u, i] /= total


def rasterize(
    vertices_cam: np.ndarray, faces: np.ndarray, K: np.ndarray, width: int, height: int,
    *, near: float = NEAR_M, cull: bool = True,
) -> RasterBuffers:
    """Rasterise one mesh. Parts nearer than ``near`` or behind the camera are not drawn.

    Args:
        vertices_cam: (V, 3) metres, camera frame.
        faces: (F, 3), counter-clockwise seen from outside.
        K: (3, 3) intrinsics, pixels.
        width, height: of the picture, pixels.
        near: metres.
        cull: leave out faces that look away from the camera.

    Returns:
        depth (H, W), face index (H, W) and barycentrics (H, W, 3); inf and -1 where there is nothing.
    """
    vertices_cam = np.ascontiguousarray(vertices_cam, np.float32)
    faces = np.ascontiguousarray(faces, np.int32)
    edges = np.empty((len(faces), 3, 3), np.float32)
    boxes = np.empty((len(faces), 4), np.int32)
    inverse_depth = np.zeros((height, width), np.float32)
    face_index = np.full((height, width), -1, np.int32)
    setup_edges(vertices_cam, faces, np.asarray(K, np.float64), width, height, near, cull, edges, boxes)
    fill_faces(edges, boxes, near, 0, inverse_depth, face_index)
    depth = np.full((height, width), np.inf, np.float32)
    barycentric = np.zeros((height, width, 3), np.float32)
    _resolve(edges, boxes, inverse_depth, face_index, depth, barycentric)
    return RasterBuffers(depth, face_index, barycentric)
