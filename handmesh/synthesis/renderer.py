"""One hand before one camera: the model's mesh with forearm, skin and light to linear colour and coverage."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from handmesh.io.runtime.kernels import njit
from handmesh.mano.arrays import ManoArrays
from handmesh.rendering.rasterizer import NEAR_M, fill_faces, setup_edges, vertex_normals
from handmesh.synthesis.appearance.lighting import Lighting, ambient_occlusion, irradiance_coefficients, lamp_shadows
from handmesh.synthesis.appearance.props import Prop
from handmesh.synthesis.appearance.shading import SAMPLES, Shaded, light_vertices, shade
from handmesh.synthesis.appearance.skin import SkinAppearance, skin_texels
from handmesh.synthesis.appearance.skin_map import SkinMap, build_skin_map
from handmesh.synthesis.appearance.surface import SUBFACE_BARYCENTRICS, ForearmShape, HandSurface

_WRAP = np.array([0.30, 0.15, 0.10], np.float32)  # how far flesh carries light past the terminator


@njit(cache=True, nogil=True)
def _mark_faces(face_index: np.ndarray, wanted: np.ndarray) -> None:
    for v in range(face_index.shape[0]):
        for u in range(face_index.shape[1]):
            coarse = face_index[v, u] >> 2
            if 0 <= coarse < wanted.shape[0]:
                wanted[coarse] = True


class HandRenderer:
    """Draws posed hands of one hand model."""

    def __init__(self, mano: ManoArrays) -> None:
        rest = np.asarray(mano.v_template, np.float64)
        joints = mano.J_regressor @ rest
        self.surface = HandSurface(np.asarray(mano.faces), rest, joints)
        self.skin: SkinMap = build_skin_map(self.surface, joints, np.asarray(mano.weights))
        # The MANO joint that moves each coarse face most; the forearm goes with the wrist.
        self.part = np.zeros(len(self.surface.coarse_faces), np.int8)
        self.part[: len(mano.faces)] = np.asarray(mano.weights)[mano.faces].sum(1).argmax(1)
        # Rotation that stands the rest hand upright, palm to the camera: fingers to -y, palm normal to -z.
        up, out = self.surface.finger_axis, self.surface.palm_normal
        out = out - (out @ up) * up
        out = out / np.linalg.norm(out)
        self.upright = np.stack([np.cross(-up, -out), -up, -out])

    def mesh(self, vertices: np.ndarray, global_orient: np.ndarray, arm: ForearmShape) -> np.ndarray:
        """The coarse mesh with forearm.

        Args:
            vertices: (778, 3) of the posed hand, metres.
            global_orient: (3, 3) rotation of its wrist.
            arm: the forearm's shape.

        Returns:
            (C, 3) float32 in the vertices' frame.
        """
        return self.surface.with_forearm(vertices, global_orient, arm)

    def render(
        self, coarse: np.ndarray, K: np.ndarray, size: int, appearance: SkinAppearance, lighting: Lighting,
        turn: np.ndarray, shine: float, roughness: float, prop: Prop | None = None,
    ) -> Shaded:
        """Draw one hand.

        Args:
            coarse: (C, 3) of :meth:`mesh`, metres, camera frame.
            K: (3, 3) intrinsics, pixels.
            size: side of the picture, pixels.
            appearance: of its skin.
            lighting: the light.
            turn: (3, 3) rotation of the directions in which occlusion is measured.
            shine: factor of the specular term.
            roughness: of the skin, 0..1.
            prop: what the hand holds.
        """
        surface = self.surface
        points, faces = surface.subdivide(coarse), surface.fine_faces
        caster, caster_faces = coarse, surface.coarse_faces[: surface.num_shading_faces]
        albedo = np.zeros((0, 4), np.float32)
        if prop is not None:
            faces = np.concatenate([faces, prop.faces + len(points)])
            caster_faces = np.concatenate([caster_faces, prop.faces + len(caster)])
            albedo = np.zeros((len(points) + len(prop.vertices), 4), np.float32)
            albedo[len(points) :] = prop.albedo
            points = np.concatenate([points, prop.vertices])
            caster = np.concatenate([caster, prop.vertices])
        normals = np.empty_like(points)
        vertex_normals(points, faces, normals)
        tone = appearance.tone.astype(np.float32)
        coarse_normals = np.empty_like(coarse)
        vertex_normals(coarse, surface.coarse_faces, coarse_normals)
        # Light from all round changes slowly over the skin: measured at the coarse vertices, carried to the fine ones.
        occlusion = np.ones((len(points), 3), np.float32)
        coarse_part = ambient_occlusion(caster, caster_faces, coarse, coarse_normals, lighting, tone, turn)
        occlusion[: surface.num_fine] = surface.carry(coarse_part)
        shadow = lamp_shadows(caster, caster_faces, points, normals, lighting)

        wide = SAMPLES * size
        K2 = np.array(K, np.float64)
        # Samples lie a quarter of a pixel to each side of a pixel's centre.
        K2[:2] *= SAMPLES
        K2[:2, 2] += 0.5 * (SAMPLES - 1)
        edges = np.empty((len(faces), 3, 3), np.float32)
        boxes = np.empty((len(faces), 4), np.int32)
        inverse_depth = np.zeros((wide, wide), np.float32)
        face_index = np.full((wide, wide), -1, np.int32)
        setup_edges(points, faces, K2, wide, wide, NEAR_M, True, edges, boxes)
        fill_faces(edges, boxes, NEAR_M, 0, inverse_depth, face_index)
        wanted = np.zeros(len(surface.coarse_faces), np.bool_)
        _mark_faces(face_index, wanted)
        texels = skin_texels(self.skin, appearance, wanted)
        shaded = Shaded(
            np.zeros((size, size, 3), np.float32), np.zeros((size, size), np.float32),
            np.zeros((size, size), np.float32), np.full((size, size), np.inf, np.float32),
            np.full((size, size), -1, np.int32),
        )
        light = light_vertices(
            points, normals, occlusion, shadow, irradiance_coefficients(lighting.radiance), lighting.lamp_directions,
            lighting.lamp_colors, _WRAP, roughness,
        )
        shade(
            face_index, inverse_depth, edges, boxes, faces, light, texels, SUBFACE_BARYCENTRICS, albedo, shine,
            4 * surface.num_hand_faces, *shaded,
        )
        return shaded


@lru_cache(maxsize=2)
def hand_renderer(mano: ManoArrays) -> HandRenderer:
    """The renderer of this hand model, prepared once (ManoArrays compare by identity)."""
    return HandRenderer(mano)
