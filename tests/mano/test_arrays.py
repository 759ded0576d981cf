"""The hand model's file: what goes in comes out, and whatever is not a right hand is refused by name."""

from __future__ import annotations

import dataclasses
import zipfile

import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.mano.arrays import SHAPES, load_mano


def test_npz_round_trip_keeps_every_number_and_the_fingerprint(fake_mano, tmp_path):
    original = dataclasses.replace(fake_mano, extras={"pose_min": np.full(45, -1.0)}, licence="a licence")
    loaded = load_mano(original.save_npz(tmp_path / "hand.npz"))
    for key in SHAPES:
        np.testing.assert_array_equal(getattr(loaded, key), getattr(original, key))
    np.testing.assert_array_equal(loaded.extras["pose_min"], original.extras["pose_min"])
    assert (loaded.name, loaded.licence) == (original.name, original.licence)
    assert loaded.fingerprint() == original.fingerprint()


def test_fingerprint_ignores_storage_precision_and_sees_a_moved_vertex(fake_mano, tmp_path):
    half = {
        k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in fake_mano.to_struct_dict().items()
    }
    np.savez(tmp_path / "half.npz", **half)
    assert load_mano(tmp_path / "half.npz").fingerprint() == fake_mano.fingerprint()
    moved = fake_mano.v_template.copy()
    moved[5, 1] += 1e-5
    assert dataclasses.replace(fake_mano, v_template=moved).fingerprint() != fake_mano.fingerprint()


@pytest.mark.parametrize(
    ("key", "corrupt", "word"),
    [
        ("v_template", lambda a: a[:-1], "shape"),
        ("posedirs", lambda a: np.where(a == a.flat[0], np.nan, a), "NaN"),
        ("weights", lambda a: a * 0.5, "sum to 1"),
        ("f", lambda a: a + 1000, "vertex numbers"),
        ("kintree_table", lambda a: a[:, ::-1], "parents"),
        ("J_regressor", lambda a: a.astype(str), "dtype"),
        ("v_template", lambda a: a * [-1, 1, 1], "right hand"),
    ],
)
def test_a_corrupted_file_is_refused_and_the_key_is_named(fake_mano, tmp_path, key, corrupt, word):
    content = fake_mano.to_struct_dict()
    content[key] = corrupt(content[key])
    np.savez(tmp_path / "corrupted.npz", **content)
    with pytest.raises(HandMeshError, match=word):
        load_mano(tmp_path / "corrupted.npz")


def test_missing_file_missing_key_and_truncated_file_are_named(fake_mano, tmp_path):
    with pytest.raises(HandMeshError, match="nowhere"):
        load_mano(tmp_path / "nowhere.npz")
    content = fake_mano.to_struct_dict()
    del content["posedirs"]
    np.savez(tmp_path / "lacking.npz", **content)
    with pytest.raises(HandMeshError, match="missing posedirs"):
        load_mano(tmp_path / "lacking.npz")
    data = fake_mano.save_npz(tmp_path / "whole.npz").read_bytes()
    for size in (0, 10, len(data) // 2, len(data) - 10):
        (tmp_path / "cut.npz").write_bytes(data[:size])
        with pytest.raises(HandMeshError, match="could not read"):
            load_mano(tmp_path / "cut.npz")


def test_an_npz_that_unpacks_to_far_more_than_a_hand_is_refused_unread(fake_mano, tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "bomb.npz", **fake_mano.to_struct_dict(), zeros=np.zeros(20 * 2**20, np.float32))
    assert (tmp_path / "bomb.npz").stat().st_size < 4 * 2**20
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    with pytest.raises(HandMeshError, match=r"8\d MB of arrays, more than 64 MB"):
        load_mano(tmp_path / "bomb.npz")


def test_corrupted_bytes_of_a_packed_array_are_named(fake_mano, tmp_path):
    path = tmp_path / "hand.npz"
    np.savez_compressed(path, **fake_mano.to_struct_dict())
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("posedirs.npy")
    data = bytearray(path.read_bytes())
    start = member.header_offset + 30 + len(member.filename) + 20  # past the local header, and NumPy's ZIP64 field
    data[start : start + 64] = b"\xff" * 64
    path.write_bytes(data)
    with pytest.raises(HandMeshError, match="could not read"):
        load_mano(path)


def test_open_hand_is_a_valid_right_hand(open_mano):
    assert open_mano.licence
    assert len(open_mano.fingerprint()) == 16


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("v_template", lambda a: a * 1000, "in metres"),
        ("v_template", lambda a: a * 0.01, "in metres"),
        ("f", lambda a: a * 0, "different corners"),
        ("f", lambda a: a.astype(np.float64) * 1e30, "vertex numbers"),
        ("f", lambda a: a.astype(np.float64) * np.nan, "vertex numbers"),
        ("weights", lambda a: a * 3 - 2 / 16, "0 or more"),
        ("shapedirs", lambda a: a * 1e30, "up to 1"),
        ("posedirs", lambda a: a * 1e30, "up to 1"),
        ("hands_mean", lambda a: a * 1e30, "up to 6.28"),
        ("kintree_table", lambda a: np.array(3), "two rows"),
        ("kintree_table", lambda a: a[:, :0], "parents"),
        ("kintree_table", lambda a: np.zeros((0, 16), np.int64), "two rows"),
    ],
)
def test_numbers_that_make_no_hand_are_named(fake_mano, tmp_path, key, value, word):
    content = fake_mano.to_struct_dict()
    np.savez(tmp_path / "wrong.npz", **{**content, key: value(content[key])})
    with pytest.raises(HandMeshError, match=word):
        load_mano(tmp_path / "wrong.npz")


def test_parents_of_no_axes_are_named(fake_mano, tmp_path):
    content = fake_mano.to_struct_dict()
    del content["kintree_table"]
    np.savez(tmp_path / "wrong.npz", **content, parents=np.array(-1))
    with pytest.raises(HandMeshError, match="parents"):
        load_mano(tmp_path / "wrong.npz")


def test_names_in_a_file_cannot_command_a_terminal(fake_mano, tmp_path):
    np.savez(tmp_path / "name.npz", **fake_mano.to_struct_dict(), name=np.array("a\x1b[2J\nb\u202ec" + "d" * 999))
    name = load_mano(tmp_path / "name.npz").name
    assert name.isprintable() and name.startswith("a\\x1b[2J b\\u202ec") and len(name) == 100
