"""Laws of what stands behind the hand: same seed, same picture; people are cut-outs that cover what they cover."""

import numpy as np
import pytest

from handmesh.synthesis.backgrounds.crowd import PersonPool, draw_distractor, rounded
from handmesh.synthesis.backgrounds.people import HEAD, HEIGHT, UNIT, WIDTH, draw_person
from handmesh.synthesis.backgrounds.pool import Backgrounds, draw_tile
from handmesh.synthesis.backgrounds.rooms import draw_room


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _skin_share(picture: np.ndarray) -> float:
    """Share of the pixels in the hues of skin: red over green over blue."""
    r, g, b = np.moveaxis(picture[..., :3].astype(float), -1, 0)
    return float(((r > 1.08 * g) & (g >= 0.95 * b) & (r > 25)).mean())


@pytest.mark.parametrize("size", [96, 128, 224])
def test_background_is_a_picture_of_its_size_and_of_its_seed(size: int) -> None:
    first = Backgrounds(3)
    drawn = [first.sample(_rng(i), size) for i in range(5)]
    again = Backgrounds(3)
    for i in reversed(range(5)):  # whatever was drawn before
        assert drawn[i].shape == (size, size, 3) and drawn[i].dtype == np.uint8
        np.testing.assert_array_equal(again.sample(_rng(i), size), drawn[i])
    assert any((drawn[0] != Backgrounds(4).sample(_rng(0), size)).ravel())


@pytest.mark.parametrize("draw", [draw_room, draw_tile])
def test_scenes_are_functions_of_their_seed(draw) -> None:
    for seed in range(12):
        scene = draw(_rng(seed), 288)
        assert scene.shape == (288, 288, 3) and np.isfinite(scene).all() and scene.min() >= 0 and scene.max() <= 255
        np.testing.assert_array_equal(scene, draw(_rng(seed), 288))


def test_person_is_a_premultiplied_cut_out() -> None:
    for seed in range(6):
        person = draw_person(_rng(seed))
        assert person.shape == (HEIGHT, WIDTH, 4) and person.dtype == np.uint8
        np.testing.assert_array_equal(person, draw_person(_rng(seed)))
        assert (person[..., :3] <= person[..., 3:]).all()  # no colour where nobody is
        assert not person[0, :, 3].any() and not person[:60, 0, 3].any()  # air about the head
        assert person[int(HEAD[1]), int(HEAD[0]), 3] == 255 and person[-1, int(HEAD[0]), 3] == 255


def test_most_faces_have_the_hues_of_skin_and_most_clothes_do_not() -> None:
    people = [draw_person(_rng(seed)) for seed in range(16)]
    x, y = (int(v) for v in HEAD)
    r = UNIT // 8
    cheeks = np.mean([_skin_share(p[y + r // 2 : y + 2 * r, x - 2 * r : x + 2 * r]) for p in people])
    chests = np.mean([_skin_share(p[y + 2 * UNIT : y + 3 * UNIT, x - 4 * r : x + 4 * r]) for p in people])
    assert cheeks > 0.6 > 0.5 > chests


@pytest.mark.parametrize("size", [96, 224])
def test_placed_people_change_part_of_the_picture_and_reach_its_lower_edge(size: int) -> None:
    pool = PersonPool(1)
    blank = np.full((size, size, 3), 255, np.uint8)
    shares = []
    for seed in range(24):
        picture = blank.copy()
        pool.place(picture, _rng(seed))
        changed = (picture < 250).any(-1)
        shares.append(changed.mean())
        if changed.mean() > 0.05:
            assert changed[-1].any()  # nobody floats
    assert 0.2 < np.mean(shares) < 0.8 and np.std(shares) > 0.1


def test_what_has_the_colour_of_skin_lies_inside_its_mask() -> None:
    picture = np.zeros((128, 128, 3), np.uint8)
    draw_distractor(picture, _rng(2))
    assert picture.any()
    mask = np.zeros((128, 128), np.uint8)
    mask[40:90, 30:100] = 255
    thing = rounded(mask, np.array([200.0, 150.0, 120.0]), _rng(0))
    assert thing.shape == (128, 128, 4) and not thing[:25].any() and thing[65, 65, 3] == 255
    assert thing[65, 65, :3].astype(int).sum() > thing[41, 31, :3].astype(int).sum()
