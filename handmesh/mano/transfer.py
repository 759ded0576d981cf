"""A hand of one model as a hand of another: the open hand's result in MANO's topology, pose and shape.

Two models of a hand differ in their vertices, in where their joints lie, in how their fingers lie at rest and in what
their betas mean. All of that is fixed, so it is found once: the second model is laid onto the first one at rest, which
gives for each of its vertices a point of the first one's surface, for each joint the turn between the two rest poses,
and for the betas an affine map. A hand is then carried over in closed form, and a few Gauss-Newton steps on the
vertices take up what the different joints leave.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError
from handmesh.geometry.crop import mirror_pose
from handmesh.geometry.rotation_numpy import axis_angle_to_matrix_np
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.hand_model import HandModel
from handmesh.mano.layers.numpy_layer import NumpyManoLayer
from handmesh.mano.nearest_points import NearestPoints, RestSurface, finger_groups, vertex_normals
from handmesh.mano.prior.pose_prior import PosePrior
from handmesh.results import Hand
from handmesh.skeleton import FINGERTIP_VERTICES, MANO_PARENTS, NUM_VERTICES

Array = NDArray[np.float64]

#: Steps that lay the models onto each other at rest, and steps of each hand.
_REST_STEPS, _HAND_STEPS = 25, 1
#: Vertices farther than this from the other surface at rest lie beyond its edge at the wrist, metres.
_FAR_M = 0.012
#: A joint's distance counts as much as that of so many vertices: most at first, before the nearest points are right.
_JOINT_WEIGHTS = (20.0, 2.0)
#: How far along the surface a vertex is held to its nearest point, as a share of how far across it.
_TANGENTIAL = 0.3
#: What a beta of one standard deviation may cost: what no shape explains, metres, in a tenth of the vertices.
_SHAPE_NOISE_M = 0.002
#: Models whose surfaces lie farther apart than this after all steps are not two models of a hand, metres.
_MAX_REST_ERROR_M = 0.006
_TRIAL_POSES = 16
_FLIP_X = np.array([-1.0, 1.0, 1.0])


class TransferError(NamedTuple):
    """Mean distance of the second model from the first one, millimetres: at rest, and over poses and shapes drawn."""

    rest_mm: float
    posed_mm: float

    def describe(self) -> str:
        """One line."""
        return f"vertices {self.posed_mm:.1f} mm from their places on average over poses, {self.rest_mm:.1f} mm at rest"


class HandModelTransfer:
    """``transfer(hand)``: the hand of ``source`` as one of ``target``, in the same place."""

    def __init__(self, source: ManoArrays, target: ManoArrays) -> None:
        """Lay the models onto each other (about a second).

        Args:
            source: the model of the hands to come.
            target: the model they are carried over to.

        Raises:
            HandMeshError: the target's surface is no hand like the source's.
        """
        self.model = HandModel(target)
        self._source, self._target = NumpyManoLayer(source), NumpyManoLayer(target)
        self._skinning = target.weights @ _subtrees()
        tips = list(FINGERTIP_VERTICES["freihand"])
        surface = RestSurface(source)
        rest_joints = np.concatenate([source.J_regressor @ source.v_template, source.v_template[tips]])
        pose = _first_pose(target.J_regressor @ target.v_template, target.v_template[tips], rest_joints)
        pose, near = self._lay_onto(surface, rest_joints, pose, target, tips)
        self._nearest, self._weights = near.matrix, (near.distance < _FAR_M) & ~near.is_edge
        self._offsets = _in_space(pose.rotations)
        self._betas = pose.betas
        self._beta_map = self._map_betas(source, pose)
        rest_m = float(near.distance[self._weights].mean()) if self._weights.any() else np.inf
        if not (rest_m < _MAX_REST_ERROR_M and self._weights.mean() > 0.8):
            raise HandMeshError(
                f"expected a model of a hand like {source.name}, got {target.name}, whose surface stays "
                f"{1000 * rest_m:.1f} mm away from it; use MANO's own right hand"
            )
        self._rest_m, self._prior = rest_m, PosePrior(source)

    def __call__(self, hand: Hand) -> Hand:
        """The hand with the target's vertices, faces, joints and parameters; everything else stays."""
        flip = np.ones(3) if hand.is_right else _FLIP_X
        root, pose = (
            (part if hand.is_right else mirror_pose(part)).astype(np.float64)
            for part in (hand.global_orient, hand.hand_pose)
        )
        goal = self._nearest @ (np.asarray(hand.vertices, np.float64) * flip)
        found = self._fit(root, pose, np.asarray(hand.betas, np.float64), goal, hand.scale)
        rotations = found.rotations if hand.is_right else mirror_pose(found.rotations)
        betas = found.betas.astype(np.float32)
        vertices, joints = self.model.pose(hand.is_right, rotations[0], rotations[1:], betas)
        shift = (found.shift * flip).astype(np.float32)
        scale = np.float32(hand.scale)
        return replace(
            hand, vertices=scale * vertices + shift, joints=scale * joints + shift,
            faces=self.model.faces(hand.is_right),
            global_orient=rotations[0].astype(np.float32), hand_pose=rotations[1:].astype(np.float32), betas=betas,
            translation=shift,
        )  # fmt: skip

    def error(self, seed: int = 0, steps: int = _HAND_STEPS) -> TransferError:
        """How far the target's vertices come from where they should lie, over poses of the prior and shapes."""
        rng = np.random.default_rng(seed)
        apart = []
        for pose in self._prior.sample(rng, _TRIAL_POSES):
            betas = rng.normal(size=10)
            goal = self._nearest @ self._source.pose(np.eye(3), pose, betas)[0].astype(np.float64)
            found = self._fit(np.eye(3), pose, betas, goal, 1.0, steps)
            vertices = self._target.pose(found.rotations[0], found.rotations[1:], found.betas)[0] + found.shift
            apart.append(np.linalg.norm(vertices - goal, axis=1)[self._weights].mean())
        return TransferError(1000 * self._rest_m, 1000 * float(np.mean(apart)))

    def _fit(
        self, root: Array, pose: Array, betas: Array, goal: Array, scale: float, steps: int = _HAND_STEPS
    ) -> _Pose:
        """The target's pose whose vertices lie at ``goal`` (778, 3), from the source's parameters of a right hand."""
        offsets = self._offsets
        rotations = np.empty((16, 3, 3))
        rotations[0] = root @ offsets[0]
        # Bones of both models that turn alike in space: turns of the rest pose before, and the parent's undone after.
        rotations[1:] = np.swapaxes(offsets[list(MANO_PARENTS[1:])], 1, 2) @ pose @ offsets[1:]
        mapped = self._betas + self._beta_map @ betas
        ridge = scale**2 * _ridge(int(self._weights.sum()))
        found = _Pose(rotations, mapped, np.zeros(3))
        for step in range(steps + 1):
            vertices = scale * self._target.pose(found.rotations[0], found.rotations[1:], found.betas)[0]
            away = (goal - vertices)[self._weights]
            found = found._replace(shift=away.mean(axis=0))
            if step < steps:
                turning = self._turn_jacobian(found, vertices / scale)
                jacobian = scale * np.concatenate([turning, self._shape_jacobian(found)], axis=2)[self._weights]
                jacobian = (jacobian - jacobian.mean(axis=0)).reshape(-1, 58)
                normal, right = jacobian.T @ jacobian, jacobian.T @ (away - found.shift).ravel()
                # Turns that hardly move the surface stay as the closed form has them, and so does the shape.
                normal[range(48), range(48)] += 1e-3 * np.trace(normal[:48, :48]) / 48
                normal[range(48, 58), range(48, 58)] += ridge
                right[48:] -= ridge * (found.betas - mapped)
                change = np.linalg.solve(normal, right)
                found = _turned(found, change[:48])
                found = found._replace(betas=found.betas + change[48:])
        return found

    def _turn_jacobian(self, pose: _Pose, vertices: Array) -> Array:
        """How vertices (778, 3) move as each joint turns in space, (778, 3, 48)."""
        places = self._target.joint_places(pose.rotations[0], pose.rotations[1:], pose.betas)
        arm = (vertices[:, None] - places[None]) * self._skinning[..., None]
        x, y, z = arm[..., 0], arm[..., 1], arm[..., 2]
        zero = np.zeros_like(x)
        # Columns: the axes crossed with the arm.
        columns = np.stack(
            [np.stack([zero, -z, y], 1), np.stack([z, zero, -x], 1), np.stack([-y, x, zero], 1)], axis=-1
        )
        return columns.reshape(NUM_VERTICES, 3, 48)

    def _shape_jacobian(self, pose: _Pose) -> Array:
        """How vertices move with each beta, (778, 3, 10): skinning is linear in them."""
        changed = pose.betas + np.concatenate([np.zeros((1, 10)), np.eye(10)])
        root, fingers = (np.broadcast_to(part, (11, *part.shape)) for part in (pose.rotations[0], pose.rotations[1:]))
        vertices = self._target.pose(root, fingers, changed)[0].astype(np.float64)
        return np.moveaxis(vertices[1:] - vertices[0], 0, -1)

    def _lay_onto(
        self, surface: RestSurface, joints: Array, pose: _Pose, target: ManoArrays, tips: list[int]
    ) -> tuple[_Pose, NearestPoints]:
        """Turn, shape and shift the target at rest until it lies on the source: iterated nearest points."""
        groups = target.weights @ finger_groups()
        near = self._nearest_of(surface, pose, target, groups)
        for step in range(_REST_STEPS):
            share = step / (_REST_STEPS - 1)
            joint_weight = _JOINT_WEIGHTS[0] * (_JOINT_WEIGHTS[1] / _JOINT_WEIGHTS[0]) ** share
            reach = 0.02 * (0.2**share)
            vertices = self._posed(pose)
            turning = self._turn_jacobian(pose, vertices - pose.shift)
            jacobian = np.concatenate(
                [turning, self._shape_jacobian(pose), np.broadcast_to(np.eye(3), (NUM_VERTICES, 3, 3))], axis=2
            )
            # Across the surface fully, along it a little: a nearest point says little of where along it belongs.
            normals = near.normals[:, :, None] * near.normals[:, None]
            hold = _TANGENTIAL * np.eye(3) + (1 - _TANGENTIAL) * normals
            weight = np.where(near.is_edge, 0.0, 1 / (1 + (near.distance / reach) ** 2))[:, None, None]
            rows = [weight * (hold @ jacobian)]
            away = [weight[..., 0] * np.einsum("vab,vb->va", hold, near.points - vertices)]
            regressor = np.concatenate([target.J_regressor, np.eye(NUM_VERTICES)[tips]])
            rows.append(joint_weight * np.tensordot(regressor, jacobian, 1))
            away.append(joint_weight * (joints - regressor @ vertices))
            stacked = np.concatenate(rows).reshape(-1, 61)
            normal = stacked.T @ stacked
            # Shapes are drawn from a normal distribution; turns that nothing shows stay as they are.
            normal[range(48, 58), range(48, 58)] += _ridge(NUM_VERTICES)
            normal[range(48), range(48)] += 1e-3 * np.trace(normal[:48, :48]) / 48
            right = stacked.T @ np.concatenate(away).ravel()
            right[48:58] -= _ridge(NUM_VERTICES) * pose.betas
            change = np.linalg.solve(normal, right)
            pose = _turned(pose, change[:48])
            pose = pose._replace(betas=pose.betas + change[48:58], shift=pose.shift + change[58:])
            near = self._nearest_of(surface, pose, target, groups)
        return pose, near

    def _nearest_of(self, surface: RestSurface, pose: _Pose, target: ManoArrays, groups: Array) -> NearestPoints:
        vertices = self._posed(pose)
        return surface.nearest(vertices, vertex_normals(vertices, target.faces), groups)

    def _posed(self, pose: _Pose) -> Array:
        return self._target.pose(pose.rotations[0], pose.rotations[1:], pose.betas)[0].astype(np.float64) + pose.shift

    def _map_betas(self, source: ManoArrays, pose: _Pose) -> Array:
        """(10, 10): the target's betas that move its rest vertices as each of the source's moves their points."""
        count = int(self._weights.sum())
        moved = (self._nearest @ source.shapedirs.reshape(NUM_VERTICES, 30)).reshape(NUM_VERTICES, 3, 10)[self._weights]
        shapes = self._shape_jacobian(pose)[self._weights]
        moved, shapes = (part - part.mean(axis=0) for part in (moved, shapes))
        shapes = shapes.reshape(-1, 10)
        ridge = _ridge(count) / 100 * np.eye(10)
        return np.linalg.solve(shapes.T @ shapes + ridge, shapes.T @ moved.reshape(-1, 10))


class _Pose(NamedTuple):
    """A right hand of the target: rotations (16, 3, 3) relative to the parents, betas (10,), shift (3,) in metres."""

    rotations: Array
    betas: Array
    shift: Array


def _ridge(count: int) -> float:
    """What a fit of so many vertices adds to the betas' normal equations: they are drawn from a normal distribution."""
    return 3 * count * _SHAPE_NOISE_M**2 / 10


def _subtrees() -> Array:
    """(16, 16): 1 where the row's joint moves with the column's."""
    moves = np.eye(16)
    for joint in range(15, 0, -1):
        moves[:, MANO_PARENTS[joint]] += moves[:, joint]
    return moves


def _first_pose(joints: Array, tips: Array, goal: Array) -> _Pose:
    """The target's bones turned into the source's directions.

    Args:
        joints: (16, 3) of the target at rest.
        tips: (5, 3) of it, thumb to little finger.
        goal: (21, 3) of the source alike.
    """
    source, source_tips = goal[:16], goal[16:]
    palm = [0, 1, 4, 7, 10, 13]
    left, right = joints[palm] - joints[palm].mean(0), source[palm] - source[palm].mean(0)
    u, _, vt = np.linalg.svd(right.T @ left)
    root = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    world = np.tile(root, (16, 1, 1))
    for finger, tip in enumerate((1, 2, 4, 3, 0)):  # MANO's fingers: index, middle, little, ring, thumb
        for level in range(3):
            joint = 1 + 3 * finger + level
            bone, wanted = (
                (points[joint + 1] if level < 2 else ends[tip]) - points[joint]
                for points, ends in ((joints, tips), (source, source_tips))
            )
            before = world[MANO_PARENTS[joint]]
            world[joint] = _swing(before @ bone, wanted) @ before
    rotations = world.copy()
    rotations[1:] = np.swapaxes(world[list(MANO_PARENTS[1:])], 1, 2) @ world[1:]
    # The root turns about the rest wrist.
    return _Pose(rotations, np.zeros(10), source[0] - joints[0])


def _swing(start: Array, end: Array) -> Array:
    """The smallest rotation from one direction to another."""
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    axis = np.cross(start, end)
    sine = float(np.linalg.norm(axis))
    return axis_angle_to_matrix_np(axis / max(sine, 1e-9) * np.arctan2(sine, float(start @ end)))


def _in_space(rotations: Array) -> Array:
    """Rotations (16, 3, 3) of the joints in the model's frame, from those relative to their parents."""
    world = rotations.copy()
    for joint in range(1, 16):
        world[joint] = world[MANO_PARENTS[joint]] @ rotations[joint]
    return world


def _turned(pose: _Pose, turns: Array) -> _Pose:
    """Each joint turned further by an axis-angle vector (48,) in space."""
    more = axis_angle_to_matrix_np(turns.reshape(16, 3))
    rotations = pose.rotations.copy()
    rotations[0] = more[0] @ rotations[0]
    parents = _in_space(pose.rotations)[list(MANO_PARENTS[1:])]
    rotations[1:] = np.swapaxes(parents, 1, 2) @ more[1:] @ parents @ rotations[1:]
    return pose._replace(rotations=rotations)
