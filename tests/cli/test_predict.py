"""Result files of photos: complete, consistent with one another, and none for a bad source."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from handmesh.cli import main as cli
from handmesh.errors import HandMeshError
from handmesh.inference.predictor import HandMeshPredictor
from handmesh.io.images import read_image, write_image
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.hand_model import HandModel
from handmesh.rendering import viewer
from handmesh.rendering.result_files import predict_photos
from handmesh.results import Hand


@pytest.fixture
def hands(open_mano: ManoArrays) -> list[Hand]:
    model, eye = HandModel(open_mano), np.eye(3, dtype=np.float32)
    pose, betas = np.tile(eye, (15, 1, 1)), np.zeros(10, np.float32)
    found = []
    for is_right in (True, False):
        vertices, joints = model.pose(is_right, eye, pose, betas)
        shift = np.array([0.05, 0, 0.6], np.float32)
        K = np.array([[80, 0, 40], [0, 80, 30], [0, 0, 1]], np.float32)
        found.append(
            Hand(vertices + shift, joints + shift, joints[:, :2], is_right, 0.9, model.faces(is_right), eye, pose,
                 betas, shift, K, np.zeros(4, np.float32))
        )  # fmt: skip
    return found


def test_each_photo_gets_overlay_mesh_and_numbers(tmp_path: Path, hands: list[Hand]) -> None:
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "in" / name, np.full((60, 80, 3), 90, np.uint8))
    answers = iter([hands, []])
    results = list(predict_photos(tmp_path / "in", tmp_path / "out", lambda image: next(answers)))
    assert [(result.name, len(result.hands)) for result in results] == [("a.png", 2), ("b.png", 0)]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "a.glb", "a.json", "a.obj", "a.png", "b.json", "b.png",
    ]  # fmt: skip
    assert read_image(tmp_path / "out" / "a.png").std() > read_image(tmp_path / "out" / "b.png").std()
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    assert [hand["is_right"] for hand in record["hands"]] == [True, False] and record["image"] == "a.png"
    scene = trimesh.load(tmp_path / "out" / "a.glb")
    mesh = trimesh.load(tmp_path / "out" / "a.obj", process=False, force="mesh")
    assert len(scene.geometry) == 2 and len(mesh.vertices) == 2 * 778 and len(mesh.faces) == 2 * 1538
    # The camera's axes in the OBJ, glTF's in the GLB: half a turn about x between them.
    both = np.concatenate([part.vertices for part in scene.geometry.values()])
    assert np.allclose(np.sort(both * [1, -1, -1], axis=0), np.sort(mesh.vertices, axis=0), atol=1e-5)


def test_bad_sources_and_targets(tmp_path: Path, hands: list[Hand]) -> None:
    write_image(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for source, target, word in (
        ("missing.png", "out", "missing.png"), ("empty", "out", "empty"), ("a.png", "file", "folder"),
    ):  # fmt: skip
        with pytest.raises(HandMeshError, match=word):
            list(predict_photos(tmp_path / source, tmp_path / target, lambda image: hands))
    assert not (tmp_path / "out").exists()


def test_a_photo_is_never_replaced_by_its_result(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg"):
        write_image(tmp_path / "in" / name, np.full((8, 8, 3), 90, np.uint8))
    (tmp_path / "link").symlink_to(tmp_path / "in")
    before = (tmp_path / "in" / "a.png").read_bytes()
    for source, target in (("in", "in"), ("in/a.png", "in"), ("in", "in/../in"), ("in", "link")):
        with pytest.raises(HandMeshError, match=r"a\.png for both; .*--output"):
            list(predict_photos(tmp_path / source, tmp_path / target, lambda image: []))
    assert sorted(file.name for file in (tmp_path / "in").iterdir()) == ["a.png", "b.jpg"]
    assert (tmp_path / "in" / "a.png").read_bytes() == before
    # Beside a photo of another format there is room.
    assert len(list(predict_photos(tmp_path / "in" / "b.jpg", tmp_path / "in", lambda image: []))) == 1


def test_photos_are_viewed_one_after_another_once_their_results_are_written(
    tmp_path: Path, hands: list[Hand], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png", "c.png"):
        write_image(tmp_path / "in" / name, np.full((60, 80, 3), 90, np.uint8))
    answers = iter([hands, [], hands[:1]])
    monkeypatch.setattr(HandMeshPredictor, "from_pretrained", lambda *_, **__: lambda image, **_: next(answers))
    shown = []

    def show(some: list[Hand], title: str) -> None:
        assert (tmp_path / "out" / "c.glb").is_file()
        shown.append((title, len(some)))

    monkeypatch.setattr(viewer, "expect_viewer", lambda: None)
    monkeypatch.setattr(viewer, "show_hands", show)
    words = ["predict", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--view"]
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert not stop.value.code and shown == [("a.png", 2), ("c.png", 1)]


def test_without_a_display_viewing_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "a.png", np.full((60, 80, 3), 90, np.uint8))
    viewer.expect_viewer.cache_clear()
    monkeypatch.setattr(viewer, "why_no_window", lambda: "there is no display")
    with pytest.raises(SystemExit) as stop:
        cli.main(["predict", str(tmp_path / "a.png"), "--output", str(tmp_path / "out"), "--view"])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.startswith("error: ") and "no display" in said and ".glb" in said
    assert not (tmp_path / "out").exists()
