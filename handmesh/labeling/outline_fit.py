"""Fits of the hand model made better by the picture: the mesh's outline is drawn to that of the hand's pixels.

Landmarks say little of how broad a hand is, and landmarks in space and in the picture contradict one another. Here a
fit starts from theirs (mano/fitting.py), under the picture's own camera, and is drawn to two things: the landmarks in
the picture, and where the segmentation network sees the hand end. Every few steps each point of one outline is paired
with the nearest of the other that faces the same way, and moves towards it along its normal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import huber_loss

from handmesh.geometry.rotation import axis_angle_to_matrix
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.fitting import distances_in_space
from handmesh.mano.layers.layer import ManoLayer
from handmesh.rendering.rasterizer import rasterize
from handmesh.skeleton import ROOT_JOINT

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Pairs are made so often, and so many steps are taken with each.
_ROUNDS, _STEPS = 6, 12
_LEARNING_RATE = 0.02
#: Points of the outlines are paired when they are this near, as a share of the hand, and their normals' product is at
#: least the second.
_REACH, _SAME_WAY = 0.08, 0.5
#: For finding pairs, normals count like points that are this share of the hand apart.
_NORMAL = 0.15
#: Residuals, as shares of the hand, are squared up to here and linear beyond.
_SOFT = 0.02
_WEIGHT_SPACE, _WEIGHT_TURN, _WEIGHT_BETAS = 0.01, 0.01, 5e-4
#: Hands whose mesh and pixels overlap less than this at the start are fitted to their landmarks alone.
LEAST_OVERLAP = 0.55


@dataclass(frozen=True, eq=False)
class PlacedHands:
    """B right hands before the cameras of their pictures.

    Attributes:
        global_orient: (B, 3, 3).
        hand_pose: (B, 15, 3, 3) absolute matrices.
        betas: (B, 10).
        translation: (B, 3) metres, added to the posed hand.
    """

    global_orient: NDArray[np.floating]
    hand_pose: NDArray[np.floating]
    betas: NDArray[np.floating]
    translation: NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class SeenHands:
    """What is known of B hands in their pictures, each (S, S) pixels.

    Attributes:
        K: (B, 3, 3) intrinsics, pixels.
        keypoints_2d: (B, 21, 2) pixels.
        joints: (B, 21, 3) metres, camera axes, any origin and size.
        mask: (B, S, S) which pixels are the hand's.
        counts: (B, S, S) where the mask is to be believed.
        trust: (B,) how much the outline counts beside the landmarks: 1 for a segmentation network's.
    """

    K: Array
    keypoints_2d: Array
    joints: Array
    mask: Mask
    counts: Mask
    trust: Array


def fit_to_outlines(arrays: ManoArrays, hands: PlacedHands, seen: SeenHands) -> PlacedHands:
    """Hands turned, bent, shaped and moved a little, so that their outlines are those of the pixels.

    A hand whose mask has little to do with it is fitted to its landmarks alone; so is one with an empty mask.

    Args:
        arrays: the hand model.
        hands: where the fit starts.
        seen: the pictures' evidence.

    Returns:
        As many hands; 256 take about ten seconds on one core.
    """
    moving = _Moving(arrays, hands)
    K = _tensor(seen.K)
    points, target = _tensor(seen.keypoints_2d), _tensor(seen.joints)
    target = target - target[:, ROOT_JOINT : ROOT_JOINT + 1]
    side = (points.amax(1) - points.amin(1)).amax(-1).clamp_min(1e-6)
    optimizer = torch.optim.Adam(moving.parameters(), lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, _ROUNDS * _STEPS)
    usable: Mask | None = None
    for _ in range(_ROUNDS):
        with torch.no_grad():
            vertices = moving()[0].numpy()
        meshes = [Drawn.of(v, arrays, k, seen.mask.shape[-1]) for v, k in zip(vertices, seen.K, strict=True)]
        if usable is None:
            usable = np.array([
                overlap(drawn.mask & counts, mask & counts) >= LEAST_OVERLAP
                for drawn, mask, counts in zip(meshes, seen.mask, seen.counts, strict=True)
            ])  # fmt: skip
        pairs = _Pairs.of(meshes, seen, side.numpy(), usable, arrays.faces)
        for _ in range(_STEPS):
            optimizer.zero_grad(set_to_none=True)
            vertices, joints = moving()
            apart = pairs.distances(_project(vertices, K)) / side[:, None]
            off = (_project(joints, K) - points).norm(dim=-1) / side[:, None]
            # Sums over the batch, so that one hand's fit does not depend on the others'.
            loss = (_robust(apart) * pairs.weight).sum() + _robust(off).mean(-1).sum()
            loss = loss + _WEIGHT_SPACE * distances_in_space(joints, target).mean(-1).sum() / _SOFT
            loss = loss + _WEIGHT_TURN * moving.turned() + _WEIGHT_BETAS * moving.betas().square().sum()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return moving.hands()


class Drawn(NamedTuple):
    """A mesh in its picture: which pixels it covers, which face lies there and where on it.

    ``mask`` (S, S) bool, ``face`` (S, S) int, ``barycentric`` (S, S, 3).
    """

    mask: Mask
    face: NDArray[np.int32]
    barycentric: NDArray[np.float32]

    @classmethod
    def of(cls, vertices: NDArray[np.floating], arrays: ManoArrays, K: Array, size: int) -> Drawn:
        """Draw a mesh.

        Args:
            vertices: (778, 3) metres, camera frame.
            arrays: the hand model that they are of.
            K: (3, 3) intrinsics, pixels.
            size: side of the picture, pixels.
        """
        buffers = rasterize(vertices, arrays.faces, K, size, size)
        return cls(buffers.face_index >= 0, buffers.face_index, buffers.barycentric)


def overlap(one: Mask, two: Mask) -> float:
    """Intersection over union; 0 of two empty masks."""
    return float((one & two).sum() / max((one | two).sum(), 1))


def beyond_the_wrist(keypoints_2d: Array, size: int) -> Mask:
    """(size, size) the pixels on the arm's side of the wrist of a hand's keypoints (21, 2): the mesh ends there."""
    wrist, out = keypoints_2d[0], keypoints_2d[0] - keypoints_2d[9]
    rows, columns = np.mgrid[:size, :size]
    return np.asarray((columns - wrist[0]) * out[0] + (rows - wrist[1]) * out[1] > 0)


class _Moving(torch.nn.Module):
    """Hands as they were, and what is added: turns of wrist and joints, betas, and a shift in units of the distance."""

    def __init__(self, arrays: ManoArrays, hands: PlacedHands) -> None:
        super().__init__()
        self.layer = ManoLayer(arrays)
        self.start = [_tensor(x) for x in (hands.global_orient, hands.hand_pose, hands.betas, hands.translation)]
        batch = len(self.start[0])
        self.turn = torch.nn.Parameter(torch.zeros(batch, 16, 3))
        self.shape = torch.nn.Parameter(torch.zeros(batch, 10))
        self.shift = torch.nn.Parameter(torch.zeros(batch, 3))
        # All three move about as far in a step of Adam.
        self.register_buffer("shift_scale", torch.tensor([0.2, 0.2, 1.0]), persistent=False)

    def parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """global_orient, hand_pose, betas and translation as they are now."""
        turns = axis_angle_to_matrix(self.turn)
        orient, pose, _, translation = self.start
        moved = translation + self.shift * self.get_buffer("shift_scale") * translation[:, 2:]
        return turns[:, 0] @ orient, pose @ turns[:, 1:], self.betas(), moved

    def betas(self) -> Tensor:
        return self.start[2] + 3 * self.shape

    def turned(self) -> Tensor:
        """Sum of the squared angles, radians."""
        return self.turn.square().sum()

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vertices (B, 778, 3) and joints (B, 21, 3) in the cameras' frames."""
        orient, pose, betas, translation = self.parts()
        vertices, joints = self.layer(orient, pose, betas)
        return vertices + translation[:, None], joints + translation[:, None]

    def hands(self) -> PlacedHands:
        with torch.no_grad():
            return PlacedHands(*(part.numpy() for part in self.parts()))


class _Pairs(NamedTuple):
    """Points of the meshes' surfaces and where the outlines beside them lie, N for each hand.

    ``corners`` (B, N, 3) vertices, ``barycentric`` (B, N, 3), ``place`` and ``normal`` (B, N, 2) pixels, ``weight``
    (B, N) one in all for each hand that has any.
    """

    corners: Tensor
    barycentric: Tensor
    place: Tensor
    normal: Tensor
    weight: Tensor

    @classmethod
    def of(
        cls, meshes: list[Drawn], seen: SeenHands, side: NDArray[np.floating], usable: Mask, faces: NDArray[np.integer]
    ) -> _Pairs:
        found = [
            _pair(drawn, mask, counts, float(extent)) if use else None
            for drawn, mask, counts, extent, use in zip(meshes, seen.mask, seen.counts, side, usable, strict=True)
        ]
        batch, most = len(found), max([len(each[0]) for each in found if each is not None] + [1])
        corners, barycentric = np.zeros((batch, most, 3), np.int64), np.zeros((batch, most, 3), np.float32)
        place, normal = np.zeros((2, batch, most, 2), np.float32)
        weight = np.zeros((batch, most), np.float32)
        for i, each in enumerate(found):
            if each is not None and len(each[0]):
                pixels, place[i, : len(each[0])], normal[i, : len(each[0])] = each
                at = (pixels[:, 1], pixels[:, 0])
                corners[i, : len(pixels)] = faces[meshes[i].face[at]]
                barycentric[i, : len(pixels)] = meshes[i].barycentric[at]
                weight[i, : len(pixels)] = seen.trust[i] / len(pixels)
        return cls(torch.as_tensor(corners), *(_tensor(x) for x in (barycentric, place, normal, weight)))

    def distances(self, pixels: Tensor) -> Tensor:
        """(B, N) along the normals, in pixels, with the vertices at ``pixels`` (B, 778, 2)."""
        index = self.corners.flatten(1)[..., None].expand(-1, -1, 2)
        corners = torch.gather(pixels, 1, index).unflatten(1, (-1, 3))
        points = (corners * self.barycentric[..., None]).sum(2)
        return ((points - self.place) * self.normal).sum(-1)


def _pair(drawn: Drawn, mask: Mask, counts: Mask, side: float) -> tuple[NDArray[np.intp], Array, Array]:
    """Pixels (N, 2) of the mesh's outline, and place and normal (N, 2) of the mask's outline that each belongs to."""
    ours, our_normals = _outline(drawn.mask, counts)
    theirs, their_normals = _outline(mask, counts)
    if not len(ours) or not len(theirs):
        return np.zeros((0, 2), np.intp), np.zeros((0, 2)), np.zeros((0, 2))
    one, two = (
        np.hstack([points, _NORMAL * side * normals])
        for points, normals in ((ours, our_normals), (theirs, their_normals))
    )
    # From each outline to the other: the mesh may lack a fingertip, or have one that is not there.
    _, to_theirs = cKDTree(two).query(one)
    _, to_ours = cKDTree(one).query(two)
    first = np.concatenate([np.arange(len(ours)), to_ours])
    second = np.concatenate([to_theirs, np.arange(len(theirs))])
    near = np.linalg.norm(ours[first] - theirs[second], axis=1) < _REACH * side
    near &= (our_normals[first] * their_normals[second]).sum(1) > _SAME_WAY
    first, second = first[near], second[near]
    return ours[first].astype(np.intp), theirs[second], their_normals[second]


def _outline(mask: Mask, counts: Mask) -> tuple[Array, Array]:
    """The True pixels (N, 2; column, row) that touch a False one where it counts, and their unit normals outwards."""
    solid = mask.astype(np.uint8)
    inner = cv2.erode(solid, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1)
    rows, columns = np.nonzero(mask & (inner == 0) & counts)
    smooth = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.5)
    slope = [cv2.Sobel(smooth, cv2.CV_32F, *order)[rows, columns] for order in ((1, 0), (0, 1))]
    normals = -np.stack(slope, 1).astype(np.float64)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    return np.stack([columns, rows], 1).astype(np.float64), normals


def _project(points: Tensor, K: Tensor) -> Tensor:
    """Pixels (B, N, 2) of points (B, N, 3)."""
    pixels = points @ K.transpose(1, 2)
    return pixels[..., :2] / pixels[..., 2:]


def _robust(residual: Tensor) -> Tensor:
    return huber_loss(residual, torch.zeros_like(residual), reduction="none", delta=_SOFT) / _SOFT


def _tensor(values: NDArray[np.generic]) -> Tensor:
    return torch.as_tensor(np.asarray(values), dtype=torch.float32)
