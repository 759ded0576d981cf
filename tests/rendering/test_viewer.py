"""The 3D window without a display: what is put into it, and one clear error where it cannot be opened."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.hand_model import HandModel
from handmesh.rendering import viewer
from handmesh.results import Hand


@pytest.fixture
def hand(open_mano: ManoArrays) -> Hand:
    model, eye = HandModel(open_mano), np.eye(3, dtype=np.float32)
    pose, betas, shift = np.tile(eye, (15, 1, 1)), np.zeros(10, np.float32), np.array([0.1, 0.2, 0.6], np.float32)
    vertices, joints = model.pose(True, eye, pose, betas)
    return Hand(
        vertices + shift, joints + shift, joints[:, :2], True, 0.9, model.faces(True), eye, pose, betas, shift, eye,
        np.zeros(4, np.float32),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if there were one; what a test finds out is not kept for the next."""
    monkeypatch.setattr(viewer, "why_no_window", lambda: None)
    viewer.expect_viewer.cache_clear()
    yield
    viewer.expect_viewer.cache_clear()


class FakeWindow:
    """Open3D's window: remembers what was done to it."""

    does_open = True
    mesh_shade_option = "facets"

    def __init__(self, done: list[Any]) -> None:
        self.done = done

    def create_window(self, window_name: str, **_: int) -> bool:
        self.done.append(window_name)
        return self.does_open

    def get_render_option(self) -> Any:
        return self

    def add_geometry(self, mesh: Any) -> None:
        self.done.append(mesh)

    def run(self) -> None:
        self.done.append(f"run {self.mesh_shade_option}")

    def destroy_window(self) -> None:
        self.done.append("destroy")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    done: list[Any] = []
    shading = SimpleNamespace(Color="smooth")
    module = SimpleNamespace(
        visualization=SimpleNamespace(Visualizer=lambda: FakeWindow(done), MeshShadeOption=shading)
    )
    monkeypatch.setitem(sys.modules, "open3d", module)
    monkeypatch.setattr(viewer, "hand_geometries", lambda hands: [f"mesh {i}" for i in range(len(hands))])
    return done


def test_a_window_is_filled_shown_and_closed(done: list[Any], hand: Hand) -> None:
    viewer.show_hands([hand, hand], "a.jpg")
    assert done == ["a.jpg", "mesh 0", "mesh 1", "run smooth", "destroy"]


def test_no_window_is_one_clear_error(done: list[Any], hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HandMeshError, match="at least one hand"):
        viewer.show_hands([])
    monkeypatch.setattr(FakeWindow, "does_open", False)
    with pytest.raises(HandMeshError, match="display"):
        viewer.show_hands([hand])
    viewer.expect_viewer.cache_clear()
    monkeypatch.setattr(viewer, "missing_libraries", list)
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(HandMeshError, match=r"handmesh\[view\]"):
        viewer.show_hands([hand])
    # Open3D itself would draw into nothing and wait for ever: it is not even asked.
    monkeypatch.setattr(viewer, "why_no_window", lambda: "DISPLAY is not set")
    with pytest.raises(HandMeshError, match="DISPLAY is not set.*glb"):
        viewer.show_hands([hand])
    assert "run smooth" not in done


def test_meshes_stand_upright_before_the_viewer(hand: Hand) -> None:
    pytest.importorskip("open3d", exc_type=ImportError)
    (mesh,) = viewer.hand_geometries([hand])
    assert np.allclose(np.asarray(mesh.vertices), hand.vertices * [1, -1, -1], atol=1e-6)
    assert np.array_equal(np.asarray(mesh.triangles), hand.faces) and mesh.has_vertex_normals()
    assert np.asarray(mesh.vertex_colors).std(0).max() < 1e-6
