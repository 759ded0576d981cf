"""Light on the hand: an environment as spherical harmonics, lamps, and what the hand itself hides from them.

Directions point towards the light, in the camera's frame (y down). Irradiance by nine spherical-harmonic coefficients:
Ramamoorthi and Hanrahan 2001. Occlusion is measured, not guessed: the mesh is rasterised from a dozen directions and
each vertex asks which of them it sees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from handmesh.io.runtime.kernels import njit
from handmesh.rendering.rasterizer import fill_faces, setup_edges

Radiance = Callable[[np.ndarray], np.ndarray]

_GOLDEN = np.pi * (3.0 - np.sqrt(5.0))
_FAR_M = 3.0  # the lamp's eye stands this far from the hand: nearly parallel rays
_MAP = 48  # pixels of an occlusion map: about 5 mm on a hand with forearm; a lamp's shadow map has twice that


def sphere_directions(count: int) -> np.ndarray:
    """(count, 3) float32 unit vectors spread evenly over the sphere (Fibonacci lattice)."""
    k = np.arange(count) + 0.5
    z = 1 - 2 * k / count
    r, phi = np.sqrt(1 - z * z), _GOLDEN * k
    return np.stack([r * np.cos(phi), r * np.sin(phi), z], 1).astype(np.float32)


_PROJECTION_DIRECTIONS = sphere_directions(192)


def sh_basis(d: np.ndarray) -> np.ndarray:
    """(..., 9) real spherical harmonics of bands 0..2 at unit directions (..., 3)."""
    x, y, z = d[..., 0], d[..., 1], d[..., 2]
    return np.stack(
        [
            np.full_like(x, 0.282095), 0.488603 * y, 0.488603 * z, 0.488603 * x, 1.092548 * x * y,
            1.092548 * y * z, 0.315392 * (3 * z * z - 1), 1.092548 * x * z, 0.546274 * (x * x - y * y),
        ],
        -1,
    )  # fmt: skip


_BASIS = sh_basis(_PROJECTION_DIRECTIONS).astype(np.float32)
_COSINE = np.array([1, 2 / 3, 2 / 3, 2 / 3, 0.25, 0.25, 0.25, 0.25, 0.25], np.float32)


def irradiance_coefficients(radiance: Radiance) -> np.ndarray:
    """(9, 3) float32 c such that sh_basis(n) @ c is irradiance / pi at normal n."""
    light = np.asarray(radiance(_PROJECTION_DIRECTIONS), np.float32)
    weight = np.float32(4 * np.pi / len(light))
    return (weight * _COSINE[:, None] * np.einsum("nk,nc->kc", _BASIS, light)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Lighting:
    """radiance(directions (N, 3)) -> (N, 3) linear RGB of the surroundings; lamps: directions (L, 3) and their
    irradiance / pi (L, 3) on a surface that faces them.
    """

    radiance: Radiance
    lamp_directions: np.ndarray
    lamp_colors: np.ndarray


def blackbody_tint(kelvin: float) -> np.ndarray:
    """(3,) linear RGB, green = 1, of a lamp of this colour temperature: a smooth fit of Planck's locus."""
    t = kelvin / 6500.0
    red = 1.0 + 0.75 * (1 / t - 1) if t < 1 else t**-0.55
    blue = t**1.7 if t < 1 else 1 + 0.55 * (1 - 1 / t)
    return np.array([red, 1.0, blue], np.float32)


def _unit(v: np.ndarray) -> np.ndarray:
    return np.asarray(v / np.linalg.norm(v), np.float32)


def sample_lighting(rng: np.random.Generator) -> Lighting:
    """A room, a window, the sky or a studio: a soft gradient with a few wide lobes, and at most two lamps."""
    up = _unit(np.array([rng.normal(0, 0.15), -1.0, rng.normal(0, 0.25)]))
    base = blackbody_tint(rng.uniform(2800, 8000))
    above = base * rng.uniform(0.5, 1.2)
    below = base * rng.uniform(0.06, 0.45) * rng.uniform(0.8, 1.2, 3)
    lobes: list[tuple[Any, float, Any]] = []
    for _ in range(rng.integers(1, 4)):
        # Lights are mostly above or behind the camera's back: rooms are lit where people look.
        axis = _unit(np.array([rng.normal(), rng.normal() - 0.6, rng.normal() - 0.7]))
        color = blackbody_tint(rng.uniform(2600, 9000)) * rng.gamma(1.5, 1.0)
        lobes.append((axis, rng.uniform(1.5, 12.0), color))
    if rng.random() < 0.25:  # a coloured wall, screen or shirt nearby
        axis = _unit(rng.normal(size=3))
        lobes.append((axis, 1.5, rng.uniform(0.05, 1.0, 3).astype(np.float32) * rng.uniform(0.3, 1.2)))

    def radiance(directions: np.ndarray) -> np.ndarray:
        t = (0.5 + 0.5 * (directions @ up))[:, None]
        light = below * (1 - t) + above * t
        for axis, sharpness, color in lobes:
            light = light + color * (np.maximum(directions @ axis, 0.0) ** sharpness)[:, None]
        return light.astype(np.float32)

    count = int(rng.choice(3, p=[0.2, 0.55, 0.25]))
    directions = np.zeros((count, 3), np.float32)
    colors = np.zeros((count, 3), np.float32)
    for i in range(count):
        directions[i] = _unit(np.array([rng.normal(), rng.normal() - 0.8, rng.normal() - 0.8]))
        colors[i] = blackbody_tint(rng.uniform(2600, 7500)) * rng.gamma(2.0, 0.5)
    return Lighting(radiance, directions, colors)


def map_lighting(environment: np.ndarray, rng: np.random.Generator) -> Lighting:
    """Light from an equirectangular map (H, W, 3) linear RGB, turned about the vertical and slightly tilted.

    The map's brightest direction becomes a lamp, so that sun and windows cast shadows.
    """
    turn, tilt = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.2)
    height, width = environment.shape[:2]
    c, s = np.cos(tilt), np.sin(tilt)
    mean = environment.mean((0, 1)).mean() + 1e-6
    clipped = np.minimum(environment / mean, 30.0).astype(np.float32)
    smooth = np.minimum(clipped, 6.0)

    def radiance(directions: np.ndarray) -> np.ndarray:
        x = directions[:, 0]
        y, z = c * directions[:, 1] - s * directions[:, 2], s * directions[:, 1] + c * directions[:, 2]
        column = ((np.arctan2(x, z) + turn) / (2 * np.pi) % 1.0 * width).astype(int) % width
        row = np.clip(np.arccos(np.clip(-y, -1, 1)) / np.pi * height, 0, height - 1).astype(int)
        return smooth[row, column]

    weight = clipped.sum(2) * np.sin((np.arange(height) + 0.5) / height * np.pi)[:, None]
    row, column = np.unravel_index(int(weight.argmax()), weight.shape)
    theta, phi = (row + 0.5) / height * np.pi, (column + 0.5) / width * 2 * np.pi - turn
    y0, x0, z0 = -np.cos(theta), np.sin(theta) * np.sin(phi), np.sin(theta) * np.cos(phi)
    lamp = np.array([[x0, c * y0 + s * z0, -s * y0 + c * z0]], np.float32)
    excess = np.maximum(clipped - 6.0, 0).reshape(-1, 3)
    solid = np.repeat(np.sin((np.arange(height) + 0.5) / height * np.pi), width)[:, None]
    color = (excess * solid).sum(0) * (2 * np.pi * np.pi / (height * width)) / np.pi
    return Lighting(radiance, lamp, color[None].astype(np.float32))


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def visibility(
    caster: np.ndarray, faces: np.ndarray, points: np.ndarray, normals: np.ndarray, directions: np.ndarray,
    bias_m: float, size: int,
) -> np.ndarray:
    """How much of each direction each point sees past a mesh.

    Args:
        caster: (V, 3) float32 metres, the mesh that hides.
        faces: (F, 3) of it.
        points, normals: (N, 3) float32 metres, and unit vectors there.
        directions: (D, 3) float32 unit vectors towards the light.
        bias_m: a surface hides only what lies deeper by this.
        size: side of the shadow maps, pixels.

    Returns:
        (D, N) float32, 0..1.
    """
    count = points.shape[0]
    out = np.zeros((directions.shape[0], count), np.float32)
    edges = np.empty((faces.shape[0], 3, 3), np.float32)
    boxes = np.empty((faces.shape[0], 4), np.int32)
    turned = np.empty_like(caster)
    inverse_depth = np.empty((size, size), np.float32)
    index = np.empty((size, size), np.int32)
    K = np.zeros((3, 3), np.float64)
    for k in range(directions.shape[0]):
        dx, dy, dz = directions[k, 0], directions[k, 1], directions[k, 2]
        if abs(dx) < 0.9:
            ax, ay, az = np.float32(0.0), -dz, dy
        else:
            ax, ay, az = dz, np.float32(0.0), -dx
        scale = np.float32(1.0) / np.sqrt(ax * ax + ay * ay + az * az)
        ax, ay, az = ax * scale, ay * scale, az * scale
        # a x b = -d: the lamp's eye looks against d
        bx, by, bz = ay * dz - az * dy, az * dx - ax * dz, ax * dy - ay * dx
        low_x = low_y = np.float32(1e9)
        high_x = high_y = near_z = np.float32(-1e9)
        for v in range(caster.shape[0]):
            x, y, z = caster[v, 0], caster[v, 1], caster[v, 2]
            turned[v, 0] = ax * x + ay * y + az * z
            turned[v, 1] = bx * x + by * y + bz * z
            turned[v, 2] = dx * x + dy * y + dz * z
            low_x, high_x = min(low_x, turned[v, 0]), max(high_x, turned[v, 0])
            low_y, high_y = min(low_y, turned[v, 1]), max(high_y, turned[v, 1])
            near_z = max(near_z, turned[v, 2])
        far = near_z + np.float32(_FAR_M)
        mid_x, mid_y = np.float32(0.5) * (low_x + high_x), np.float32(0.5) * (low_y + high_y)
        for v in range(caster.shape[0]):
            turned[v, 0] -= mid_x
            turned[v, 1] -= mid_y
            turned[v, 2] = far - turned[v, 2]
        K[0, 0] = 0.92 * size * _FAR_M / (high_x - low_x)
        K[1, 1] = 0.92 * size * _FAR_M / (high_y - low_y)
        K[0, 2] = K[1, 2] = 0.5 * (size - 1)
        K[2, 2] = 1.0
        inverse_depth[:] = 0.0
        setup_edges(turned, faces, K, size, size, 0.1, True, edges, boxes)
        fill_faces(edges, boxes, 0.1, 0, inverse_depth, index)
        fx, fy, centre = np.float32(K[0, 0]), np.float32(K[1, 1]), np.float32(0.5 * (size - 1))
        for n in range(count):
            facing = normals[n, 0] * dx + normals[n, 1] * dy + normals[n, 2] * dz
            if facing <= 0:
                continue
            x, y, z = points[n, 0], points[n, 1], points[n, 2]
            depth = far - (dx * x + dy * y + dz * z)
            u = fx * (ax * x + ay * y + az * z - mid_x) / depth + centre
            v_ = fy * (bx * x + by * y + bz * z - mid_y) / depth + centre
            iu, iv = int(np.floor(u)), int(np.floor(v_))
            tu, tv = u - np.float32(iu), v_ - np.float32(iv)
            one = np.float32(1.0)
            lit = np.float32(0.0)
            threshold = np.float32(1.0) / (depth - np.float32(bias_m))
            for corner in range(4):
                cu, cv = iu + (corner & 1), iv + (corner >> 1)
                weight = (tu if corner & 1 else one - tu) * (tv if corner >> 1 else one - tv)
                if cu < 0 or cv < 0 or cu >= size or cv >= size or inverse_depth[cv, cu] < threshold:
                    lit += weight
            out[k, n] = lit
    return out


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _ambient_ratio(
    normals: np.ndarray, directions: np.ndarray, light: np.ndarray, seen: np.ndarray, bounce: np.ndarray
) -> np.ndarray:
    out = np.empty((normals.shape[0], 3), np.float32)
    for n in range(normals.shape[0]):
        for c in range(3):
            hit = total = np.float32(1e-6)
            for k in range(directions.shape[0]):
                facing = (
                    normals[n, 0] * directions[k, 0] + normals[n, 1] * directions[k, 1]
                    + normals[n, 2] * directions[k, 2]
                )  # fmt: skip
                if facing > 0:
                    total += facing * light[k, c]
                    hit += facing * light[k, c] * seen[k, n]
            ratio = hit / total
            ratio *= np.float32(0.6) + np.float32(0.4) * ratio  # ten directions miss the narrow gaps
            # What is hidden is mostly skin, lit about half as well: light of its own colour comes back.
            out[n, c] = ratio + (np.float32(1.0) - ratio) * bounce[c]
    return out


def ambient_occlusion(
    caster: np.ndarray, faces: np.ndarray, points: np.ndarray, normals: np.ndarray, lighting: Lighting,
    albedo: np.ndarray, turn: np.ndarray, count: int = 10,
) -> np.ndarray:
    """The part of the surroundings' light that reaches each point, colour by colour.

    Args:
        caster, faces, points, normals: as of :func:`visibility`.
        lighting: the surroundings.
        albedo: (3,) of what hides.
        turn: (3, 3) rotation of the set of directions, so that no pattern repeats.
        count: of directions.

    Returns:
        (N, 3) float32.
    """
    directions = np.ascontiguousarray(sphere_directions(count) @ turn.T.astype(np.float32))
    light = np.ascontiguousarray(lighting.radiance(directions), np.float32)
    seen = visibility(caster, faces, points, normals, directions, 0.004, _MAP)
    return _ambient_ratio(normals, directions, light, seen, (0.30 * albedo).astype(np.float32))


def lamp_shadows(
    caster: np.ndarray, faces: np.ndarray, points: np.ndarray, normals: np.ndarray, lighting: Lighting
) -> np.ndarray:
    """How much of each lamp each point sees.

    Args:
        caster, faces, points, normals: as of :func:`visibility`.
        lighting: its L lamps.

    Returns:
        (N, L) float32, 0..1.
    """
    seen = visibility(caster, faces, points, normals, lighting.lamp_directions, 0.003, 2 * _MAP)
    return np.ascontiguousarray(seen.T)
