"""Laws of the samples: labels agree with the picture and with the model, and a number gives one picture only."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.geometry.camera import project_points
from handmesh.mano.layers.numpy_layer import pose_vertices
from handmesh.synthesis.appearance.shading import Shaded
from handmesh.synthesis.generator import SampleGenerator, lay_over

COUNT = 24


@pytest.fixture(scope="module")
def generator(open_mano) -> SampleGenerator:
    return SampleGenerator(open_mano, seed=3)


@pytest.fixture(scope="module")
def samples(generator) -> list[dict]:
    return [generator.sample(i) for i in range(COUNT)]


def test_shapes_and_types(samples) -> None:
    for sample in samples:
        assert sample["image"].shape == (224, 224, 3) and sample["image"].dtype == np.uint8
        assert sample["mask"].shape == (224, 224) and sample["mask"].dtype == bool
        for key, shape in (
            ("K", (3, 3)), ("joints", (21, 3)), ("vertices", (778, 3)), ("global_orient", (3, 3)),
            ("hand_pose", (15, 3, 3)), ("betas", (10,)), ("visibility", (21,)), ("box_xyxy", (4,)),
        ):  # fmt: skip
            assert sample[key].shape == shape and np.isfinite(sample[key]).all(), key
        assert sample["presence"] and sample["has_mano"] and sample["is_right"]
        assert sample["scale"] == pytest.approx(np.linalg.norm(sample["joints"][9] - sample["joints"][10]), abs=1e-6)


def test_vertices_are_the_models(samples, open_mano) -> None:
    for sample in samples:
        vertices, joints = pose_vertices(open_mano, sample["global_orient"], sample["hand_pose"], sample["betas"])
        shift = sample["joints"][9] - joints[9]
        np.testing.assert_allclose(vertices + shift, sample["vertices"], atol=1e-5)
        np.testing.assert_allclose(joints + shift, sample["joints"], atol=1e-5)


def test_visible_joints_lie_on_the_hand(samples) -> None:
    """Within a pixel: fingertips are points of the surface, so at times they lie on the silhouette itself."""
    on, total = 0, 0
    for sample in samples:
        mask = cv2.dilate(sample["mask"].astype(np.uint8), np.ones((3, 3), np.uint8))
        uv = np.rint(project_points(sample["joints"], sample["K"])).astype(int)
        seen = sample["visibility"] > 0
        assert ((uv[seen] >= 0) & (uv[seen] < 224)).all()
        on += int(mask[uv[seen, 1], uv[seen, 0]].sum())
        total += int(seen.sum())
    assert total > 8 * COUNT
    assert on > 0.99 * total


def test_mask_is_where_the_vertices_are(samples) -> None:
    for sample in samples:
        uv = project_points(sample["vertices"], sample["K"])
        v, u = np.nonzero(sample["mask"])
        if not len(u):
            continue
        low, high = uv.min(0) - 1.5, uv.max(0) + 1.5
        assert u.min() >= low[0] and u.max() <= high[0] and v.min() >= low[1] and v.max() <= high[1]
        box = sample["box_xyxy"]
        assert u.min() >= box[0] - 1.5 and v.max() <= box[3] + 1.5


def test_a_number_gives_one_picture_in_any_order(generator, samples, open_mano) -> None:
    fresh = SampleGenerator(open_mano, seed=3)
    for index in (17, 2, 23):
        for other in (fresh.sample(index), generator.sample(index)):
            for key, value in samples[index].items():
                np.testing.assert_array_equal(other[key], value, err_msg=key)


def test_seeds_and_numbers_give_different_pictures(samples, open_mano) -> None:
    assert len({s["image"].tobytes() for s in samples}) == COUNT
    other = SampleGenerator(open_mano, seed=4).sample(0)
    assert (other["image"] != samples[0]["image"]).mean() > 0.5
    assert np.abs(other["betas"] - samples[0]["betas"]).max() > 0.1


def test_views_cover_the_circle(generator) -> None:
    """Fingers point everywhere, most often up; the palm and the back are both seen."""
    rng = np.random.default_rng(0)
    from handmesh.synthesis.viewpoint import sample_orientation

    surface = generator.renderer.surface
    turns = np.stack([sample_orientation(rng, generator.renderer.upright) for _ in range(600)])
    fingers = turns @ surface.finger_axis
    angle = np.degrees(np.arctan2(fingers[:, 0], -fingers[:, 1]))
    counts = np.histogram(angle, 8, (-180, 180))[0]
    assert counts.min() > 20 and counts[3:5].sum() > 0.3 * len(turns)
    palm = (turns @ surface.palm_normal)[:, 2]
    assert (palm < -0.5).mean() > 0.2 and (palm > 0.5).mean() > 0.15
    # Fingers up and palm or back square to the camera: what is shown to a screen, mostly the palm.
    shown = palm[(np.abs(angle) < 45) & (np.abs(palm) > 0.8)]
    assert len(shown) > 0.3 * len(turns) and (shown < 0).mean() > 0.7
    assert (np.abs(fingers[:, 2]) > 0.7).mean() > 0.05
    np.testing.assert_allclose(np.linalg.det(turns), 1, atol=1e-6)


def test_a_sleeve_does_not_change_the_skins_colour() -> None:
    pictures = []
    for sleeve in ([0.02, 0.03, 0.3], [0.7, 0.6, 0.1]):
        color, hand = np.zeros((64, 64, 3), np.float32), np.zeros((64, 64), np.float32)
        color[:32], color[32:] = [0.4, 0.25, 0.2], sleeve
        hand[:32] = 1.0
        alpha, depth = np.ones((64, 64), np.float32), np.full((64, 64), 0.5, np.float32)
        picture = np.zeros((64, 64, 3), np.uint8)
        shaded = Shaded(color, alpha, hand, depth, np.zeros((64, 64), np.int32))
        lay_over(picture, shaded, np.random.default_rng(4), False)
        pictures.append(picture)
    np.testing.assert_array_equal(pictures[0][:30], pictures[1][:30])
    assert np.ptp(np.stack(pictures)[:, 40:].astype(int), axis=0).max() > 20


def test_left_hands_are_mirrored_right_hands(open_mano, samples) -> None:
    mirrored = SampleGenerator(open_mano, seed=3, left_hands=1.0)
    for index in range(3):
        left, right = mirrored.sample(index), samples[index]
        assert not left["is_right"]
        np.testing.assert_array_equal(left["image"], right["image"][:, ::-1])
        uv, uv_right = (project_points(s["joints"], s["K"]) for s in (left, right))
        np.testing.assert_allclose(uv[:, 0], 223 - uv_right[:, 0], atol=1e-3)
        np.testing.assert_allclose(uv[:, 1], uv_right[:, 1], atol=1e-3)
        vertices, joints = pose_vertices(
            open_mano, *(_flip(left[k]) for k in ("global_orient", "hand_pose")), left["betas"]
        )
        flipped = (vertices - joints[9]) * [-1, 1, 1]
        np.testing.assert_allclose(flipped, left["vertices"] - left["joints"][9], atol=1e-5)


def _flip(rotation: np.ndarray) -> np.ndarray:
    mirror = np.diag([-1.0, 1, 1])
    return mirror @ rotation @ mirror


def test_pictures_without_a_hand(open_mano) -> None:
    empty = SampleGenerator(open_mano, seed=5, negatives=1.0)
    for index in range(4):
        sample = empty.sample(index)
        assert not sample["presence"] and not sample["mask"].any() and not sample["visibility"].any()
    half = SampleGenerator(open_mano, seed=5, negatives=0.5)
    assert 4 < sum(half.sample(i)["presence"] for i in range(20)) < 16


def test_other_sizes_and_backgrounds(open_mano, tmp_path) -> None:
    with pytest.raises(HandMeshError, match="expected photos"):
        SampleGenerator(open_mano, backgrounds=tmp_path)
    with pytest.raises(HandMeshError, match="folder"):
        SampleGenerator(open_mano, backgrounds=tmp_path / "absent")
    rng = np.random.default_rng(0)
    cv2.imwrite(str(tmp_path / "photo.png"), rng.integers(0, 255, (90, 120, 3), dtype=np.uint8))
    cv2.imwrite(str(tmp_path / "light.hdr"), rng.random((16, 32, 3), dtype=np.float32) * 4)
    generator = SampleGenerator(open_mano, seed=1, size=96, backgrounds=tmp_path)
    for index in range(6):
        assert generator.sample(index)["image"].shape == (96, 96, 3)
    assert generator.fingerprint() != SampleGenerator(open_mano, seed=1, size=96).fingerprint()
    (tmp_path / "photo.png").write_bytes(b"not a picture")
    broken = SampleGenerator(open_mano, seed=1, size=96, backgrounds=tmp_path)
    with pytest.raises(HandMeshError, match="not an image"):
        for index in range(12):
            broken.sample(index)


@pytest.mark.slow
def test_runs_without_torch() -> None:
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        assert name.split('.')[0] not in ('torch', 'timm', 'trimesh', 'open3d', 'openvino'), name\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from handmesh.mano.arrays import load_mano\n"
        "from handmesh.synthesis import SampleGenerator\n"
        "assert SampleGenerator(load_mano('open')).sample(0)['image'].any()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_no_forearm_passes_through_the_camera_or_shows_its_end(generator) -> None:
    shown = 0
    for index in range(200):
        labels = generator._labels(np.random.default_rng([5, index]), index)
        away = labels["joints"][0] - labels["joints"][9]
        away /= np.linalg.norm(away)
        elbow = labels["joints"][0] + 0.32 * away
        assert elbow[2] > 0.19 and labels["vertices"][:, 2].min() > 0.119
        u, v = project_points(elbow[None], labels["K"])[0]
        shown += elbow @ away < 0 and 0 < u < generator.size and 0 < v < generator.size
    assert shown <= 1
