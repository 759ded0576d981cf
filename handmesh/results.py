"""What the program finds: a :class:`Detection` in the picture, and a :class:`Hand` in space.

The one result type of the library. Holds numpy arrays only; meshes are made by trimesh when asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError
from handmesh.geometry.camera import project_points
from handmesh.geometry.quaternion import to_matrix, to_quaternion
from handmesh.skeleton import JOINT_NAMES

if TYPE_CHECKING:
    import trimesh

    from handmesh.geometry.joint_angles import JointAngles

FloatArray = NDArray[np.floating[Any]]

#: Colours of a right and a left hand's mesh, sRGB.
RIGHT_COLOR, LEFT_COLOR = (120, 180, 250), (250, 175, 105)
#: Shapes of the numbers in a hand's dictionary; None where the hand model decides. Rotations are quaternions there.
_DICT_SHAPES: dict[str, tuple[int | None, ...]] = {
    "box_xyxy": (4,), "keypoints_2d": (21, 2), "confidence": (21,), "joints": (21, 3), "vertices": (None, 3),
    "global_orient": (4,), "hand_pose": (15, 4), "betas": (None,), "translation": (3,), "K": (3, 3),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Detection:
    """A place in the picture where a hand is. Two are equal when they are one object.

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
_FIT_OFFSET, _FIT_SLOPE = 5.7, 8.7


@dataclass(frozen=True, eq=False, repr=False)
class Hand:
    """One hand as a MANO mesh in the camera's frame (OpenCV: x right, y down, z forward), metres.

    ``vertices`` is ``scale`` times what the hand model gives for (global_orient, hand_pose, betas), plus
    ``translation``; scale is 1 unless the hand's true length was given. For a left hand the model is the mirrored one
    (x negated), and the parameters are those of that mirrored model.

    There are two sets of points in the picture. ``keypoints_2d`` is where the network sees each joint, measured in the
    picture itself: take it to compare with annotations of pictures. ``joints_2d`` is where the mesh's joints project:
    take it to draw over the mesh, or wherever points in the picture and in space must be one hand. The mesh stands
    where the two agree best; how far apart they are (a few pixels at 640 x 480) says how well it fits.

    Two hands are equal when they are one object; :meth:`to_dict` and :meth:`from_dict` compare and copy by value.

    Attributes:
        vertices: (778, 3) metres.
        joints: (21, 3) metres, order of :data:`handmesh.skeleton.JOINT_NAMES`.
        keypoints_2d: (21, 2) pixels of the full image; the centre of the first pixel is (0, 0).
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
        track_id: the same number for the same hand in every frame; None where frames do not follow one another.
        is_predicted: not seen in this frame, but interpolated between others.
        mask: (H, W) bool, the picture's pixels that show this hand; None where masks were not asked for.
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
    track_id: int | None = None
    is_predicted: bool = False
    mask: NDArray[np.bool_] | None = None

    def __repr__(self) -> str:
        x, y, z = (f"{value:.3f}" for value in self.joints[0])
        box = ", ".join(f"{value:.0f}" for value in self.box_xyxy)
        return f"Hand({self.side}, score={self.score:.2f}, wrist=({x}, {y}, {z}) m, box_xyxy=({box}) px)"

    @property
    def side(self) -> str:
        """ "right" or "left"."""
        return "right" if self.is_right else "left"

    @property
    def color(self) -> tuple[int, int, int]:
        """sRGB, 0..255, of this side's meshes."""
        return RIGHT_COLOR if self.is_right else LEFT_COLOR

    @property
    def joints_2d(self) -> NDArray[np.float32]:
        """(21, 2) pixels of the full image: the mesh's ``joints`` projected by ``K``."""
        return project_points(self.joints, self.K).astype(np.float32)

    @property
    def fit_score(self) -> float:
        """0..1, the probability that the hand's points lie within 5 % of its box of the true ones, on average.

        A logistic function of the mean of -ln(confidence) over the joints, measured with the shipped weights on photos
        of makers that they were not trained on (docs/evaluation.md). ``score`` says that there is a hand; this, that
        the mesh fits it.
        """
        unsure = -np.log(np.clip(np.asarray(self.confidence, np.float64), 1e-3, 1.0)).mean()
        return float(1 / (1 + np.exp(_FIT_SLOPE * unsure - _FIT_OFFSET)))

    def to_trimesh(self, color: tuple[int, int, int] | None = None) -> trimesh.Trimesh:
        """The mesh for files and 3D viewers: metres, y up and z towards the viewer (glTF's axes).

        Args:
            color: sRGB, 0..255; None for this side's own. It and smooth normals go into what trimesh exports.
        """
        import trimesh

        # OpenCV's camera looks along +z with y down; glTF looks along -z with y up: half a turn about x.
        points = np.asarray(self.vertices, np.float64) * np.array([1.0, -1.0, -1.0])
        name = f"{self.side}_hand"
        red, green, blue = color or self.color
        material = trimesh.visual.material.PBRMaterial(
            name=name,
            # glTF wants linear light, here still 0..255.
            baseColorFactor=[*(round(255 * (value / 255) ** 2.2) for value in (red, green, blue)), 255],
            metallicFactor=0.0,
            roughnessFactor=0.7,
            doubleSided=True,
        )
        mesh = trimesh.Trimesh(
            vertices=points,
            faces=np.asarray(self.faces),
            process=False,
            visual=trimesh.visual.TextureVisuals(material=material),
            metadata={"name": name},
        )
        # trimesh writes the normals that a mesh has been asked for.
        _ = mesh.vertex_normals
        return mesh

    def joint_angles(self) -> dict[str, JointAngles]:
        """Flexion, abduction and twist of the 15 finger joints by name, degrees from the flat hand.

        Positive flexion is towards the palm, positive abduction towards the thumb (of the thumb: away from the palm);
        the same for right and left hands. :mod:`handmesh.geometry.joint_angles` has the definition and the inverse.
        """
        from handmesh.geometry.joint_angles import named_angles

        return named_angles(self.hand_pose, self.is_right)

    def to_dict(self, mesh: bool = True) -> dict[str, Any]:
        """Everything but the mask as plain numbers for JSON: metres, pixels, quaternions; :meth:`from_dict` reads it.

        Without ``mesh``, vertices and faces are left out: the hand model makes them of the parameters.
        """
        values: dict[str, Any] = {
            "track_id": self.track_id,
            "is_predicted": bool(self.is_predicted),
            "side": self.side,
            "is_right": bool(self.is_right),
            "score": float(self.score),
            "fit_score": round(self.fit_score, 6),
            "box_xyxy": _plain(self.box_xyxy),
            "joint_names": list(JOINT_NAMES),
            "keypoints_2d": _plain(self.keypoints_2d),
            "joints_2d": _plain(self.joints_2d),
            "confidence": _plain(self.confidence),
            "joints": _plain(self.joints),
            "vertices": _plain(self.vertices),
            "faces": np.asarray(self.faces).tolist(),
            "global_orient": _plain(to_quaternion(self.global_orient)),
            "hand_pose": _plain(to_quaternion(self.hand_pose)),
            "betas": _plain(self.betas),
            "translation": _plain(self.translation),
            "scale": float(self.scale),
            "K": _plain(self.K),
            "units": {
                "joints": "m", "vertices": "m", "translation": "m", "keypoints_2d": "px", "joints_2d": "px",
                "box_xyxy": "px", "rotations": "unit quaternions x y z w",
                "frame": "camera: x right, y down, z forward",
            },
        }  # fmt: skip
        return values if mesh else {key: value for key, value in values.items() if key not in ("vertices", "faces")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Hand:
        """The hand of a :meth:`to_dict`, after any number of ways through JSON; exact to a millionth of each unit.

        Raises:
            HandMeshError: a key is missing, or its numbers are not what they should be.
        """
        numbers = {key: _read(values, key, shape) for key, shape in _DICT_SHAPES.items()}
        for key in ("global_orient", "hand_pose"):
            numbers[key] = _rotations(key, numbers[key])
        faces = _read(values, "faces", (None, 3)).astype(np.int32)
        if faces.size and (faces.min() < 0 or faces.max() >= len(numbers["vertices"])):
            raise _wrong("faces", f"numbers of {len(numbers['vertices'])} vertices", f"{faces.min()}..{faces.max()}")
        if not isinstance(values.get("is_right"), bool):
            raise _wrong("is_right", "true or false", repr(values.get("is_right")))
        score, scale = (float(_read(values, key, ())) for key in ("score", "scale"))
        track_id, is_predicted = values.get("track_id"), values.get("is_predicted", False)
        if not (track_id is None or isinstance(track_id, int)) or not isinstance(is_predicted, bool):
            raise _wrong("track_id", "a whole number or null", repr(track_id))
        return cls(
            is_right=values["is_right"], score=score, scale=scale, faces=faces, track_id=track_id,
            is_predicted=is_predicted, **numbers,
        )  # fmt: skip


def _plain(values: FloatArray) -> Any:
    # Six decimals are a micrometre: finer than any of these numbers is known.
    return np.round(np.asarray(values, np.float64), 6).tolist()


def _read(values: Mapping[str, Any], key: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """A key's numbers as an array of that shape, float32; HandMeshError for anything else."""
    wanted = f"finite numbers of shape ({', '.join('N' if size is None else str(size) for size in shape)})"
    if not isinstance(values, Mapping) or key not in values:
        raise _wrong(key, wanted, "none")
    try:
        array = np.asarray(values[key])
    except ValueError:
        raise _wrong(key, wanted, "lists of unequal length") from None
    fits = array.ndim == len(shape) and all(size in (None, found) for size, found in zip(shape, array.shape))
    if not fits or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise _wrong(key, wanted, f"shape {array.shape} of {array.dtype}" if array.dtype.kind in "fiu" else "others")
    return array.astype(np.float64 if key == "score" else np.float32) if key != "faces" else array


def _rotations(key: str, quaternions: NDArray[Any]) -> NDArray[np.float32]:
    if (np.abs(np.linalg.norm(quaternions, axis=-1) - 1) > 1e-3).any():
        raise _wrong(key, "quaternions of length 1", "others")
    return to_matrix(quaternions).astype(np.float32)


def _wrong(key: str, expected: str, found: str) -> HandMeshError:
    return HandMeshError(f"expected a hand's '{key}' as {expected}, got {found}; give what Hand.to_dict() made")
