"""From the network's answer about one crop to a hand in the camera's frame, in metres."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from handmesh.errors import HandMeshError
from handmesh.geometry.camera import fit_weak_perspective, weak_perspective_to_translation
from handmesh.geometry.crop import CropTransform, box_around, mirror_pose
from handmesh.inference.alignment.keypoint_alignment import KeypointAligner
from handmesh.inference.frame_kernels import fit_translation
from handmesh.mano.hand_model import HandModel
from handmesh.results import Hand
from handmesh.skeleton import HAND_LENGTH_RANGE_M, ROOT_JOINT

if TYPE_CHECKING:
    from handmesh.inference.engines.base import EngineOutput

#: Hands nearer or farther than this are a sign that the translation's fit failed, metres.
DEPTH_RANGE_M = (0.05, 20.0)


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
    if aligner is not None:
        output, index = align_row(output, index, crop, model, aligner, mesh), 0
    is_right = not crop.is_mirrored
    K = np.asarray(crop.K, np.float64)
    joints = crop.invert_points_3d(output.joints[index])
    keypoints = crop.invert_points_2d(output.keypoints_2d[index])
    confidence = output.confidence[index]
    translation = fit_translation(joints, keypoints, K, np.maximum(confidence, 0.01).astype(np.float64))
    depth = joints[:, 2].mean() + translation[2]
    if not (np.isfinite(translation).all() and DEPTH_RANGE_M[0] < depth < DEPTH_RANGE_M[1]):
        root_depth = float(output.joints[index, ROOT_JOINT, 2])
        camera = output.camera[index]
        if not len(camera):
            within = (output.keypoints_2d[index] + 0.5) * (2 / crop.size) - 1
            camera = fit_weak_perspective(output.joints[index], within)
        translation = crop.invert_points_3d(
            weak_perspective_to_translation(camera, crop.K_crop, crop.size, root_depth)
        )
    vertices = crop.invert_points_3d(output.vertices[index] if mesh else np.empty((0, 3))) + translation
    betas = output.betas[index]
    # The model turns about its rest wrist, not about the origin: what the turn of the crop did to that point is
    # part of the translation.
    wrist = model.rest_wrist(True, betas).astype(np.float64)
    moved = crop.invert_points_3d(wrist) - model.rest_wrist(is_right, betas)
    pose = output.rotations[index, 1:]
    right = float(output.is_right[index])
    hand = Hand(
        vertices=vertices.astype(np.float32),
        joints=(joints + translation).astype(np.float32),
        keypoints_2d=keypoints.astype(np.float32),
        is_right=is_right,
        score=float(output.presence[index]),
        faces=model.faces(is_right),
        global_orient=crop.invert_rotation(output.rotations[index, 0]).astype(np.float32),
        hand_pose=(pose if is_right else mirror_pose(pose)).astype(np.float32),
        betas=np.asarray(betas, np.float32),
        translation=(translation + moved).astype(np.float32),
        K=K.astype(np.float32),
        box_xyxy=box_around(keypoints).astype(np.float32),
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


def align_row(
    output: EngineOutput, index: int, crop: CropTransform, model: HandModel, aligner: KeypointAligner,
    mesh: bool = True,
) -> EngineOutput:  # fmt: skip
    """One hand of the network's output, its mesh moved onto its keypoints.

    Args:
        output, index, crop, model, aligner, mesh: as of :func:`lift_hand`.

    Returns:
        An output of one row, which has joints, and with ``mesh`` vertices, whether ``output`` has them or not. Its pose
        is as it was where the hand cannot be placed before the camera.
    """
    row = type(output)(*(part[index : index + 1] for part in output))
    if not row.joints.size:
        row = row._replace(joints=aligner.joints(row.rotations[0], row.betas[0])[None].astype(np.float32))
    K = np.asarray(crop.K_crop, np.float64)
    keypoints, confidence = row.keypoints_2d[0], row.confidence[0].astype(np.float64)
    start = fit_translation(row.joints[0], keypoints, K, np.maximum(confidence, 0.01))
    if np.isfinite(start).all() and row.joints[0, :, 2].min() + start[2] >= DEPTH_RANGE_M[0]:
        rotations, betas, _, moved = aligner(
            row.rotations[0], row.betas[0], keypoints, confidence, K, start, crop.size
        )
        row = row._replace(
            vertices=row.vertices[:, :0], joints=moved[None].astype(np.float32),
            rotations=rotations[None].astype(np.float32), betas=betas[None].astype(np.float32),
        )  # fmt: skip
    if mesh and not row.vertices.size:
        # The crop shows every hand as a right one.
        vertices, joints = model.pose(True, row.rotations[0, 0], row.rotations[0, 1:], row.betas[0])
        row = row._replace(vertices=vertices[None], joints=joints[None])
    return row


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
