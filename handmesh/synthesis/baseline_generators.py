"""The simple renderer: a skin-coloured hand with its forearm, one lamp and a plain wall, and nothing else.

What hand renderers begin with, kept as the measure for the rest: trained on these pictures and on generator.py's, the
same network shows what skin, light, backgrounds, things in the hand and a camera's faults are worth
(``scripts/experiments/training_data.py``), and beside BasicGenerator's, what likely poses and views are worth. A
network also learns from plain pictures first: they show little but the hand.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from handmesh.data.sample import Sample
from handmesh.geometry.camera import is_in_picture
from handmesh.rendering.rasterizer import rasterize, vertex_normals
from handmesh.synthesis.appearance.skin import sample_tone
from handmesh.synthesis.appearance.surface import ForearmShape
from handmesh.synthesis.generator import SampleGenerator, mirror_sample, project_joints
from handmesh.synthesis.viewpoint import View, random_turn


class PlainGenerator(SampleGenerator):
    """Poses, shapes and cameras as SampleGenerator's, pictures plain. Joints in the picture count as visible."""

    def fingerprint(self) -> str:
        """What decides the samples, in one line."""
        return f"plain, {super().fingerprint()}"

    def sample(self, index: int) -> Sample:
        """The sample with this number; see SampleGenerator."""
        rng = np.random.default_rng([self.seed, 5, index])
        has_hand = bool(rng.random() >= self.negatives)
        labels = self._labels(rng, index)
        picture, mask = _wall(rng, self.size), np.zeros((self.size, self.size), bool)
        if has_hand:
            mesh = self.renderer.mesh(labels["vertices"], labels["global_orient"], ForearmShape())
            mask = self._draw_plain(picture, mesh, labels["K"], rng)
        uv = project_joints(labels)
        inside = is_in_picture(uv, self.size, self.size) & has_hand
        image = (255 * np.clip(picture, 0, 1) ** (1 / 2.2) + 0.5).astype(np.uint8)
        labels.update(
            {
                "image": image, "mask": mask, "presence": has_hand, "has_mano": has_hand,
                "visibility": inside.astype(np.float32),
            }
        )  # fmt: skip
        if rng.random() < self.left_hands:
            mirror_sample(labels)
        return labels

    def _draw_plain(
        self, picture: np.ndarray, mesh: np.ndarray, K: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Lay the mesh over the linear picture (S, S, 3), in place, by Lambert's law; returns the hand's mask."""
        faces = self.renderer.surface.coarse_faces
        found = rasterize(mesh, faces, K, self.size, self.size)
        normals = np.empty((len(mesh), 3), np.float32)
        vertex_normals(np.ascontiguousarray(mesh, np.float32), np.ascontiguousarray(faces, np.int32), normals)
        drawn = found.face_index >= 0
        normal = np.einsum("nk,nkc->nc", found.barycentric[drawn], normals[faces[found.face_index[drawn]]])
        # The lamp stands on the camera's side: towards -z.
        lamp = rng.normal(size=3) * [1.0, 1.0, 0.5] - [0, 0.5, 1.5]
        lit = np.maximum(normal @ (lamp / np.linalg.norm(lamp)), 0) / np.linalg.norm(normal, axis=-1)
        tone, _ = sample_tone(rng)
        picture[drawn] = tone * (rng.uniform(0.2, 0.5) + rng.uniform(0.6, 1.2) * lit[:, None])
        return drawn & (found.face_index < self.renderer.surface.num_hand_faces)


class BasicGenerator(PlainGenerator):
    """Plain pictures of poses alike likely anywhere within the joints' limits, seen from anywhere alike."""

    pose_shares = (0.0, 0.0, 1.0)

    def fingerprint(self) -> str:
        """What decides the samples, in one line."""
        return f"basic, {super().fingerprint()}"

    def _view(self, rng: np.random.Generator) -> View:
        return replace(super()._view(rng), rotation=random_turn(rng))


def _wall(rng: np.random.Generator, size: int) -> np.ndarray:
    """(size, size, 3) float64 linear: one colour, brighter or darker downwards."""
    above, below = (float(x) for x in rng.uniform(0.6, 1.4, 2))
    ramp = np.linspace(above, below, size)[:, None, None]
    return rng.uniform(0.03, 0.8, 3) * ramp * np.ones((1, size, 1))
