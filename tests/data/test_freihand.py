"""FreiHAND's layout: what the writer writes the reader reads, and every fault of a folder is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from handmesh.data.freihand import FreiHandDataset, image_path, load_annotations, mano_translation
from handmesh.data.freihand_writer import FreiHandWriter
from handmesh.data.json_arrays import read_json_array
from handmesh.errors import HandMeshError
from handmesh.mano.layers.numpy_layer import pose_vertices


def test_written_samples_are_read_back(freihand_root, make_sample, fake_mano):
    dataset = FreiHandDataset(freihand_root, "training", fake_mano.hands_mean)
    assert len(dataset) == dataset.unique == 6
    for index in (0, 5):
        wanted, got = make_sample(index), dataset.sample(index, with_mask=True)
        for key in ("K", "joints", "vertices", "betas", "global_orient", "hand_pose"):
            np.testing.assert_allclose(got[key], wanted[key], atol=1e-6, err_msg=key)
        assert np.abs(got["image"].astype(int) - wanted["image"]).mean() < 4  # JPEG
        assert (got["mask"] == (wanted["mask"] > 0)).mean() > 0.99
        assert got["has_mano"] and got["is_right"] and got["presence"] and got["index"] == index
        assert got["scale"] == pytest.approx(np.linalg.norm(wanted["joints"][9] - wanted["joints"][10]), abs=1e-6)


def test_vertices_rebuild_from_mano(freihand_root, fake_mano):
    dataset = FreiHandDataset(freihand_root, "training", fake_mano.hands_mean)
    sample = dataset.sample(3)
    vertices, joints = pose_vertices(fake_mano, *(sample[k] for k in ("global_orient", "hand_pose", "betas")))
    assert dataset.annotations.mano is not None
    shift = mano_translation(dataset.annotations.mano[3], sample["K"]) - joints[9]
    np.testing.assert_allclose(vertices + shift, sample["vertices"], atol=1e-5)


def test_evaluation_split_and_unknown_hand_have_no_mano(freihand_root, fake_mano):
    for dataset in (FreiHandDataset(freihand_root, "evaluation", fake_mano.hands_mean), FreiHandDataset(freihand_root)):
        sample = dataset.sample(0)
        assert not sample["has_mano"]
        np.testing.assert_array_equal(sample["hand_pose"], np.tile(np.eye(3), (15, 1, 1)))


def test_versions_share_annotations(freihand_root):
    plain = FreiHandDataset(freihand_root)
    for index in range(6):  # a second version of each image
        content = image_path(freihand_root, "training", index).read_bytes()
        image_path(freihand_root, "training", 6 + index).write_bytes(content)
    both = FreiHandDataset(freihand_root)
    assert len(both) == 12 and both.unique == 6 and both.versions == (0, 1)
    np.testing.assert_array_equal(both.sample(8)["joints"], plain.sample(2)["joints"])
    second = FreiHandDataset(freihand_root, versions=[1])
    assert len(second) == 6 and second.file_index(2) == 8
    assert both.fingerprint() != plain.fingerprint() != second.fingerprint()


def test_fast_and_slow_json_agree(tmp_path):
    values = np.random.default_rng(0).normal(size=(50, 21, 3))
    for spacing in ((",", ":"), (", ", ": ")):
        (tmp_path / "a.json").write_text(json.dumps(values.tolist(), separators=spacing))
        np.testing.assert_array_equal(read_json_array(tmp_path / "a.json", (21, 3)), values)
    (tmp_path / "b.json").write_text(json.dumps(values.reshape(50, 1, 63).tolist()))
    np.testing.assert_array_equal(read_json_array(tmp_path / "b.json", (63,)), values.reshape(50, 63))
    (tmp_path / "c.json").write_text("[0.5, 2, 3e-2]")
    np.testing.assert_array_equal(read_json_array(tmp_path / "c.json", ()), [0.5, 2, 0.03])


def test_an_empty_list_has_no_entries(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    for shape in ((21, 3), ()):
        assert read_json_array(tmp_path / "a.json", shape).shape == (0, *shape)


def test_a_split_without_samples_has_no_files(tmp_path):
    FreiHandWriter(tmp_path, "evaluation", np.zeros(45)).close()
    assert not list(tmp_path.iterdir())


def _truncate(path):
    path.write_text(path.read_text()[:-20])


def _corrupt_entry(value):
    def corrupt(path):
        content = json.loads(path.read_text())
        content[2] = value
        path.write_text(json.dumps(content))

    return corrupt


@pytest.mark.parametrize(
    ("name", "corrupt", "word"),
    [
        ("training_xyz.json", lambda p: p.unlink(), "no such file"),
        ("training_verts.json", _truncate, "truncated"),
        ("training_xyz.json", _corrupt_entry([[0.0, 0.0, 1.0]] * 20), r"shape \(20, 3\) in entry 2"),
        ("training_K.json", _corrupt_entry([[float("nan")] * 3] * 3), "NaN or infinity in entry 2"),
        ("training_K.json", _corrupt_entry(None), "entry 2"),
        ("training_mano.json", _corrupt_entry("text"), "no array of numbers in entry 2"),
        ("training_scale.json", lambda p: p.write_text("{}"), "JSON list"),
        ("training_scale.json", lambda p: p.write_text("[0.03, 0.03]"), "same number of entries"),
        ("training_scale.json", lambda p: p.write_bytes(b""), "truncated"),
        ("training_verts.json", lambda p: p.write_text("[]"), "training_verts.json 0"),
        ("training_scale.json", lambda p: p.write_text("[0.03, 0.03, 0.03, 0.03, 0.03, ]"), "malformed"),
    ],
)
def test_faults_of_annotations_are_named(freihand_root, name, corrupt, word):
    corrupt(freihand_root / name)
    with pytest.raises(HandMeshError, match=word):
        load_annotations(freihand_root, "training")


def test_faults_of_images_are_named(freihand_root, make_sample, tmp_path):
    dataset = FreiHandDataset(freihand_root)
    path = image_path(freihand_root, "training", 2)
    other = image_path(freihand_root, "training", 1)
    for corrupt, word in (
        (lambda: path.unlink(), "00000002"),
        (lambda: path.write_bytes(b""), "empty or corrupt"),
        (lambda: path.write_bytes(other.read_bytes()[:50]), "empty or corrupt"),
    ):
        corrupt()
        with pytest.raises(HandMeshError, match=word):
            dataset.sample(2)
    with FreiHandWriter(tmp_path / "small", "training", np.zeros(45)) as writer:
        writer.add({**make_sample(0), "image": np.zeros((100, 90, 3), np.uint8)})
    path.write_bytes(image_path(tmp_path / "small", "training", 0).read_bytes())
    with pytest.raises(HandMeshError, match="90 x 100"):
        dataset.sample(2)
    with pytest.raises(HandMeshError, match="handmesh synth"):
        FreiHandDataset(tmp_path / "nowhere")


def test_writer_refuses_a_used_folder_and_leaves_no_annotations_when_interrupted(make_sample, tmp_path, freihand_root):
    with pytest.raises(HandMeshError, match="earlier one"):
        FreiHandWriter(freihand_root, "training", np.zeros(45))
    with pytest.raises(RuntimeError), FreiHandWriter(tmp_path / "cut", "training", np.zeros(45)) as writer:
        writer.add(make_sample(0))
        raise RuntimeError("stopped")
    assert not list((tmp_path / "cut").glob("*.json"))
    with pytest.raises(ValueError, match="right hand"):
        FreiHandWriter(tmp_path / "new", "training", np.zeros(45)).add({**make_sample(0), "is_right": False})
