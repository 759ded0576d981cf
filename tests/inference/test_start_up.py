"""Work done ahead runs beside, ends before anybody goes on, and hides no fault of the one who needs it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from handmesh.detection import HandDetector
from handmesh.errors import HandMeshError
from handmesh.inference.alignment.alignment_kernels import align, pose_joints
from handmesh.inference.detectors import by_name
from handmesh.inference.detectors.fastvit import FastVitDetector
from handmesh.inference.detectors.joint import JointDetector
from handmesh.inference.predictor import HandMeshPredictor
from handmesh.inference.start_up import beside, load_kernels
from handmesh.mano.arrays import ManoArrays


def test_tasks_run_beside_the_block_and_end_with_it() -> None:
    reached, go = threading.Event(), threading.Event()

    def task() -> None:
        reached.set()
        assert go.wait(60)

    with beside(task):
        assert reached.wait(60)  # runs while the block does
        go.set()
    assert not [thread for thread in threading.enumerate() if thread.name == "handmesh start-up"]


def test_a_task_that_fails_leaves_the_block_alone_and_a_block_that_fails_waits() -> None:
    done = []

    def failing() -> None:
        raise HandMeshError("expected a model, got none")

    with beside(failing):
        done.append(1)
    with pytest.raises(KeyError), beside(lambda: done.append(2)):
        raise KeyError("the block's own")
    assert sorted(done) == [1, 2]


def test_the_kernels_of_a_first_hand_are_there(open_mano: ManoArrays) -> None:
    load_kernels(open_mano)
    assert align.signatures and pose_joints.signatures


def test_models_that_are_there_are_loaded_ahead_and_none_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = HandDetector(), FastVitDetector()
    monkeypatch.setattr(by_name, "are_cached", lambda: False)
    assert by_name.loaders_of(theirs) == [] and by_name.loaders_of(JointDetector(theirs, ours)) == [ours.load]
    monkeypatch.setattr(by_name, "are_cached", lambda: True)
    assert by_name.loaders_of(theirs) == [theirs.load]
    loaded: list[object] = []
    for kind in (HandDetector, FastVitDetector):
        monkeypatch.setattr(kind, "load", lambda self: loaded.append(self))
    both = HandMeshPredictor.from_pretrained("default").detector
    assert isinstance(both, JointDetector) and len(loaded) == 2 and both.first in loaded and both.second in loaded
    monkeypatch.setattr(by_name, "are_cached", lambda: False)
    alone = HandMeshPredictor.from_pretrained("default").detector
    assert isinstance(alone, FastVitDetector) and loaded[2:] == [alone]


def test_the_first_start_of_all_converts_both_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are traced at the same time, and PyTorch's tracer is one for the process."""
    monkeypatch.setenv("HANDMESH_HOME", str(tmp_path))
    predictor = HandMeshPredictor.from_pretrained("default", detector="fastvit")
    assert predictor.engine.name.startswith("OpenVINO")
    assert len(list((tmp_path / "engines").glob("*.xml"))) == 2 and list((tmp_path / "engines").glob("*.start.json"))
