"""A whole folder has no problems; each fault put into it is found and named, together with all the others."""

from __future__ import annotations

import json

import numpy as np
import pytest

from handmesh.data.check import check_data
from handmesh.data.freihand import image_path
from handmesh.data.freihand_writer import FreiHandWriter


def change(path, index, value):
    content = json.loads(path.read_text())
    content[index] = value(content[index]) if callable(value) else value
    path.write_text(json.dumps(content))


def test_a_whole_folder_has_no_problems(freihand_root, fake_mano):
    report = check_data(freihand_root, fake_mano)
    assert not report.problems, str(report)
    text = str(report)
    assert "training: 6 hands x 1 images" in text and "images of 224 x 224" in text
    for line in report.facts:
        if "rebuilt" in line or "regressed" in line:
            assert float(line.split("mean ")[1].split()[0]) < 0.01, line


FAULTS = {
    "no such file": lambda root: (root / "training_scale.json").unlink(),
    "truncated": lambda root: (root / "evaluation_verts.json").write_text("[[[0.1, 0.2"),
    r"shape \(20, 3\) in entry 1": lambda root: change(root / "evaluation_xyz.json", 1, lambda e: e[:20]),
    "NaN or infinity in entry 3": lambda root: change(root / "training_K.json", 3, [[float("nan")] * 3] * 3),
    "files of one length, not 0, got evaluation_K.json 0": lambda root: [
        path.write_text("[]") for path in root.glob("evaluation_*.json")
    ],
    "files of one length": lambda root: (root / "evaluation_scale.json").write_text("[0.03]"),
    r"missing images.*entry 4": lambda root: image_path(root, "training", 4).unlink(),
    r"corrupt images.*entry 1": lambda root: image_path(root, "evaluation", 1).write_bytes(b"\xff\xd8"),
    r"missing masks.*entry 0": lambda root: (root / "training" / "mask" / "00000000.jpg").unlink(),
    "unexpected images": lambda root: (root / "training" / "rgb" / "zero.jpg").write_bytes(b""),
    r"behind the camera: entry 5": lambda root: change(
        root / "training_xyz.json", 5, lambda e: [[x, y, -z] for x, y, z in e]
    ),
    r"regressed from the vertices: more than 1 mm off: entry 2": lambda root: change(
        root / "evaluation_verts.json", 2, lambda e: [[x + 0.01, y, z] for x, y, z in e]
    ),
    r"vertices rebuilt from mano: more than 1 mm off: entry 1": lambda root: change(
        root / "training_mano.json", 1, lambda e: [[e[0][0] + 0.5, *e[0][1:]]]
    ),
    r"reprojection.*more than 1 px off: entry 1": lambda root: change(
        root / "training_mano.json", 1, lambda e: [[*e[0][:58], e[0][58] + 3, *e[0][59:]]]
    ),
    r"length from joint 9.*entry 0": lambda root: change(root / "training_scale.json", 0, 0.1),
}


@pytest.mark.parametrize("pattern", FAULTS)
def test_each_fault_is_named(freihand_root, fake_mano, pattern):
    FAULTS[pattern](freihand_root)
    report = check_data(freihand_root, fake_mano)
    import re

    assert any(re.search(pattern, problem) for problem in report.problems), str(report)


def test_all_faults_are_named_together(freihand_root, fake_mano, make_sample, tmp_path):
    with FreiHandWriter(tmp_path / "small", "training", np.zeros(45)) as writer:
        writer.add({**make_sample(0), "image": np.zeros((60, 60, 3), np.uint8)})
    image_path(freihand_root, "training", 3).write_bytes(image_path(tmp_path / "small", "training", 0).read_bytes())
    image_path(freihand_root, "training", 1).unlink()
    image_path(freihand_root, "evaluation", 2).write_bytes(b"")
    (freihand_root / "evaluation_K.json").write_text("[")
    problems = "\n".join(check_data(freihand_root, fake_mano).problems)
    assert "another size than 224 x 224" in problems and "entry 3" in problems
    for word in ("missing images", "corrupt images", "truncated"):
        assert word in problems


def test_several_faults_of_one_file_and_files_of_several_lengths(freihand_root, fake_mano):
    change(freihand_root / "training_xyz.json", 1, lambda e: e[:20])
    change(freihand_root / "training_xyz.json", 2, None)
    change(freihand_root / "training_xyz.json", 4, lambda e: [[float("nan")] * 3] * 21)
    (freihand_root / "evaluation_scale.json").write_text("[0.03]")
    image_path(freihand_root, "evaluation", 3).unlink()
    change(freihand_root / "evaluation_verts.json", 2, lambda e: [[x + 0.01, y, z] for x, y, z in e])
    problems = "\n".join(check_data(freihand_root, fake_mano).problems)
    for words in (
        "shape (20, 3) in entry 1", "shape () in entry 2", "NaN or infinity in entry 4", "files of one length",
        "missing images", "more than 1 mm off: entry 2",
    ):  # fmt: skip
        assert words in problems, problems


def test_another_hand_model_is_suspected(freihand_root, open_mano):
    assert any("another hand model" in problem for problem in check_data(freihand_root, open_mano).problems)


def test_an_empty_folder_is_named(tmp_path, fake_mano):
    assert "training_K.json" in check_data(tmp_path, fake_mano).problems[0]
