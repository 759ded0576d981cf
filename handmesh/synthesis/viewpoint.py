"""Where the camera stands: viewpoint, distance, lens and the square that is cut out of its picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handmesh.geometry.rotation_numpy import axis_angle_to_matrix_np


@dataclass(frozen=True, eq=False)
class View:
    """Rotation (3, 3) from the model's frame to the camera's; centre (3,) metres where the hand's middle stands;
    fill: the longer side of the hand's box as a part of the picture; shift (2,): of the box's middle, in pictures;
    fov_deg of the whole camera picture, over its longer side.
    """

    rotation: np.ndarray
    centre: np.ndarray
    fill: float
    shift: np.ndarray
    fov_deg: float


def turn_about(axis: int, angle: float) -> np.ndarray:
    """(3, 3) rotation about x, y or z (0, 1, 2) by radians."""
    vector = np.zeros(3)
    vector[axis] = angle
    return axis_angle_to_matrix_np(vector)


def random_turn(rng: np.random.Generator) -> np.ndarray:
    """(3, 3) rotation, uniform over all of them (Shoemake 1992: a uniform unit quaternion)."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def sample_orientation(rng: np.random.Generator, upright: np.ndarray) -> np.ndarray:
    """(3, 3): `upright` (fingers up, palm to the camera) turned as hands are seen.

    Over a third are held up to a camera on a screen: palm, seldom back, square to it, fingers up. A quarter are near
    palm or back with more lean, the rest any point of the sphere, and half of all but the first are rolled anywhere on
    the circle. Of 412 hands before webcams, in eleven sets of photos, 85 % show the palm and 6 % the back within 60
    degrees (docs/results.md).
    """
    kind = rng.random()
    held_up = kind < 0.36
    if kind < 0.60:
        yaw = (0.0 if rng.random() < (0.85 if held_up else 0.6) else 180.0) + rng.normal(0, 24 if held_up else 42)
        pitch = rng.normal(0, 16 if held_up else 28)
        turn = turn_about(0, np.radians(pitch)) @ turn_about(1, np.radians(yaw))
    else:
        turn = random_turn(rng)
        # A uniform turn also rolls at random; take that out so that the roll below alone decides.
        fingers = turn @ np.array([0.0, -1.0, 0.0])
        if np.hypot(fingers[0], fingers[1]) > 0.25:
            angle = np.arctan2(fingers[0], -fingers[1])
            turn = turn_about(2, -angle) @ turn
    anywhere = rng.random() < 0.5 and not held_up
    roll = rng.uniform(-180, 180) if anywhere else rng.normal(0, 24)
    return turn_about(2, np.radians(roll)) @ turn @ upright


def turn_to_ray(x: float, y: float) -> np.ndarray:
    """(3, 3) rotation that takes the camera's axis to the ray through (x, y, 1): what stood square to the first then
    stands square to the second.
    """
    ray = np.array([x, y, 1.0]) / np.sqrt(x * x + y * y + 1)
    axis = np.cross([0, 0, 1.0], ray)
    sine = float(np.linalg.norm(axis))
    return axis_angle_to_matrix_np(axis / max(sine, 1e-9) * np.arcsin(min(sine, 1.0)))


def sample_view(rng: np.random.Generator, upright: np.ndarray) -> View:
    """A camera and a place for the hand before it."""
    orientation = sample_orientation(rng, upright)
    fov = float(rng.uniform(35, 90))
    distance = float(np.exp(rng.uniform(np.log(0.25), np.log(1.1))))
    reach = 0.8 * np.tan(np.radians(fov) / 2)
    x, y = rng.uniform(-reach, reach), rng.uniform(-0.75 * reach, 0.75 * reach)
    # The view was chosen as seen along the ray to the hand, so turn it with the ray.
    lean = turn_to_ray(x, y)
    fill = float(rng.uniform(0.42, 1.0) ** 0.8) if rng.random() < 0.93 else float(rng.uniform(0.9, 1.5))
    slack = max(0.0, 1.0 - fill) * 0.5
    shift = rng.uniform(-slack, slack, 2) * 0.8
    if rng.random() < 0.05:
        shift = rng.normal(0, 0.15, 2)
    return View(lean @ orientation, distance * np.array([x, y, 1.0]), fill, shift, fov)


def crop_intrinsics(points: np.ndarray, view: View, size: int) -> np.ndarray:
    """K of a square crop in which a hand fills what the view asks for.

    Args:
        points: (N, 3) of the hand, metres, camera frame.
        view: how large it is to be seen, and where.
        size: side of the crop, pixels.

    Returns:
        (3, 3) pixels.
    """
    flat = points[:, :2] / np.maximum(points[:, 2:], 0.05)
    low, high = flat.min(0), flat.max(0)
    side = max(float((high - low).max()), 1e-3) / view.fill
    f = size / side
    middle = 0.5 * (low + high) - view.shift * side
    c = 0.5 * (size - 1) - f * middle
    return np.array([[f, 0, c[0]], [0, f, c[1]], [0, 0, 1.0]])
