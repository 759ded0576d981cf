"""The reference hand brought to published adult proportions, fingers straight, joints placed by anatomy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.open_hand.measures import FINGER_ORDER, ROOT_OF, SEGMENT_MM, SOFT_TISSUE_MM
from scripts.open_hand.reference_mesh import ReferenceHand
from scripts.open_hand.remesh import boundary_loop

Array = NDArray[np.float64]

_WEBXR = {"index": "index-finger", "middle": "middle-finger", "little": "pinky-finger", "ring": "ring-finger"}

RIM_X = 0.0957 + 0.021  # where the forearm is cut off, metres

# MANO's own wrist joint, to the millimetre, so that the licensed file and this hand stand at the same place.
WRIST = np.array([0.0957, 0.0064, 0.0062])


@dataclass(frozen=True)
class Retargeted:
    """vertices (V,3) m, joints (16,3) m in MANO's order, tips (5,3) m: thumb, index, middle, ring, little."""

    vertices: Array
    joints: Array
    tips: Array


def retarget(reference: ReferenceHand, palm_scale: Array, tip_reach: Array) -> Retargeted:
    """Poses the reference flat at the published lengths.

    palm_scale: (3,) along, thickness, breadth of the palm.  tip_reach: (5,) factor on the last segment, thumb first:
    subdivision draws the tips in a little, and this gives it back.
    """
    vertices, weights, source = reference.vertices, reference.weights, reference.joints
    joints = np.zeros((16, 3))
    joints[0] = WRIST
    moved = weights[:, :1] * (WRIST + (vertices - source["wrist"]) * palm_scale)
    moved = _even_stub(moved, weights[:, 0], reference)
    tips = {}
    for name, reach in zip(FINGER_ORDER, tip_reach):
        root = ROOT_OF[name]
        chain = _source_chain(reference, name, root)
        target = _target_chain(chain, name, source["wrist"], palm_scale, reach)
        joints[root:root + 3] = target[:3]
        tips[name] = target[3]
        for k in range(3):
            affine = _bone_map(chain[k + 1] - chain[k], target[k + 1] - target[k])
            moved += weights[:, root + k, None] * (target[k] + (vertices - chain[k]) @ affine.T)
    return Retargeted(moved, joints, np.array([tips[name] for name in FINGER_ORDER]))


def _even_stub(moved: Array, share: Array, reference: ReferenceHand) -> Array:
    """Stretches the forearm's stub so that its slanted end reaches evenly beyond RIM_X.  share: wrist's weight."""
    rim = np.array(boundary_loop(reference.faces))
    plane = np.concatenate([np.ones((len(rim), 1)), moved[rim, 1:]], axis=1)
    solution = np.linalg.lstsq(plane, moved[rim, 0], rcond=None)[0]
    end = np.concatenate([np.ones((len(moved), 1)), moved[:, 1:]], axis=1) @ solution
    beyond = np.maximum(moved[:, 0] - WRIST[0], 0)
    stretched = moved.copy()
    stretched[:, 0] += share * beyond * ((RIM_X + 0.003 - WRIST[0]) / (end - WRIST[0]) - 1)
    return stretched


def section_centre(vertices: Array, faces: NDArray[np.int64], point: Array, normal: Array) -> Array:
    """(3,) centre of the outline that the plane through point cuts out of a part of the surface."""
    side = (vertices - point) @ normal
    crossing = faces[(side[faces] > 0).any(1) & ~(side[faces] > 0).all(1)]
    total, centre = 0.0, np.zeros(3)
    for face in crossing:
        ends = []
        for a, b in zip(face, np.roll(face, -1)):
            if (side[a] > 0) != (side[b] > 0):
                t = side[a] / (side[a] - side[b])
                ends.append(vertices[a] + t * (vertices[b] - vertices[a]))
        length = float(np.linalg.norm(ends[1] - ends[0]))
        total, centre = total + length, centre + length * 0.5 * (ends[0] + ends[1])
    return centre / total


def _source_chain(reference: ReferenceHand, name: str, root: int) -> Array:
    """(4,3): the three joints of a finger on the flesh's own centre line, and the last point of its flesh."""
    joints, vertices = reference.joints, reference.vertices
    prefix = "thumb" if name == "thumb" else _WEBXR[name]
    parts = ("metacarpal", "phalanx-proximal", "phalanx-distal") if name == "thumb" else (
        "phalanx-proximal", "phalanx-intermediate", "phalanx-distal")
    chain = [joints[f"{prefix}-{part}"] for part in parts] + [joints[f"{prefix}-tip"]]
    if name == "thumb":
        # The reference's metacarpal joint lies too far out; anatomy puts it where the bone's length ends.
        back = chain[0] - chain[1]
        chain[0] = chain[1] + back / np.linalg.norm(back) * np.linalg.norm(chain[2] - chain[1]) * 46.2 / 31.6
    finger = reference.faces[(reference.weights[:, root:root + 3].sum(1) > 0.5)[reference.faces].all(1)]
    for _ in range(3):
        for k in (1, 2, 3):
            if name == "thumb" and k == 1:
                continue  # the thumb's middle joint lies within the ball of the thumb
            along = chain[min(k + 1, 3)] - chain[k - 1]
            chain[k] = section_centre(vertices, finger, chain[k], along / np.linalg.norm(along))
    ahead = (chain[3] - chain[2]) / np.linalg.norm(chain[3] - chain[2])
    reach = np.max((vertices[reference.weights[:, root + 2] > 0.9] - chain[2]) @ ahead)
    return np.array([*chain[:3], chain[2] + reach * ahead])


def _target_chain(chain: Array, name: str, wrist: Array, palm_scale: Array, reach: float) -> Array:
    """(4,3): where the finger's joints and tip go."""
    lengths = np.array(SEGMENT_MM[name]) + np.array([0.0, 0.0, SOFT_TISSUE_MM[name]])
    lengths *= np.array([1.0, 1.0, reach]) / 1000.0
    if name == "thumb":
        root = WRIST + (chain[0] - wrist) * palm_scale
        steps = np.diff(chain, axis=0)
        steps /= np.linalg.norm(steps, axis=1, keepdims=True)
        return root + np.concatenate([np.zeros((1, 3)), np.cumsum(steps * lengths[:, None], axis=0)])
    root = WRIST + (chain[0] - wrist) * palm_scale
    along = chain[3] - chain[0]
    along[1] = 0.0  # flat: MANO's fingers rest in the x-z plane
    along /= np.linalg.norm(along)
    return root + np.concatenate([[0.0], np.cumsum(lengths)])[:, None] * along


def _bone_map(source: Array, target: Array) -> Array:
    """(3,3): turns source's direction onto target's by the shortest way and stretches along it."""
    u, v = source / np.linalg.norm(source), target / np.linalg.norm(target)
    stretch = np.linalg.norm(target) / np.linalg.norm(source)
    axis = np.cross(u, v)
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    rotation = np.eye(3) + skew + skew @ skew / (1 + u @ v)
    return rotation @ (np.eye(3) + (stretch - 1.0) * np.outer(u, u))
