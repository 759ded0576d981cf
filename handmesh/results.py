"""What the program finds: a :class:`Detection` in the picture, and a :class:`Hand` in space.

The one result type of the library. Holds numpy arrays only; meshes are made by trimesh when asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from handmesh.skeleton import JOINT_NAMES

if TYPE_CHECKING:
    import trimesh

FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Detection:
    """A place in the picture where a hand is.

    Attributes:
        box_xyxy: (4,) pixels of the full image, around the whole hand.
        is_right: whether it is a right hand; None where the detector cannot say.
        score: 0..1.
        rotation_deg: how far the direction from wrist to middle knuckle is turned clockwise from "up" in the picture.
        keypoints_2d: (N, 2) pixels, the detector's own points, or None.
    """

    box_xyxy: FloatArray
    is_right: bool | None
    score: float
    rotation_deg: float = 0.0
    keypoints_2d: FloatArray | None = None


#: Of :attr:`Hand.fit_score` (scripts/experiments/mesh_fit.py prints how well it holds).
_FIT_OFFSET, _FIT_SLOPE = 3.0, 7.0


@dataclass(frozen=True)
class Hand:
    """One hand as a MANO mesh in the camera's frame (OpenCV: x right, y down, z forward), metres.

    ``vertices`` is ``scale`` times what the hand model gives for (global_orient, hand_pose, betas), plus
    ``translation``; scale is 1 unless the hand's true length was given. For a left hand the model is the mirrored one
    (x negated), and the parameters are those of that mirrored model.

    Attributes:
        vertices: (778, 3) metres.
        joints: (21, 3) metres, order of :data:`handmesh.skeleton.JOINT_NAMES`.
        keypoints_2d: (21, 2) pixels of the full image.
        is_right: right or left hand.
        score: 0..1, that there is a hand; ``fit_score`` says whether the mesh fits it.
        faces: (1538, 3) vertex indices, outward for this hand (already flipped for a left one).
        global_orient: (3, 3) rotation of the wrist.
        hand_pose: (15, 3, 3) rotations of the finger joints relative to their parents, MANO order, mean included.
        betas: (10,) shape coefficients.
        translation: (3,) metres.
        K: (3, 3) intrinsics in pixels that the hand was placed with.
        box_xyxy: (4,) pixels of the full image, around the hand.
        confidence: (21,) 0..1 for each joint.
        scale: the true hand's size over the size that the network guessed, 1 where the true one is not known.
    """

    vertices: FloatArray
    joints: FloatArray
    keypoints_2d: FloatArray
    is_right: bool
    score: float
    faces: NDArray[np.integer[Any]]
    global_orient: FloatArray
    hand_pose: FloatArray
    betas: FloatArray
    translation: FloatArray
    K: FloatArray
    box_xyxy: FloatArray
    confidence: FloatArray = field(default_factory=lambda: np.ones(len(JOINT_NAMES), np.float32))
    scale: float = 1.0

    @property
    def fit_score(self) -> float:
        """0..1, the probability that the hand's points lie within 5 % of its box of the true ones, on average.

        A logistic function of the mean of -ln(confidence) over the joints, measured with the shipped weights on photos
        of makers that they were not trained on (docs/evaluation.md). ``score`` says that there is a hand; this, that
        the mesh fits it.
        """
        unsure = -np.log(np.clip(np.asarray(self.confidence, np.float64), 1e-3, 1.0)).mean()
        return float(1 / (1 + np.exp(_FIT_SLOPE * unsure - _FIT_OFFSET)))

    def to_trimesh(self) -> trimesh.Trimesh:
        """The mesh for files and 3D viewers: metres, y up and z towards the viewer (glTF's axes), with normals."""
        import trimesh

        # OpenCV's camera looks along +z with y down; glTF looks along -z with y up: half a turn about x.
        points = np.asarray(self.vertices, np.float64) * np.array([1.0, -1.0, -1.0])
        return trimesh.Trimesh(vertices=points, faces=np.asarray(self.faces), process=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the faces as plain numbers for JSON; metres, pixels, axis-angle in radians."""
        from handmesh.geometry.rotation_numpy import matrix_to_axis_angle_np

        return {
            "is_right": bool(self.is_right),
            "score": float(self.score),
            "fit_score": round(self.fit_score, 6),
            "box_xyxy": _plain(self.box_xyxy),
            "joint_names": list(JOINT_NAMES),
            "keypoints_2d": _plain(self.keypoints_2d),
            "confidence": _plain(self.confidence),
            "joints": _plain(self.joints),
            "vertices": _plain(self.vertices),
            "global_orient": _plain(matrix_to_axis_angle_np(self.global_orient)),
            "hand_pose": _plain(matrix_to_axis_angle_np(self.hand_pose)),
            "betas": _plain(self.betas),
            "translation": _plain(self.translation),
            "scale": float(self.scale),
            "K": _plain(self.K),
            "units": {
                "joints": "m", "vertices": "m", "translation": "m", "keypoints_2d": "px", "box_xyxy": "px",
                "rotations": "axis-angle, rad", "frame": "camera: x right, y down, z forward",
            },
        }  # fmt: skip


def _plain(values: FloatArray) -> Any:
    # Six decimals are a micrometre: finer than any of these numbers is known.
    return np.round(np.asarray(values, np.float64), 6).tolist()
