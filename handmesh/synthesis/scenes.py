"""Whole pictures with up to four rendered hands, as a camera sees them, for the detector and the segmentation.

People stand in rooms or before photos, their arms reach from their shoulders; a wearer's hands come from below; single
hands come in from an edge; hands of one person or two hold or cover one another. Everything is drawn on a square
canvas, of which the picture is a part. A left hand is a right one drawn in the mirrored canvas.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np

from handmesh.data.scenes import Scene, SceneHand
from handmesh.geometry.camera import is_in_picture
from handmesh.synthesis.appearance.lighting import Lighting
from handmesh.synthesis.appearance.occluders import draw_occluder
from handmesh.synthesis.appearance.shading import darken_crevices
from handmesh.synthesis.appearance.skin import sample_appearance
from handmesh.synthesis.backgrounds.crowd import draw_distractor, lay_figure, rounded
from handmesh.synthesis.camera_effects import blur, camera_effects
from handmesh.synthesis.generator import (
    SampleGenerator,
    lay_over,
    sample_arm,
    shows_cut_arm,
)
from handmesh.synthesis.scene_plans import MOST_HANDS, WEARER, HandPlan, ScenePlanner
from handmesh.synthesis.viewpoint import random_turn, sample_orientation, turn_about, turn_to_ray

#: Width and height of the pictures in canvases, and how often each is chosen.
_SHAPES, _SHAPE_SHARES = ((1.0, 0.75), (1.0, 0.5625), (1.0, 1.0), (0.75, 1.0)), (0.6, 0.14, 0.14, 0.12)
#: A hand with the fingers out, metres: it decides at which distance it stands for its size in the picture.
_HAND_M = 0.18
_FLIP = np.array([-1.0, 1.0, 1.0], np.float32)
#: A hand shows its back where its palm looks so far away from the camera (cosine).
_BACK = 0.35
#: Share of people who wear gloves: more than there are, for they are what other detectors overlook.
_GLOVES = 0.15


class _Drawn(NamedTuple):
    """A hand that was drawn: points (21, 2), what is seen of its surface and all that was drawn (S, S), its kinds, and
    how many pixels its surface takes where no other hand is before it.
    """

    points: np.ndarray
    mask: np.ndarray
    cover: np.ndarray
    kinds: tuple[str, ...]
    area: int


class SceneGenerator(SampleGenerator):
    """Scenes, as many as asked for; ``size`` is the longer side of a picture.

    A scene is a pure function of (hand model, seed, options, index).
    """

    held_share = 0.22

    def fingerprint(self) -> str:
        """What decides the scenes, in one line."""
        return f"scenes 2, {super().fingerprint()}"

    def scene(self, index: int) -> Scene:
        """The scene with this number."""
        rng = np.random.default_rng([self.seed, 17, index])
        size = self.size
        corner, shape = _choose_part(rng, size)
        canvas = self.backgrounds.sample(rng, size, people=0.15)
        if rng.random() < 0.35:
            canvas = blur(canvas, float(abs(rng.normal(0, 1.6))))
        heads = self._people(canvas, rng)
        if rng.random() < 0.15:
            draw_distractor(canvas, rng)
        light = self._lighting(rng)
        f_px = 0.5 * size / np.tan(np.radians(rng.uniform(40, 85)) / 2)
        K = np.array([[f_px, 0, (size - 1) / 2], [0, f_px, (size - 1) / 2], [0, 0, 1.0]])
        plans = ScenePlanner(size).plans(rng, heads, corner, shape)
        hands: list[tuple[_Drawn, bool]] = []
        hand_map, depth = np.zeros((size, size), np.uint8), np.full((size, size), np.inf, np.float32)
        # The far ones first.
        for number, plan in enumerate(sorted(plans, key=lambda each: each.size_px), start=1):
            drawn = self._draw(canvas, rng, index * (MOST_HANDS + 1) + number, plan, K, light, depth)
            hand_map[drawn.cover] = 0
            hand_map[drawn.mask] = number
            hands.append((drawn, plan.is_right))
        if hands and rng.random() < 0.15:
            hand_map[draw_occluder(canvas, rng, self.backgrounds)] = 0
        if rng.random() < 0.7:
            canvas = camera_effects(canvas, rng, self._noise)
        x, y, width, height = *corner, *shape
        part = (slice(y, y + height), slice(x, x + width))
        hand_map = np.ascontiguousarray(hand_map[part])
        found = []
        for number, (drawn, is_right) in enumerate(hands, start=1):
            points = drawn.points - [x, y]
            # Of what the picture's edge leaves of the hand, and of what other things leave of that.
            inside = float(is_in_picture(points, width, height).mean())
            seen = float((hand_map == number).sum()) / max(1, drawn.area)
            found.append(SceneHand(points, is_right, min(inside, seen), drawn.kinds))
        return Scene(np.ascontiguousarray(canvas[part]), found, hand_map, True, maker="rendered")

    def _people(self, canvas: np.ndarray, rng: np.random.Generator) -> list[tuple[float, float, float]]:
        count = int(rng.choice(4, p=[0.34, 0.42, 0.16, 0.08]))
        largest = 0.62 if count < 2 else 0.32
        return [self.backgrounds.people.place(canvas, rng, (0.1, largest)) for _ in range(count)]

    def _draw(
        self, canvas: np.ndarray, rng: np.random.Generator, number: int, plan: HandPlan, K: np.ndarray, light: Lighting,
        depth: np.ndarray,
    ) -> _Drawn:  # fmt: skip
        """Draw one hand onto the canvas, in place, but where another is nearer by ``depth`` (S, S), metres, in which it
        is noted too.
        """
        if not plan.is_right:
            mirrored, its_depth = np.ascontiguousarray(canvas[:, ::-1]), np.ascontiguousarray(depth[:, ::-1])
            other = replace(plan, is_right=True, middle=self._flipped(plan.middle), anchor=self._flipped(plan.anchor))
            drawn = self._draw(mirrored, rng, number, other, K, _mirrored(light), its_depth)
            canvas[:], depth[:] = mirrored[:, ::-1], its_depth[:, ::-1]
            drawn.points[:, 0] = self.size - 1.0 - drawn.points[:, 0]
            mask, cover = (np.ascontiguousarray(part[:, ::-1]) for part in (drawn.mask, drawn.cover))
            return drawn._replace(mask=mask, cover=cover)
        # Both hands of a person have one skin, one sleeve and one exposure.
        person = np.random.default_rng([self.seed, 19, number // (MOST_HANDS + 1), plan.person])
        appearance = sample_appearance(person, _GLOVES)
        arm = sample_arm(rng, appearance)
        labels = self._stand(rng, number, plan, K)
        coarse = self.renderer.mesh(labels["vertices"], labels["global_orient"], arm)
        prop = self._held_thing(rng, labels["vertices"], labels["joints"], labels["global_orient"])
        surfaces = coarse if prop is None else np.concatenate([coarse, prop.vertices])
        x, y, side = self._window(surfaces, K)
        shift = K.copy()
        shift[:2, 2] -= [x, y]
        shaded = self.renderer.render(
            coarse, shift, side, appearance, light, random_turn(rng), float(rng.gamma(1.5, 0.5)),
            float(rng.uniform(0.3, 0.65)), prop,
        )  # fmt: skip
        strength, reach = float(rng.uniform(0.4, 0.95)), plan.size_px * float(rng.uniform(0.012, 0.03))
        darken_crevices(shaded, strength, max(1.0, reach))
        part = (slice(y, y + side), slice(x, x + side))
        area = int((shaded.hand > 0.5).sum())
        hidden = depth[part] < shaded.depth
        for layer in (shaded.color, shaded.alpha, shaded.hand):
            layer[hidden] = 0
        depth[part] = np.minimum(depth[part], np.where(shaded.alpha > 0.5, shaded.depth, np.inf))
        seed = int(person.integers(1 << 62))
        before = canvas[part].copy()
        window = before.copy()
        lay_over(window, shaded, np.random.default_rng(seed), appearance.gloved)
        mask, cover = np.zeros(canvas.shape[:2], bool), np.zeros(canvas.shape[:2], bool)
        cover[part] = shaded.alpha > 0.5
        limb = self._upper_arm(canvas, rng, coarse, K, plan.anchor, window, shaded.alpha, (x, y))
        if limb is not None:
            window = canvas[part].copy()
            lay_over(window, shaded, np.random.default_rng(seed), appearance.gloved)
            cover |= limb
        canvas[part] = window
        mask[part] = shaded.hand > 0.5
        joints = labels["joints"]
        points = joints[:, :2] / joints[:, 2:] * [K[0, 0], K[1, 1]] + K[:2, 2]
        away = float((labels["global_orient"] @ self.renderer.surface.palm_normal) @ _unit_vector(joints.mean(0)))
        words = {
            "glove": appearance.gloved, "object": prop is not None, "back": away > _BACK,
            "egocentric": plan.person == WEARER, "touching": plan.touches,
        }  # fmt: skip
        kinds = tuple(word for word, holds in words.items() if holds)
        return _Drawn(points.astype(np.float64), mask, cover, kinds, area)

    def _flipped(self, point: np.ndarray) -> np.ndarray:
        return np.array([self.size - 1.0 - point[0], point[1]])

    def _stand(self, rng: np.random.Generator, number: int, plan: HandPlan, K: np.ndarray) -> dict[str, np.ndarray]:
        """The posed hand at its place, its arm towards the anchor: vertices, joints, global_orient."""
        betas = np.clip(rng.standard_normal(10), -2.5, 2.5).astype(np.float32)
        pose = self.pose(number)
        ray = (plan.middle - K[:2, 2]) / K[0, 0]
        depth = K[0, 0] * _HAND_M / plan.size_px
        labels: dict[str, np.ndarray] = {}
        for _ in range(10):
            turn = turn_to_ray(*ray) @ sample_orientation(rng, self.renderer.upright)
            if plan.shows_back and (turn @ self.renderer.surface.palm_normal)[2] < 0.2:
                continue
            vertices, joints = self.hand.pose(turn.astype(np.float32), pose, betas)
            along = joints[0, :2] - joints[9, :2]
            if np.hypot(*along) > 0.03 and rng.random() < 0.85:
                wanted = plan.anchor - plan.middle
                angle = np.arctan2(wanted[1], wanted[0]) - np.arctan2(along[1], along[0]) + rng.normal(0, 0.45)
                turn = turn_about(2, float(angle)) @ turn
                vertices, joints = self.hand.pose(turn.astype(np.float32), pose, betas)
            middle = 0.5 * (vertices.min(0) + vertices.max(0))
            shift = (depth * np.array([*ray, 1.0])).astype(np.float32) - middle
            # As generator.py: nothing nearer than a lens focuses, and no forearm through the camera.
            shift[2] = max(shift[2], 0.12 - vertices[:, 2].min(), 0.2 - (joints[0] + 0.32 * _unit(joints))[2])
            labels = {"vertices": vertices + shift, "joints": joints + shift, "global_orient": turn}
            if not shows_cut_arm(labels["joints"], K, self.size):
                break
        if not labels:
            return self._stand(rng, number, replace(plan, shows_back=False), K)
        return labels

    def _window(self, points: np.ndarray, K: np.ndarray) -> tuple[int, int, int]:
        """Corner and side of the square of the canvas in which points (N, 3) are drawn."""
        front = points[points[:, 2] > 0.03]
        uv = front[:, :2] / front[:, 2:] * K[0, 0] + K[:2, 2]
        low = np.floor(uv.min(0) - 3).clip(0, self.size - 1).astype(int)
        high = np.ceil(uv.max(0) + 4).clip(1, self.size).astype(int)
        side = int(min(self.size, max(16, (high - low).max())))
        x, y = (int(v) for v in np.minimum(low, self.size - side))
        return x, y, side

    def _upper_arm(
        self, canvas: np.ndarray, rng: np.random.Generator, coarse: np.ndarray, K: np.ndarray, anchor: np.ndarray,
        window: np.ndarray, alpha: np.ndarray, corner: tuple[int, int],
    ) -> np.ndarray | None:  # fmt: skip
        """Draw what goes on from the elbow to the anchor where the picture shows the elbow; its mask (S, S)."""
        ring = coarse[-len(self.renderer.surface.loop) :].astype(np.float64)
        if (ring[:, 2] < 0.05).any():
            return None
        uv = ring[:, :2] / ring[:, 2:] * K[0, 0] + K[:2, 2]
        elbow, half = uv.mean(0), float(np.ptp(uv, 0).max() / 2)
        if (elbow < -half).any() or (elbow > self.size + half).any():
            return None
        local = np.rint(elbow - corner).astype(int)
        reach = max(2, int(half))
        rows, columns = (slice(max(0, c - reach), max(0, c + reach)) for c in local[::-1])
        near = alpha[rows, columns] > 0.9
        if not near.any():
            return None
        color = window[rows, columns][near].mean(0)
        mask = np.zeros((self.size, self.size), np.uint8)
        ends = [tuple(int(v) for v in np.rint(end)) for end in (elbow, anchor)]
        cv2.line(mask, ends[0], ends[1], 255, max(2, int(2.1 * half)), cv2.LINE_AA)
        lay_figure(rounded(mask, color * rng.uniform(0.9, 1.25), rng), canvas)
        return mask > 127


def _choose_part(rng: np.random.Generator, size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Corner (x, y) and shape (width, height) of the part of a canvas that is the picture."""
    share = _SHAPES[int(rng.choice(len(_SHAPES), p=_SHAPE_SHARES))]
    width, height = (int(size * part) // 2 * 2 for part in share)
    return ((size - width) // 2, (size - height) // 2), (width, height)


def _unit(joints: np.ndarray) -> np.ndarray:
    return _unit_vector(joints[0] - joints[9])


def _unit_vector(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / np.linalg.norm(vector))


def _mirrored(light: Lighting) -> Lighting:
    """The light as the mirrored canvas sees it."""
    return Lighting(
        lambda directions: light.radiance(directions * _FLIP),
        np.ascontiguousarray(light.lamp_directions * _FLIP), light.lamp_colors,
    )  # fmt: skip
