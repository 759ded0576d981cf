"""Recordings as animated glTF: each hand a mesh on a skin of 16 joints, moved by rotations and one translation.

Blend skinning alone lacks the hand model's pose correctives (how flesh moves under a bent joint). They are a linear
function of the pose, so a few morph targets, found by a singular value decomposition of the correctives that the clip
uses, bring the mesh back to within a stated error. Metres, y up, the camera at the origin looking along -z.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from handmesh._version import __version__
from handmesh.geometry.crop import mirror_pose
from handmesh.geometry.quaternion import to_matrix
from handmesh.io.files import atomic_path
from handmesh.motion.formats.skeletal import TO_Y_UP, TO_Y_UP_QUATERNION, SkeletalMotion, skeletal_motions
from handmesh.motion.formats.tables import FloatArray
from handmesh.motion.recording import Recording
from handmesh.results import LEFT_COLOR, RIGHT_COLOR
from handmesh.skeleton import MANO_PARENTS

if TYPE_CHECKING:
    import pygltflib

#: Morph targets are added until no vertex of any frame is farther than this from the hand model's, millimetres.
MAX_CORRECTIVE_ERROR_MM = 0.05
#: Frames that the morph targets are found from; the error is measured on all.
_SAMPLED_FRAMES = 300
#: Influences of a vertex that every program reads.
_INFLUENCES = 4
_FLOAT, _BYTE, _SHORT = 5126, 5121, 5123
_ARRAY_BUFFER, _ELEMENT_BUFFER = 34962, 34963


@dataclass(frozen=True)
class Correctives:
    """Pose correctives of one clip as morph targets.

    Attributes:
        base: (778, 3) metres, what weights of 0 add to the rest mesh.
        targets: (M, 778, 3) metres.
        weights: (T, M) between 0 and 1.
        rest_weights: (M,) those of the rest pose.
        error_mm: the farthest that any vertex of any frame is off.
    """

    base: FloatArray
    targets: FloatArray
    weights: FloatArray
    rest_weights: FloatArray
    error_mm: float


def write_gltf(recording: Recording, path: Path, track_id: int | None = None) -> str:
    """Write the recording's hands as one binary glTF with one animation.

    Args:
        recording: the recording.
        path: the file (.glb).
        track_id: only this track; None for all.

    Returns:
        One line about what was written, with the error of the animated meshes.

    Raises:
        HandMeshError: no hand, no such track, another hand model, or a place that cannot be written.
    """
    import pygltflib

    motions = skeletal_motions(recording, track_id)
    builder = _Builder()
    errors, targets = [], []
    for motion in motions:
        correctives = builder.add_hand(recording, motion)
        errors.append(mesh_error_mm(recording, motion, correctives))
        targets.append(str(len(correctives.targets)))
    gltf = builder.gltf
    gltf.scenes = [pygltflib.Scene(nodes=builder.roots)]
    gltf.scene = 0
    gltf.asset = pygltflib.Asset(
        version="2.0", generator=f"handmesh {__version__}",
        extras={"source": recording.header.source, "mesh_error_mm": [round(error, 4) for error in errors]},
    )  # fmt: skip
    gltf.buffers = [pygltflib.Buffer(byteLength=len(builder.blob))]
    gltf.set_binary_blob(bytes(builder.blob))
    with atomic_path(path) as part:
        part.write_bytes(b"".join(gltf.save_to_bytes()))
    hands = f"{len(motions)} hand{'s' if len(motions) > 1 else ''}"
    return f"{hands}, {' and '.join(targets)} morph targets, every vertex within {max(errors):.3f} mm of the recording"


def pose_correctives(recording: Recording, motion: SkeletalMotion) -> Correctives:
    """The correctives of every frame of a track as few morph targets; metres, camera axes."""
    arrays = recording.model.arrays
    feature = _pose_feature(motion)
    flip = np.array([1.0 if motion.is_right else -1.0, 1.0, 1.0]) * motion.scale
    basis = (arrays.posedirs * flip[:, None]).reshape(-1, 135).T
    sample = feature[np.linspace(0, len(feature) - 1, min(len(feature), _SAMPLED_FRAMES)).round().astype(int)]
    _, _, directions = np.linalg.svd(sample @ basis, full_matrices=False)
    count = 0
    while True:
        chosen = directions[:count]
        weights = feature @ (basis @ chosen.T)
        error_mm = _farthest_mm(feature, basis, weights, chosen)
        if error_mm <= MAX_CORRECTIVE_ERROR_MM or count >= len(directions):
            break
        count += 1 if count < 8 else max(1, count // 8)
    # Weights between 0 and 1 are what every program's sliders reach; 0 is the rest pose's, which lies within.
    low = np.minimum(weights.min(axis=0, initial=0.0), 0.0)
    span = np.maximum(np.maximum(weights.max(axis=0, initial=0.0), 0.0) - low, 1e-12)
    return Correctives(
        (low @ chosen).reshape(-1, 3), (chosen * span[:, None]).reshape(-1, *arrays.v_template.shape),
        (weights - low) / span, -low / span, error_mm,
    )  # fmt: skip


def _pose_feature(motion: SkeletalMotion) -> NDArray[np.float64]:
    """(T, 135) what the correctives depend on; of the mirrored model for a left hand."""
    matrices = to_matrix(motion.rotations[:, 1:])
    matrices = matrices if motion.is_right else mirror_pose(matrices)
    return np.asarray((matrices - np.eye(3)).reshape(len(matrices), 135))


def _farthest_mm(feature: FloatArray, basis: FloatArray, weights: FloatArray, chosen: FloatArray) -> float:
    """The farthest that a vertex of any frame is from its place, some frames at a time."""
    farthest = 0.0
    for start in range(0, len(feature), 256):
        rows = slice(start, start + 256)
        missing = (feature[rows] @ basis - weights[rows] @ chosen).reshape(-1, 3)
        farthest = max(farthest, float(np.linalg.norm(missing, axis=1).max()))
    return 1000 * farthest


def mesh_error_mm(recording: Recording, motion: SkeletalMotion, correctives: Correctives) -> float:
    """How far the animated mesh is from the recording's own at most, over at most 300 frames.

    Args:
        recording: the recording.
        motion: one track of it.
        correctives: that track's morph targets.

    Returns:
        The largest distance of a vertex, mm.
    """
    index, weights = influences(recording)
    rest = rest_vertices(recording, motion) + correctives.base
    places, matrices = motion.joint_positions(), to_matrix(motion.rotations)
    farthest = 0.0
    indices = recording.frames.index[motion.frame_row]
    for row in np.unique(np.linspace(0, len(places) - 1, _SAMPLED_FRAMES).round().astype(int)):
        turned = matrices[row].copy()
        for joint in range(1, 16):
            turned[joint] = turned[MANO_PARENTS[joint]] @ matrices[row, joint]
        mesh = rest + np.einsum("m,mvc->vc", correctives.weights[row], correctives.targets)
        bones = mesh[:, None] - motion.rest_joints[index]
        moved = np.einsum("vkij,vkj->vki", turned[index], bones) + places[row][index]
        posed = (weights[..., None] * moved).sum(axis=1)
        truth = recording.vertices(motion.track_id, int(indices[row]))
        farthest = max(farthest, float(np.linalg.norm(posed - truth, axis=1).max()))
    return 1000 * farthest


def rest_vertices(recording: Recording, motion: SkeletalMotion) -> NDArray[np.float64]:
    """(778, 3) metres: the flat hand of the track's shape, relative to its wrist."""
    arrays = recording.model.arrays
    flip = np.array([1.0 if motion.is_right else -1.0, 1.0, 1.0])
    vertices = (arrays.v_template + arrays.shapedirs @ motion.betas) * flip
    return np.asarray((vertices - recording.model.rest_wrist(motion.is_right, motion.betas)) * motion.scale)


def influences(recording: Recording) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The four joints that move each vertex most (778, 4), and their shares, which sum to 1."""
    weights = recording.model.arrays.weights
    index = np.argsort(-weights, axis=1)[:, :_INFLUENCES]
    chosen = np.take_along_axis(weights, index, axis=1)
    # A joint without a share is named 0, as the format asks for.
    return np.where(chosen > 0, index, 0), chosen / chosen.sum(axis=1, keepdims=True)


class _Builder:
    """The parts of a glTF file, added hand by hand."""

    def __init__(self) -> None:
        import pygltflib

        self._lib = pygltflib
        self.gltf: pygltflib.GLTF2 = pygltflib.GLTF2()
        self.animation = pygltflib.Animation(name="recording", samplers=[], channels=[])
        self.gltf.animations = [self.animation]
        self.blob = bytearray()
        self.roots: list[int] = []

    def add_hand(self, recording: Recording, motion: SkeletalMotion) -> Correctives:
        """Nodes, skin, mesh and channels of one hand: a tree hand -> wrist -> fingers, and the mesh beside it."""
        lib, gltf = self._lib, self.gltf
        correctives = pose_correctives(recording, motion)
        name, first = f"{motion.side}_hand_{motion.track_id}", len(gltf.nodes)
        joints = [first + 1 + joint for joint in range(16)]
        gltf.nodes.append(lib.Node(name=name, children=[joints[0]]))
        # A skinned mesh is moved by its joints alone; the format wants it outside of their tree.
        self.roots += [first, first + 17]
        for joint, bone in enumerate(motion.bone_names):
            parent = MANO_PARENTS[joint]
            offset = (motion.rest_joints[joint] - motion.rest_joints[parent] if joint else np.zeros(3)) * TO_Y_UP
            children = [joints[child] for child, above in enumerate(MANO_PARENTS) if above == joint]
            gltf.nodes.append(
                lib.Node(name=bone, translation=offset.tolist(), rotation=[0.0, 0.0, 0.0, 1.0], children=children)
            )
        gltf.nodes.append(
            lib.Node(name=f"{name}_mesh", mesh=len(gltf.meshes), skin=len(gltf.skins))
        )
        inverse = np.tile(np.eye(4), (16, 1, 1))
        # Column by column, as glTF stores matrices: the translation comes last.
        inverse[:, 3, :3] = -motion.rest_joints * TO_Y_UP
        bind = self._accessor(inverse.reshape(16, 16), "MAT4")
        gltf.skins.append(lib.Skin(name=name, joints=joints, skeleton=joints[0], inverseBindMatrices=bind))
        self._add_mesh(recording, motion, correctives, name)
        self._animate(recording, motion, correctives, joints, first)
        return correctives

    def _add_mesh(
        self, recording: Recording, motion: SkeletalMotion, correctives: Correctives, name: str
    ) -> None:  # fmt: skip
        lib, gltf = self._lib, self.gltf
        vertices = (rest_vertices(recording, motion) + correctives.base) * TO_Y_UP
        faces = np.asarray(recording.model.faces(motion.is_right), np.uint16)
        index, weights = influences(recording)
        attributes = lib.Attributes(
            POSITION=self._accessor(vertices, "VEC3", target=_ARRAY_BUFFER, bounds=True),
            NORMAL=self._accessor(_normals(vertices, faces), "VEC3", target=_ARRAY_BUFFER),
            JOINTS_0=self._accessor(index.astype(np.uint8), "VEC4", _BYTE, _ARRAY_BUFFER),
            WEIGHTS_0=self._accessor(_whole(weights), "VEC4", target=_ARRAY_BUFFER),
        )
        targets = [
            {"POSITION": self._accessor(target * TO_Y_UP, "VEC3", target=_ARRAY_BUFFER, bounds=True)}
            for target in correctives.targets
        ]
        tint = RIGHT_COLOR if motion.is_right else LEFT_COLOR
        color = [*((value / 255) ** 2.2 for value in tint), 1.0]
        gltf.materials.append(
            lib.Material(
                name=f"{motion.side}_skin",
                pbrMetallicRoughness=lib.PbrMetallicRoughness(
                    baseColorFactor=color, metallicFactor=0.0, roughnessFactor=0.7
                ),
            )
        )
        primitive = lib.Primitive(
            attributes=attributes, indices=self._accessor(faces.reshape(-1, 1), "SCALAR", _SHORT, _ELEMENT_BUFFER),
            material=len(gltf.materials) - 1, targets=targets or None,
        )  # fmt: skip
        extras = {"targetNames": [f"corrective_{number}" for number in range(len(targets))]} if targets else {}
        weights_at_rest = correctives.rest_weights.tolist() if targets else None
        gltf.meshes.append(lib.Mesh(name=name, primitives=[primitive], weights=weights_at_rest, extras=extras))

    def _animate(
        self, recording: Recording, motion: SkeletalMotion, correctives: Correctives, joints: list[int], first: int
    ) -> None:
        times = self._accessor(motion.timestamp_s[:, None], "SCALAR", bounds=True)
        self._channel(times, self._accessor(motion.wrist * TO_Y_UP, "VEC3"), joints[0], "translation")
        for joint, node in enumerate(joints):
            turned = motion.rotations[:, joint] * TO_Y_UP_QUATERNION
            self._channel(times, self._accessor(turned, "VEC4"), node, "rotation")
        if len(correctives.targets):
            self._channel(times, self._accessor(correctives.weights.reshape(-1, 1), "SCALAR"), first + 17, "weights")
        # glTF has no visibility: a hand that is not in view has the size zero.
        row = np.arange(len(recording.frames))
        seen = np.isin(row, motion.frame_row)
        if not seen.all():
            changes = np.concatenate([[0], np.flatnonzero(np.diff(seen)) + 1])
            steps = self._accessor(recording.frames.timestamp_s[changes][:, None], "SCALAR", bounds=True)
            sizes = np.repeat(seen[changes][:, None], 3, axis=1).astype(np.float32)
            self._channel(steps, self._accessor(sizes, "VEC3"), first, "scale", "STEP")

    def _channel(self, times: int, values: int, node: int, path: str, interpolation: str = "LINEAR") -> None:
        lib = self._lib
        self.animation.samplers.append(lib.AnimationSampler(input=times, output=values, interpolation=interpolation))
        self.animation.channels.append(
            lib.AnimationChannel(
                sampler=len(self.animation.samplers) - 1, target=lib.AnimationChannelTarget(node=node, path=path)
            )
        )

    def _accessor(
        self, values: NDArray[Any], kind: str, component: int = _FLOAT, target: int | None = None, bounds: bool = False
    ) -> int:
        """Number of a new accessor over (N, C) values, in a buffer view of their own."""
        lib, gltf = self._lib, self.gltf
        values = values.astype(np.float32) if component == _FLOAT else values
        self.blob.extend(b"\0" * (-len(self.blob) % 4))
        view = lib.BufferView(buffer=0, byteOffset=len(self.blob), byteLength=values.nbytes, target=target)
        self.blob.extend(np.ascontiguousarray(values).tobytes())
        gltf.bufferViews.append(view)
        low, high = (values.min(axis=0).tolist(), values.max(axis=0).tolist()) if bounds else (None, None)
        gltf.accessors.append(
            lib.Accessor(
                bufferView=len(gltf.bufferViews) - 1, componentType=component, count=len(values), type=kind, min=low,
                max=high,
            )  # fmt: skip
        )
        return len(gltf.accessors) - 1


def _whole(weights: FloatArray) -> NDArray[np.float32]:
    """Shares whose sum is 1 in single precision too."""
    single = weights.astype(np.float32)
    return np.asarray(single / single.sum(axis=1, keepdims=True), np.float32)


def _normals(vertices: FloatArray, faces: NDArray[Any]) -> NDArray[np.float64]:
    """(V, 3) of length one: of the faces around each vertex, weighted by area."""
    corners = vertices[faces.astype(np.int64)]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(total, faces[:, corner].astype(np.int64), normal)
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12))
