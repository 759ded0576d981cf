"""The overlay touches the hand's own pixels, nothing else, and shows what is nearest."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from handmesh.geometry.camera import intrinsics_from_fov, project_points
from handmesh.rendering.contact_sheet import contact_sheet
from handmesh.rendering.overlay import draw_hands

K = intrinsics_from_fov(320, 240, 60)


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)


def test_only_the_hand_is_painted(make_hand, open_mano, picture) -> None:
    hand = make_hand(open_mano)
    before = picture.copy()
    drawn = draw_hands(picture, [hand])
    np.testing.assert_array_equal(picture, before)
    changed = (drawn != picture).any(-1)
    uv = project_points(hand.vertices, K)
    v, u = np.nonzero(changed)
    assert changed.sum() > 1000
    assert u.min() >= uv[:, 0].min() - 1 and u.max() <= uv[:, 0].max() + 1
    assert v.min() >= uv[:, 1].min() - 1 and v.max() <= uv[:, 1].max() + 1


def test_a_cut_of_the_picture_draws_the_same(make_hand, open_mano, picture) -> None:
    hand = make_hand(open_mano)
    left, top = 60, 40
    moved = K - np.array([[0, 0, left], [0, 0, top], [0, 0, 0]])
    cut = draw_hands(picture[top:200, left:260], [dataclasses.replace(hand, K=moved)])
    whole = draw_hands(picture, [hand])[top:200, left:260]
    # One unit of rounding on a few pixels: the region starts elsewhere.
    assert (np.abs(cut.astype(int) - whole) > 2).any(-1).mean() < 1e-3


def test_the_nearer_hand_hides_the_farther(make_hand, open_mano, picture) -> None:
    near, far = make_hand(open_mano, z=0.4), make_hand(open_mano, z=0.6, is_right=False)
    one, two = (draw_hands(picture, hands, alpha=1.0) for hands in ([near, far], [far, near]))
    assert (np.abs(one.astype(int) - two) > 1).any(-1).mean() < 1e-3
    alone = draw_hands(picture, [near], alpha=1.0)
    painted = (draw_hands(np.zeros_like(picture), [near], alpha=1.0) > 60).all(-1)
    assert (np.abs(one.astype(int) - alone) > 2)[painted].mean() < 0.02


def test_left_and_right_have_different_tints(make_hand, open_mano, picture) -> None:
    black = np.zeros_like(picture)
    right, left = (draw_hands(black, [make_hand(open_mano, is_right=side)], alpha=1.0) for side in (True, False))
    assert right[..., 2].sum() > 1.3 * right[..., 0].sum()
    assert left[..., 1].sum() > 1.3 * max(left[..., 0].sum(), left[..., 2].sum())


def test_a_mesh_that_may_not_fit_is_fainter(make_hand, open_mano, picture) -> None:
    sure = make_hand(open_mano)
    unsure = dataclasses.replace(sure, confidence=np.full(21, 0.2))
    assert unsure.fit_score < 0.01 < 0.9 < sure.fit_score
    solid, faint = (draw_hands(picture, [hand]).astype(int) - picture for hand in (sure, unsure))
    share = np.abs(faint).sum() / np.abs(solid).sum()
    assert 0.4 < share < 0.55
    np.testing.assert_array_equal(draw_hands(picture, [unsure], fade=False), draw_hands(picture, [sure]))


@pytest.mark.parametrize("place", [(3.0, 0.5), (0.0, -0.5), (0.0, 0.03)])
def test_hands_outside_the_view_do_no_harm(make_hand, open_mano, picture, place) -> None:
    drawn = draw_hands(picture, [make_hand(open_mano, *place)])
    assert drawn.shape == picture.shape
    if place[1] != 0.03:
        np.testing.assert_array_equal(drawn, picture)


def test_skeleton_is_drawn_and_no_hands_is_a_copy(make_hand, open_mano, picture) -> None:
    hand = make_hand(open_mano)
    drawn = draw_hands(picture, [hand], mesh=False, joints=True)
    u, v = np.rint(hand.keypoints_2d).astype(int).T
    assert (drawn[v, u] != picture[v, u]).any(-1).all()
    np.testing.assert_array_equal(draw_hands(picture, []), picture)


def test_wrong_pictures_are_refused(open_mano) -> None:
    with pytest.raises(ValueError, match="uint8"):
        draw_hands(np.zeros((10, 10, 3), np.float32), [])


def test_contact_sheet_holds_every_picture_in_order() -> None:
    images = [np.full((30 + i, 40, 3), 20 * i, np.uint8) for i in range(5)]
    sheet = contact_sheet(images, columns=3, size=50, gap=2)
    assert sheet.shape == (2 * 52 - 2, 3 * 52 - 2, 3)
    for i in range(5):
        assert (sheet[i // 3 * 52 + 25, i % 3 * 52 + 25] == 20 * i).all()
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])


def test_what_covers_a_hand_stays_before_its_mesh(make_hand, open_mano, picture) -> None:
    hand = make_hand(open_mano)
    whole = draw_hands(picture, [hand], outline=True)
    painted = (whole != picture).any(-1)
    v, u = np.nonzero(painted)
    middle = int(np.median(v))
    mask = np.ones(painted.shape, bool)
    mask[middle - 12 : middle + 12] = False  # something lies across the hand
    covered = dataclasses.replace(hand, mask=mask)
    drawn = draw_hands(picture, [covered], outline=True, hide_covered=True)
    inside, outside = slice(middle - 8, middle + 8), np.abs(np.arange(240) - middle) > 16
    np.testing.assert_array_equal(drawn[inside], picture[inside])
    np.testing.assert_array_equal(drawn[outside], whole[outside])
    # Without being asked, and for hands without a mask, nothing is left out.
    np.testing.assert_array_equal(draw_hands(picture, [covered], outline=True), whole)
    np.testing.assert_array_equal(draw_hands(picture, [hand], outline=True, hide_covered=True), whole)


def test_a_mask_that_is_a_pixel_beside_the_hand_leaves_the_mesh_whole(make_hand, open_mano, picture) -> None:
    hand = make_hand(open_mano)
    whole = draw_hands(picture, [hand], alpha=1.0)
    mask = np.roll((whole != picture).any(-1), 2, axis=1)
    drawn = draw_hands(picture, [dataclasses.replace(hand, mask=mask)], alpha=1.0, hide_covered=True)
    np.testing.assert_array_equal(drawn, whole)
