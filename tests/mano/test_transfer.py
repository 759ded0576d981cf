"""A hand carried over to another model lies where it lay, whatever the model's triangles, rest pose and shapes are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from handmesh.errors import HandMeshError
from handmesh.geometry.crop import CropSettings, mirror_pose
from handmesh.geometry.rotation_numpy import axis_angle_to_matrix_np
from handmesh.inference import predictor as predictors
from handmesh.inference.alignment.placement import Estimate
from handmesh.inference.predictor import HandMeshPredictor
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.hand_model import HandModel
from handmesh.mano.layers.numpy_layer import pose_vertices
from handmesh.mano.prior.pose_prior import PosePrior
from handmesh.mano.transfer import HandModelTransfer
from handmesh.results import Detection, Hand
from handmesh.skeleton import FINGERTIP_VERTICES, NUM_VERTICES


def another_hand(arrays: ManoArrays, seed: int = 0) -> ManoArrays:
    """The same surface as another lab would have it: other person, rest pose, triangles, numbering and shape space."""
    rng = np.random.default_rng(seed)
    eye = np.eye(3)
    rest = axis_angle_to_matrix_np(rng.normal(0, np.radians(6), (15, 3)))
    person = rng.normal(0, 0.8, 10)
    template, _ = pose_vertices(arrays, eye, rest, person)
    shapes = np.stack([pose_vertices(arrays, eye, rest, person + row)[0] - template for row in np.eye(10)], axis=-1)
    # Each vertex moves to a point of a face it is a corner of; the fingertips keep places and numbers.
    tips = list(FINGERTIP_VERTICES["freihand"])
    moved = np.eye(NUM_VERTICES)
    for vertex in set(range(NUM_VERTICES)) - set(tips):
        face = rng.choice(arrays.faces[(arrays.faces == vertex).any(axis=1)])
        moved[vertex] = 0
        moved[vertex, face] = rng.dirichlet(np.where(face == vertex, 3.0, 1.0))
    free = np.setdiff1d(np.arange(NUM_VERTICES), tips)
    order = np.arange(NUM_VERTICES)
    order[free] = rng.permutation(free)
    back = np.argsort(order)
    turn = np.linalg.qr(rng.normal(size=(10, 10)))[0]
    return replace(
        arrays,
        v_template=(moved @ template)[order],
        shapedirs=np.einsum("vw,wck->vck", moved, shapes @ turn)[order],
        posedirs=np.einsum("vw,wck->vck", moved, arrays.posedirs)[order],
        J_regressor=arrays.J_regressor[:, order],
        weights=(moved @ arrays.weights)[order],
        faces=back[arrays.faces],
        name="another hand",
    ).validate()


@pytest.fixture(scope="module")
def other(open_mano: ManoArrays) -> ManoArrays:
    return another_hand(open_mano)


@pytest.fixture(scope="module")
def transfer(open_mano: ManoArrays, other: ManoArrays) -> HandModelTransfer:
    return HandModelTransfer(open_mano, other)


def hands(arrays: ManoArrays, count: int = 6) -> list[Hand]:
    rng = np.random.default_rng(1)
    model, found = HandModel(arrays), []
    for number, pose in enumerate(PosePrior(arrays).sample(rng, count)):
        is_right, scale = number % 2 == 0, 1.0 + 0.1 * number
        root, betas = axis_angle_to_matrix_np(rng.normal(size=3)), rng.normal(size=10)
        vertices, joints = model.pose(is_right, root, pose, betas)
        shift = np.array([0.1, -0.05, 0.6])
        found.append(
            Hand(scale * vertices + shift, scale * joints + shift, joints[:, :2], is_right, 0.9, model.faces(is_right),
                 root, pose, betas, shift, np.eye(3), np.zeros(4), scale=scale)
        )  # fmt: skip
    return found


def surface_distance_mm(hand: Hand, other: Hand) -> float:
    """Mean distance of a hand's vertices from the other's surface, across it."""
    corners = np.asarray(other.vertices)[other.faces]
    shares = np.random.default_rng(0).dirichlet(np.ones(3), 12)
    points = np.einsum("sk,fkc->fsc", shares, corners).reshape(-1, 3)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    _, nearest = cKDTree(points).query(hand.vertices)
    across = ((hand.vertices - points[nearest]) * normals[nearest // 12]).sum(axis=1)
    return 1000 * float(np.abs(across).mean())


def test_a_hand_keeps_its_place_its_surface_and_its_joints(
    open_mano: ManoArrays, other: ManoArrays, transfer: HandModelTransfer
) -> None:
    model = HandModel(other)
    for hand in hands(open_mano):
        carried = transfer(hand)
        assert surface_distance_mm(carried, hand) < 1.0
        assert np.linalg.norm(carried.joints - hand.joints, axis=1).mean() < 0.003
        # The law of the result, now with the other model.
        vertices, joints = model.pose(hand.is_right, carried.global_orient, carried.hand_pose, carried.betas)
        np.testing.assert_allclose(hand.scale * vertices + carried.translation, carried.vertices, atol=1e-5)
        np.testing.assert_allclose(hand.scale * joints + carried.translation, carried.joints, atol=1e-5)
        assert np.array_equal(carried.faces, model.faces(hand.is_right)) and carried.is_right == hand.is_right
        np.testing.assert_allclose(np.linalg.det(carried.hand_pose), 1, atol=1e-4)


def test_the_open_hand_becomes_itself(open_mano: ManoArrays) -> None:
    transfer = HandModelTransfer(open_mano, open_mano)
    for hand in hands(open_mano, 2):
        carried = transfer(hand)
        np.testing.assert_allclose(carried.vertices, hand.vertices, atol=3e-4)
        np.testing.assert_allclose(carried.hand_pose, hand.hand_pose, atol=0.02)
        # The last directions hardly move the surface, so little holds them.
        np.testing.assert_allclose(carried.betas[:8], hand.betas[:8], atol=0.1)


def test_a_mirrored_hand_is_carried_over_mirrored(open_mano: ManoArrays, transfer: HandModelTransfer) -> None:
    hand, flip = hands(open_mano, 1)[0], np.array([-1.0, 1, 1])
    mirrored = replace(
        hand, vertices=hand.vertices * flip, joints=hand.joints * flip, is_right=False, faces=hand.faces[:, [0, 2, 1]],
        global_orient=mirror_pose(hand.global_orient), hand_pose=mirror_pose(hand.hand_pose),
        translation=hand.translation * flip,
    )  # fmt: skip
    np.testing.assert_allclose(transfer(mirrored).vertices, transfer(hand).vertices * flip, atol=1e-5)


def test_what_is_no_hand_is_refused(open_mano: ManoArrays, fake_mano: ManoArrays) -> None:
    with pytest.raises(HandMeshError, match="fake 0.* mm away"):
        HandModelTransfer(open_mano, fake_mano)


def test_the_error_is_measured_in_millimetres(transfer: HandModelTransfer) -> None:
    error = transfer.error()
    assert error.rest_mm < 1.2 and error.posed_mm < 2.5 and f"{error.posed_mm:.1f} mm" in error.describe()
    # The fit improves on the closed form.
    assert error.posed_mm < transfer.error(steps=0).posed_mm


def test_shipped_weights_give_hands_of_a_mano_file(
    open_mano: ManoArrays, other: ManoArrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file decides: the network's own hand needs no transfer, another one gets it, in a predictor and a tracker."""
    (hand,) = hands(open_mano, 1)

    class Network(HandMeshPredictor):
        def predict_places(
            self, image: object, K: object, places: list[Detection], *_: object, **__: object
        ) -> list[Estimate]:
            return [Estimate(hand, 0.9, 1.0) for _ in places]

    asked = []

    def load(
        kind: type, path: str, device: str, engine: str, arrays: ManoArrays, threads: int, keep: bool, *_: object
    ) -> Network:
        asked.append((arrays.fingerprint(), keep))
        return Network(None, arrays, CropSettings())  # type: ignore[arg-type]

    detector = SimpleNamespace(detect=lambda image: [Detection(hand.box_xyxy, True, 0.9)])
    monkeypatch.setattr(predictors, "make_detector", lambda *_: detector)
    monkeypatch.setattr(HandMeshPredictor, "_load", classmethod(load))
    own, file = open_mano.save_npz(tmp_path / "own.npz"), other.save_npz(tmp_path / "other.npz")
    image = np.zeros((8, 8, 3), np.uint8)
    for path, wanted, keep in (("open", hand.faces, True), (own, hand.faces, True), (file, other.faces, True)):
        predictor = HandMeshPredictor.from_pretrained("default", mano=path)
        assert asked[-1] == (open_mano.fingerprint(), keep)
        (found,) = predictor(image)
        assert np.array_equal(found.faces, wanted) and (predictor.transfer is not None) == (path == file)
        assert surface_distance_mm(found, hand) < 1.0
    assert asked[-1][0] == open_mano.fingerprint()
    assert np.array_equal(predictor.finished(hand, 0.2).faces, other.faces)
    assert abs(predictor.finished(hand, 0.2).scale * predictor.model.length(hand.betas) - 0.2) < 1e-6
    # Of a checkpoint that was trained with the file's own hand, nothing is transferred.
    monkeypatch.setattr("handmesh.inference.predictor.hand_fingerprint_of", lambda path: other.fingerprint())
    assert HandMeshPredictor.from_pretrained("x", mano=file).transfer is None and asked[-1][0] == other.fingerprint()
