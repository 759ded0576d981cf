"""The hand's joints and vertices by number: the one file that knows their order.

Joints come in two orders. *MANO-16* is the kinematic chain of the hand model; *21 joints* is the order of OpenPose,
FreiHAND and this project's results: wrist, then thumb, index, middle, ring and little finger, each from base to tip.
"""

from __future__ import annotations

NUM_VERTICES = 778
NUM_FACES = 1538
NUM_JOINTS = 21

WRIST = 0
#: The joint that root-relative coordinates are relative to: the middle finger's base, as FreiHAND has it.
ROOT_JOINT = 9

JOINT_NAMES: tuple[str, ...] = (
    "wrist",
    "thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip",
    "index_mcp", "index_pip", "index_dip", "index_tip",
    "middle_mcp", "middle_pip", "middle_dip", "middle_tip",
    "ring_mcp", "ring_pip", "ring_dip", "ring_tip",
    "little_mcp", "little_pip", "little_dip", "little_tip",
)  # fmt: skip

#: Parent of each of the 21 joints; the wrist has none (-1).
PARENTS: tuple[int, ...] = (-1, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19)

#: (parent, child) for each of the 20 bones, in the order of the children.
BONES: tuple[tuple[int, int], ...] = tuple((parent, child) for child, parent in enumerate(PARENTS) if parent >= 0)

#: The four joints of each finger, base to tip.
FINGERS: dict[str, tuple[int, int, int, int]] = {
    "thumb": (1, 2, 3, 4),
    "index": (5, 6, 7, 8),
    "middle": (9, 10, 11, 12),
    "ring": (13, 14, 15, 16),
    "little": (17, 18, 19, 20),
}
FINGERTIPS: tuple[int, ...] = (4, 8, 12, 16, 20)

#: Vertices that stand for the fingertips (thumb, index, middle, ring, little), by who uses them.
#: A wrong table costs millimetres without a word, so every use names its set.
FINGERTIP_VERTICES: dict[str, tuple[int, int, int, int, int]] = {
    "freihand": (744, 320, 443, 555, 672),
    "smplx": (744, 320, 443, 554, 671),
    "manopth": (745, 317, 444, 556, 673),
    "ho3d": (744, 333, 444, 555, 672),
}

MANO_JOINT_NAMES: tuple[str, ...] = (
    "wrist",
    "index_1", "index_2", "index_3",
    "middle_1", "middle_2", "middle_3",
    "little_1", "little_2", "little_3",
    "ring_1", "ring_2", "ring_3",
    "thumb_1", "thumb_2", "thumb_3",
)  # fmt: skip

#: Parent of each MANO-16 joint; parents come before their children.
MANO_PARENTS: tuple[int, ...] = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)

#: ``concatenate([mano16, tips])[MANO21_TO_OPENPOSE]`` is the 21-joint order; tips are appended thumb to little finger.
MANO21_TO_OPENPOSE: tuple[int, ...] = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)

#: Length of a hand, wrist crease to middle fingertip, metres: from a toddler's to one larger than any measured.
HAND_LENGTH_RANGE_M = (0.08, 0.26)
