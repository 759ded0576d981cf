"""A crop's labels stay true: points, rotations and pixels agree after any crop, mirrored or not, and it
repeats."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from handmesh.config import AugmentConfig
from handmesh.data import augment
from handmesh.data.crops import crop_sample, plain_crop, random_crop, sample_box, stretch_sample
from handmesh.geometry.camera import project_points
from handmesh.geometry.crop import CropTransform
from handmesh.mano.layers.numpy_layer import pose_vertices


def posed(mano, crop):
    return pose_vertices(mano, crop["global_orient"], crop["hand_pose"], crop["betas"])


def random_settings(seed: int) -> tuple[dict, np.random.Generator]:
    return {"perspective": seed % 2 == 0}, np.random.default_rng(seed)


@pytest.mark.parametrize("seed", range(8))
def test_labels_agree_with_one_another_in_every_crop(make_sample, fake_mano, seed):
    settings, rng = random_settings(seed)
    crop = random_crop(make_sample(seed), rng, AugmentConfig(), 128, 1.5, **settings)
    projected = project_points(crop["joints"], crop["K_crop"])
    np.testing.assert_allclose(projected, crop["keypoints_2d"], atol=1e-2)
    vertices, joints = posed(fake_mano, crop)  # rotations and points describe the same hand
    np.testing.assert_allclose(vertices - joints[9], crop["vertices"] - crop["joints"][9], atol=1e-5)
    assert crop["image"].shape == (128, 128, 3) and crop["image"].dtype == np.uint8
    assert all(value.dtype == np.float32 for key, value in crop.items() if key not in ("image", "index"))


def test_a_mirrored_crop_is_the_mirrored_hand(make_sample, fake_mano):
    sample = make_sample(3)
    box = sample_box(sample, 1.5)
    plain = crop_sample(sample, CropTransform.from_box(box, sample["K"], 96))
    mirrored = crop_sample(sample, CropTransform.from_box(box, sample["K"], 96, mirror=True))
    flip = np.array([-1, 1, 1])
    np.testing.assert_allclose(mirrored["joints"], plain["joints"] * flip, atol=1e-6)
    np.testing.assert_allclose(mirrored["keypoints_2d"][:, 0], 95 - plain["keypoints_2d"][:, 0], atol=1e-3)
    assert plain["is_right"] == 1 and mirrored["is_right"] == 0
    assert np.abs(mirrored["image"][:, ::-1].astype(int) - plain["image"]).max() <= 2
    # Mirroring a mirrored (left) hand gives back the right hand's own parameters.
    left = {**sample, **{k: mirrored[k] for k in ("joints", "vertices", "global_orient", "hand_pose")}}
    left.update(K=mirrored["K_crop"], is_right=False, image=mirrored["image"])
    camera = CropTransform.from_box(np.array([0, 0, 96, 96.0]), left["K"], 96, mirror=True)
    right = crop_sample(left, camera)
    vertices, joints = posed(fake_mano, right)
    np.testing.assert_allclose(vertices - joints[9], right["vertices"] - right["joints"][9], atol=1e-5)
    assert right["is_right"] == 1


@pytest.mark.parametrize("stretch", [0.0, 0.3])
def test_a_mark_in_the_picture_stays_under_its_joint(make_sample, stretch):
    sample = make_sample(1)
    pixels = project_points(sample["joints"], sample["K"])
    image = np.zeros((224, 224, 3), np.uint8)
    cv2.circle(image, np.round(pixels[12]).astype(int).tolist(), 4, (255, 255, 255), -1)
    for seed in range(6):
        quiet = AugmentConfig(colour=0, degrade=0, mirror=0.5, scale=0.1, shift=0.02, stretch=stretch)
        crop = random_crop({**sample, "image": image}, np.random.default_rng(seed), quiet, 160, 1.6)
        rows, columns = np.nonzero(crop["image"][..., 0] > 128)
        np.testing.assert_allclose([columns.mean(), rows.mean()], crop["keypoints_2d"][12], atol=1.5)


@pytest.mark.parametrize("ratio", [0.8, 1.25])
def test_a_stretched_hand_stands_on_the_same_pixels_and_is_as_much_wider_in_its_crop(make_sample, ratio):
    sample = make_sample(1)
    wider = stretch_sample(sample, ratio)
    np.testing.assert_allclose(
        project_points(wider["joints"], wider["K"]), project_points(sample["joints"], sample["K"]), atol=1e-6
    )
    assert not wider["has_mano"]
    crops = [plain_crop(each, 160, 1.6, perspective=False) for each in (sample, wider)]
    width, height = np.ptp(crops[1]["keypoints_2d"], axis=0) / np.ptp(crops[0]["keypoints_2d"], axis=0)
    assert width / height == pytest.approx(ratio, rel=1e-4)


def test_half_of_the_hands_are_stretched_and_pictures_without_one_never(make_sample):
    settings, sample = AugmentConfig(stretch=0.2), make_sample(2)
    crops = [random_crop(sample, np.random.default_rng(seed), settings, 32, 1.5) for seed in range(100)]
    assert 30 <= sum(crop["has_mano"] == 0 for crop in crops) <= 70
    assert all(crop["has_3d"] == 1 for crop in crops)
    empty = {**sample, "presence": False, "has_mano": False}
    none, some = (
        random_crop(empty, np.random.default_rng(0), AugmentConfig(stretch=s), 32, 1.5)["image"] for s in (0.0, 0.2)
    )
    np.testing.assert_array_equal(none, some)


def test_upright_crop_points_the_middle_finger_up_and_fits_the_joints(make_sample):
    for index in range(4):
        keypoints = plain_crop(make_sample(index), 200, 1.25, perspective=False, upright=True)["keypoints_2d"]
        direction = keypoints[9] - keypoints[0]
        assert abs(direction[0]) < 1e-2 and direction[1] < 0
        assert np.ptp(keypoints, axis=0).max() == pytest.approx(160, abs=1e-2)
        np.testing.assert_allclose((keypoints.min(0) + keypoints.max(0)) / 2, 99.5, atol=1e-2)


def test_the_same_seed_gives_the_same_crop_and_another_does_not(make_sample):
    def crop(seed):
        return random_crop(make_sample(0), np.random.default_rng(seed), AugmentConfig(degrade=0.5), 96, 1.5)

    first, again, other = crop(1), crop(1), crop(2)
    for key in first:
        np.testing.assert_array_equal(first[key], again[key])
    assert (first["image"] != other["image"]).any()


def test_no_augmentation_is_the_plain_crop(make_sample):
    none = AugmentConfig(rotation_deg=0, full_circle=0, scale=0, shift=0, colour=0, degrade=0)
    crop = random_crop(make_sample(2), np.random.default_rng(0), none, 128, 1.4)
    plain = plain_crop(make_sample(2), 128, 1.4, upright=True)
    for key in plain:
        np.testing.assert_array_equal(crop[key], plain[key])


def test_a_picture_without_a_hand_has_finite_labels(make_sample):
    empty = {**make_sample(0), "presence": False, "has_mano": False}
    empty.update(joints=np.zeros((21, 3)), vertices=np.zeros((778, 3)))
    for box in (None, np.array([10, 20, 120, 130.0])):
        crop = random_crop({**empty, "box_xyxy": box}, np.random.default_rng(0), AugmentConfig(), 64, 1.5)
        assert crop["presence"] == 0 and all(np.isfinite(value).all() for value in crop.values())


def test_degradations_keep_size_and_type_and_neutral_settings_change_nothing(make_sample):
    image = make_sample(0)["image"]
    rng = np.random.default_rng(0)
    for result in (
        augment.jitter_colour(image, rng),
        augment.lower_resolution(image, 2.5),
        augment.blur(image, 1.0),
        augment.motion_blur(image, 7.0, 30.0),
        augment.add_noise(image, 8.0, rng),
        augment.compress(image, 30),
        augment.shade(image, augment.draw_light(rng, 1.0)),
        augment.sharpen(image, 1.0, 1.0),
        augment.degrade(image, rng, 0.0, sharpening=1.0),
        augment.occlude(image, np.full((21, 2), 100.0) + rng.normal(0, 60, (21, 2)), rng)[0],
    ):
        assert result.shape == image.shape and result.dtype == np.uint8
        assert (result != image).any()
    np.testing.assert_array_equal(augment.jitter_colour(image, rng, 0.0), image)
    np.testing.assert_array_equal(augment.shade(image, augment.draw_light(rng, 0.0)), image)
    np.testing.assert_array_equal(augment.degrade(image, rng, 0.0), image)
    noise = augment.add_noise(np.full((200, 200, 3), 128, np.uint8), 8.0, rng).astype(float) - 128
    assert noise.std() == pytest.approx(8, rel=0.1) and abs(noise.mean()) < 0.3


def test_light_is_what_was_drawn_and_clips():
    grey = np.full((65, 129, 3), 100, np.uint8)
    lit = augment.shade(grey, np.array([np.log(1.5), np.log(2.0), np.log(0.5)]))
    assert lit[32, 64].tolist() == [150] * 3  # the middle
    assert lit[32, 128, 0] == 255 and lit[32, 0, 0] == 75  # twice and half of it: the right edge is beyond white
    assert lit[0, 64, 0] == 255 and lit[64, 64, 0] == 75
    rng = np.random.default_rng(0)
    drawn = np.stack([augment.draw_light(rng, 0.5) for _ in range(400)])
    assert 0.4 < drawn.any(1).mean() < 0.6


def test_sharpening_leaves_plain_ground_and_raises_an_edge():
    edge = np.full((40, 40, 3), 80, np.uint8)
    edge[:, 20:] = 160
    sharp = augment.sharpen(edge, 1.0, 1.0).astype(int)
    assert (sharp[:, :12] == 80).all() and (sharp[:, 28:] == 160).all()
    assert sharp[:, 19].max() < 75 and sharp[:, 20].min() > 165


def test_neither_takes_a_random_number_where_it_never_comes():
    plain, usual = np.random.default_rng(0), np.random.default_rng(0)
    augment.draw_light(plain, 0.0), augment.draw_sharpening(plain, 0.0)
    assert plain.random() == usual.random()


def test_an_occluder_hides_the_joints_it_covers(make_sample):
    image = np.zeros((128, 128, 3), np.uint8)
    keypoints = (
        np.stack(np.meshgrid(np.arange(8, 128, 24), np.arange(8, 128, 24)), -1).reshape(-1, 2)[:21].astype(float)
    )
    for seed in range(20):
        covered, hidden = augment.occlude(image, keypoints, np.random.default_rng(seed))
        painted = covered.any(2)
        if painted.any():
            x, y = keypoints.astype(int).T
            np.testing.assert_array_equal(painted[y, x], hidden)
