"""An .npz gives what NumPy wrote, and a header that claims more than the file holds costs nothing."""

from __future__ import annotations

import io
import resource
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from handmesh.io.npz import read_npz

MEGABYTE = 2**20


def test_what_numpy_writes_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.normal(size=(3, 4)).astype(np.float32), "b": np.asfortranarray(rng.normal(size=(2, 3, 4))),
        "c": np.array("licence"), "d": np.zeros((0, 5), np.int64), "e": np.array(7, np.uint8), "f": np.array([True]),
    }  # fmt: skip
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        found = read_npz(tmp_path / "a.npz", MEGABYTE)
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype and found[name].flags.writeable


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode() + b" " * (-(10 + len(header) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    "member",
    [
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }"),
        npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': (0, {2**70}), }}", b"\0" * 8),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", b"\0" * 8),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (True,), }", b"\0" * 8),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"\x80\x04N."),
        npy("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }", b"\0" * 8),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': " + "(" * 3000 + ", }"),
        npy("not a header"),
        b"\x93NUMPY\x09\x00",
        b"",
    ],
)
def test_headers_that_lie_cost_nothing(tmp_path: Path, member: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", member)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="."):
        read_npz(tmp_path / "a.npz", MEGABYTE)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000  # kB


def test_an_archive_that_unpacks_to_more_than_allowed_is_refused_unread(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(8 * MEGABYTE, np.uint8))
    assert (tmp_path / "bomb.npz").stat().st_size < MEGABYTE
    with pytest.raises(ValueError, match="8 MB of arrays, more than 1 MB"):
        read_npz(tmp_path / "bomb.npz", MEGABYTE)
    (tmp_path / "long.npz").write_bytes(b"\0" * 2 * MEGABYTE)
    with pytest.raises(ValueError, match="more than 1 MB"):
        read_npz(tmp_path / "long.npz", MEGABYTE)


def test_damaged_archives_end_in_one_kind_of_error(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.arange(100.0), b=np.array("text"))
    rng = np.random.default_rng(1)
    for _ in range(300):
        data = bytearray(buffer.getvalue())
        for at in rng.integers(0, len(data), 3):
            data[at] = rng.integers(256)
        (tmp_path / "a.npz").write_bytes(data)
        try:
            read_npz(tmp_path / "a.npz", MEGABYTE)
        except ValueError:
            pass
    with zipfile.ZipFile(tmp_path / "twice.npz", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            archive.writestr("a.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (0,), }"))
    with pytest.raises(ValueError, match="one name"):
        read_npz(tmp_path / "twice.npz", MEGABYTE)


@pytest.mark.parametrize("order", "<>")
def test_text_of_numbers_that_are_no_letters_is_refused(tmp_path: Path, order: str) -> None:
    path = tmp_path / "name.npz"
    np.savez(path, name=np.array("right", f"{order}U5"))
    assert str(read_npz(path, MEGABYTE)["name"]) == "right"
    np.savez(path, name=np.array([0x110000, 65], f"{order}u4").view(f"{order}U2"))
    with pytest.raises(ValueError, match="no letters"):
        read_npz(path, MEGABYTE)
