"""From the network's answer about one crop to a hand in the camera's frame, in metres."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from handmesh.errors import HandMeshError
from handmesh.geometry.camera import fit_weak_perspective, weak_perspective_to_translation
from handmesh.geometry.crop import CropTransform
from handmesh.inference.alignment.alignment_kernels import LEAST_DEPTH_M
from handmesh.inference.alignment.keypoint_alignment import KeypointAligner
from handmesh.inference.frame_kernels import to_camera
from handmesh.mano.hand_model import HandModel
from handmesh.results import Hand
from handmesh.skeleton import HAND_LENGTH_RANGE_M, ROOT_JOINT

if TYPE_CHECKING:
    from handmesh.inference.engines.base import EngineOutput

#: Hands nearer or farther than this are a sign that the translation's fit failed, metres.
DEPTH_RANGE_M = (LEAST_DEPTH_M, 20.0)


class Estimate(NamedTuple):
    """One crop's answer: the hand, and the network's probabilities that it is one and that it is a right one."""

    hand: Hand
    presence: float
    right: float


def lift_hand(
    output: EngineOutput, index: int, crop: CropTransform, model: HandModel, aligner: KeypointAligner | None = None,
    mesh: bool = True,
) -> Estimate:  # fmt: skip
    """One hand of the network's output, from the crop's frame into the camera's.

    Args:
        output: of several crops.
        index: of this one among them.
        crop: what the network saw.
        model: the hand model.
        aligner: moves the mesh onto the network's own keypoints first; None leaves it as the network has it.
        mesh: False leaves the vertices out, (0, 3), for callers that pose the hand themselves; see :func:`with_mesh`.
    """
    keypoints, confidence, camera = output.keypoints_2d[index], output.confidence[index], output.camera[index]
    rotations, betas = output.rotations[index], output.betas[index]
    vertices, joints = output.vertices[index], output.joints[index]
    if aligner is not None:
        rotations, betas, _, joints = aligner(rotations, betas, keypoints, confidence, crop.K_crop, None, crop.size)
        if mesh:
            # The crop shows every hand as a right one.
            vertices, joints = model.pose(True, rotations[0], rotations[1:], betas)
    is_right = not crop.is_mirrored
    found = to_camera(
        joints, keypoints, confidence, rotations, model.rest_wrist(True, betas), crop.rotation,
        crop.inverse_homography, crop.K, crop.is_mirrored,
    )  # fmt: skip
    translation = found.translation
    depth = found.joints[:, 2].mean() + translation[2]
    if not (np.isfinite(translation).all() and DEPTH_RANGE_M[0] < depth < DEPTH_RANGE_M[1]):
        if not len(camera):
            camera = fit_weak_perspective(joints, (keypoints + 0.5) * (2 / crop.size) - 1)
        translation = crop.invert_points_3d(
            weak_perspective_to_translation(camera, crop.K_crop, crop.size, float(joints[ROOT_JOINT, 2]))
        )
    shown = crop.invert_points_3d(vertices) + translation if mesh else np.empty((0, 3))
    right = float(output.is_right[index])
    hand = Hand(
        vertices=shown.astype(np.float32),
        joints=(found.joints + translation).astype(np.float32),
        keypoints_2d=found.keypoints,
        is_right=is_right,
        score=float(output.presence[index]),
        faces=model.faces(is_right),
        global_orient=found.global_orient,
        hand_pose=found.hand_pose,
        betas=np.asarray(betas, np.float32),
        # The model turns about its rest wrist, not about the origin.
        translation=(translation + found.wrist_shift).astype(np.float32),
        K=np.asarray(crop.K, np.float32),
        box_xyxy=found.box,
        confidence=np.asarray(confidence, np.float32),
    )
    return Estimate(hand, hand.score, right if is_right else 1.0 - right)


def check_hand_length(length_m: float | None) -> None:
    """HandMeshError for a length that no hand has, such as one in centimetres; None is no length."""
    low, high = HAND_LENGTH_RANGE_M
    if length_m is not None and not low <= length_m <= high:
        raise HandMeshError(
            f"expected a hand length between {low} and {high} metres, got {length_m:g}; measure from the crease "
            "of the wrist to the tip of the middle finger (18.5 cm are 0.185)"
        )


def with_mesh(hand: Hand, model: HandModel) -> Hand:
    """A hand with the vertices that the hand model gives for its parameters; one that has them as it is."""
    if len(hand.vertices):
        return hand
    vertices, _ = model.pose(hand.is_right, hand.global_orient, hand.hand_pose, hand.betas)
    return replace(hand, vertices=hand.scale * vertices + hand.translation)


def resize_hand(hand: Hand, length_m: float | None, model: HandModel) -> Hand:
    """The hand at its measured length: larger and farther, or smaller and nearer.

    It is seen where it was seen before: everything about it is scaled about the camera.

    Args:
        hand: in the camera's frame.
        length_m: from wrist crease to middle fingertip, metres; None leaves the hand as it is.
        model: the hand model it is posed with.
    """
    if length_m is None:
        return hand
    scale = np.float32(length_m / (hand.scale * model.length(hand.betas)))
    return replace(
        hand, vertices=hand.vertices * scale, joints=hand.joints * scale, translation=hand.translation * scale,
        scale=float(hand.scale * scale),
    )  # fmt: skip
