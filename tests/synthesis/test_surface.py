"""Topology and geometry of what is drawn: subdivision, forearm, texels, light."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.rendering.rasterizer import vertex_normals
from handmesh.synthesis.appearance.lighting import (
    Lighting,
    irradiance_coefficients,
    map_lighting,
    sample_lighting,
    sh_basis,
    sphere_directions,
    visibility,
)
from handmesh.synthesis.appearance.shading import Shaded, darken_crevices
from handmesh.synthesis.appearance.skin import sample_appearance
from handmesh.synthesis.appearance.skin_map import GRID, MASKS, TEXELS, texel_barycentrics
from handmesh.synthesis.appearance.surface import FOREARM_RINGS, SUBFACE_BARYCENTRICS, ForearmShape, rim_loop
from handmesh.synthesis.renderer import HandRenderer, hand_renderer


@pytest.fixture(scope="module")
def renderer(open_mano) -> HandRenderer:
    return hand_renderer(open_mano)


def edges_used_once(faces: np.ndarray) -> int:
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    _, count = np.unique(edges, axis=0, return_counts=True)
    assert count.max() <= 2
    return int((count == 1).sum())


def test_forearm_continues_the_rim(renderer, open_mano) -> None:
    surface = renderer.surface
    loop = rim_loop(open_mano.faces)
    assert len(loop) == 16
    assert len(surface.coarse_faces) == 1538 + 2 * 16 * FOREARM_RINGS
    # One boundary is left, at the arm's end, as long as the rim was; every edge inside has its two faces.
    assert edges_used_once(surface.coarse_faces) == 16
    assert edges_used_once(surface.fine_faces) == 32


def test_fine_surface_stays_on_the_model(renderer) -> None:
    surface = renderer.surface
    rest = surface.rest_coarse
    fine = surface.subdivide(rest)
    gap = np.linalg.norm(fine[: surface.num_hand] - rest[: surface.num_hand], axis=1)
    assert np.median(gap) < 0.0001 and gap.max() < 0.0015
    flat = surface.carry(rest)
    assert np.linalg.norm(flat - fine, axis=1).mean() < 0.0005


def test_subfaces_lie_where_their_barycentrics_say(renderer) -> None:
    surface = renderer.surface
    flat = surface.carry(surface.rest_coarse)
    corners = flat[surface.fine_faces.reshape(-1, 4, 3)]
    wanted = np.einsum("kib,fbc->fkic", SUBFACE_BARYCENTRICS, surface.rest_coarse[surface.coarse_faces])
    np.testing.assert_allclose(corners, wanted, atol=1e-6)


def test_normals_point_outward_on_hand_and_arm(renderer) -> None:
    surface = renderer.surface
    for flexion in (-0.6, 0.0, 0.6):
        coarse = surface.with_forearm(surface.rest_coarse[: surface.num_hand], np.eye(3), ForearmShape(flexion=flexion))
        normals = np.empty_like(coarse)
        vertex_normals(coarse, surface.coarse_faces, normals)
        rings = coarse[surface.num_hand :].reshape(FOREARM_RINGS, 16, 3)
        outward = rings - rings.mean(1, keepdims=True)
        outward = outward / np.linalg.norm(outward, axis=-1, keepdims=True)
        cosine = (outward * normals[surface.num_hand :].reshape(outward.shape)).sum(-1)
        assert (cosine > 0.3).mean() > 0.97


def test_forearm_turns_with_the_hand(renderer) -> None:
    surface = renderer.surface
    hand = surface.rest_coarse[: surface.num_hand]
    shape = ForearmShape(0.3, -0.1, 1.4, 0.005, 2)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    turned = surface.with_forearm((hand @ turn.T).astype(np.float32), turn, shape)
    np.testing.assert_allclose(turned, surface.with_forearm(hand, np.eye(3), shape) @ turn.T, atol=2e-6)


def test_texels_of_neighbouring_faces_agree(renderer) -> None:
    """A texel on a shared edge lies in two faces, and must look the same from both."""
    bary = texel_barycentrics()
    assert len(bary) == TEXELS and np.allclose(bary.sum(1), 1)
    for i, j in ((0, 0), (3, 2), (GRID, 0)):
        number = i * (2 * GRID + 3 - i) // 2 + j
        np.testing.assert_allclose(bary[number] * GRID, [i, j, GRID - i - j])
    position = renderer.skin.position.reshape(-1, 3)
    masks = renderer.skin.masks.transpose(0, 2, 1).reshape(-1, len(MASKS)).astype(int)
    key = np.round(position * 1e6).astype(int)
    order = np.lexsort(key.T)
    same = (key[order][1:] == key[order][:-1]).all(1)
    assert same.sum() > 10000
    step = np.abs(masks[order][1:] - masks[order][:-1])[same]
    assert (step.max(1) > 12).mean() < 0.03  # weights may tip a texel to another finger


def test_every_mask_is_somewhere_and_nails_are_on_the_back(renderer) -> None:
    masks, around = renderer.skin.masks, renderer.skin.around
    for number, name in enumerate(MASKS):
        assert masks[:, number].max() > 100, name
    nails = masks[:, MASKS.index("nail")] > 128
    assert 100 < nails.sum() < 4000 and around[nails].min() > 0
    assert set(np.unique(renderer.skin.finger[nails])) == {0, 1, 2, 3, 4}


def test_irradiance_matches_a_sum_over_the_sphere() -> None:
    lighting = sample_lighting(np.random.default_rng(3))
    coefficients = irradiance_coefficients(lighting.radiance)
    dense = sphere_directions(20000)
    normals = sphere_directions(40)
    cosine = np.maximum(normals @ dense.T, 0)
    wanted = cosine @ lighting.radiance(dense) * (4 * np.pi / len(dense)) / np.pi
    got = sh_basis(normals) @ coefficients
    # Nine coefficients hold a convex light to a few per cent (Ramamoorthi and Hanrahan).
    assert np.abs(got - wanted).max() < 0.08 * wanted.max()


def test_map_light_comes_from_where_the_map_is_bright() -> None:
    for seed in range(5):
        environment = np.full((32, 64, 3), 0.2, np.float32)
        environment[8, 20] = 300.0
        lighting = map_lighting(environment, np.random.default_rng(seed))
        assert isinstance(lighting, Lighting) and lighting.lamp_directions.shape == (1, 3)
        around = lighting.lamp_directions + np.random.default_rng(0).normal(0, 0.01, (64, 3))
        around /= np.linalg.norm(around, axis=1, keepdims=True)
        assert lighting.radiance(around.astype(np.float32)).max() > 3.0
        assert np.isclose(np.linalg.norm(lighting.lamp_directions), 1, atol=1e-5)


def test_a_plate_hides_the_light_behind_it() -> None:
    plate = np.array([[-0.05, -0.05, 0], [0.05, -0.05, 0], [0.05, 0.05, 0], [-0.05, 0.05, 0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)  # faces +z
    points = np.array([[0, 0, -0.03], [0.2, 0, -0.03], [0, 0, 0.03]], np.float32)
    normals = np.tile(np.array([[0, 0, 1]], np.float32), (3, 1))
    caster = np.concatenate([plate, points - [0, 0, 0.1]]).astype(np.float32)  # widens the map past the plate
    towards = np.array([[0, 0, 1], [0, 0, -1]], np.float32)
    seen = visibility(caster, faces, points, normals, towards, 0.002, 64)
    np.testing.assert_allclose(seen[0], [0, 1, 1], atol=0.01)
    np.testing.assert_allclose(seen[1], 0)  # light from behind the points' own surface


def test_crevices_are_darkened_and_nothing_else() -> None:
    """A plate with a groove: the groove loses light, red least; plate, far edges and empty pixels keep theirs."""
    depth = np.full((96, 96), np.inf, np.float32)
    depth[16:80, 16:80] = 0.5
    depth[16:80, 47:50] = 0.51
    alpha = np.isfinite(depth).astype(np.float32)
    color = np.repeat(alpha[..., None], 3, 2)
    shaded = Shaded(color, alpha, alpha, depth, np.zeros((96, 96), np.int32))
    before = color.copy()
    darken_crevices(shaded, 0.5, 4.0)
    groove, plate = color[20:76, 48], color[20:76, 20:40]
    assert (groove < 0.75).all() and (groove[:, 0] > groove[:, 1]).all()
    np.testing.assert_allclose(plate, 1.0, atol=0.03)
    np.testing.assert_array_equal(color[alpha == 0], before[alpha == 0])
    assert np.isfinite(color).all()


def test_what_lies_far_behind_is_in_no_crevice() -> None:
    """A finger over a palm: darker beside it where it touches, as bright as ever where it hovers a hand's width off."""
    beside = []
    for gap in (0.006, 0.08):
        depth = np.full((96, 96), 0.5, np.float32)
        depth[:, 40:56] -= gap
        alpha = np.ones((96, 96), np.float32)
        color = np.ones((96, 96, 3), np.float32)
        darken_crevices(Shaded(color, alpha, alpha, depth, np.zeros((96, 96), np.int32)), 0.8, 3.0)
        np.testing.assert_allclose(color[:, 44:52], 1.0, atol=1e-3)
        beside.append(color[48, :, 1].min())
    assert beside[0] < 0.7 and beside[1] > 0.95


def test_a_rounded_silhouette_keeps_its_light() -> None:
    """A lone finger, 16 mm thick, turns away at its edges without a dark outline."""
    across = np.linspace(-1, 1, 40)
    depth = np.full((96, 96), np.inf, np.float32)
    depth[:, 28:68] = 0.5 - 0.008 * np.sqrt(1 - 0.99 * across**2)
    alpha = np.isfinite(depth).astype(np.float32)
    color = np.repeat(alpha[..., None], 3, 2)
    darken_crevices(Shaded(color, alpha, alpha, depth, np.zeros((96, 96), np.int32)), 0.9, 4.0)
    assert color[:, 28:68].min() > 0.8


def test_mottling_stays_finer_than_the_lines() -> None:
    """Skin without its lines and nails varies little over a patch; creases stand out from it."""
    names = ("blotch_a", "blotch_b", "blotch_c", "grain_a", "grain_b", "pore", "hair", "freckle")
    spread, crease = [], []
    for seed in range(60):
        appearance = sample_appearance(np.random.default_rng(seed))
        spread.append(np.abs(appearance.gain[[MASKS.index(name) for name in names]]).sum(0).max())
        crease.append(-appearance.gain[MASKS.index("crease"), 1])
    assert np.median(spread) < np.median(crease) and np.percentile(spread, 90) < 0.75


def test_how_many_hands_wear_gloves_is_said() -> None:
    for share, expected in ((0.0, {False}), (1.0, {True})):
        assert {sample_appearance(np.random.default_rng(seed), share).gloved for seed in range(20)} == expected
