"""A set on disk: the same bytes from any number of processes, after any stop, or one clear error."""

from __future__ import annotations

import hashlib
import importlib.util
import multiprocessing
import os
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from handmesh.data.freihand import FreiHandDataset
from handmesh.errors import HandMeshError
from handmesh.geometry.camera import project_points
from handmesh.mano.layers.numpy_layer import pose_vertices
from handmesh.synthesis.dataset import dataset_writer
from handmesh.synthesis.dataset.chunk_renderer import FIRST_EVALUATION, ChunkRenderer, Plan, RenderJob
from handmesh.synthesis.dataset.dataset_writer import write_dataset
from handmesh.synthesis.generator import DATASET_VERSION, SampleGenerator
from handmesh.synthesis.kinds import KINDS


def digests(root: Path) -> dict[str, str]:
    files = (p for p in sorted(root.rglob("*")) if p.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def small_set(tmp_path_factory, open_mano) -> Path:
    return write_dataset(tmp_path_factory.mktemp("synth") / "set", 40, 6, 5, 64, workers=2, progress=False)


def test_read_by_freihands_conventions(small_set, open_mano) -> None:
    training = FreiHandDataset(small_set, "training", open_mano.hands_mean)
    assert len(training) == 40 and len(FreiHandDataset(small_set, "evaluation")) == 6
    generator = SampleGenerator(open_mano, 5, 64)
    for index in (0, 17, 39):
        wanted, got = generator.sample(index), training.sample(index, with_mask=True)
        for key in ("K", "joints", "vertices", "betas", "global_orient", "hand_pose"):
            np.testing.assert_allclose(got[key], wanted[key], atol=1e-5, err_msg=key)
        assert np.abs(got["image"].astype(int) - wanted["image"]).mean() < 8  # JPEG
        vertices, joints = pose_vertices(open_mano, got["global_orient"], got["hand_pose"], got["betas"])
        np.testing.assert_allclose(vertices - joints[9] + got["joints"][9], got["vertices"], atol=1e-5)
        points = np.rint(project_points(got["joints"], got["K"])).astype(int)
        seen = (wanted["visibility"] > 0) & (points >= 0).all(1) & (points < 64).all(1)
        # Fingertips are points of the surface: at times they lie on the silhouette, hence the pixel around.
        around = cv2.dilate(got["mask"].astype(np.uint8), np.ones((3, 3), np.uint8))
        assert seen.any() and around[points[seen, 1], points[seen, 0]].mean() > 0.9
    held_out = FreiHandDataset(small_set, "evaluation").sample(2)
    np.testing.assert_allclose(held_out["joints"], generator.sample(FIRST_EVALUATION + 2)["joints"], atol=1e-6)


def test_a_stopped_run_goes_on_to_the_same_bytes(small_set, tmp_path, monkeypatch) -> None:
    wanted = digests(small_set)
    other = tmp_path / "set"
    finish = dataset_writer.write_annotations
    monkeypatch.setattr(dataset_writer, "write_annotations", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_dataset(other, 40, 6, 5, 64, workers=1, progress=False)
    # As if killed in the middle of the second chunk: its shard and some pictures are missing, a scrap is left.
    (other / ".parts" / "training_00000032.jsonl").unlink()
    (other / "training" / "rgb" / "00000035.jpg").unlink()
    (other / "training" / "rgb" / ".00000036.abc.jpg").write_bytes(b"half")
    monkeypatch.setattr(dataset_writer, "write_annotations", finish)
    write_dataset(other, 40, 6, 5, 64, workers=1, progress=False)
    got = digests(other)
    assert got == wanted
    before = {p: p.stat().st_mtime_ns for p in other.rglob("*") if p.is_file()}
    write_dataset(other, 40, 6, 5, 64, workers=1, progress=False)  # complete: nothing is touched
    assert before == {p: p.stat().st_mtime_ns for p in other.rglob("*") if p.is_file()}


def test_another_set_is_not_mixed_in(small_set, tmp_path) -> None:
    before = digests(small_set)
    with pytest.raises(HandMeshError, match="another: seed 5 where 6 is asked for; choose another folder"):
        write_dataset(small_set, 40, 6, 6, 64, progress=False)
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(HandMeshError, match="new or empty"):
        write_dataset(tmp_path, 4, 2, progress=False)
    assert digests(small_set) == before and (tmp_path / "note.txt").read_text() == "mine"


@pytest.mark.parametrize("wrong", [{"train": 0, "evaluation": 0}, {"size": 8}, {"workers": 0}, {"seed": -1}])
def test_impossible_wishes(tmp_path, wrong) -> None:
    with pytest.raises(HandMeshError, match="expected"):
        write_dataset(tmp_path / "set", **{"train": 2, "evaluation": 0, **wrong}, progress=False)
    assert not (tmp_path / "set").exists()


def test_a_set_of_an_older_version_is_named_as_one(tmp_path) -> None:
    write_dataset(tmp_path, 1, 0, size=32, workers=1, progress=False)
    plan = tmp_path / "synth.json"
    # The plan's name for it in sets that are older still; such a set is known as what it is.
    plan.write_text(plan.read_text().replace('"dataset_version"', '"recipe"'))
    write_dataset(tmp_path, 1, 0, size=32, workers=1, progress=False)
    plan.write_text(plan.read_text().replace(f'"recipe": {DATASET_VERSION}', '"dataset_version": 1'))
    with pytest.raises(HandMeshError, match=r"dataset_version 1 where .* renders other pictures"):
        write_dataset(tmp_path, 1, 0, size=32, workers=1, progress=False)


def test_a_folder_of_backgrounds_without_any_is_said_before_anything_is_written(tmp_path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "notes.txt").write_text("none yet")
    with pytest.raises(HandMeshError, match="expected photos"):
        write_dataset(tmp_path / "set", 2, 0, size=64, backgrounds=tmp_path / "photos", progress=False)
    assert not (tmp_path / "set").exists()


def test_a_file_in_the_way(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HandMeshError, match="expected to write"):
        write_dataset(tmp_path / "file" / "set", 2, 0, size=64, progress=False)


def test_a_full_disk_is_one_clear_error(tmp_path, monkeypatch) -> None:
    """The eleventh file does not fit: the ten before it are whole, no shard claims more than there is."""
    renderer = ChunkRenderer(RenderJob(str(tmp_path), Plan(32, 0, 5, 64, "", ""), "open", None))
    replace, done = os.replace, []

    def full(source: Path, target: Path) -> None:
        if len(done) == 10:
            raise OSError(28, "No space left on device")
        done.append(target)
        replace(source, target)

    monkeypatch.setattr("handmesh.io.files.os.replace", full)
    with pytest.raises(HandMeshError, match="No space left"):
        renderer.render("training", 0)
    files = sorted(p for p in tmp_path.rglob("*") if p.is_file())
    assert sorted(done) == files and all(p.suffix == ".jpg" and cv2.imread(str(p)) is not None for p in files)


def test_simpler_pictures_are_sets_of_their_own(small_set, tmp_path) -> None:
    plain = write_dataset(tmp_path / "plain", 4, 0, 5, 64, workers=1, progress=False, pictures="plain")
    full, simple = (FreiHandDataset(root, "training") for root in (small_set, plain))
    assert len(simple) == 4 and (full.sample(0)["image"] != simple.sample(0)["image"]).any()
    np.testing.assert_allclose(full.sample(0)["hand_pose"], simple.sample(0)["hand_pose"], atol=1e-6)
    with pytest.raises(HandMeshError, match="pictures 'plain' where 'basic' is asked for"):
        write_dataset(plain, 4, 0, 5, 64, workers=1, progress=False, pictures="basic")
    with pytest.raises(HandMeshError, match="one of full, plain, basic"):
        write_dataset(tmp_path / "other", 4, 0, 5, 64, workers=1, progress=False, pictures="best")


def test_a_set_may_hold_some_gestures_alone(tmp_path, open_mano) -> None:
    root = tmp_path / "fists"
    fists = write_dataset(root, 4, 0, 5, 64, workers=1, progress=False, pictures="plain", gestures=["fist"])
    wanted = KINDS["plain"](open_mano, 5, 64, gestures=["fist"])
    assert "gestures fist" in wanted.fingerprint()
    poses = FreiHandDataset(fists, "training", open_mano.hands_mean)
    for index in range(4):
        np.testing.assert_allclose(poses.sample(index)["hand_pose"], wanted.pose(index), atol=1e-5)
        bent = np.trace(wanted.pose(index)[1:12:3], axis1=1, axis2=2)  # every finger's second joint
        assert (bent < 1 + 2 * np.cos(np.radians(50))).all()
    write_dataset(fists, 4, 0, 5, 64, workers=1, progress=False, pictures="plain", gestures=["fist"])  # complete
    with pytest.raises(HandMeshError, match=r"gestures \('fist',\) where \(\) is asked for"):
        write_dataset(fists, 4, 0, 5, 64, workers=1, progress=False, pictures="plain")
    with pytest.raises(HandMeshError, match="got 'leter M'; did you mean 'letter M' or"):
        write_dataset(tmp_path / "other", 4, 0, 5, 64, workers=1, progress=False, gestures=["fist", "leter M"])
    assert not (tmp_path / "other").exists()


def test_processes_that_give_nothing_are_one_error(tmp_path, monkeypatch) -> None:
    """Starting a process and reading the hand model takes longer than this."""
    monkeypatch.setattr(dataset_writer, "STALL_S", 0.01)
    with pytest.raises(HandMeshError, match="got none from any process"):
        write_dataset(tmp_path / "set", 4, 0, 5, 64, workers=1, progress=False)
    assert not [each for each in multiprocessing.active_children() if "Spawn" in type(each).__name__]


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None or sys.platform == "win32", reason="needs the extra 'cluster'"
)
def test_a_cluster_writes_the_same_bytes_though_a_process_is_killed(small_set, tmp_path, monkeypatch) -> None:
    psutil = pytest.importorskip("psutil")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    killed = []

    def kill_one() -> None:
        """The process that is about to render, once its first pictures are there."""
        for _ in range(6000):
            if len(list((tmp_path / "set").glob("training/rgb/*.jpg"))) >= 3:
                for process in psutil.Process().children(recursive=True):
                    if "render_chunk" in " ".join(process.cmdline()):
                        killed.append(process.pid)
                        process.kill()
                        return
            time.sleep(0.02)

    killer = threading.Thread(target=kill_one)
    killer.start()
    write_dataset(tmp_path / "set", 40, 6, 5, 64, workers=2, progress=False, on_ray=True)
    killer.join(150)
    assert killed, "no process was killed"
    assert digests(tmp_path / "set") == digests(small_set)
    with pytest.raises(HandMeshError, match="at least one worker"):
        write_dataset(tmp_path / "other", 4, 2, workers=0, progress=False, on_ray=True)
