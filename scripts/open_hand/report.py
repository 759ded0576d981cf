#!/usr/bin/env python3
"""What the open hand measures and how it looks: the tables and the picture of docs/open-hand.md.

scripts/open_hand/report.py [--picture docs/images/open-hand.png] [--poses poses.png] [--hand open|FILE]
"""

from __future__ import annotations

import argparse

import numpy as np

from handmesh.errors import run_command
from handmesh.io.images import write_image
from handmesh.mano.arrays import ManoArrays, load_mano
from handmesh.mano.layers.numpy_layer import pose_vertices
from handmesh.mano.prior.pose_prior import SHOWN_SHARES, PosePrior
from handmesh.rendering.contact_sheet import contact_sheet
from handmesh.rendering.rasterizer import rasterize, vertex_normals
from handmesh.skeleton import FINGERTIP_VERTICES, MANO_JOINT_NAMES
from scripts.open_hand.measures import Measurable, measure_mm, targets_mm
from scripts.open_hand.mesh_quality import self_intersections, triangle_quality
from scripts.open_hand.volumes import bent_volumes

TILE = 176
TURNS_DEG = (0, 45, 90, 135, 180, 225, 270, 315)
GESTURES = ("relaxed", "fist", "flat", "point", "pinch index", "tripod", "cylinder", "letter Y")
SKIN = np.array([236, 188, 158], np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hand", default="open")
    parser.add_argument("--picture", help="write the picture grid here")
    parser.add_argument("--poses", help="write only a sheet of 64 draws from the pose prior, palm and side, here")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    arguments = parser.parse_args()
    hand = load_mano(arguments.hand)
    if arguments.poses:
        write_image(arguments.poses, prior_picture(hand, arguments.seed))
        print(f"wrote {arguments.poses}")
        return
    print_measures(hand)
    print_bends(hand)
    print_surface(hand)
    if arguments.picture:
        write_image(arguments.picture, picture(hand))
        print(f"wrote {arguments.picture}")


def print_measures(hand: ManoArrays) -> None:
    """Markdown table: every measure beside its published mean."""
    joints = hand.J_regressor @ hand.v_template
    tips = hand.v_template[list(FINGERTIP_VERTICES["freihand"])]
    read = measure_mm(Measurable(hand.v_template, hand.faces, hand.weights, joints, tips))
    print("| measure | published mean, mm | open hand, mm | difference |\n|---|---|---|---|")
    for name, target in targets_mm().items():
        print(f"| {name} | {target:.1f} | {read[name]:.1f} | {100 * (read[name] / target - 1):+.1f} % |")


def print_bends(hand: ManoArrays) -> None:
    """Markdown table: volume of the bent region, with correctives and by plain skinning."""
    print("\n| joint bent by 90 degrees | with correctives | plain skinning |\n|---|---|---|")
    for joint, (kept, plain) in bent_volumes(hand).items():
        print(f"| {MANO_JOINT_NAMES[joint]} | {100 * kept:+.1f} % | {100 * plain:+.1f} % |")


def print_surface(hand: ManoArrays) -> None:
    """One paragraph: triangles and self-intersections at rest."""
    angle, aspect = triangle_quality(hand.v_template, hand.faces)
    crossing = len(self_intersections(hand.v_template, hand.faces))
    print(f"\nsmallest angle {angle.min():.1f} degrees (median {np.median(angle):.1f}), largest aspect "
          f"{aspect.max():.2f} (equilateral 1.15), faces that cut one another at rest: {crossing}, "
          f"fingerprint {hand.fingerprint()}")


def picture(hand: ManoArrays) -> np.ndarray:
    """(H,W,3) uint8: the hand turning, its gestures, its shape directions at -2.5 and +2.5."""
    prior, flat, mean = PosePrior(hand), np.tile(np.eye(3), (15, 1, 1)), np.zeros(10)
    tiles = [tile(hand, flat, mean, turn) for turn in TURNS_DEG]
    tiles += [tile(hand, prior.gesture(name), mean, turn) for turn in (180, 90) for name in GESTURES]
    for sign in (-2.5, 2.5):
        tiles += [tile(hand, flat, sign * np.eye(10)[k], 0) for k in range(8)]
    return contact_sheet(tiles, columns=8, size=TILE)


def prior_picture(hand: ManoArrays, seed: int, count: int = 64) -> np.ndarray:
    """(H,W,3) uint8: poses as the data generator draws them, each from the palm and beside it from the side."""
    poses = PosePrior(hand).sample(np.random.default_rng(seed), count, SHOWN_SHARES, shown=True)
    tiles = [tile(hand, pose, np.zeros(10), turn) for pose in poses for turn in (180, 100)]
    return contact_sheet(tiles, columns=16, size=TILE)


def tile(hand: ManoArrays, pose: np.ndarray, betas: np.ndarray, turn_deg: float) -> np.ndarray:
    """(TILE,TILE,3) uint8: one posed hand, fingers up, turned about its own length; 0 shows the back."""
    vertices, _ = pose_vertices(hand, np.eye(3), pose, betas)
    turn = np.radians(turn_deg)
    # MANO's axes (fingers -x, back +y, thumb +z) to the camera's (x right, y down, z away), then about the vertical.
    upright = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    about = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    centre = np.array([0.02, -0.01, 0.01])
    seen = ((vertices - centre) @ (about @ upright).T + [0, 0, 0.9]).astype(np.float32)
    size = 2 * TILE
    K = np.array([[3.7 * size, 0, size / 2], [0, 3.7 * size, size / 2], [0, 0, 1]])
    faces = hand.faces.astype(np.int32)
    buffers = rasterize(seen, faces, K, size, size)
    normals = np.zeros_like(seen)
    vertex_normals(seen, faces, normals)
    corners = faces[np.maximum(buffers.face_index, 0)]
    normal = np.einsum("hwk,hwkc->hwc", buffers.barycentric, normals[corners])
    normal /= np.maximum(np.linalg.norm(normal, axis=2, keepdims=True), 1e-6)
    light = 0.28 + 0.72 * np.clip(normal @ np.array([-0.42, -0.58, -0.70], np.float32), 0, 1)
    image = np.where((buffers.face_index >= 0)[..., None], SKIN * light[..., None], 250.0)
    return image.reshape(TILE, 2, TILE, 2, 3).mean(axis=(1, 3)).astype(np.uint8)


if __name__ == "__main__":
    run_command(main)
