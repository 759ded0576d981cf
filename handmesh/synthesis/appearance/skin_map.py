"""Where on the hand's skin things are: joint creases, palm lines, nails, knuckles, veins, mottling.

The skin is stored as "mesh colours" (Yuksel, Keyser and House 2010): every coarse face carries a triangular grid of
texels, those on shared edges coincide in space, and since every mask here is a function of the position at rest,
neighbouring faces agree without any unwrapping.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handmesh.io.runtime.kernels import njit
from handmesh.rendering.rasterizer import vertex_normals
from handmesh.skeleton import FINGERTIP_VERTICES
from handmesh.synthesis.appearance.surface import HandSurface

#: Texels along a face's edge; 45 texels a face, about 0.6 mm apart on the hand.
GRID = 8
TEXELS = (GRID + 1) * (GRID + 2) // 2

#: MANO-16 chains of the fingers in the order of FINGERTIP_VERTICES: thumb, index, middle, ring, little.
CHAINS = ((13, 14, 15), (1, 2, 3), (4, 5, 6), (10, 11, 12), (7, 8, 9))

MASKS = (
    "palm", "back", "knuckle", "fingertip", "crease", "palm_line", "wrinkle", "nail", "nail_rim", "nail_tip", "lunula",
    "vein", "hair", "freckle", "pore", "blotch_a", "blotch_b", "blotch_c", "grain_a", "grain_b", "side", "arm",
)  # fmt: skip


@njit(cache=True, nogil=True)
def _lattice(x: int, y: int, z: int, seed: int) -> float:
    h = (x * 374761393 + y * 668265263 + z * 2147483647 + seed * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 2246822519) & 0xFFFFFFFF
    return ((h ^ (h >> 15)) & 0xFFFF) / 32767.5 - 1.0


@njit(cache=True, nogil=True)
def value_noise(points: np.ndarray, cell: float, octaves: int, seed: int) -> np.ndarray:
    """Smooth value noise.

    Args:
        points: (N, 3).
        cell: side of the coarsest cells, in the points' unit.
        octaves: each about twice as fine as the one before.
        seed: of the lattice.

    Returns:
        (N,) float32, about -1..1.
    """
    out = np.zeros(points.shape[0], np.float32)
    for n in range(points.shape[0]):
        frequency, amplitude, total, norm = 1.0 / cell, 1.0, 0.0, 0.0
        for octave in range(octaves):
            px, py, pz = points[n, 0] * frequency, points[n, 1] * frequency, points[n, 2] * frequency
            ix, iy, iz = int(np.floor(px)), int(np.floor(py)), int(np.floor(pz))
            tx, ty, tz = px - ix, py - iy, pz - iz
            tx, ty, tz = tx * tx * (3 - 2 * tx), ty * ty * (3 - 2 * ty), tz * tz * (3 - 2 * tz)
            value = 0.0
            for corner in range(8):
                dx, dy, dz = corner & 1, (corner >> 1) & 1, corner >> 2
                weight = (tx if dx else 1 - tx) * (ty if dy else 1 - ty) * (tz if dz else 1 - tz)
                value += weight * _lattice(ix + dx, iy + dy, iz + dz, seed + 31 * octave)
            total += amplitude * value
            norm += amplitude
            amplitude *= 0.55
            frequency *= 2.03
        out[n] = total / norm
    return out


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """A cubic without corners.

    Args:
        low: where it is 0.
        high: where it is 1; may be the lower.
        x: of any shape.

    Returns:
        0..1, of x's shape.
    """
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def _bump(x: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-((x / width) ** 2))


@dataclass(frozen=True, eq=False)
class SkinMap:
    """Static fields of one hand model at its texels, all (C faces, TEXELS).

    masks (C, len(MASKS), TEXELS) uint8; finger int8 (-1 palm, 0..4 thumb to little, 5 forearm); along float32 metres
    from the finger's base joint (on the forearm: from the rim); around float32 -1..1, dorsal = 1.
    """

    masks: np.ndarray
    finger: np.ndarray
    along: np.ndarray
    around: np.ndarray
    position: np.ndarray


def texel_barycentrics() -> np.ndarray:
    """(TEXELS, 3): texel (i, j) has barycentrics (i, j, GRID - i - j) / GRID, i outer, j inner."""
    rows = [(i, j, GRID - i - j) for i in range(GRID + 1) for j in range(GRID + 1 - i)]
    return np.array(rows, np.float32) / GRID


class _Finger:
    """One finger's frame: arc length along its bones, dorsal direction, distance across."""

    def __init__(self, joints: np.ndarray, tip: np.ndarray, dorsal: np.ndarray) -> None:
        self.points = np.concatenate([joints, tip[None]])
        self.bones = np.diff(self.points, axis=0)
        self.lengths = np.linalg.norm(self.bones, axis=1)
        self.starts = np.concatenate([[0.0], np.cumsum(self.lengths)])
        self.dorsal = dorsal

    def coordinates(self, p: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """along (N,) metres, dorsalness (N,) -1..1, lateral offset (N,) metres."""
        best, along = np.full(len(p), np.inf), np.zeros(len(p))
        around, lateral = np.zeros(len(p)), np.zeros(len(p))
        for i in range(3):
            unit = self.bones[i] / self.lengths[i]
            t = (p - self.points[i]) @ unit
            low = -0.03 if i == 0 else 0.0
            high = self.lengths[i] + (0.01 if i == 2 else 0.0)
            held = np.clip(t, low, high)
            distance = np.linalg.norm(p - self.points[i] - held[:, None] * unit, axis=1)
            dorsal = self.dorsal - (self.dorsal @ unit) * unit
            dorsal /= np.linalg.norm(dorsal)
            nearer = distance < best
            best[nearer] = distance[nearer]
            along[nearer] = (self.starts[i] + held)[nearer]
            around[nearer] = (n @ dorsal)[nearer]
            lateral[nearer] = ((p - self.points[i]) @ np.cross(unit, dorsal))[nearer]
        return along, around, lateral


def build_skin_map(
    surface: HandSurface, joints: np.ndarray, weights: np.ndarray, seed: int = 0
) -> SkinMap:
    """The skin map of a hand model.

    Args:
        surface: its surface.
        joints: (16, 3) at rest, metres.
        weights: (V, 16) skinning weights.
        seed: of the noise.
    """
    bary = texel_barycentrics()
    rest = surface.rest_coarse
    faces = surface.coarse_faces
    normals = np.empty_like(rest)
    vertex_normals(rest, faces, normals)
    p = np.einsum("tk,fkc->ftc", bary, rest[faces]).reshape(-1, 3)
    n = np.einsum("tk,fkc->ftc", bary, normals[faces]).reshape(-1, 3)
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    all_weights = np.zeros((surface.num_coarse, 16), np.float32)
    all_weights[: surface.num_hand] = weights
    all_weights[surface.num_hand :, 0] = 1.0
    w = np.einsum("tk,fkc->ftc", bary, all_weights[faces]).reshape(-1, 16)
    distance = np.einsum("tk,fk->ft", bary, surface.ring_distance[faces]).reshape(-1)
    is_arm = np.repeat(np.arange(len(faces)) >= surface.num_hand_faces, TEXELS)

    m = {name: np.zeros(len(p)) for name in MASKS}
    finger = np.full(len(p), -1, np.int8)
    dorsal = -surface.palm_normal
    along = np.where(is_arm, distance, (p - joints[0]) @ surface.finger_axis)
    around = n @ dorsal
    finger[is_arm] = 5
    _palm_masks(m, surface, joints, p, around, is_arm)
    radial = joints[1] - joints[7]
    radial = radial / np.linalg.norm(radial)
    for index, chain in enumerate(CHAINS):
        share = w[:, list(chain)].sum(1)
        mine = (share > 0.5) & ~is_arm
        direction = 0.55 * dorsal + 0.83 * radial if index == 0 else dorsal
        tip = rest[FINGERTIP_VERTICES["freihand"][index]]
        frame = _Finger(joints[list(chain)], tip, direction)
        along_f, around_f, lateral = frame.coordinates(p, n)
        finger[mine] = index
        along[mine], around[mine] = along_f[mine], around_f[mine]
        _finger_masks(m, frame, index, p, along_f, around_f, lateral, share * ~is_arm)
    _noise_masks(m, p, around, is_arm, along, seed)
    m["palm"] = smoothstep(0.05, -0.55, around) * (1 - 0.45 * smoothstep(0.0, 0.05, distance))
    m["back"] = smoothstep(-0.1, 0.5, around)
    m["side"] = 1 - np.abs(around)
    m["arm"] = smoothstep(0.0, 0.06, distance)
    shape = (len(faces), TEXELS)
    masks = np.stack([np.clip(m[k], 0, 1).reshape(shape) * 255 for k in MASKS], 1).round().astype(np.uint8)
    return SkinMap(
        masks, finger.reshape(shape), along.reshape(shape).astype(np.float32),
        around.reshape(shape).astype(np.float32), p.reshape(*shape, 3).astype(np.float32),
    )


def _palm_masks(
    m: dict[str, np.ndarray], surface: HandSurface, joints: np.ndarray, p: np.ndarray, around: np.ndarray,
    is_arm: np.ndarray,
) -> None:
    """Palm lines in palm coordinates: x from the index (0) to the little finger's base (1), y from wrist (0) up."""
    wrist, index, little, middle = joints[0], joints[1], joints[7], joints[4]
    across = little - index
    up = middle - wrist
    basis = np.stack([across, up], 1)
    origin = wrist + (index - wrist) - up
    xy = np.linalg.lstsq(basis, (p - origin).T, rcond=None)[0].T
    breadth, length = np.linalg.norm(across), np.linalg.norm(up)
    facing = smoothstep(0.1, -0.4, around) * ~is_arm
    lines = (
        ((1.22, 0.74), (0.75, 0.66), (0.35, 0.75), (0.02, 1.02)),  # heart
        ((-0.12, 0.72), (0.2, 0.66), (0.6, 0.5), (1.0, 0.36)),  # head
        ((-0.12, 0.74), (0.25, 0.62), (0.42, 0.3), (0.3, -0.02)),  # life
        ((0.55, 0.05), (0.5, 0.3), (0.5, 0.5), (0.45, 0.7)),  # fate, faint
    )
    for number, control in enumerate(lines):
        t = np.linspace(0, 1, 24)[:, None]
        a, b, c, d = np.array(control)
        curve = (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t * t * (1 - t) * c + t**3 * d
        gap = (xy[:, None] - curve[None]) * np.array([breadth, length])
        distance = np.sqrt((gap**2).sum(-1).min(1))
        strength = 0.35 if number == 3 else 1.0
        # Wider than a texel of the palm (about a millimetre), or the line breaks up into stitches.
        m["palm_line"] = np.maximum(m["palm_line"], 0.8 * strength * _bump(distance, 0.0018) * facing)
    for chain in CHAINS[1:]:
        distance = np.linalg.norm(p - joints[chain[0]], axis=1)
        m["knuckle"] = np.maximum(m["knuckle"], _bump(distance, 0.016) * smoothstep(0.3, 0.8, around))
        ripple = 0.5 + 0.5 * np.cos((p - joints[chain[0]]) @ surface.finger_axis * 2 * np.pi / 0.0035)
        m["wrinkle"] = np.maximum(
            m["wrinkle"], 0.5 * ripple * _bump(distance, 0.012) * smoothstep(0.3, 0.8, around)
        )
    for offset in (0.002, 0.007):
        s = (p - surface.rest_coarse[surface.loop].mean(0)) @ surface.arm_axis
        m["crease"] = np.maximum(m["crease"], 0.7 * _bump(s - offset, 0.0009) * smoothstep(0.0, -0.5, around))


def _finger_masks(
    m: dict[str, np.ndarray], frame: _Finger, index: int, p: np.ndarray, along: np.ndarray, around: np.ndarray,
    lateral: np.ndarray, share: np.ndarray,
) -> None:
    inside = smoothstep(0.4, 0.7, share)
    palmar, back = smoothstep(0.35, -0.25, around), smoothstep(0.15, 0.6, around)
    wobble = value_noise(p.astype(np.float32), 0.006, 2, 100 + index) * 0.0006
    s = along + wobble
    pip, dip, end = frame.starts[1], frame.starts[2], frame.starts[3]
    base = 0.52 * frame.lengths[0] if index else 0.25 * frame.lengths[0]
    for at, strength, width in (
        (pip - 0.0014, 0.95, 0.0009), (pip + 0.0016, 0.85, 0.0009), (dip, 0.95, 0.0010),
        (base, 0.95, 0.0011), (base + 0.003, 0.4, 0.0008),
    ):
        m["crease"] = np.maximum(m["crease"], strength * _bump(s - at, width) * palmar * inside)
    for at, reach, strength in ((pip, 0.0065, 1.0), (dip, 0.004, 0.75)):
        near = _bump(along - at, reach) * back * inside
        # Lines that waver, thin out and break off, unlike rings.
        waver = value_noise(p.astype(np.float32), 0.004, 2, 200 + index)
        ripple = np.clip(0.3 + 0.6 * np.cos((along + 0.0009 * waver - at) * 2 * np.pi / 0.0025) + 0.8 * waver, 0, 1)
        m["wrinkle"] = np.maximum(m["wrinkle"], strength * near * ripple)
        m["knuckle"] = np.maximum(m["knuckle"], strength * _bump(along - at, reach * 1.3) * back * inside)
    m["fingertip"] = np.maximum(m["fingertip"], smoothstep(end - 0.018, end - 0.002, along) * inside)
    half = 0.0068 if index == 0 else (0.0048 if index == 4 else 0.0056)
    length = 0.0075 if index == 0 else (0.0050 if index == 4 else 0.0062)
    centre = end - length - 0.0005
    x, y = lateral / half, (along - centre) / length
    radius = (np.abs(x) ** 2.6 + np.abs(y) ** 2.6) ** (1 / 2.6)
    on_back = smoothstep(0.05, 0.3, around) * inside
    plate = smoothstep(1.06, 0.94, radius) * on_back
    m["nail"] = np.maximum(m["nail"], plate)
    m["nail_rim"] = np.maximum(m["nail_rim"], _bump(radius - 1.03, 0.10) * on_back * (y < 0.8))
    m["nail_tip"] = np.maximum(m["nail_tip"], plate * smoothstep(0.70, 0.82, y))
    m["lunula"] = np.maximum(m["lunula"], plate * smoothstep(0.32, 0.2, np.hypot(x * 0.8, y + 1.0) - 0.15))


def _noise_masks(
    m: dict[str, np.ndarray], p: np.ndarray, around: np.ndarray, is_arm: np.ndarray, along: np.ndarray, seed: int
) -> None:
    p = np.ascontiguousarray(p, np.float32)

    def unit(cell: float, octaves: int, salt: int, q: np.ndarray = p) -> np.ndarray:
        return 0.5 + 0.5 * value_noise(q, cell, octaves, seed * 101 + salt)

    for salt, (name, cell) in enumerate((("blotch_a", 0.030), ("blotch_b", 0.016), ("blotch_c", 0.009))):
        m[name] = smoothstep(0.2, 0.8, unit(cell, 2, salt))
    m["grain_a"], m["grain_b"] = unit(0.0035, 2, 11), unit(0.0018, 2, 12)
    m["pore"] = unit(0.0009, 1, 13)
    m["freckle"] = smoothstep(0.66, 0.76, unit(0.0045, 1, 14)) * smoothstep(0.3, 0.7, unit(0.03, 1, 15))
    ridge = 1 - np.abs(value_noise(p * np.array([0.45, 1, 1], np.float32), 0.017, 1, seed * 101 + 16)) * 7
    on_back = smoothstep(0.25, 0.7, around)
    m["vein"] = np.clip(ridge, 0, 1) * np.where(is_arm, 0.8, 1.0) * np.maximum(on_back, 0.6 * is_arm)
    streak = unit(0.0012, 1, 17, np.ascontiguousarray(p * np.array([0.22, 1, 1], np.float32)))
    patch = smoothstep(0.35, 0.65, unit(0.02, 1, 18))
    m["hair"] = smoothstep(0.68, 0.85, streak) * patch * smoothstep(-0.2, 0.4, around)
