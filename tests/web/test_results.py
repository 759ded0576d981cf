"""One photo's results: files that hold what the page says, and words that are safe to show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.io.images import read_image, write_image
from handmesh.web.results import clamp_fov, error_html, process_photo, result_html


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "my photo.png"
    write_image(path, np.full((240, 320, 3), 90, np.uint8))
    return path


def test_a_photo_becomes_overlay_glb_and_json(predictor: Any, photo: Path, tmp_path: Path) -> None:
    import trimesh

    done = process_photo(str(photo), 60.0, read_image, predictor, tmp_path)
    assert done.files is not None
    overlay = read_image(done.files.overlay)
    assert overlay.shape == (240, 320, 3) and (abs(overlay.astype(int) - 90) > 9).mean() > 0.02
    scene = trimesh.load(done.files.glb)
    assert len(scene.geometry) == 2
    assert all(len(mesh.faces) == 1538 for mesh in scene.geometry.values())
    record = json.loads(done.files.record.read_text())
    assert record["image"] == "my photo.png"
    assert [hand["is_right"] for hand in record["hands"]] == [False, True], "the surest first"
    page = result_html(done)
    assert "2 hands found" in page and page.index("Left hand") < page.index("Right hand") and "0.5" in page


def test_what_is_shown_is_small_and_what_is_kept_has_the_photo_s_size(predictor: Any, tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    write_image(path, np.full((1200, 4000, 3), 90, np.uint8))
    done = process_photo(str(path), 60.0, read_image, predictor, tmp_path)
    assert done.files is not None
    assert read_image(done.files.overlay).shape == (1200, 4000, 3)
    assert read_image(done.files.photo).shape == read_image(done.files.shown_overlay).shape == (480, 1600, 3)


def test_no_hand_is_said_and_leaves_no_file(predictor: Any, tmp_path: Path) -> None:
    write_image(tmp_path / "black.png", np.zeros((60, 80, 3), np.uint8))
    done = process_photo(str(tmp_path / "black.png"), 60.0, read_image, predictor, tmp_path)
    assert done.files is None and "No hand" in result_html(done)
    assert [path.name for path in tmp_path.iterdir()] == ["black.png"]


def test_a_photo_that_cannot_be_read_leaves_no_file(predictor: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("not a picture")
    with pytest.raises(HandMeshError, match="not an image"):
        process_photo(str(tmp_path / "notes.png"), 60.0, read_image, predictor, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("typed", "used"),
    [
        (75, 75.0), ("75", 75.0), (500, 120.0), (-3, 20.0), (20, 20.0),
        (None, 60.0), ("", 60.0), (float("nan"), 60.0), (float("inf"), 60.0), ([1], 60.0),
    ],
)  # fmt: skip
def test_a_typed_field_of_view_is_clamped(
    typed: object, used: float, predictor: Any, photo: Path, tmp_path: Path
) -> None:
    assert clamp_fov(typed) == used
    done = process_photo(str(photo), clamp_fov(typed), read_image, predictor, tmp_path)
    assert predictor.calls[-1] == used and f"field of view\n {used:.0f} degrees" in result_html(done)


def test_names_and_messages_from_outside_are_no_markup(predictor: Any, photo: Path, tmp_path: Path) -> None:
    name = '"><img src=x onerror=alert(1)>.png'
    done = process_photo(str(photo), 60.0, read_image, predictor, tmp_path)._replace(name=name)
    assert "<img src=x" not in result_html(done)
    assert "<script>" not in error_html("expected an image, got <script>alert(1)</script>")


def test_download_names_come_from_the_photo_and_are_plain(predictor: Any, tmp_path: Path) -> None:
    path = tmp_path / ("a b'\"&;$(x)" + "y" * 100 + ".png")
    write_image(path, np.full((60, 80, 3), 90, np.uint8))
    files = process_photo(str(path), 60.0, read_image, predictor, tmp_path).files
    assert files is not None and len(files.glb.name) < 80
    assert files.glb.name.startswith("a-b-") and not set(files.glb.name) & set(" '\"&;$()")
