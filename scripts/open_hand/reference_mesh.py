"""The reference surface: a skinned hand in a binary glTF file, as plain arrays in MANO's axes."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError

Array = NDArray[np.float64]
Faces = NDArray[np.int64]

_COMPONENT = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}

# WebXR: fingers along -y, back of the hand +x, thumb -z.  MANO's right hand: fingers -x, back +y, thumb +z.
_WEBXR_TO_MANO = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])

_FINGERS = ("index-finger", "middle-finger", "pinky-finger", "ring-finger")
_BONE_OF_JOINT = {"wrist": 0, "thumb-metacarpal": 13, "thumb-phalanx-proximal": 14, "thumb-phalanx-distal": 15,
                  "thumb-tip": 15}
for _i, _finger in enumerate(_FINGERS):
    _BONE_OF_JOINT[f"{_finger}-metacarpal"] = 0
    for _k, _part in enumerate(("phalanx-proximal", "phalanx-intermediate", "phalanx-distal", "tip")):
        _BONE_OF_JOINT[f"{_finger}-{_part}"] = 1 + 3 * _i + min(_k, 2)


@dataclass(frozen=True)
class ReferenceHand:
    """vertices (V,3) m in MANO's axes, faces (F,3), weights (V,16) over MANO's joints, joints {WebXR name: (3,)}."""

    vertices: Array
    faces: Faces
    weights: Array
    joints: dict[str, Array]


def read_reference(path: str | Path) -> ReferenceHand:
    """Reads the one skinned mesh of a .glb, welds it and opens the wrist's cap.  Raises HandMeshError."""
    document, blob = _read_glb(Path(path))
    try:
        primitive = document["meshes"][0]["primitives"][0]
        attributes = primitive["attributes"]
        skin = document["skins"][0]
        vertices = _accessor(document, blob, attributes["POSITION"]).astype(np.float64)
        faces = _accessor(document, blob, primitive["indices"]).reshape(-1, 3).astype(np.int64)
        slots = _accessor(document, blob, attributes["JOINTS_0"]).astype(np.int64)
        slot_weights = _accessor(document, blob, attributes["WEIGHTS_0"]).astype(np.float64)
        inverse_bind = _accessor(document, blob, skin["inverseBindMatrices"]).reshape(-1, 4, 4)
        names = [document["nodes"][k]["name"] for k in skin["joints"]]
        bones = np.array([_BONE_OF_JOINT[name] for name in names])
    except (KeyError, IndexError, ValueError) as error:
        raise HandMeshError(f"expected one hand skinned to WebXR's 25 joints in {path}, got a glTF without it "
                            f"({error!r}); use right.glb of @webxr-input-profiles/assets, generic-hand") from error
    # Column-major in the file; a joint stands where its inverse bind matrix sends to the origin.
    bind = np.linalg.inv(inverse_bind.transpose(0, 2, 1).astype(np.float64))
    joints = {name: _WEBXR_TO_MANO @ bind[k, :3, 3] for k, name in enumerate(names)}
    weights = np.zeros((len(vertices), 16))
    for column in range(slots.shape[1]):
        np.add.at(weights, (np.arange(len(vertices)), bones[slots[:, column]]), slot_weights[:, column])
    weights /= weights.sum(axis=1, keepdims=True)
    vertices, faces, weights = weld(vertices @ _WEBXR_TO_MANO.T, faces, weights)
    vertices, faces, weights = open_cap(vertices, faces, weights, joints["wrist"])
    return ReferenceHand(vertices, faces, weights, joints)


def open_cap(vertices: Array, faces: Faces, weights: Array, wrist: Array) -> tuple[Array, Faces, Array]:
    """Removes the faces that close the forearm: beyond the wrist and looking along it (+x)."""
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    is_cap = (normal[:, 0] > 0.7 * np.linalg.norm(normal, axis=1)) & (corners[..., 0].min(1) > wrist[0])
    return compact(vertices, faces[~is_cap], weights)


def _read_glb(path: Path) -> tuple[dict, bytes]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HandMeshError(f"expected a readable .glb, got {path}: {error.strerror}; check the path") from error
    if len(data) < 28 or data[:4] != b"glTF":
        raise HandMeshError(f"expected a binary glTF file, got {path}; use the reference hand's right.glb")
    length = struct.unpack("<I", data[12:16])[0]
    return json.loads(data[20:20 + length]), data[28 + length:]


def _accessor(document: dict, blob: bytes, index: int) -> NDArray:
    accessor = document["accessors"][index]
    view = document["bufferViews"][accessor["bufferView"]]
    width = _WIDTH[accessor["type"]]
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    flat = np.frombuffer(blob, _COMPONENT[accessor["componentType"]], accessor["count"] * width, start)
    return flat.reshape(-1, width)


def weld(vertices: Array, faces: Faces, weights: Array) -> tuple[Array, Faces, Array]:
    """Joins vertices that share a position (to 1 micrometre) and drops faces that vanish."""
    keys = np.round(vertices * 1e6).astype(np.int64)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    faces = inverse.reshape(-1)[faces]
    distinct = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    return vertices[first], faces[distinct], weights[first]


def compact(vertices: Array, faces: Faces, weights: Array) -> tuple[Array, Faces, Array]:
    """Drops vertices that no face uses."""
    used, faces = np.unique(faces, return_inverse=True)
    return vertices[used], faces.reshape(-1, 3).astype(np.int64), weights[used]


def clip_wrist(vertices: Array, faces: Faces, weights: Array, x_max: float) -> tuple[Array, Faces, Array]:
    """Keeps x <= x_max; triangles that cross the plane are cut along it.  Arrays as in ReferenceHand."""
    points, rows, kept, cache = list(vertices), list(weights), [], {}

    def crossing(a: int, b: int) -> int:
        key = (min(a, b), max(a, b))
        if key not in cache:
            t = (x_max - points[a][0]) / (points[b][0] - points[a][0])
            points.append(points[a] + t * (points[b] - points[a]))
            rows.append(rows[a] + t * (rows[b] - rows[a]))
            cache[key] = len(points) - 1
        return cache[key]

    for face in faces:
        polygon: list[int] = []
        for a, b in zip(face, np.roll(face, -1)):
            a_in, b_in = points[a][0] <= x_max, points[b][0] <= x_max
            if a_in:
                polygon.append(int(a))
            if a_in != b_in:
                polygon.append(crossing(int(a), int(b)))
        kept += [(polygon[0], polygon[k], polygon[k + 1]) for k in range(1, len(polygon) - 1)]
    # Cut points can fall on top of one another; weld so that the rim is one clean loop.
    return compact(*weld(np.array(points), np.array(kept), np.array(rows)))


def loop_subdivide(vertices: Array, faces: Faces, weights: Array, levels: int) -> tuple[Array, Faces, Array]:
    """Loop subdivision (C. Loop, 1987, with Warren's weights) of positions and attributes, boundary as a B-spline."""
    data = np.concatenate([vertices, weights], axis=1)
    for _ in range(levels):
        data, faces = _loop_once(data, faces)
    return data[:, :3], faces, data[:, 3:]


def _loop_once(data: Array, faces: Faces) -> tuple[Array, Faces]:
    count = len(data)
    corners = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    opposite = np.concatenate([faces[:, 2], faces[:, 0], faces[:, 1]])
    edges, edge_of = np.unique(np.sort(corners, axis=1), axis=0, return_inverse=True)
    edge_of = edge_of.reshape(-1)
    uses = np.bincount(edge_of, minlength=len(edges))
    rim = uses == 1
    far = np.zeros((len(edges), data.shape[1]))
    np.add.at(far, edge_of, data[opposite])
    middle = 0.5 * (data[edges[:, 0]] + data[edges[:, 1]])
    odd = np.where(rim[:, None], middle, 0.75 * middle + far / 8.0)
    valence = np.bincount(edges.reshape(-1), minlength=count)
    ring = np.zeros_like(data)
    np.add.at(ring, edges[:, 0], data[edges[:, 1]])
    np.add.at(ring, edges[:, 1], data[edges[:, 0]])
    beta = np.where(valence == 3, 3.0 / 16.0, 3.0 / (8.0 * np.maximum(valence, 1)))
    even = (1 - valence * beta)[:, None] * data + beta[:, None] * ring
    rim_ring = np.zeros_like(data)
    for a, b in ((0, 1), (1, 0)):
        np.add.at(rim_ring, edges[rim, a], data[edges[rim, b]])
    on_rim = np.zeros(count, bool)
    on_rim[edges[rim].reshape(-1)] = True
    even[on_rim] = 0.75 * data[on_rim] + rim_ring[on_rim] / 8.0
    m = edge_of.reshape(3, -1).T + count
    a, b, c = faces.T
    finer = np.concatenate([np.stack([a, m[:, 0], m[:, 2]], 1), np.stack([b, m[:, 1], m[:, 0]], 1),
                            np.stack([c, m[:, 2], m[:, 1]], 1), m])
    return np.concatenate([even, odd]), finer
