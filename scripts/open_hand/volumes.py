"""How much flesh a bent finger loses or gains: the hand's volume at rest and bent, with and without correctives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from handmesh.mano.arrays import ManoArrays
from handmesh.mano.layers.numpy_layer import NumpyManoLayer
from handmesh.mano.prior.joint_limits import angles_to_rotations, joint_axes
from handmesh.skeleton import FINGERTIP_VERTICES
from scripts.open_hand.measures import FINGER_ORDER, ROOT_OF, outline
from scripts.open_hand.remesh import boundary_loop

Array = NDArray[np.float64]

#: The fourteen finger joints (MANO numbers): all but the thumb's base, which does not bend by itself.
FINGER_JOINTS = tuple(j for j in range(1, 16) if j != 13)


def volume(vertices: Array, faces: NDArray[np.int64], rim: list[int]) -> float:
    """Volume of a surface (N,3) closed by a fan over its rim, cubic metres."""
    centre = vertices[rim].mean(axis=0)
    corners = vertices[faces] - centre
    return float(np.einsum("ni,ni->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6.0)


def bent_volumes(arrays: ManoArrays, angle_deg: float = 90.0) -> dict[int, tuple[float, float]]:
    """For each finger joint: relative change of the bent region's volume (with correctives, plain skinning).

    The bent region is half the segment on either side of the joint: its volume at rest is the cross-section's area
    times that length (at the base of a finger, where palm and finger are one, the section beyond the web and the
    length on the finger's side, twice).  What the whole hand gains or loses is gained or lost there.
    """
    joints = arrays.J_regressor @ arrays.v_template
    tips = arrays.v_template[list(FINGERTIP_VERTICES["freihand"])]
    axes, rim = joint_axes(joints, tips), boundary_loop(arrays.faces)
    corrected, plain = NumpyManoLayer(arrays), NumpyManoLayer(replace(arrays, posedirs=np.zeros_like(arrays.posedirs)))
    rest = volume(arrays.v_template, arrays.faces, rim)
    regions = region_volumes(arrays, joints, tips, axes)
    changes = {}
    for joint in FINGER_JOINTS:
        angles = np.zeros((15, 3))
        angles[joint - 1, 0] = np.radians(angle_deg)
        rotations = angles_to_rotations(angles, axes)
        bent = [volume(hand.pose(np.eye(3), rotations, np.zeros(10))[0].astype(float), arrays.faces, rim)
                for hand in (corrected, plain)]
        changes[joint] = ((bent[0] - rest) / regions[joint], (bent[1] - rest) / regions[joint])
    return changes


def region_volumes(arrays: ManoArrays, joints: Array, tips: Array, axes: Array) -> dict[int, float]:
    """Rest volume of the region that each finger joint bends, cubic metres."""
    volumes = {}
    for row, name in enumerate(FINGER_ORDER):
        root = ROOT_OF[name]
        chain = np.array([*joints[root:root + 3], tips[row]])
        lengths = np.linalg.norm(np.diff(chain, axis=0), axis=1)
        own = (arrays.weights[:, root:root + 3].sum(axis=1) > 0.5)[arrays.faces].all(axis=1)
        for k in range(1 if name == "thumb" else 0, 3):
            base = k == (1 if name == "thumb" else 0)
            point = chain[k] + (0.55 * (chain[k + 1] - chain[k]) if base else 0.0)
            area = _outline_area(outline(arrays.v_template, arrays.faces[own], point, axes[root + k - 1, 2]),
                                 axes[root + k - 1])
            volumes[root + k] = area * (lengths[k] if base else 0.5 * (lengths[k - 1] + lengths[k]))
    return volumes


def _outline_area(points: Array, axes: Array) -> float:
    """Area within an outline (N,3) that is star-shaped about its middle, square metres."""
    flat = points @ axes[:2].T
    flat = flat - flat.mean(axis=0)
    flat = flat[np.argsort(np.arctan2(flat[:, 1], flat[:, 0]))]
    after = np.roll(flat, -1, axis=0)
    return float(0.5 * (flat[:, 0] * after[:, 1] - flat[:, 1] * after[:, 0]).sum())
