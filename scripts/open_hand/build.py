"""The open hand: a right hand in MANO's format, built by code from a freely licensed surface.

    python -m scripts.open_hand.build REFERENCE.glb --output handmesh/assets/open_hand.npz

Shares no data with MANO; keys, shapes, units, joint order and axes are the same, so that the licensed file can be
swapped in.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from handmesh.errors import run_command
from handmesh.mano.arrays import OPEN_HAND_PATH, ManoArrays
from handmesh.mano.prior.joint_limits import joint_axes, pose_limits
from handmesh.skeleton import MANO_PARENTS, NUM_VERTICES
from scripts.open_hand.fit_widths import LEVELS, fit_hand
from scripts.open_hand.pose_correctives import pose_directions
from scripts.open_hand.reference_mesh import loop_subdivide, read_reference
from scripts.open_hand.regions import finger_coordinates, vertex_regions
from scripts.open_hand.remesh import Mesh, Surface, boundary_loop, fit_to_surface, remesh, thin_rim
from scripts.open_hand.shape_directions import shape_directions
from scripts.open_hand.skinning import (
    TIP_NUMBERS,
    dense_size,
    joint_regressor,
    normals,
    number_vertices,
    skin_weights,
)

NAME = "handmesh open hand"
LICENCE = ("Apache-2.0; surface derived from the generic hand of @webxr-input-profiles/assets 1.0.20 (MIT, "
           "Copyright 2019 Amazon)")
RIM_VERTICES = 16


def build_open_hand(reference_path: str | Path) -> ManoArrays:
    """Builds the whole hand from the reference .glb.  Deterministic; about a minute on one core."""
    reference = read_reference(reference_path)
    target, base = fit_hand(reference)
    dense_vertices, dense_faces, dense_weights = loop_subdivide(*base, levels=LEVELS)
    surface = Surface(dense_vertices, dense_faces)
    size = dense_size(dense_vertices, dense_faces, dense_weights, target.joints, target.tips)
    size = _scaled_size(dense_vertices, dense_faces, size)
    tree = cKDTree(dense_vertices)
    mesh = Mesh(base[0], base[1])
    thin_rim(mesh, RIM_VERTICES)
    vertices, faces = remesh(mesh, surface, lambda points: size[tree.query(points)[1]], NUM_VERTICES)
    vertices = fit_to_surface(vertices, faces, surface)
    weights = skin_weights(vertices, surface.sample(vertices, dense_weights), faces, target.joints, target.tips)
    order = number_vertices(vertices, weights, target.tips)
    vertices, weights = vertices[order], weights[order]
    faces = np.argsort(order)[faces]
    return assemble(vertices, faces, weights, target.joints)


def _scaled_size(vertices: np.ndarray, faces: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The size field scaled so that equilateral triangles of that size need NUM_VERTICES vertices."""
    corners = vertices[faces]
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    needed = (area / size[faces].mean(axis=1) ** 2).sum() / (np.sqrt(3) / 2)
    return size * np.sqrt(needed / NUM_VERTICES) * 0.98


def assemble(vertices: np.ndarray, faces: np.ndarray, weights: np.ndarray, joints: np.ndarray) -> ManoArrays:
    """All arrays of the model from the remeshed, skinned template (778,3), (1538,3), (778,16), joints (16,3)."""
    regressor = joint_regressor(vertices, joints)
    joints = regressor @ vertices
    tips = vertices[[TIP_NUMBERS[name][0] for name in ("thumb", "index", "middle", "ring", "little")]]
    axes = joint_axes(joints, tips)
    directions, variance = shape_directions(vertices, faces, weights, joints, tips)
    correctives = pose_directions(vertices, faces, weights, joints, axes, boundary_loop(faces))
    low, high = pose_limits()
    finger, place = finger_coordinates(vertices, weights, joints, tips)
    regions = vertex_regions(vertices, weights, joints, normals(vertices, faces), finger, place)
    extras: dict[str, np.ndarray] = {
        "vertex_regions": regions, "vertex_finger": finger, "finger_coordinates": place.astype(np.float32),
        "pose_min": low.reshape(45), "pose_max": high.reshape(45), "joint_axes": axes, "shape_variance": variance}
    hand = ManoArrays(
        v_template=vertices, shapedirs=directions, posedirs=correctives, J_regressor=regressor, weights=weights,
        faces=faces, parents=np.array(MANO_PARENTS), hands_components=np.eye(45), hands_mean=np.zeros(45),
        extras=extras, name=NAME, licence=LICENCE)
    return _in_float32(_with_pose_space(hand)).validate()


def _with_pose_space(hand: ManoArrays) -> ManoArrays:
    """hands_mean: a relaxed hand; hands_components: principal directions of the pose prior about it."""
    from handmesh.mano.prior.pose_prior import PosePrior

    mean, components = PosePrior(hand).pose_space()
    return replace(hand, hands_mean=mean, hands_components=components)


def _in_float32(hand: ManoArrays) -> ManoArrays:
    """The big arrays at the precision they ship in."""
    names = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "hands_components", "hands_mean")
    return replace(hand, **{name: getattr(hand, name).astype(np.float32) for name in names})


def main() -> None:
    """Command line: REFERENCE.glb --output FILE.npz."""
    parser = argparse.ArgumentParser(description="Build the open hand from the reference surface.")
    parser.add_argument("reference", help="right.glb of the WebXR generic hand (MIT)")
    parser.add_argument("--output", default=str(OPEN_HAND_PATH))
    arguments = parser.parse_args()
    hand = build_open_hand(arguments.reference)
    hand.save_npz(arguments.output)
    print(f"{arguments.output}: {len(hand.v_template)} vertices, {len(hand.faces)} faces, "
          f"fingerprint {hand.fingerprint()}")


if __name__ == "__main__":
    run_command(main)
