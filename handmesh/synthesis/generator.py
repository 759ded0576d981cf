"""The data generator's one call: an index becomes a labelled picture of the hand model.

A sample is a pure function of (hand model, seed, options, index).
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import cv2
import numpy as np

from handmesh.data.sample import Sample
from handmesh.geometry.camera import is_in_picture
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.layers.numpy_layer import NumpyManoLayer
from handmesh.mano.prior.gestures import check_gestures
from handmesh.mano.prior.pose_prior import SHOWN_SHARES, PosePrior
from handmesh.skeleton import FINGERTIPS, MANO_PARENTS
from handmesh.synthesis.appearance.lighting import Lighting, map_lighting, sample_lighting
from handmesh.synthesis.appearance.occluders import draw_occluder
from handmesh.synthesis.appearance.props import Prop, sample_prop
from handmesh.synthesis.appearance.shading import Shaded, darken_crevices
from handmesh.synthesis.appearance.skin import SkinAppearance, sample_appearance
from handmesh.synthesis.appearance.surface import RING_DISTANCE_M, ForearmShape
from handmesh.synthesis.backgrounds.pool import Backgrounds
from handmesh.synthesis.camera_effects import (
    blur,
    camera_effects,
    compose,
    mean_color,
    noise_bank,
    skin_balance,
    tone_curve,
)
from handmesh.synthesis.renderer import hand_renderer
from handmesh.synthesis.viewpoint import View, crop_intrinsics, random_turn, sample_view

#: Changes when the same (seed, index) gives another picture than before.
DATASET_VERSION = 8
_POSE_BLOCK = 64  # poses are drawn together: the prior refuses self-penetrating ones in bulk
_THICKEST_M = 0.05  # a joint lies at most this deep under skin that shows it
_ARM_RADIUS_M = 0.05
_ARM_CLEARANCE_M = 0.20  # of the far end of a straight forearm; bent it may come nearer
_NEIGHBOURS = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), -1).reshape(-1, 2)
#: The MANO joints whose skin shows each of the 21 joints: its own bone's and the one before; tips have one only.
_BONES_AT = np.array(
    [
        (own, own if joint in FINGERTIPS else max(MANO_PARENTS[own], 0))
        for joint, own in enumerate([0, 13, 14, 15, 15, 1, 2, 3, 3, 4, 5, 6, 6, 10, 11, 12, 12, 7, 8, 9, 9])
    ]
)


class SampleGenerator:
    """Labelled pictures of one hand model, as many as asked for.

    sample(index) gives what FreiHandDataset.sample gives, with box_xyxy besides: image (size, size, 3) uint8 RGB,
    K (3, 3), joints (21, 3), vertices (778, 3) metres in the camera's frame, global_orient (3, 3),
    hand_pose (15, 3, 3), betas (10,), has_mano, scale, mask (size, size) bool, is_right, presence, index,
    visibility (21,) 0 or 1, box_xyxy (4,).
    """

    is_endless = True
    #: Of the pose prior's three ways to draw a pose.
    pose_shares = SHOWN_SHARES
    #: The gestures that poses are made of; none for all.
    gestures: tuple[str, ...] = ()
    #: Share of hands that hold something.
    held_share = 0.14

    def __init__(
        self, mano: ManoArrays, seed: int = 0, size: int = 224, backgrounds: str | os.PathLike[str] | None = None,
        negatives: float = 0.0, left_hands: float = 0.0, length: int = 1 << 30, gestures: Iterable[str] = (),
    ) -> None:
        """Samples are drawn when they are asked for.

        Args:
            mano: the hand model.
            seed: of everything that is drawn.
            size: side of the pictures, pixels.
            backgrounds: a folder of photos and .hdr light maps; None for drawn scenes alone.
            negatives: share of pictures without a hand.
            left_hands: share that is mirrored into left hands (labels are the mirrored model's).
            length: of one pass over the samples.
            gestures: names of the prior's gestures (docs/training.md lists them): poses are these, what lies between
                them, and noise; none for all poses.

        Raises:
            HandMeshError: a folder of backgrounds that is missing or empty, an unknown gesture.
        """
        self.seed, self.size, self.length = int(seed), int(size), int(length)
        self.negatives, self.left_hands = negatives, left_hands
        if named := check_gestures(gestures):
            self.gestures, self.pose_shares = named, (1.0, 0.0, 0.0)
        self._hand_name = mano.fingerprint()
        self.hand = NumpyManoLayer(mano)
        self.renderer = hand_renderer(mano)
        self.poses = PosePrior(mano)
        self.backgrounds = Backgrounds(self.seed, backgrounds)
        self._noise = noise_bank(self.seed)
        self._pose_blocks: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self.length

    def fingerprint(self) -> str:
        """What decides the samples, in one line."""
        behind = self.backgrounds.fingerprint or "drawn"
        options = f"negatives {self.negatives}, left hands {self.left_hands}, backgrounds {behind}"
        start = f"rendered, dataset version {DATASET_VERSION}, hand {self._hand_name}"
        named = f", gestures {'; '.join(self.gestures)}" if self.gestures else ""
        return f"{start}, seed {self.seed}, {self.size} px, {options}{named}"

    def pose(self, index: int) -> np.ndarray:
        """hand_pose (15, 3, 3) float32 of one sample."""
        block = index // _POSE_BLOCK
        if block not in self._pose_blocks:
            if len(self._pose_blocks) >= 16:
                self._pose_blocks.pop(next(iter(self._pose_blocks)))
            rng = np.random.default_rng([self.seed, 3, block])
            poses = self.poses.sample(rng, _POSE_BLOCK, self.pose_shares, True, self.gestures)
            self._pose_blocks[block] = poses.astype(np.float32)
        return self._pose_blocks[block][index % _POSE_BLOCK]

    def sample(self, index: int) -> Sample:
        """The sample with this number; see the class."""
        rng = np.random.default_rng([self.seed, 1, index])
        has_hand = bool(rng.random() >= self.negatives)
        picture = self.backgrounds.sample(rng, self.size)
        lighting = self._lighting(rng)
        if rng.random() < 0.5:
            picture = blur(picture, float(abs(rng.normal(0, 1.6))))
        labels = self._labels(rng, index)
        if rng.random() < (0.06 if has_hand else 0.0):
            self._second_hand(picture, rng, index, lighting)
        mask = np.zeros((self.size, self.size), bool)
        if has_hand:
            shaded = self._draw_hand(picture, rng, labels, lighting)
            mask = shaded.hand > 0.5
            labels["visibility"] = self._visibility(labels, shaded)
        if rng.random() < 0.10:
            hidden = draw_occluder(picture, rng, self.backgrounds)
            mask &= ~hidden
            labels["visibility"] *= ~self._at_joints(labels, hidden)
        picture = camera_effects(picture, rng, self._noise)
        labels.update({"image": picture, "mask": mask, "presence": has_hand, "has_mano": has_hand})
        if not has_hand:
            labels["visibility"][:] = 0
        if rng.random() < self.left_hands:
            mirror_sample(labels)
        return labels

    def _lighting(self, rng: np.random.Generator) -> Lighting:
        environment = self.backgrounds.environment(rng) if rng.random() < 0.4 else None
        return sample_lighting(rng) if environment is None else map_lighting(environment, rng)

    def _labels(self, rng: np.random.Generator, index: int) -> Sample:
        """Camera and hand of a sample. Views along a forearm, into its cut end, are drawn again."""
        betas = np.clip(rng.standard_normal(10), -2.5, 2.5).astype(np.float32)
        for _ in range(8):
            labels = self._place(rng, index, betas)
            if not shows_cut_arm(labels["joints"], labels["K"], self.size):
                break
        return labels

    def _view(self, rng: np.random.Generator) -> View:
        return sample_view(rng, self.renderer.upright)

    def _place(self, rng: np.random.Generator, index: int, betas: np.ndarray) -> Sample:
        view = self._view(rng)
        orient, pose = view.rotation.astype(np.float32), self.pose(index)
        vertices, joints = self.hand.pose(orient, pose, betas)
        middle = 0.5 * (vertices.min(0) + vertices.max(0))
        shift = view.centre.astype(np.float32) - middle
        # Nothing of the hand nearer than 12 cm: no lens focuses there; and no forearm passes through the camera.
        shift[2] = max(shift[2], 0.12 - vertices[:, 2].min(), _ARM_CLEARANCE_M - _arm(joints)[1][2])
        vertices, joints = vertices + shift, joints + shift
        K = crop_intrinsics(vertices.astype(np.float64), view, self.size)
        uv = vertices[:, :2] / vertices[:, 2:] * [K[0, 0], K[1, 1]] + K[:2, 2]
        box = np.concatenate([uv.min(0), uv.max(0)]).clip(0, self.size - 1)
        return {
            "K": K, "joints": joints, "vertices": vertices, "global_orient": orient, "hand_pose": pose, "betas": betas,
            "scale": float(np.linalg.norm(joints[9] - joints[10])), "is_right": True,
            "visibility": np.ones(21, np.float32), "box_xyxy": box.astype(np.float32),
            "has_mano": True, "presence": True, "index": index,
        }

    def _draw_hand(self, picture: np.ndarray, rng: np.random.Generator, labels: Sample, lighting: Lighting) -> Shaded:
        appearance = sample_appearance(rng)
        arm = sample_arm(rng, appearance)
        coarse = self.renderer.mesh(labels["vertices"], labels["global_orient"], arm)
        prop = self._held_thing(rng, labels["vertices"], labels["joints"], labels["global_orient"])
        shine = float(rng.gamma(1.5, 0.5))
        shaded = self.renderer.render(
            coarse, labels["K"], self.size, appearance, lighting, random_turn(rng), shine,
            float(rng.uniform(0.3, 0.65)), prop,
        )
        width = float(labels["box_xyxy"][2:].max() - labels["box_xyxy"][:2].min())
        darken_crevices(shaded, float(rng.uniform(0.4, 0.95)), max(1.0, width * float(rng.uniform(0.012, 0.03))))
        lay_over(picture, shaded, rng, appearance.gloved)
        return shaded

    def _held_thing(
        self, rng: np.random.Generator, vertices: np.ndarray, joints: np.ndarray, orient: np.ndarray
    ) -> Prop | None:
        if rng.random() >= self.held_share:
            return None
        return self._thing(vertices, joints, orient @ self.renderer.surface.palm_normal, rng)

    def _thing(self, vertices: np.ndarray, joints: np.ndarray, palm: np.ndarray, rng: np.random.Generator) -> Prop:
        """What a hand holds; palm: (3,) unit normal out of it."""
        return sample_prop(joints, palm, rng)

    def _second_hand(self, picture: np.ndarray, rng: np.random.Generator, index: int, lighting: Lighting) -> None:
        """Another hand behind, unlabelled, in place."""
        other = self._labels(rng, index + 7919)
        K = other["K"].copy()
        K[:2, 2] += rng.uniform(0.3, 0.7) * self.size * np.sign(rng.normal(size=2))
        self._draw_hand(picture, rng, {**other, "K": K}, lighting)

    def _at_joints(self, labels: Sample, picture: np.ndarray) -> np.ndarray:
        column, row = np.clip(np.rint(project_joints(labels)), 0, self.size - 1).astype(int).T
        return picture[row, column]

    def _visibility(self, labels: Sample, shaded: Shaded) -> np.ndarray:
        """1 for joints inside the picture that lie right under the skin one sees there: the nearest surface, within a
        pixel, belongs to one of the bones that meet in the joint, and is not the far side of a thick hand away.
        """
        uv = project_joints(labels)
        inside = is_in_picture(uv, self.size, self.size)
        centre = np.clip(np.rint(uv), 0, self.size - 1).astype(int)
        around = np.clip(centre[:, None] + _NEIGHBOURS, 0, self.size - 1)
        coarse = shaded.face[around[..., 1], around[..., 0]] >> 2
        parts = self.renderer.part
        part = np.where((coarse >= 0) & (coarse < len(parts)), parts[np.clip(coarse, 0, len(parts) - 1)], -1)
        depth = labels["joints"][:, 2:] - shaded.depth[around[..., 1], around[..., 0]]
        shown = (part[..., None] == _BONES_AT[:, None]).any(-1) & (depth < _THICKEST_M)
        return (inside & shown.any(1)).astype(np.float32)


def project_joints(labels: Sample) -> np.ndarray:
    """Pixels (21, 2) of a sample's joints."""
    joints, K = labels["joints"], labels["K"]
    return joints[:, :2] / joints[:, 2:] * [K[0, 0], K[1, 1]] + K[:2, 2]


def _arm(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Direction (3,) from the hand to the elbow and the far end (3,) metres of a forearm that is not bent."""
    along = joints[0] - joints[9]
    along = along / np.linalg.norm(along)
    return along, joints[0] + RING_DISTANCE_M[-1] * along


def shows_cut_arm(joints: np.ndarray, K: np.ndarray, size: int) -> bool:
    """Whether the camera looks onto the end of the forearm, where the model stops and an arm would go on.

    Args:
        joints: (21, 3) of the hand, metres, camera frame.
        K: (3, 3) of the picture.
        size: its side, pixels.
    """
    along, end = _arm(joints)
    if end @ along > 0:  # the end faces away from the camera
        return False
    uv = K[:2, :2].diagonal() * end[:2] / end[2] + K[:2, 2]
    radius = K[0, 0] * _ARM_RADIUS_M / end[2]
    return bool((uv > -radius).all() and (uv < size + radius).all())


def sample_arm(rng: np.random.Generator, appearance: SkinAppearance) -> ForearmShape:
    """A forearm, straight or bent at the wrist, sleeved as the appearance says."""
    first_ring = int(np.searchsorted(RING_DISTANCE_M, appearance.sleeve_from_m))
    return ForearmShape(
        flexion=float(np.clip(rng.normal(0, 0.35), -1.0, 1.0)),
        deviation=float(np.clip(rng.normal(0, 0.18), -0.5, 0.5)),
        growth=float(rng.uniform(1.15, 1.55)), sleeve_m=appearance.sleeve_thickness_m, sleeve_ring=first_ring,
    )


def lay_over(picture: np.ndarray, shaded: Shaded, rng: np.random.Generator, gloved: bool) -> None:
    """Expose a hand and lay it over a picture.

    Args:
        picture: (H, W, 3) uint8, changed.
        shaded: the hand, of the picture's size.
        rng: draws exposure, contrast and white balance.
        gloved: whether cloth covers the palm, which has a colour of its own.
    """
    # The hand alone decides how it is exposed: a blue sleeve must not turn the skin orange.
    mean = mean_color(shaded.color, np.where(shaded.hand > 0.99 * shaded.alpha, shaded.alpha, np.float32(0)))
    if not mean.any():
        mean = mean_color(shaded.color, shaded.alpha)
    level = float(mean @ [0.25, 0.6, 0.15]) + 1e-4
    # Cameras expose for the middle of the picture: dark and pale hands come out nearer to each other than they are.
    wanted = np.exp(rng.normal(np.log(0.21), 0.45)) * (level / 0.26) ** 0.35
    curve = tone_curve(float(np.clip(wanted, 0.03, 0.75)) / level, float(rng.normal(0.35, 0.25)))
    balance = skin_balance(mean, curve, rng)
    gains = np.ones(3, np.float32) if gloved else balance  # cloth has a colour of its own
    alpha = shaded.alpha
    color = shaded.color
    if rng.random() < 0.5:
        sigma = float(rng.uniform(0.35, 0.8))
        alpha, color = cv2.GaussianBlur(alpha, (3, 3), sigma), cv2.GaussianBlur(color, (3, 3), sigma)
    compose(color, alpha, curve, gains, picture)


def mirror_sample(labels: Sample) -> None:
    """Turn a right hand's sample into the left hand's, in place; parameters are the mirrored model's."""
    width = labels["image"].shape[1]
    flip = np.array([-1.0, 1.0, 1.0], np.float32)
    labels["image"] = np.ascontiguousarray(labels["image"][:, ::-1])
    labels["mask"] = np.ascontiguousarray(labels["mask"][:, ::-1])
    labels["joints"], labels["vertices"] = labels["joints"] * flip, labels["vertices"] * flip
    mirror = np.diag(flip)
    labels["global_orient"] = mirror @ labels["global_orient"] @ mirror
    labels["hand_pose"] = mirror @ labels["hand_pose"] @ mirror
    labels["K"] = labels["K"].copy()
    labels["K"][0, 2] = width - 1 - labels["K"][0, 2]
    box = labels["box_xyxy"]
    labels["box_xyxy"] = np.array([width - 1 - box[2], box[1], width - 1 - box[0], box[3]], np.float32)
    labels["is_right"] = False
