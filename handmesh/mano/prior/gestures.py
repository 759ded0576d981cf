"""Gestures and grasps as anatomical angles: what hands do, finger by finger.

A finger is a letter: its flexion at the first and second joint (the last follows the second).  A thumb is a name.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError

Array = NDArray[np.float64]

# First joint, second joint, degrees.
FINGER = {
    "E": (0, 2), "b": (-18, 0), "e": (12, 16), "r": (25, 32), "h": (38, 50), "C": (30, 75), "c": (70, 90),
    "F": (87, 108), "H": (2, 100), "k": (-10, 70), "T": (82, 4), "m": (45, 22), "p": (47, 47), "q": (56, 52),
    "w": (60, 35), "g": (22, 40), "G": (40, 42), "t": (20, 35), "d": (55, 85), "X": (15, 85), "o": (52, 62),
    "1": (51, 47), "2": (56, 50), "3": (57, 52), "4": (59, 52), "5": (53, 43), "6": (47, 45), "7": (64, 28),
    "8": (69, 34), "n": (60, 88), "A": (26, 75), "B": (28, 81), "D": (26, 92), "L": (24, 84),
}
# Base joint flexion, palmar abduction, pronation, middle joint flexion, end joint flexion, degrees.  Those that touch
# something (pinches, a thumb over a fist) were found by bringing the pads together on the open hand's skeleton without
# one capsule entering another.
THUMB = {
    "out": (0, 0, 0, 0, 0), "wide": (-18, -8, 0, -5, -8), "up": (-14, -14, 0, -4, -10), "rest": (8, 8, 8, 10, 15),
    "side": (10, -23, -2, 1, 5), "beside fist": (6, -4, 3, 21, 16), "key": (12, -4, 4, 17, 27),
    "tooth": (7, -8, 2, 24, 36), "over index": (1, 2, 19, 44, 58), "over middle": (13, 19, -1, 45, 57),
    "over ring": (29, 5, 17, 45, 54), "over little": (46, 20, 18, 47, 38), "over loose": (6, 0, 18, 30, 50),
    "index": (14, 7, 15, 17, 26), "middle": (25, 9, 19, 22, 26), "ring": (34, 14, 23, 29, 25),
    "little": (43, 18, 23, 37, 29), "tripod": (23, 9, 15, 22, 30), "beak": (21, 15, 15, 20, 28),
    "palm": (50, 20, 2, 55, 42), "palm ring": (37, 8, -9, 55, 48), "tuck": (35, -6, 0, 47, 47),
    "tuck short": (24, -9, -3, 46, 47), "under nails": (37, -7, 24, 26, 26), "on index": (20, 0, 6, 29, 35),
    "on middle": (24, -20, -6, 18, 25), "oppose": (12, 24, 18, 14, 18), "grasp": (4, 30, 22, 8, 15),
    "phone": (16, 18, 10, 15, 20),
}
# Where thumbs are when people show a hand: nearer to the palm than in a grasp. Those that hold or touch fingers were
# found by bringing tip, end and middle joint, of the open hand's skeleton, as near as its ranges and the other fingers
# allow to the medians that the landmark model finds for signed digits (docs/results.md).
SHOWN_THUMB = {
    "hold middle": (19, 4, -1, 28, 54), "hold ring": (21, 7, -12, 50, 47), "across": (14, 5, -1, 57, 64),
    "touch index": (5, -1, 6, 29, 58), "touch middle": (17, -1, 4, 39, 37), "touch ring": (16, 0, 0, 53, 49),
    "touch little": (30, 12, -8, 48, 62), "open": (-2, -15, -1, 4, 8), "aside": (2, -13, 2, 8, 16),
}
#: Where a thumb is when it meets no finger: what it does beside straight ones.
FREE_THUMBS = ("open", "aside", "wide", "up", "side")

# name: fingers (index to little), spread (-1 together, 0 rest, 1 wide), thumb, how often.
GESTURES: dict[str, tuple[str, float, str, float]] = {
    "flat": ("EEEE", -0.9, "side", 1.5), "spread": ("EEEE", 1.0, "wide", 1.5), "rest": ("EEEE", 0.0, "out", 1.0),
    "arched back": ("bbbb", 0.5, "wide", 0.5), "relaxed": ("errh", 0.0, "rest", 2.5),
    "relaxed more": ("rhhh", -0.2, "rest", 2), "loose fist": ("cccc", -0.5, "over loose", 1.5),
    "fist": ("FFFF", -0.8, "over index", 2.0), "fist, thumb far over": ("FFFF", -0.8, "over middle", 1),
    "fist, thumb aside": ("FFFF", -0.8, "beside fist", 1), "thumb up": ("FFFF", -0.8, "up", 1.5),
    "thumb down": ("FFFF", -0.7, "wide", 0.7), "point": ("EFFF", 0.0, "over middle", 2.0),
    "point, thumb out": ("EFFF", 0.0, "up", 1.5), "point, loose": ("Eddd", 0.0, "rest", 1.0),
    "touch": ("ehhh", 0.0, "rest", 1.0), "pinch index": ("1err", 0.1, "index", 1.5),
    "pinch middle": ("e2re", 0.1, "middle", 1.0), "pinch ring": ("er3e", 0.1, "ring", 0.8),
    "pinch little": ("err4", 0.1, "little", 0.8), "ok": ("1EEE", 0.5, "index", 1.5),
    "ok, closed": ("1dcc", 0.0, "index", 0.8), "tripod": ("52hc", -0.5, "tripod", 1.2),
    "pen": ("52hd", -0.6, "tripod", 1.2), "all fingertips": ("7883", -0.9, "beak", 1.0),
    "cylinder, wide": ("gggg", 0.0, "grasp", 1.2), "cylinder": ("hhhh", -0.3, "grasp", 1.2),
    "cylinder, narrow": ("cccc", -0.5, "oppose", 1.0), "sphere, wide": ("gggg", 1.0, "grasp", 1.2),
    "sphere": ("GGGG", 0.7, "oppose", 1.0), "disc": ("tttt", 1.0, "wide", 0.7), "hook": ("HHHH", -0.4, "side", 1.0),
    "key grip": ("dccc", -0.5, "key", 1.0), "lateral": ("CCcc", -0.5, "on index", 0.8),
    "scissors": ("EEFF", 0.8, "over ring", 1.5), "two together": ("EEFF", -0.9, "over ring", 1.0),
    "V, thumb out": ("EEFF", 0.8, "up", 1.0), "three": ("EEEF", 0.3, "over little", 1.2),
    "three, thumb": ("EEcc", 0.5, "wide", 1.2), "four": ("EEEE", 0.4, "palm", 1.2),
    "four together": ("EEEE", -0.8, "palm", 0.8), "five": ("EEEE", 0.8, "wide", 1.0), "six": ("FFFE", 0.2, "wide", 1.0),
    "six, touching": ("EEE4", 0.2, "little", 0.8), "seven": ("782F", -0.7, "beak", 0.6),
    "seven, touching": ("EE3E", 0.2, "ring", 0.8), "eight": ("EFFF", 0.0, "wide", 0.8),
    "eight, touching": ("E2EE", 0.3, "middle", 0.8), "nine": ("XFFF", 0.0, "over middle", 0.8),
    "nine, touching": ("1EEE", 0.2, "index", 0.8), "two, thumb": ("EFFF", 0.0, "wide", 0.8),
    "middle only": ("FEFF", 0.0, "over index", 0.5), "little only": ("FFFE", 0.0, "over middle", 1.0),
    "ring only": ("ccEc", 0.0, "over loose", 0.5), "horns": ("EFFE", 0.2, "over middle", 1.0),
    "rock": ("EFFE", 0.4, "wide", 1.0), "phone": ("FFFE", 0.4, "wide", 1.0), "claw": ("kkkk", 0.7, "grasp", 1.0),
    "claw, tight": ("XXXX", 0.3, "oppose", 0.8), "gun": ("EEFF", -0.9, "up", 1.0), "typing": ("gGGG", 0.2, "rest", 1.5),
    "mouse": ("eerr", 0.1, "oppose", 1.0), "mouse click": ("mgrr", 0.1, "oppose", 0.6),
    "piano": ("GGGG", 0.5, "rest", 0.8), "table top": ("TTTT", -0.8, "up", 0.8), "beak": ("7883", -0.9, "beak", 0.8),
    "duck": ("mmmm", -0.9, "grasp", 0.6), "wave low": ("mrre", 0.2, "rest", 0.8),
    "wave rising": ("ergm", 0.3, "rest", 0.8), "fan in": ("Eehc", 0.2, "out", 0.8),
    "fan out": ("cheE", 0.2, "over loose", 0.8), "call over": ("dddd", 0.0, "out", 0.5),
    "vulcan": ("EEEE", 0.3, "wide", 0.5), "phone hold": ("gggh", 0.1, "phone", 1.0),
    "thumb typing": ("hhhh", -0.2, "on index", 0.8), "cup": ("GGGh", -0.4, "grasp", 0.8),
    "letter A": ("FFFF", -0.8, "beside fist", 1.0), "letter B": ("EEEE", -0.9, "palm ring", 1.0),
    "letter C": ("GGGG", -0.5, "grasp", 1.0), "letter D": ("E2oq", 0.0, "middle", 1.0),
    "letter E": ("XXXX", -0.7, "under nails", 1.0), "letter F": ("1EEE", 0.5, "index", 1.0),
    "letter G": ("EFFF", -0.3, "on index", 0.7), "letter I": ("FFFE", 0.0, "over index", 1.0),
    "letter K": ("EmFF", 0.6, "on middle", 0.8), "letter L": ("EFFF", 0.2, "wide", 1.0),
    "letter M": ("wwwF", -0.8, "tuck", 0.7), "letter N": ("wwFF", -0.8, "tuck short", 0.7),
    "letter O": ("62oo", -0.7, "tripod", 1.0), "letter P": ("emFF", 0.6, "on middle", 0.6),
    "letter R": ("EEFF", -1.0, "over ring", 0.7), "letter S": ("FFFF", -0.8, "over index", 0.8),
    "letter T": ("cFFF", -0.7, "tooth", 0.6), "letter U": ("EEFF", -0.9, "over ring", 1.0),
    "letter V": ("EEFF", 0.8, "over ring", 1.0), "letter W": ("EEEF", 0.7, "over little", 1.0),
    "letter X": ("XFFF", 0.0, "over middle", 0.8), "letter Y": ("FFFE", 0.5, "wide", 1.0),
}
#: Of these, what hands do with things in them.
GRASPS = (
    "cylinder, wide", "cylinder", "cylinder, narrow", "sphere, wide", "sphere", "disc", "hook", "key grip", "lateral",
    "pen", "tripod", "pinch index", "pinch middle", "all fingertips", "claw", "claw, tight", "cup", "phone hold",
    "thumb typing", "duck", "loose fist", "relaxed more", "fist", "fist, thumb aside", "letter C", "letter O",
)  # fmt: skip
# The same for hands that are shown to a camera and only for these: the model's mean pose and pose space, which are part
# of its file, come from the gestures above.
SHOWN_GESTURES: dict[str, tuple[str, float, str, float]] = {
    "one, held": ("Ennn", 0.0, "hold middle", 3.0), "two, held": ("EEnn", 0.6, "hold ring", 3.0),
    "two, held together": ("EEnn", -0.9, "hold ring", 1.0), "three, thumb aside": ("EEnn", 0.6, "aside", 2.5),
    "four, across": ("EEEE", 0.5, "across", 2.5), "four together, across": ("EEEE", -0.7, "across", 1.0),
    "five, open": ("EEEE", 0.7, "open", 4.0), "flat, open": ("EEEE", -0.3, "aside", 2.0),
    "nine, near": ("AEEE", 0.4, "touch index", 2.0), "eight, near": ("EBEE", 0.4, "touch middle", 2.0),
    "seven, near": ("EEDE", 0.4, "touch ring", 2.0), "six, near": ("EEEL", 0.4, "touch little", 2.0),
    "one, thumb aside": ("Ennn", 0.0, "aside", 1.0), "loose, near": ("errh", 0.0, "aside", 2.0),
}

_WIDE = np.array([13.0, 2.0, -8.0, -18.0])  # abduction of index, middle, ring, little at spread 1
_TOGETHER = np.array([-4.0, 0.0, 6.0, 9.0])  # at spread -1
_ROOTS = (0, 3, 9, 6)  # first joint of index, middle, ring, little among the 15
_THUMB_ROOT = 12
DIP_OF_PIP = 0.67


def finger_abduction(spread: Array) -> Array:
    """spread (...,) in -1..1 -> abduction (...,4) of index, middle, ring, little, degrees."""
    spread = np.asarray(spread)[..., None]
    return np.where(spread > 0, spread * _WIDE, -spread * _TOGETHER)


def place_finger(angles: Array, finger: int, mcp: Array, pip: Array, dip: Array | None = None) -> None:
    """Write a finger's flexions into joint angles.

    Args:
        angles: (..., 15, 3) degrees, changed in place.
        finger: 0..3 for index, middle, ring, little.
        mcp, pip: (...) degrees, of the first and second joint.
        dip: (...) degrees, of the last joint; None: it follows the second.
    """
    root = _ROOTS[finger]
    angles[..., root, 0], angles[..., root + 1, 0] = mcp, pip
    angles[..., root + 2, 0] = DIP_OF_PIP * pip if dip is None else dip


def place_abduction(angles: Array, abduction: Array) -> None:
    """Writes abduction (...,4) of index, middle, ring, little, degrees; a bent first joint allows little of it."""
    for finger, root in enumerate(_ROOTS):
        room = np.clip(np.cos(np.radians(angles[..., root, 0])), 0.15, 1.0)
        angles[..., root, 1] = abduction[..., finger] * room


def place_thumb(angles: Array, thumb: Array) -> None:
    """Writes thumb (...,5) as THUMB into angles (...,15,3), degrees."""
    angles[..., _THUMB_ROOT, :] = thumb[..., :3]
    angles[..., _THUMB_ROOT + 1, 0] = thumb[..., 3]
    angles[..., _THUMB_ROOT + 2, 0] = thumb[..., 4]


def check_gestures(names: Iterable[str]) -> tuple[str, ...]:
    """The names as they are, all of them of gestures.

    Raises:
        HandMeshError: one is no gesture's; it names the nearest.
    """
    names, known = tuple(names), [*GESTURES, *SHOWN_GESTURES]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name[:80], known, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "docs/training.md lists them"
            raise HandMeshError(f"expected the name of a gesture, got {name[:80]!r}; {hint}")
    return names


def gesture_angles() -> tuple[list[str], Array, Array, Array]:
    """Names (G), angles (G,15,3) in radians, how often each comes (G,) at large and before a camera, summing to 1."""
    gestures, thumbs = {**GESTURES, **SHOWN_GESTURES}, {**THUMB, **SHOWN_THUMB}
    names = list(gestures)
    angles = np.zeros((len(names), 15, 3))
    for row, name in enumerate(names):
        letters, spread, thumb, _ = gestures[name]
        for finger, letter in enumerate(letters):
            mcp, pip = FINGER[letter]
            place_finger(angles[row], finger, np.array(float(mcp)), np.array(float(pip)))
        place_abduction(angles[row], finger_abduction(np.array(spread)))
        if name == "vulcan":
            angles[row, [0, 3, 9, 6], 1] = 4, 10, -8, -2
        place_thumb(angles[row], np.array(thumbs[thumb], float))
    shown = np.array([gestures[name][3] for name in names])
    often = np.where([name in GESTURES for name in names], shown, 0.0)
    return names, np.radians(angles), often / often.sum(), shown / shown.sum()
