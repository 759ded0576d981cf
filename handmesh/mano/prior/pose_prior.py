"""Which poses hands take: gestures and grasps with noise, their mixtures, and fingers on their own."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from handmesh.geometry.rotation_numpy import matrix_to_axis_angle_np
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.prior.gestures import (
    DIP_OF_PIP,
    FREE_THUMBS,
    SHOWN_THUMB,
    THUMB,
    finger_abduction,
    gesture_angles,
    place_abduction,
    place_finger,
    place_thumb,
)
from handmesh.mano.prior.joint_limits import angles_to_rotations, clamp, joint_axes
from handmesh.mano.prior.self_collision import HandCapsules
from handmesh.skeleton import FINGERTIP_VERTICES

Array = NDArray[np.float64]

_SHARES = (0.45, 0.45, 0.10)  # gestures and their mixtures, fingers on their own, anything within the limits
#: The same for pictures to learn from: what people show to a camera is mostly a gesture, held for a while.
SHOWN_SHARES = (0.68, 0.26, 0.06)
#: Shares of gestures that are held, not on the way to another, and of those whose fingers come from two gestures each
#: by itself; and the same for what is shown to a camera, where a gesture is finished and whole more often.
_DWELL, _FINGERWISE = 0.35, 0.3
_SHOWN_DWELL, _SHOWN_FINGERWISE = 0.55, 0.15
#: Degrees of flexion that the joints of an open finger keep on average, base to tip. The first has eight to make up
#: for: the open hand's straight fingers lean so much backwards of the line from wrist to knuckle.
SLACK = np.array([13.0, 9.0, 5.0])
_TOLERANCE = 0.0035  # how deep soft flesh may press, metres


class PosePrior:
    """Draws hand poses for one hand model.  Angles are (n, 15, 3) radians, as joint_limits.py has them."""

    def __init__(self, arrays: ManoArrays) -> None:
        joints = arrays.J_regressor @ arrays.v_template
        tips = arrays.v_template[list(FINGERTIP_VERTICES["freihand"])]
        self.axes = joint_axes(joints, tips)
        self.capsules = HandCapsules(arrays, joints, tips)
        self.names, self._gestures, self._often, self._often_shown = gesture_angles()

    def sample(
        self, rng: np.random.Generator, n: int, shares: tuple[float, float, float] = _SHARES, shown: bool = False,
        gestures: Collection[str] = (),
    ) -> Array:
        """Draw poses; the flat rest hand is the identity.

        Args:
            rng: where the draws come from.
            n: how many.
            shares: of gestures and their mixtures, fingers on their own, anything within the limits.
            shown: as people show hands to a camera, where a thumb goes with the fingers (:meth:`sample_angles`).
            gestures: names of the gestures to draw from and to mix; none for all, as often as each is seen.

        Returns:
            (n, 15, 3, 3) rotation matrices of the fifteen joints, MANO order.
        """
        return angles_to_rotations(self.sample_angles(rng, n, shares, shown, gestures), self.axes)

    def angles_of(self, name: str) -> Array:
        """(15,3) angles of one gesture without noise, within the ranges; names are in .names."""
        return clamp(self._gestures[self.names.index(name)])

    def gesture(self, name: str) -> Array:
        """(15,3,3) rotations of one gesture without noise; names are in .names."""
        return angles_to_rotations(self.angles_of(name), self.axes)

    def sample_angles(
        self, rng: np.random.Generator, n: int, shares: tuple[float, float, float] = _SHARES, shown: bool = False,
        gestures: Collection[str] = (),
    ) -> Array:
        """Draw poses as angles; those whose fingers pass through one another are refused and drawn again.

        Args:
            rng: where the draws come from.
            n: how many.
            shares: as :meth:`sample`.
            shown: a thumb lies over the palm or meets fingers where they are bent, and seldom where they are straight.
            gestures: as :meth:`sample`.

        Returns:
            (n, 15, 3) flexion, abduction and twist, radians.
        """
        often = self._often_shown if shown or gestures else self._often
        if gestures:
            often = np.where([name in gestures for name in self.names], often, 0.0)
            often = often / often.sum()
        angles = np.empty((n, 15, 3))
        missing = np.arange(n)
        for _ in range(12):
            angles[missing] = self._draw(rng, len(missing), shares, shown, often)
            missing = missing[self._part(angles, missing) > _TOLERANCE]
            if not len(missing):
                return angles
        angles[missing] *= 0.05
        return angles

    def depth(self, angles: Array) -> Array:
        """angles (n,15,3) -> (n,) how deep fingers enter one another beyond soft contact, metres."""
        return self.capsules.penetration(angles_to_rotations(angles, self.axes))

    def _part(self, angles: Array, rows: NDArray[np.intp]) -> Array:
        """Depth of angles[rows] after those that touch too hard were let go a little; in place.

        A fist's thumb or a pinch would otherwise be refused whenever noise presses it in, and contact would be rare.
        """
        depth = self.depth(angles[rows])
        for thumb, fingers in ((0.88, 1.0), (0.94, 0.94), (0.75, 0.97), (0.6, 0.94)):
            hard = np.flatnonzero(depth > _TOLERANCE)
            if not len(hard):
                break
            eased = angles[rows[hard]]
            eased[:, 12:] *= thumb
            eased[:, :12] *= fingers
            now = self.depth(eased)
            better = now < depth[hard]
            angles[rows[hard[better]]] = eased[better]
            depth[hard[better]] = now[better]
        return depth

    def _draw(
        self, rng: np.random.Generator, n: int, shares: tuple[float, float, float], shown: bool, often: Array
    ) -> Array:
        kind = rng.choice(3, size=n, p=shares)
        angles = np.empty((n, 15, 3))
        gestures, fingers, anything = (np.flatnonzero(kind == k) for k in range(3))
        angles[gestures] = self._mixed_gestures(rng, len(gestures), shown, often)
        angles[fingers] = self._independent_fingers(rng, len(fingers), shown)
        angles[anything] = self._anything(rng, len(anything))
        return clamp(angles)

    def _mixed_gestures(self, rng: np.random.Generator, n: int, shown: bool, often: Array) -> Array:
        """A gesture, or a point on the way between two, now and then finger by finger, with noise."""
        first, second = (self._gestures[rng.choice(len(self.names), size=n, p=often)] for _ in range(2))
        # Most near one end of the way, as hands dwell in gestures; some anywhere between.
        dwell, fingerwise = (_SHOWN_DWELL, _SHOWN_FINGERWISE) if shown else (_DWELL, _FINGERWISE)
        t = np.where(rng.random((n, 1)) < dwell, 0.0, rng.beta(0.7, 0.7, (n, 1)))
        own = rng.beta(0.6, 0.6, (n, 5))
        if shown:
            own[:, 4] = own[:, 0]  # the thumb goes with the index finger, which it mostly acts with
        t = np.where(rng.random((n, 1)) < fingerwise, own, np.broadcast_to(t, (n, 5)))
        t = np.repeat(t, 3, axis=1)[..., None]
        angles = (1 - t) * first + t * second
        if shown:
            angles[:, 12, 1] -= _nearer(rng, angles) * 4 * (t * (1 - t))[:, 12, 0]
            angles[:, :12, 0] += _slack(rng, angles)
        return angles + self._noise(rng, n, rng.uniform(0.4, 1.4, (n, 1, 1)))

    def _independent_fingers(self, rng: np.random.Generator, n: int, shown: bool) -> Array:
        """Every finger curls on its own; neighbours follow a little, the last joint follows the second."""
        curl = _bent(rng, (n, 4))
        neighbours = np.stack([curl[:, 1], curl[:, [0, 2]].mean(1), curl[:, [1, 3]].mean(1), curl[:, 2]], axis=1)
        follow = rng.uniform(0, 0.5, (n, 1))
        curl = (1 - follow) * curl + follow * neighbours
        mix = rng.uniform(0, 1, (n, 4))
        mcp = -12 + 98 * ((1 - mix) * curl + mix * _bent(rng, (n, 4)))
        pip = 108 * np.clip(curl + rng.normal(0, 0.08, (n, 4)), 0, 1)
        dip = pip * DIP_OF_PIP * rng.uniform(0.55, 1.15, (n, 4)) + rng.normal(0, 3, (n, 4))
        angles = np.zeros((n, 15, 3))
        for finger in range(4):
            place_finger(angles, finger, mcp[:, finger], pip[:, finger], dip[:, finger])
        place_abduction(angles, finger_abduction(rng.uniform(-1, 1.1, n)) + rng.normal(0, 4, (n, 4)))
        bent = np.maximum(curl[:, 0], curl[:, 1])
        place_thumb(angles, self._shown_thumb(rng, n, 0.85 * (1 - bent)) if shown else _between(rng, n, THUMB))
        angles = np.radians(angles)
        if shown:
            angles[:, :12, 0] += _slack(rng, angles)
        return angles + 0.3 * self._noise(rng, n, np.ones((n, 1, 1)))

    def _shown_thumb(self, rng: np.random.Generator, n: int, free: Array) -> Array:
        """(n,5) degrees: a thumb before a camera; free: (n,) how likely it is at a place where it meets no finger."""
        places = {**THUMB, **SHOWN_THUMB}
        alone = _between(rng, n, {name: places[name] for name in FREE_THUMBS})
        return np.where((rng.random(n) < free)[:, None], alone, _between(rng, n, places))

    def _anything(self, rng: np.random.Generator, n: int) -> Array:
        """Uniform within generous bounds; the last joint stays coupled to the second."""
        angles = np.zeros((n, 15, 3))
        for finger in range(4):
            pip = rng.uniform(0, 108, n)
            place_finger(angles, finger, rng.uniform(-25, 90, n), pip, pip * rng.uniform(0.3, 1.0, n))
        place_abduction(angles, rng.uniform(-18, 18, (n, 4)))
        low, high = np.array([-22, -26, -15, -10, -15]), np.array([46, 40, 40, 55, 75])
        place_thumb(angles, rng.uniform(low, high, (n, 5)))
        return np.radians(angles)

    def _noise(self, rng: np.random.Generator, n: int, strength: Array) -> Array:
        """(n,15,3) radians: a shared curl, each joint's own, and small abductions and twists."""
        noise = rng.normal(0, 1, (n, 15, 3)) * np.radians([6.0, 2.5, 1.2])
        noise[..., 1] *= np.tile([1.0, 0.25, 0.2], 5)
        noise[:, :12, 0] += rng.normal(0, np.radians(4.0), (n, 1))
        noise[:, 12, :] = rng.normal(0, 1, (n, 3)) * np.radians([6.0, 6.0, 4.0])
        return noise * strength

    def pose_space(self, n: int = 20000, seed: int = 7) -> tuple[Array, Array]:
        """hands_mean (45,) axis-angle of the relaxed hand and hands_components (45,45), rows, largest first.

        Components are the principal directions of the prior about its own mean, unit rows as in MANO's file.
        """
        rotations = self.sample(np.random.default_rng(seed), n)
        vectors = matrix_to_axis_angle_np(rotations).reshape(n, 45)
        _, _, rows = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
        rows *= np.where(rows[np.arange(45), np.abs(rows).argmax(axis=1)] < 0, -1.0, 1.0)[:, None]
        return matrix_to_axis_angle_np(self.gesture("relaxed")).reshape(45), rows


def _between(rng: np.random.Generator, n: int, places: Mapping[str, tuple[int, ...]]) -> Array:
    """(n,5) degrees: thumbs on the way between two of these places, with their joints loosened."""
    chosen = np.array(list(places.values()), float)
    first, second = chosen[rng.integers(len(chosen), size=(2, n))]
    t = rng.random((n, 1))
    return (1 - t) * first + t * second + rng.normal(0, 1, (n, 5)) * np.array([6, 6, 5, 9, 12])


def _nearer(rng: np.random.Generator, angles: Array) -> Array:
    """angles (n,15,3) -> (n,) radians: how much nearer to the palm a thumb passes from one place to another where the
    index finger is straight: with open hands it slides along the palm, and goes round it in a grasp.
    """
    near: Array = np.radians(20) * _straightness(angles)[:, 0] * rng.random(len(angles))
    return near


def _straightness(angles: Array) -> Array:
    """angles (n,15,3) -> (n,4) by finger, in the model's order: 1 straight, 0 where its second joint is bent by 40."""
    straight: Array = np.clip(1 - np.degrees(angles[:, 1:12:3, 0]) / 40, 0, 1)
    return straight


def _slack(rng: np.random.Generator, angles: Array) -> Array:
    """angles (n,15,3) -> (n,12) radians of flexion that straight fingers keep when nothing makes them stretch.

    A hand held up is open, not stretched: each joint stays bent by some ten degrees, in some hands by none, in some by
    twice that. A finger that is bent in its second joint has no slack.
    """
    n = len(angles)
    of_hand = 1.25 * np.abs(rng.normal(0, 1, (n, 1))) * rng.uniform(0.6, 1.4, (n, 4))
    slack: Array = np.radians((_straightness(angles) * of_hand)[..., None] * SLACK)
    return slack.reshape(n, 12)


def _bent(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """How far a finger is curled, 0 open to 1 closed: often at either end, and everything between."""
    kind = rng.random(shape)
    return np.where(kind < 0.3, rng.beta(1.0, 6.0, shape),
                    np.where(kind < 0.55, rng.beta(6.0, 1.2, shape), rng.random(shape)))
