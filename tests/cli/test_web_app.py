"""The page without a browser: one photo through the real server on the loopback, and every way it can go wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.geometry.camera import intrinsics_from_fov, project_points
from handmesh.io.images import write_image
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.numpy_layer import pose_vertices
from handmesh.results import Hand

ROOT = Path(__file__).resolve().parents[2]


class FakePredictor:
    """Finds one right and one left hand in every picture that is not black."""

    def __init__(self, mano: ManoArrays) -> None:
        self.mano = mano
        self.calls: list[float] = []

    def __call__(self, image: np.ndarray, fov_deg: float) -> list[Hand]:
        self.calls.append(fov_deg)
        if not image.any():
            return []
        height, width = image.shape[:2]
        K = intrinsics_from_fov(width, height, fov_deg)
        return [self._hand(K, is_right, score) for is_right, score in ((True, 0.7), (False, 0.9))]

    def _hand(self, K: np.ndarray, is_right: bool, score: float) -> Hand:
        # Fingers up, palm to the camera.
        orient = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], np.float32)
        pose = np.tile(np.eye(3, dtype=np.float32), (15, 1, 1))
        vertices, joints = pose_vertices(self.mano, orient, pose, np.zeros(10, np.float32))
        side = 1.0 if is_right else -1.0
        shift = np.array([0.08 * side, 0.02, 0.5], np.float32)
        flip = np.array([side, 1.0, 1.0], np.float32)
        faces = self.mano.faces if is_right else self.mano.faces[:, ::-1]
        vertices, joints = vertices * flip + shift, joints * flip + shift
        keypoints = project_points(joints, K)
        return Hand(
            vertices=vertices.astype(np.float32),
            joints=joints.astype(np.float32),
            keypoints_2d=keypoints.astype(np.float32),
            is_right=is_right,
            score=score,
            faces=faces.astype(np.int32),
            global_orient=orient,
            hand_pose=pose,
            betas=np.zeros(10, np.float32),
            translation=shift,
            K=K.astype(np.float32),
            box_xyxy=np.r_[keypoints.min(0), keypoints.max(0)].astype(np.float32),
        )


@pytest.fixture(scope="module")
def predictor(open_mano: ManoArrays) -> FakePredictor:
    return FakePredictor(open_mano)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "my photo.png"
    write_image(path, np.full((240, 320, 3), 90, np.uint8))
    return path


def test_a_photo_becomes_overlay_glb_and_json(predictor: FakePredictor, photo: Path, tmp_path: Path) -> None:
    import trimesh

    from handmesh.cli.web_app import process_photo

    done = process_photo(str(photo), 60.0, True, predictor, tmp_path)
    assert done.overlay.shape == (240, 320, 3) and (done.overlay != 90).mean() > 0.02
    assert done.glb is not None and done.record is not None
    scene = trimesh.load(done.glb)
    assert len(scene.geometry) == 2
    assert all(len(mesh.faces) == 1538 for mesh in scene.geometry.values())
    record = json.loads(done.record.read_text())
    assert record["image"] == "my photo.png"
    assert [hand["is_right"] for hand in record["hands"]] == [False, True], "the surest first"
    assert "2 hands found" in done.summary and "0.5" in done.summary


def test_only_the_surest_hand_when_asked(predictor: FakePredictor, photo: Path, tmp_path: Path) -> None:
    from handmesh.cli.web_app import process_photo

    done = process_photo(str(photo), 60.0, False, predictor, tmp_path)
    assert done.record is not None
    assert [hand["score"] for hand in json.loads(done.record.read_text())["hands"]] == [0.9]


def test_no_hand_is_said_and_leaves_no_file(predictor: FakePredictor, tmp_path: Path) -> None:
    from handmesh.cli.web_app import process_photo

    write_image(tmp_path / "black.png", np.zeros((60, 80, 3), np.uint8))
    done = process_photo(str(tmp_path / "black.png"), 60.0, True, predictor, tmp_path)
    assert done.glb is None and done.record is None and "No hand" in done.summary
    assert [path.name for path in tmp_path.iterdir()] == ["black.png"]


@pytest.mark.parametrize(
    ("content", "fov_deg", "words"),
    [
        (b"not a picture", 60.0, "not an image"),
        (b"", 60.0, "empty"),
        (None, 60.0, "photo"),
        (b"x", 500.0, "field of view"),
    ],
)
def test_a_bad_upload_is_one_readable_sentence(
    content: bytes | None, fov_deg: float, words: str, predictor: FakePredictor, tmp_path: Path
) -> None:
    from handmesh.cli.web_app import process_photo

    path = tmp_path / "upload.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HandMeshError, match=words) as error:
        process_photo(str(path) if content is not None else None, fov_deg, True, predictor, tmp_path)
    assert str(tmp_path) not in str(error.value), "the server's folders are nobody's business"


@pytest.fixture(scope="module")
def page_url(predictor: FakePredictor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("gradio")
    from handmesh.cli.web_app import build_page

    page = build_page(predictor, tmp_path_factory.mktemp("app"))
    _, url, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False)
    yield url
    page.close(verbose=False)


def test_the_served_page_answers_a_client(page_url: str, photo: Path, predictor: FakePredictor) -> None:
    from gradio_client import Client, handle_file

    client = Client(page_url, verbose=False)
    overlay, mesh, summary, glb, record = client.predict(handle_file(photo), 75, True, api_name="/recover")
    assert predictor.calls[-1] == 75
    assert Path(overlay).stat().st_size > 0 and Path(mesh).suffix == ".glb"
    assert "2 hands found" in summary
    assert Path(glb["value"]).read_bytes()[:4] == b"glTF"
    assert len(json.loads(Path(record["value"]).read_text())["hands"]) == 2


def test_the_served_page_says_what_is_wrong_with_an_upload(page_url: str, tmp_path: Path) -> None:
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    (tmp_path / "notes.png").write_text("not a picture")
    with pytest.raises(AppError, match="notes.png: not an image"):
        Client(page_url, verbose=False).predict(handle_file(tmp_path / "notes.png"), 60, True, api_name="/recover")


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "demo/gradio_app.py", "--port", str(port)],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: expected 127.0.0.1:")
    assert not list(tmp_path.glob("handmesh-app-*")), "the temporary folder goes with the server"
