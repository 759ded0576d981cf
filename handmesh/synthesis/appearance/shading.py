"""From visible faces to linear colour: skin texels, light and a specular term, per pixel.

The z-buffer holds two by two samples a pixel; samples of one pixel that lie on the same surface are shaded once
(multi-sample anti-aliasing).
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from handmesh.io.runtime.kernels import njit
from handmesh.synthesis.appearance.skin_map import GRID

SAMPLES = 2  # z-buffer samples along each side of a pixel
_CREVICE_M = 0.004  # a step down this far is as dark as any: about a quarter of a finger
_TOUCHING_M, _APART_M = 0.020, 0.045  # a gap wider than the first is ever less a crevice, than the second none
_TURN_M = 0.012  # how much deeper than its surroundings a hand is at its silhouette
_FARTHEST_M = np.float32(1e6)  # an empty pixel's depth is infinite
_SAME_SURFACE = np.float32(0.012)  # relative depth step that still counts as one surface


class Shaded(NamedTuple):
    """color (H, W, 3) float32 linear, premultiplied by alpha; alpha (H, W) float32 coverage of all that was drawn;
    hand (H, W) float32 coverage by the hand's own faces; depth (H, W) float32 metres and face (H, W) int32 of what is
    nearest in each pixel, inf and -1 where empty.
    """

    color: np.ndarray
    alpha: np.ndarray
    hand: np.ndarray
    depth: np.ndarray
    face: np.ndarray


def darken_crevices(shaded: Shaded, strength: float, reach_px: float) -> None:
    """Darken what lies deeper than its surroundings: the gaps between fingers that touch, too narrow for the directions
    of lighting.py (unsharp masking of the depth buffer, Luft, Colditz and Deussen 2006).

    Args:
        shaded: its color is changed.
        strength: part of the light taken where the step down is _CREVICE_M or more; none is taken from what lies
            _APART_M behind, for that touches nothing here.
        reach_px: the blur's sigma.
    """
    height, width = shaded.alpha.shape
    origin = np.float32(shaded.depth.min())  # squares of small numbers keep their digits
    if not np.isfinite(origin):
        return
    cover, depth, square = _halve(shaded.alpha, shaded.depth, origin)
    size = 2 * max(1, round(0.9 * reach_px / 2)) + 1  # two boxes of this side spread about as a Gaussian does
    for _ in range(2):
        cover, depth, square = (cv2.blur(x, (size, size)) for x in (cover, depth, square))
    # Round a silhouette the hand turns away by itself: what lies beside nothing counts as beside something deeper.
    mean = depth / (cover + np.float32(1e-6))
    variance = square / (cover + np.float32(1e-6)) - mean * mean
    around = np.dstack([mean + origin + np.float32(_TURN_M) * (np.float32(1.0) - cover), variance])
    around = cv2.resize(around, (width, height), interpolation=cv2.INTER_LINEAR)
    _darken(shaded.color, shaded.depth, around, strength)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _halve(alpha: np.ndarray, depth: np.ndarray, origin: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every other pixel of coverage, and of depth past origin and its square times coverage; zero where empty."""
    height, width = (alpha.shape[0] + 1) // 2, (alpha.shape[1] + 1) // 2
    cover, weighted = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    square = np.zeros((height, width), np.float32)
    for v in range(height):
        for u in range(width):
            a = alpha[2 * v, 2 * u]
            if a > 0:
                cover[v, u] = a
                past = depth[2 * v, 2 * u] - origin
                weighted[v, u] = a * past
                square[v, u] = a * past * past
    return cover, weighted, square


@njit(cache=True, nogil=True, error_model="numpy")
def _darken(color: np.ndarray, depth: np.ndarray, around: np.ndarray, strength: float) -> None:
    """around (H, W, 2): mean depth and its variance. Of two surfaces, one in front of the other, a pixel of the deeper
    lies `step` below the mean, and the gap between them is step + variance / step, however far the edge is.
    """
    one = np.float32(1.0)
    most = np.float32(strength)
    for v in range(color.shape[0]):
        for u in range(color.shape[1]):
            step = depth[v, u] - around[v, u, 0]
            if step > np.float32(1e-5) and depth[v, u] < _FARTHEST_M:
                gap = step + around[v, u, 1] / step
                near = (np.float32(_APART_M) - gap) * np.float32(1.0 / (_APART_M - _TOUCHING_M))
                near = min(max(near, np.float32(0.0)), one)
                light = one - most * near * min(step * np.float32(1.0 / _CREVICE_M), one)
                # Flesh passes red on: crevices are dark red, not grey.
                color[v, u, 0] *= np.sqrt(light * np.sqrt(light))
                color[v, u, 1] *= light
                color[v, u, 2] *= light


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy", inline="always")
def _texel_row(i: int) -> int:
    return i * (2 * GRID + 3 - i) // 2


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _fetch(texels: np.ndarray, face: int, b0: float, b1: float, out: np.ndarray) -> None:
    """Interpolate the texels (C, T, 4) of a coarse face at barycentrics (b0, b1, 1 - b0 - b1) into out (4,)."""
    x, y = b0 * np.float32(GRID), b1 * np.float32(GRID)
    i, j = min(int(x), GRID - 1), min(int(y), GRID - 1)
    if i + j > GRID - 1:
        j = GRID - 1 - i
    one = np.float32(1.0)
    fx, fy = x - np.float32(i), y - np.float32(j)
    if fx + fy <= one or i + j >= GRID - 1:
        p, q, r = _texel_row(i) + j, _texel_row(i + 1) + j, _texel_row(i) + j + 1
        wq, wr = fx, fy
    else:
        p, q, r = _texel_row(i + 1) + j + 1, _texel_row(i) + j + 1, _texel_row(i + 1) + j
        wq, wr = one - fx, one - fy
    wp = one - wq - wr
    for c in range(4):
        t0, t1, t2 = np.float32(texels[face, p, c]), np.float32(texels[face, q, c]), np.float32(texels[face, r, c])
        out[c] = wp * t0 + wq * t1 + wr * t2


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def light_vertices(
    points: np.ndarray, normals: np.ndarray, occlusion: np.ndarray, shadow: np.ndarray, sh: np.ndarray,
    lamp_directions: np.ndarray, lamp_colors: np.ndarray, wrap: np.ndarray, roughness: float,
) -> np.ndarray:
    """Light that a white matt surface, and one of gloss 1 besides, would send to the eye at the origin.

    The fine mesh has a vertex for every few pixels, so light is worked out here and carried over its faces.

    Args:
        points, normals: (V, 3) float32 metres, camera frame, and unit vectors there.
        occlusion: (V, 3) of the surroundings.
        shadow: (V, L) of the lamps.
        sh: (9, 3) irradiance / pi.
        lamp_directions, lamp_colors: (L, 3) as of Lighting.
        wrap: (3,) how far light creeps round the terminator, per colour (flesh scatters red farthest).
        roughness: 0..1.

    Returns:
        (V, 6) float32.
    """
    one, zero = np.float32(1.0), np.float32(0.0)
    exponent = np.float32(2.0 / (roughness * roughness))
    out = np.zeros((points.shape[0], 6), np.float32)
    for v in range(points.shape[0]):
        ex, ey, ez = -points[v, 0], -points[v, 1], -points[v, 2]
        length = one / np.sqrt(ex * ex + ey * ey + ez * ez + np.float32(1e-12))
        ex, ey, ez = ex * length, ey * length, ez * length
        nx, ny, nz = normals[v, 0], normals[v, 1], normals[v, 2]
        facing = nx * ex + ny * ey + nz * ez
        if facing < np.float32(-0.5):  # the vertex belongs to faces that look away
            continue
        facing = max(facing, zero)
        grazing = one - facing
        grazing = grazing * grazing * grazing * grazing * grazing
        sheen = np.float32(0.04) + np.float32(0.35) * grazing
        xy, yz, xz = np.float32(1.092548) * nx * ny, np.float32(1.092548) * ny * nz, np.float32(1.092548) * nx * nz
        zz = np.float32(0.315392) * (np.float32(3.0) * nz * nz - one)
        xx_yy = np.float32(0.546274) * (nx * nx - ny * ny)
        for i in range(3):
            ambient = (
                sh[0, i] * np.float32(0.282095)
                + np.float32(0.488603) * (sh[1, i] * ny + sh[2, i] * nz + sh[3, i] * nx)
                + sh[4, i] * xy + sh[5, i] * yz + sh[7, i] * xz + sh[6, i] * zz + sh[8, i] * xx_yy
            )  # fmt: skip
            ambient = max(ambient, np.float32(0.01)) * occlusion[v, i]
            out[v, i] = ambient
            out[v, 3 + i] = ambient * sheen
        for k in range(lamp_directions.shape[0]):
            lx, ly, lz = lamp_directions[k, 0], lamp_directions[k, 1], lamp_directions[k, 2]
            cosine, seen = nx * lx + ny * ly + nz * lz, shadow[v, k]
            lobe = zero
            if cosine > zero:
                hx, hy, hz = lx + ex, ly + ey, lz + ez
                norm = one / (hx * hx + hy * hy + hz * hz + np.float32(1e-12))
                peak = nx * hx + ny * hy + nz * hz
                lobe = seen * cosine * np.exp((peak * peak * norm - one) * exponent)
                lobe *= (np.float32(0.10) + np.float32(0.5) * grazing) * exponent * np.float32(0.25)
            for i in range(3):
                soft = max((cosine + wrap[i]) / ((one + wrap[i]) * (one + wrap[i])), zero)
                creep = min(one, seen + (one - seen) * wrap[i] * np.float32(0.35))
                out[v, i] += lamp_colors[k, i] * soft * creep
                out[v, 3 + i] += lamp_colors[k, i] * lobe
    return out


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def shade(
    face_index: np.ndarray, inverse_depth: np.ndarray, edges: np.ndarray, boxes: np.ndarray, faces: np.ndarray,
    light: np.ndarray, texels: np.ndarray, subface: np.ndarray, vertex_albedo: np.ndarray, shine: float,
    num_hand_faces: int, color: np.ndarray, alpha: np.ndarray, hand: np.ndarray, depth: np.ndarray,
    face: np.ndarray,
) -> None:
    """Shade a z-buffer of SAMPLES x SAMPLES per pixel.

    Args:
        face_index, inverse_depth, edges, boxes: of rasterizer.py.
        faces: (F, 3) of the fine mesh.
        light: (V, 6) of :func:`light_vertices`.
        texels: (C, T, 4) square-root albedo and gloss, 0..255: of coarse face f // 4 for faces f below 4 C.
        subface: (4, 3, 3) barycentrics of a fine face's corners on its coarse face.
        vertex_albedo: (V, 4) albedo and gloss of the other faces.
        shine: factor of the gloss.
        num_hand_faces: faces below are the hand's own.
        color, alpha, hand, depth, face: filled, see Shaded.
    """
    height, width = color.shape[0], color.shape[1]
    textured = 4 * texels.shape[0]
    sample, ids, inv = np.zeros(4, np.float32), np.zeros(4, np.int32), np.zeros(4, np.float32)
    one, zero = np.float32(1.0), np.float32(0.0)
    strength = np.float32(shine)
    for v in range(height):
        for u in range(width):
            covered = False
            for s in range(4):
                su, sv = 2 * u + (s & 1), 2 * v + (s >> 1)
                ids[s], inv[s] = face_index[sv, su], inverse_depth[sv, su]
                covered |= ids[s] >= 0
            if not covered:
                continue
            deepest = zero
            for s in range(4):
                if ids[s] < 0:
                    continue
                mine, near = np.uintp(ids[s]), inv[s]
                share = np.float32(0.25)
                for t in range(s + 1, 4):
                    if ids[t] >= 0 and abs(inv[t] - near) < _SAME_SURFACE * near:
                        share += np.float32(0.25)
                        ids[t] = -1
                if near > deepest:
                    deepest = near
                    face[v, u] = mine
                du = np.float32(2 * u + (s & 1) - boxes[mine, 0])
                dv = np.float32(2 * v + (s >> 1) - boxes[mine, 1])
                total = one / near
                w0 = max(edges[mine, 0, 0] * du + edges[mine, 0, 1] * dv + edges[mine, 0, 2], zero) * total
                w1 = max(edges[mine, 1, 0] * du + edges[mine, 1, 1] * dv + edges[mine, 1, 2], zero) * total
                w1 = min(w1, one - w0)
                w2 = one - w0 - w1
                a, b, c = np.uintp(faces[mine, 0]), np.uintp(faces[mine, 1]), np.uintp(faces[mine, 2])
                if mine < textured:
                    k = mine & np.uintp(3)
                    b0 = w0 * subface[k, 0, 0] + w1 * subface[k, 1, 0] + w2 * subface[k, 2, 0]
                    b1 = w0 * subface[k, 0, 1] + w1 * subface[k, 1, 1] + w2 * subface[k, 2, 1]
                    _fetch(texels, mine >> np.uintp(2), b0, b1, sample)
                    for i in range(3):
                        sample[i] = sample[i] * sample[i] * np.float32(1.0 / 65025.0)
                    sample[3] *= np.float32(1.0 / 255.0)
                else:
                    for i in range(4):
                        sample[i] = w0 * vertex_albedo[a, i] + w1 * vertex_albedo[b, i] + w2 * vertex_albedo[c, i]
                gloss = strength * sample[3]
                for i in range(3):
                    matt = w0 * light[a, i] + w1 * light[b, i] + w2 * light[c, i]
                    gleam = w0 * light[a, 3 + i] + w1 * light[b, 3 + i] + w2 * light[c, 3 + i]
                    color[v, u, i] += share * (sample[i] * matt + gloss * gleam)
                alpha[v, u] += share
                if mine < num_hand_faces:
                    hand[v, u] += share
            depth[v, u] = one / deepest
