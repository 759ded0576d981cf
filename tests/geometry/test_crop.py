"""The crop: pixels, points, rotations and intrinsics tell one story, and everything comes back."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from handmesh.geometry.camera import intrinsics_from_fov, project_points, resize_matrix
from handmesh.geometry.crop import CropSettings, CropTransform, box_around, mirror_pose, roll_of
from handmesh.geometry.rotation import axis_angle_to_matrix_np, matrix_to_axis_angle_np

WIDTH, HEIGHT, SIZE = 640, 480, 128
K = intrinsics_from_fov(WIDTH, HEIGHT, 60)
BOX = np.array([380.0, 220, 520, 400])
CASES = list(itertools.product((0.0, 40.0, -150.0), (False, True), (False, True)))


def make(rotation_deg: float = 0.0, mirror: bool = False, perspective: bool = True) -> CropTransform:
    return CropTransform.from_box(BOX, K, SIZE, rotation_deg, padding=1.3, mirror=mirror, perspective=perspective)


@pytest.mark.parametrize(("rotation_deg", "mirror", "perspective"), CASES)
def test_projecting_then_cropping_is_cropping_then_projecting(rotation_deg, mirror, perspective) -> None:
    crop = make(rotation_deg, mirror, perspective)
    points = np.random.default_rng(0).normal(size=(30, 3)) * 0.05 + [0.1, 0.05, 0.5]
    pixels = project_points(points, K)
    in_crop = project_points(crop.apply_points_3d(points), crop.K_crop)
    np.testing.assert_allclose(crop.apply_points_2d(pixels), in_crop, atol=1e-9)
    np.testing.assert_allclose(crop.invert_points_2d(in_crop), pixels, atol=1e-9)
    np.testing.assert_allclose(crop.invert_points_3d(crop.apply_points_3d(points)), points, atol=1e-12)


@pytest.mark.parametrize(("rotation_deg", "mirror", "perspective"), CASES)
def test_box_centre_is_the_crop_centre_and_sides_have_the_asked_scale(rotation_deg, mirror, perspective) -> None:
    crop = make(rotation_deg, mirror, perspective)
    centre = (BOX[:2] + BOX[2:] - 1) / 2
    np.testing.assert_allclose(crop.apply_points_2d(centre), (SIZE - 1) / 2, atol=1e-9)
    beside = crop.apply_points_2d(centre + [1, 0]) - crop.apply_points_2d(centre)
    expected = SIZE / (1.3 * 180)
    # A turned camera magnifies by direction; near the centre of a 60 degree picture by a few per cent.
    assert np.linalg.norm(beside) == pytest.approx(expected, rel=0.15 if perspective else 1e-9)


def test_image_and_points_move_together() -> None:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    marks = np.array([[410, 270], [480, 300], [450, 370]])
    for rotation_deg, mirror, perspective in CASES:
        crop = make(rotation_deg, mirror, perspective)
        for u, v in marks:
            rows, columns = np.mgrid[:HEIGHT, :WIDTH]
            blob = 255 * np.exp(-((columns - u) ** 2 + (rows - v) ** 2) / 50)
            image[:] = blob.astype(np.uint8)[..., None]
            shown = crop.apply_image(image)[..., 0].astype(float)
            ys, xs = np.mgrid[:SIZE, :SIZE]
            found = np.array([(xs * shown).sum(), (ys * shown).sum()]) / shown.sum()
            np.testing.assert_allclose(found, crop.apply_points_2d(np.array([u, v])), atol=0.05)


def test_a_crop_of_the_whole_square_is_the_picture_itself() -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
    square = intrinsics_from_fov(SIZE, SIZE, 60)
    plain = CropTransform.from_box(np.array([0, 0, SIZE, SIZE]), square, SIZE, perspective=False)
    np.testing.assert_array_equal(plain.apply_image(image), image)
    mirrored = CropTransform.from_box(np.array([0, 0, SIZE, SIZE]), square, SIZE, mirror=True, perspective=False)
    np.testing.assert_array_equal(mirrored.apply_image(image), image[:, ::-1])


def test_a_large_source_is_averaged_and_stays_in_place() -> None:
    rng = np.random.default_rng(4)
    coarse = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
    large = np.repeat(np.repeat(coarse, 32, 0), 32, 1)
    intrinsics = intrinsics_from_fov(large.shape[1], large.shape[0], 60)
    crop = CropTransform.from_box(np.array([0, 0, 1920, 1920]), intrinsics, 60, perspective=False)
    difference = np.abs(crop.apply_image(large).astype(int) - coarse[:, :60].astype(int))
    assert np.median(difference) == 0 and difference[2:-2, 2:-2].max() <= 3


@pytest.mark.parametrize(("rotation_deg", "mirror", "perspective"), CASES)
def test_rotation_turns_the_hand_as_points_are_turned(rotation_deg, mirror, perspective) -> None:
    crop = make(rotation_deg, mirror, perspective)
    rng = np.random.default_rng(5)
    rest, orient = rng.normal(size=(10, 3)), axis_angle_to_matrix_np(rng.normal(size=3))
    # The crop of a mirrored picture shows the mirrored hand: x of its rest shape is negated too.
    rest_in_crop = rest * [-1, 1, 1] if mirror else rest
    np.testing.assert_allclose(
        rest_in_crop @ crop.apply_rotation(orient).T, crop.apply_points_3d(rest @ orient.T), atol=1e-12
    )
    np.testing.assert_allclose(crop.invert_rotation(crop.apply_rotation(orient)), orient, atol=1e-12)


def test_mirrored_pose_is_axis_angle_with_y_and_z_negated() -> None:
    pose = np.random.default_rng(6).normal(size=(15, 3)) * 0.5
    mirrored = matrix_to_axis_angle_np(mirror_pose(axis_angle_to_matrix_np(pose)))
    np.testing.assert_allclose(mirrored, pose * [1, -1, -1], atol=1e-9)


def test_roll_is_undone_by_the_crop() -> None:
    hand = np.zeros((21, 2))
    hand[0], hand[9] = (450, 310), (470, 290)
    assert roll_of(hand) == pytest.approx(45)
    upright = make(roll_of(hand), perspective=False).apply_points_2d(hand)
    assert roll_of(upright) == pytest.approx(0, abs=1e-9)


def test_box_around_is_square_centred_and_padded() -> None:
    box = box_around(np.array([[10.0, 20], [30, 26]]), padding=2)
    np.testing.assert_allclose(box, [0.5, 3.5, 40.5, 43.5])


@pytest.mark.parametrize("rotation_deg", [0.0, 30.0, -100.0])
def test_a_turned_box_fits_its_points_in_the_turned_crop(rotation_deg: float) -> None:
    points = np.random.default_rng(7).uniform([300, 150], [420, 330], (21, 2))
    box = box_around(points, 1.25, rotation_deg)
    crop = CropTransform.from_box(box, K, 100, rotation_deg, perspective=False)
    inside = crop.apply_points_2d(points)
    np.testing.assert_allclose((inside.min(0) + inside.max(0)) / 2, 49.5, atol=1e-9)
    assert np.ptp(inside, axis=0).max() == pytest.approx(80)


@pytest.mark.parametrize("box", [[0, 0, 0, 5], [5, 0, 1, 5], [0, 0, np.nan, 5], [0, 0, 5]])
def test_bad_boxes_are_refused(box) -> None:
    with pytest.raises(ValueError, match="expected box_xyxy"):
        CropTransform.from_box(np.array(box, float), K, SIZE)


@pytest.mark.parametrize("border", [cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT_101])
def test_a_crop_of_a_large_hand_is_that_of_the_whole_picture_averaged_down(border: int) -> None:
    """Only what the crop samples is averaged down; it must make no difference, whatever lies outside the picture."""
    rng = np.random.default_rng(0)
    for number in range(60):
        height, width = [(480, 640), (481, 639), (720, 1280)][number % 3]
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        K = np.array([[700.0, 0, width / 2], [0, 700.0, height / 2], [0, 0, 1]])
        middle, half = rng.uniform([0, 0], [width, height]), rng.uniform(70, 500)
        box = np.concatenate([middle - half, middle + half])
        roll, is_plain = rng.uniform(-180, 180), number < 10
        crop = CropTransform.from_box(box, K, 48, roll, mirror=number % 2 == 0, perspective=not is_plain)
        shrink, homography, small = crop.K[0, 0] / crop.K_crop[0, 0], crop.homography, image
        while shrink >= 2:
            rows, columns = small.shape[:2]
            homography = homography @ resize_matrix(columns / (columns // 2), rows / (rows // 2))
            small = cv2.resize(small, (columns // 2, rows // 2), interpolation=cv2.INTER_AREA)
            shrink /= 2
        whole = cv2.warpPerspective(small, homography, (48, 48), flags=cv2.INTER_LINEAR, borderMode=border)
        apart = np.abs(crop.apply_image(image, border=border).astype(int) - whole)
        # OpenCV samples at multiples of 1/32 of a pixel: another origin may round to the next one.
        assert apart.max() <= 8 and (apart > 1).mean() < 2e-3, number


def test_a_resized_crop_is_the_crop_made_at_that_size() -> None:
    K, box = intrinsics_from_fov(640, 480, 60), np.array([300.0, 200, 420, 330])
    for mirror in (False, True):
        small, large = (CropTransform.from_box(box, K, size, 15.0, 1.3, mirror) for size in (96, 128))
        resized = small.resized(128)
        np.testing.assert_allclose(resized.homography, large.homography, atol=1e-9)
        np.testing.assert_allclose(resized.K_crop, large.K_crop, atol=1e-9)
        assert resized.size == 128 and resized.is_mirrored == mirror


def test_a_crop_has_the_largest_size_for_which_the_picture_has_the_pixels() -> None:
    K, settings = intrinsics_from_fov(640, 480, 60), CropSettings(128, 1.0, sizes=(96, 128, 160))
    for pixels, size in ((40, 96), (100, 96), (110, 128), (300, 128)):
        box = np.array([320.0, 240, 320, 240]) + pixels / 2 * np.array([-1, -1, 1, 1])
        crop = settings.crop(box, K)
        assert crop.size == size and abs(crop.source_size - pixels) < 2
        same = CropTransform.from_box(box, K, size)
        np.testing.assert_allclose(crop.homography, same.homography, atol=1e-9)
    assert settings.size_for(300, largest=160) == 160 and settings.size_for(300, 2.5, 160) == 96
    assert settings.at_size(96).size_for(300) == 96 and CropSettings(64).size_for(10) == 64


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("perspective", [False, True])
def test_a_turned_crop_is_the_crop_turned(mirror: bool, perspective: bool) -> None:
    """Clockwise about its middle and larger, in the picture and in space."""
    K = intrinsics_from_fov(640, 480, 60)
    box = np.array([300.0, 200, 420, 330])
    crop = CropTransform.from_box(box, K, 101, 15.0, 1.3, mirror, perspective)
    turned = crop.turned(90.0, 1.2)
    middle = np.array([50.0, 50.0])
    up = crop.invert_points_2d(middle + [0, -10])
    np.testing.assert_allclose(turned.apply_points_2d(up), middle + [12, 0], atol=1e-9)
    np.testing.assert_allclose(turned.apply_points_2d(crop.invert_points_2d(middle)), middle, atol=1e-9)
    # Points in space lie where their pixels do.
    space = np.array([[0.05, -0.02, 0.6], [0.1, 0.03, 0.7]])
    pixels = space @ K.T
    wanted = turned.apply_points_2d(pixels[:, :2] / pixels[:, 2:])
    seen = turned.apply_points_3d(space) @ turned.K_crop.T
    np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], wanted, atol=1e-9)
    np.testing.assert_allclose(turned.turned(-90.0, 1 / 1.2).homography, crop.homography, atol=1e-9)
