"""Where on the hand a vertex lies: its finger, its place along and around it, and the region's name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handmesh.mano.prior.joint_limits import joint_axes
from scripts.open_hand.measures import FINGER_ORDER, ROOT_OF

Array = NDArray[np.float64]

REGIONS = ("back", "palm", "thenar", "hypothenar", "wrist", "web", "finger back", "finger front", "knuckle", "crease",
           "nail", "pad")


def finger_coordinates(vertices: Array, weights: Array, joints: Array, tips: Array) -> tuple[NDArray[np.int8], Array]:
    """Finger of each vertex (778,): 0 the palm, 1 to 5 thumb to little; and its place (778,3) along, across, dorsal.

    along: 0 at the finger's first joint, 1 and 2 at the next two, 3 at the tip, negative in the palm.  across and
    dorsal: offset from the bone in half breadths and half thicknesses of that segment: about -1 to 1, across positive
    to the flexion axis's positive end, dorsal positive to the back.  All three can be interpolated over a face, so a
    nail's outline or a crease can be drawn finer than the mesh.
    """
    shares = np.stack([weights[:, ROOT_OF[name]:ROOT_OF[name] + 3].sum(axis=1) for name in FINGER_ORDER], axis=1)
    nearest = shares.argmax(axis=1)
    finger = np.where(shares.max(axis=1) > 0.5, nearest + 1, 0)
    axes = joint_axes(joints, tips)
    place = np.zeros((len(vertices), 3))
    for row, name in enumerate(FINGER_ORDER):
        own = np.flatnonzero(nearest == row)
        root = ROOT_OF[name]
        chain = np.array([*joints[root:root + 3], tips[row]])
        bones = np.diff(chain, axis=0)
        lengths = np.linalg.norm(bones, axis=1)
        offset = vertices[own, None] - chain[None, :3]
        along = (offset * (bones / lengths[:, None])).sum(-1)
        # A vertex belongs to the last segment whose start it has passed.
        segment = np.maximum((along > 0).cumprod(axis=1).sum(axis=1) - 1, 0)
        pick = np.arange(len(own))
        place[own, 0] = segment + along[pick, segment] / lengths[segment]
        local = np.einsum("nad,nd->na", axes[root - 1 + segment], offset[pick, segment])
        half = np.array([np.abs(local[(segment == s) & (finger[own] > 0)][:, :2]).max(axis=0) for s in range(3)])
        place[own, 1:] = local[:, :2] / half[segment]
    return finger.astype(np.int8), place


def vertex_regions(vertices: Array, weights: Array, joints: Array, normals: Array, finger: NDArray[np.int8],
                   place: Array) -> NDArray[np.int8]:
    """(778,) number of each vertex's region in REGIONS."""
    number = {name: k for k, name in enumerate(REGIONS)}
    up = normals[:, 1] > 0.0
    regions = np.where(up, number["back"], number["palm"])
    x, z = vertices[:, 0] - joints[0, 0], vertices[:, 2] - joints[0, 2]
    regions[~up & (weights[:, 13] > 0.3)] = number["thenar"]
    regions[~up & (weights[:, 13] <= 0.3) & (z < -0.012) & (x < -0.008) & (x > -0.065)] = number["hypothenar"]
    along, across, dorsal = place.T
    toward = dorsal > 0.0
    on_finger = (finger > 0) & ((finger > 1) | (along > 1.0))
    regions[on_finger & toward] = number["finger back"]
    regions[on_finger & ~toward] = number["finger front"]
    for joint in (1.0, 2.0):
        near = on_finger & (np.abs(along - joint) < np.where(joint == 1.0, 0.16, 0.2))
        near &= (finger > 1) | (joint == 2.0) | toward
        regions[near & toward] = number["knuckle"]
        regions[near & ~toward] = number["crease"]
    heads = np.linalg.norm(vertices[:, None] - joints[[1, 4, 7, 10]], axis=2).min(axis=1)
    regions[up & (heads < 0.017) & ~(on_finger & (along > 0.35))] = number["knuckle"]
    second = np.sort(weights[:, 1:13].reshape(-1, 4, 3).sum(axis=2), axis=1)[:, -2]
    regions[second > 0.12] = number["web"]
    regions[(along > 2.35) & ~toward & on_finger] = number["pad"]
    regions[(along > 2.45) & (along < 2.97) & (dorsal > 0.35) & (np.abs(across) < 0.85) & on_finger] = number["nail"]
    regions[x > -0.008] = number["wrist"]
    return regions.astype(np.int8)
