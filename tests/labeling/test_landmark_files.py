"""Landmarks that come with photos: read as they are written, sides un-mirrored, whole makers held out, faults named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.labeling.held_out import HeldOut, read_held_out
from handmesh.labeling.landmark_files import landmark_folders, read_landmark_photos
from handmesh.mano.arrays import load_mano
from handmesh.mano.layers.numpy_layer import pose_vertices


def entry(name: str, side: str = "Left", squeeze: float = 1.0, src: str = "a/x.jpg") -> dict[str, object]:
    arrays = load_mano("open")
    _, joints = pose_vertices(arrays, np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]), np.tile(np.eye(3), (15, 1, 1)),
                              np.zeros(10))  # fmt: skip
    joints = joints.astype(np.float64) - joints.mean(0)
    points = 100 + 500 * joints[:, :2]
    world = joints * [squeeze, 1, 1]
    return {
        "file": name, "src": src, "kp2d": (points + 0.5).tolist(), "z": (500 * joints[:, 2]).tolist(),
        "world": world.tolist(), "mp_label": side,
    }  # fmt: skip


def write(folder: Path, *entries: dict[str, object]) -> Path:
    folder.mkdir(parents=True)
    (folder / "labels.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries))
    return folder


def test_landmarks_come_back_in_pixels_of_centres_and_metres(tmp_path: Path) -> None:
    given = entry("1.jpg")
    write(tmp_path / "maker", given, entry("2.jpg", "Right"))
    first, second = read_landmark_photos(tmp_path)
    assert first.path == tmp_path / "maker" / "1.jpg" and first.group == "maker"
    np.testing.assert_allclose(first.keypoints_2d + 0.5, given["kp2d"])
    # Both heads say the same hand here: joints are it, in depth by the sum of the heads' shares.
    assert first.joints is not None
    np.testing.assert_allclose(first.joints[:, :2], np.asarray(given["world"])[:, :2], atol=1e-6)
    np.testing.assert_allclose(first.joints[:, 2], 1.3 * np.asarray(given["world"])[:, 2], atol=1e-6)
    # The model names the sides of a mirrored picture.
    assert first.is_right and not second.is_right


def test_whole_makers_and_named_cameras_are_held_out(tmp_path: Path) -> None:
    for maker in ("one", "two", "three"):
        write(tmp_path / maker, entry("1.jpg", src="b/IMG-1.jpg"), entry("2.jpg", src="b/PHONE-2.jpg"))
    held_out = HeldOut(frozenset({"one"}), {"two": ("PHONE",)})
    found = {(p.group, p.path.name): p.is_held_out for p in read_landmark_photos(tmp_path, held_out)}
    assert [found[maker, "1.jpg"] for maker in ("one", "two", "three")] == [True, False, False]
    assert [found[maker, "2.jpg"] for maker in ("one", "two", "three")] == [True, True, False]


def test_the_projects_own_list_holds_out_at_least_six_makers() -> None:
    held_out = read_held_out()
    assert len(held_out.makers) >= 7 and "meyyappan" in held_out and "hands-v2" not in held_out


def test_a_collapsed_palm_keeps_its_place_in_the_picture_alone(tmp_path: Path) -> None:
    write(tmp_path / "maker", entry("1.jpg"), entry("2.jpg", squeeze=0.4))
    whole, collapsed = read_landmark_photos(tmp_path)
    assert whole.has_depth and not collapsed.has_depth


def test_whole_scenes_are_left_out_and_nothing_at_all_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "scenes", {"file": "1.jpg", "hands": []})
    assert landmark_folders(tmp_path) == [tmp_path / "scenes"]
    with pytest.raises(HandMeshError, match="with landmarks"):
        read_landmark_photos(tmp_path)


@pytest.mark.parametrize(
    "fault", [{"kp2d": [[1, 2]]}, {"mp_label": "Both"}, {"file": "../1.jpg"}, {"z": [float("nan")] * 21}]
)
def test_a_faulty_line_is_named(tmp_path: Path, fault: dict[str, object]) -> None:
    write(tmp_path / "maker", entry("1.jpg"), {**entry("2.jpg"), **fault})
    with pytest.raises(HandMeshError, match="line 2"):
        read_landmark_photos(tmp_path)


def test_a_faulty_list_of_makers_is_named(tmp_path: Path) -> None:
    path = tmp_path / "held.yaml"
    for text in ("- a", "held_out: {a: some}", "held_out: {a: []}", "held_out: ["):
        path.write_text(text)
        with pytest.raises(HandMeshError, match=r"held\.yaml"):
            read_held_out(path)
    with pytest.raises(HandMeshError, match="no\\.yaml"):
        read_held_out(tmp_path / "no.yaml")
