"""Result files: complete, in one convention of axes, named, and consistent with one another."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from handmesh.geometry.camera import intrinsics_from_fov
from handmesh.rendering.result_files import write_glb, write_obj, write_record
from handmesh.results import Hand


def test_both_mesh_files_show_the_same(tmp_path: Path, hands: list[Hand]) -> None:
    write_glb(tmp_path / "a.glb", hands)
    write_obj(tmp_path / "a.obj", hands)
    scene = trimesh.load(tmp_path / "a.glb")
    assert list(scene.geometry) == ["right_hand_0", "left_hand_1"]
    objects = [line[2:] for line in (tmp_path / "a.obj").read_text().splitlines() if line.startswith("o ")]
    assert objects == ["right_hand_0", "left_hand_1"]
    mesh = trimesh.load(tmp_path / "a.obj", process=False, force="mesh")
    assert len(mesh.vertices) == 2 * 778 and len(mesh.faces) == 2 * 1538
    both = np.concatenate([part.vertices for part in scene.geometry.values()])
    np.testing.assert_allclose(both, mesh.vertices, atol=1e-6)
    # Half a turn about x from the camera's frame, and triangles that still look outward.
    np.testing.assert_allclose(both[:778], hands[0].vertices * [1, -1, -1], atol=1e-6)
    for part, hand in zip(scene.geometry.values(), hands, strict=True):
        np.testing.assert_array_equal(part.faces, hand.faces)
        normals = np.asarray(hand.to_trimesh().vertex_normals)
        np.testing.assert_allclose(part.vertex_normals, normals, atol=1e-3)
    written = [line.split()[1:] for line in (tmp_path / "a.obj").read_text().splitlines() if line.startswith("vn ")]
    np.testing.assert_allclose(np.array(written, float)[778:], normals, atol=1e-3)


def test_each_hand_has_its_colour_in_both_mesh_files(tmp_path: Path, hands: list[Hand]) -> None:
    for colors in (None, [(60, 200, 70), (250, 80, 90)]):
        write_glb(tmp_path / "a.glb", hands, colors)
        write_obj(tmp_path / "a.obj", hands, colors)
        materials = [part.visual.material for part in trimesh.load(tmp_path / "a.glb").geometry.values()]
        linear = np.array([material.baseColorFactor[:3] for material in materials]) / 255
        rows = [line.split()[4:] for line in (tmp_path / "a.obj").read_text().splitlines() if line.startswith("v ")]
        shown = np.array(rows, float)[[0, 778]]
        np.testing.assert_allclose(shown**2.2, linear, atol=0.01)
        assert np.abs(shown[0] - shown[1]).max() > 0.3
        if colors:
            np.testing.assert_allclose(255 * shown, colors, atol=3)


def test_the_record_says_how_large_the_picture_is_and_whether_its_field_of_view_is_known(
    tmp_path: Path, hands: list[Hand]
) -> None:
    for size in ((80, 60), (60, 80)):
        write_record(tmp_path / "a.json", hands, "a.png", size, intrinsics_from_fov(*size, 70), True)
        content = json.loads((tmp_path / "a.json").read_text())
        assert content["image"] == "a.png" and content["image_size"] == {"width": size[0], "height": size[1]}
        camera = content["camera"]
        assert camera["fov_deg"] == pytest.approx(70, abs=1e-3) and camera["is_fov_assumed"] is True
        assert [hand["side"] for hand in content["hands"]] == ["right", "left"]
        for values, hand in zip(content["hands"], hands, strict=True):
            np.testing.assert_allclose(Hand.from_dict(values).vertices, hand.vertices, atol=1e-6)
