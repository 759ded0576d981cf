"""What a running view shows: bare pictures for files, labels and text beside them, colours that stay with a hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import combinations

import cv2
import numpy as np
import pytest

from handmesh.geometry.camera import intrinsics_from_fov
from handmesh.mano.arrays import ManoArrays
from handmesh.rendering.colors import LEFT_COLORS, RIGHT_COLORS, TrackColors, hand_colors
from handmesh.rendering.labels import draw_labels
from handmesh.rendering.live_view import LiveView
from handmesh.rendering.overlay import draw_hands
from handmesh.rendering.side_view import draw_side_view
from handmesh.results import Hand

K = intrinsics_from_fov(320, 240, 60)


@pytest.fixture(scope="module")
def hands(make_hand: Callable[..., Hand], open_mano: ManoArrays) -> list[Hand]:
    return [make_hand(open_mano, x, is_right=side) for x, side in ((0.12, True), (0.12, False), (0.0, True))]


def test_colours_are_one_per_hand_and_none_is_skins() -> None:
    for color in (*RIGHT_COLORS, *LEFT_COLORS):
        hue = 2 * int(cv2.cvtColor(np.array([[color]], np.uint8), cv2.COLOR_RGB2HSV)[0, 0, 0])
        assert 80 < hue < 325, (color, hue)  # skin: about 0 to 50 degrees
    for one, two in combinations((*RIGHT_COLORS, *LEFT_COLORS), 2):
        assert np.abs(np.subtract(one, two)).sum() > 60


def test_a_track_keeps_its_colour_while_others_come_and_go(hands: list[Hand]) -> None:
    colors = TrackColors()
    right, left, other = hands
    assert colors([right, left], [4, 7]) == [RIGHT_COLORS[0], LEFT_COLORS[0]] == hand_colors([right, left])
    assert colors([right, left, other], [4, 7, 9]) == [RIGHT_COLORS[0], LEFT_COLORS[0], RIGHT_COLORS[1]]
    assert colors([other, left], [9, 7]) == [RIGHT_COLORS[1], LEFT_COLORS[0]]
    assert colors([other, right], [9, 12]) == [RIGHT_COLORS[1], RIGHT_COLORS[0]]
    crowd = [right] * 12
    assert len(colors(crowd, range(12))) == 12


def test_labels_lie_inside_the_picture_apart_and_near_their_hands(hands: list[Hand]) -> None:
    for group in ([hands[0]], hands, [hands[0]] * 4):
        image = np.zeros((240, 320, 3), np.uint8)
        draw_labels(image, group, range(len(group)))
        for color in set(hand_colors(group)):
            assert (image == color).all(-1).sum() > 200
        counts = [(image == color).all(-1).sum() for color in hand_colors(group)]
        # None covers another: each still has most of its area, a text's ink aside.
        assert min(counts) > 0.5 * max(counts)
    far_out = dataclasses.replace(hands[0], box_xyxy=np.array([-900.0, -900, -800, -800]))
    nowhere = dataclasses.replace(hands[0], box_xyxy=np.full(4, np.nan))
    draw_labels(image, [far_out, nowhere])
    draw_labels(np.zeros((8, 8, 3), np.uint8), hands)


def test_a_mirrored_views_labels_are_at_the_mirrored_hand_and_readable(hands: list[Hand]) -> None:
    plain, mirrored = np.zeros((240, 320, 3), np.uint8), np.zeros((240, 320, 3), np.uint8)
    draw_labels(plain, [hands[0]], [0])
    draw_labels(mirrored, [hands[0]], [0], is_mirrored=True)
    left, right = (np.flatnonzero(image.any((0, 2))) for image in (plain, mirrored))
    assert abs((left.mean() + right.mean()) - 319) <= 2 and abs(left.mean() - right.mean()) > 50
    # The same pixels at another place, not a mirrored text.
    np.testing.assert_array_equal(
        plain[:, left[0] : left[-1] + 1][plain.any((1, 2))], mirrored[:, right[0] : right[-1] + 1][mirrored.any((1, 2))]
    )


def test_files_get_the_hands_and_nothing_else(hands: list[Hand]) -> None:
    image = np.full((240, 320, 3), 90, np.uint8)
    view = LiveView()
    drawn = view.draw(image, hands[:2], [0, 1])
    np.testing.assert_array_equal(drawn, draw_hands(image, hands[:2]))
    np.testing.assert_array_equal(view.draw(image, [], []), image)
    view.press("r")
    np.testing.assert_array_equal(view.draw(image, hands[:2], [0, 1]), drawn[:, ::-1])


def test_every_key_changes_the_picture_and_says_so(hands: list[Hand]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    for key in "mojlvrfwt":
        view = LiveView()
        before = view.annotate(view.draw(image, hands, [0, 1, 2]), hands, [0, 1, 2], ["60 fps", "network 5 ms"], True)
        states = {hint.key: hint.is_on for hint in view.keys()}
        view.press(key)
        after = view.annotate(view.draw(image, hands, [0, 1, 2]), hands, [0, 1, 2], ["60 fps", "network 5 ms"], True)
        changed = {hint.key for hint in view.keys() if hint.is_on != states[hint.key]}
        assert changed == {key} and (before != after).any()
        view.press(key)
        view.press("")
        again = view.annotate(view.draw(image, hands, [0, 1, 2]), hands, [0, 1, 2], ["60 fps", "network 5 ms"], True)
        np.testing.assert_array_equal(before, again)
    view.press("q")
    assert view.is_over


def test_the_text_is_one_line_until_timings_are_asked_for(hands: list[Hand]) -> None:
    image = np.full((480, 640, 3), 200, np.uint8)
    view = LiveView(labels=False)
    heights = []
    for _ in range(2):
        shown = view.annotate(image, [], [], ["60 fps", "network 5 ms", "crop 1 ms"])
        heights.append(np.flatnonzero((shown != image).any((1, 2))).max())
        view.press("t")
    assert heights[0] < 30 < heights[1]


def test_opacity_and_outline(make_hand: Callable[..., Hand], open_mano: ManoArrays) -> None:
    hands = [make_hand(open_mano, z=0.25)]
    image = np.full((240, 320, 3), 90, np.uint8)
    solid, faint, bare = (draw_hands(image, hands[:1], alpha=alpha).astype(int) for alpha in (1.0, 0.3, 0.0))
    np.testing.assert_array_equal(bare, image)
    assert np.abs(faint - image).sum() < 0.5 * np.abs(solid - image).sum()
    line = draw_hands(image, hands[:1], mesh=False, outline=True)
    on_line, on_hand = (line != image).any(-1), (solid != image).any(-1)
    assert 100 < on_line.sum() < 0.6 * on_hand.sum()
    near_hand = cv2.dilate(on_hand.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert not (on_line & ~near_hand).any()
    with pytest.raises(ValueError, match="alpha"):
        draw_hands(image, hands, alpha=1.5)
    with pytest.raises(ValueError, match="colour"):
        draw_hands(image, hands, colors=[(1, 2, 3)] * 2)


def test_the_side_view_shows_depth_and_stays_in_its_corner(
    make_hand: Callable[..., Hand], open_mano: ManoArrays
) -> None:
    near, far = make_hand(open_mano, z=0.4), make_hand(open_mano, z=0.7, is_right=False)
    image = np.full((480, 640, 3), 200, np.uint8)
    draw_side_view(image, [near, far])
    changed = (image != 200).any(-1)
    v, u = np.nonzero(changed)
    side = v.max() + 1
    assert u.min() == 640 - side and changed[:side, -side:].mean() > 0.99
    panel = image[:side, -side:].astype(int)
    blue = (panel[..., 2] > panel[..., 0] + 40) & (panel[..., 2] > panel[..., 1] + 30)
    green = (panel[..., 1] > panel[..., 0] + 40) & (panel[..., 1] > panel[..., 2] + 40)
    # The camera is to the left: what is farther lies farther to the right, by 30 cm of the scale.
    shift = np.nonzero(green)[1].mean() - np.nonzero(blue)[1].mean()
    cloud = np.concatenate([near.vertices, far.vertices])
    extent_m = max(0.3, 1.15 * float(np.ptp(cloud, axis=0)[1:].max()))
    assert shift == pytest.approx(0.3 * side / extent_m, rel=0.1)
    small = np.full((40, 40, 3), 200, np.uint8)
    draw_side_view(small, [near])
    assert (small == 200).all()
    draw_side_view(image, [])
