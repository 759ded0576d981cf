"""The restricted reader gives chumpy's numbers bit for bit, and a hostile, cut or foreign file ends in one
line."""

from __future__ import annotations

import io
import os
import pickle
import resource
import struct
import time

import numpy as np
import pytest
from scipy.sparse import csc_matrix

from handmesh.errors import HandMeshError
from handmesh.mano import pickle_objects, pickle_reader
from handmesh.mano.arrays import SHAPES, load_mano
from handmesh.mano.pickle_reader import read_mano_pickle


class Ch:
    """Stands in for chumpy.ch.Ch when writing: an object whose state holds its array."""

    def __init__(self, x):
        self.x, self._dirty_vars, self._itr = x, {"x"}, None


class Select:
    """Stands in for chumpy.reordering.Select: the full basis behind, ten columns of it chosen."""

    def __init__(self, full, columns):
        number = np.arange(full.size).reshape(full.shape)[..., :columns]
        self.a, self.idxs, self.preferred_shape = Ch(full), number.ravel(), number.shape


PYTHON_2_NAMES = {
    np.ndarray: ("numpy", "ndarray"),
    np.dtype: ("numpy", "dtype"),
    set: ("__builtin__", "set"),
    csc_matrix: ("scipy.sparse.csc", "csc_matrix"),
    Ch: ("chumpy.ch", "Ch"),
    Select: ("chumpy.reordering", "Select"),
}


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 wrote: protocol 2, byte strings as such, the module names of that time."""

    dispatch = dict(pickle._Pickler.dispatch)

    def __init__(self, file, names=PYTHON_2_NAMES):
        super().__init__(file, protocol=2)
        self.names = names

    def save_bytes(self, data):
        self.write(b"T" + struct.pack("<i", len(data)) + data)  # BINSTRING

    dispatch[bytes] = save_bytes

    def save_str(self, text):
        self.save_bytes(text.encode("latin1"))

    dispatch[str] = save_str

    def save_global(self, found, name=None):
        if getattr(found, "__name__", "") in ("_reconstruct", "scalar"):
            module, label = "numpy.core.multiarray", found.__name__
        else:
            module, label = self.names[found]
        self.write(b"c" + f"{module}\n{label}\n".encode())
        self.memoize(found)

    dispatch[type] = save_global
    dispatch[type(lambda: 0)] = save_global


def mano_content(mano) -> dict:
    """A MANO file's dictionary: lazily selected shapedirs, sparse regressor, unsigned faces, sentinel
    root."""
    rng = np.random.default_rng(0)
    full = np.concatenate([mano.shapedirs, rng.normal(size=(778, 3, 5))], axis=2)
    kintree = np.stack([mano.parents, np.arange(16)]).astype(np.int64)
    kintree[0, 0] = 2**32 - 1
    return {
        "v_template": mano.v_template,
        "shapedirs": Select(full, 10),
        "posedirs": np.asfortranarray(mano.posedirs),
        "J_regressor": csc_matrix(mano.J_regressor),
        "weights": mano.weights,
        "kintree_table": kintree,
        "f": mano.faces.astype(np.uint32),
        "J": Ch(rng.normal(size=(16, 3))),
        "hands_components": mano.hands_components,
        "hands_mean": mano.hands_mean,
        "hands_coeffs": rng.normal(size=(40, 45)),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


def python_2_bytes(content) -> bytes:
    buffer = io.BytesIO()
    Python2Pickler(buffer).dump(content)
    return buffer.getvalue()


def python_3_bytes(content) -> bytes:
    """A copy saved again by Python 3, which changes names and writes bytes by way of _codecs.encode."""
    data = pickle.dumps(content, protocol=2)
    for name, new in (("Ch", "chumpy.ch\nCh"), ("Select", "chumpy.reordering\nSelect")):
        data = data.replace(f"c{__name__}\n{name}\n".encode(), f"c{new}\n".encode())
    return data


@pytest.mark.parametrize("write", [python_2_bytes, python_3_bytes])
def test_a_file_of_mano_s_layout_is_read_bit_for_bit(fake_mano, tmp_path, write):
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(write(mano_content(fake_mano)))
    loaded = load_mano(path)
    for key in SHAPES:
        np.testing.assert_array_equal(getattr(loaded, key), getattr(fake_mano, key), err_msg=key)
    assert loaded.name == "MANO_RIGHT" and loaded.fingerprint() == fake_mano.fingerprint()
    converted = load_mano(loaded.save_npz(tmp_path / "out.npz"))
    assert converted.fingerprint() == fake_mano.fingerprint()


def test_the_python_2_form_uses_the_audited_names_only(fake_mano):
    data = python_2_bytes(mano_content(fake_mano))
    import pickletools

    names = {argument for opcode, argument, _ in pickletools.genops(data) if opcode.name == "GLOBAL"}
    assert names == {
        "numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype", "__builtin__ set", "chumpy.ch Ch",
        "chumpy.reordering Select", "scipy.sparse.csc csc_matrix",
    }  # fmt: skip


def test_a_left_hand_is_refused_with_the_reason(fake_mano, tmp_path):
    content = mano_content(fake_mano)
    content["v_template"] = fake_mano.v_template * [-1, 1, 1]
    (tmp_path / "MANO_LEFT.pkl").write_bytes(python_2_bytes(content))
    with pytest.raises(HandMeshError, match="mirrored right hands"):
        load_mano(tmp_path / "MANO_LEFT.pkl")


class Payload:
    def __init__(self, call, *arguments):
        self.call = call, arguments

    def __reduce__(self):
        return self.call


def refused(tmp_path, data: bytes, word: str) -> None:
    path = tmp_path / "bad.pkl"
    path.write_bytes(data)
    with pytest.raises(HandMeshError, match=word) as caught:
        read_mano_pickle(path)
    assert "\n" not in str(caught.value)


def test_a_payload_is_not_run(fake_mano, tmp_path):
    witness = tmp_path / "witness"
    for call, *arguments in ((os.system, f"touch {witness}"), (eval, f"open({str(witness)!r}, 'w')"), (exec, "1")):
        for content in (Payload(call, *arguments), {**mano_content(fake_mano), "J": Payload(call, *arguments)}):
            refused(tmp_path, pickle.dumps(content, protocol=2), "the name")
            refused(tmp_path, pickle.dumps(content, protocol=4), "the name")
    refused(tmp_path, b"\x80\x02cnumpy.core.multiarray\n_reconstruct.__globals__\n.", "the name")
    refused(tmp_path, b"\x80\x02cchumpy.ch\nCh.__init__\n.", "the name")
    assert not witness.exists()


def test_outside_references_and_states_of_names_are_refused(tmp_path):
    refused(tmp_path, b"\x80\x02U\x01aQ.", "outside the file")
    refused(tmp_path, b"Pid\n.", "outside the file")
    refused(tmp_path, b"\x80\x02\x82\x01.", "outside the file")
    # Writing attributes onto what a name stands for: BUILD on the name itself.
    for name in pickle_objects.NAMES:
        refused(tmp_path, b"\x80\x02c%s\n%s\n}U\x05stateK\x01sb." % tuple(part.encode() for part in name), "no object")


def test_every_cut_of_a_file_is_refused(fake_mano, tmp_path):
    data = python_2_bytes(mano_content(fake_mano))
    for size in (0, 1, 2, 10, 100, 5000, len(data) // 2, len(data) - 1):
        refused(tmp_path, data[:size], "expected an unmodified")
    with pytest.raises(HandMeshError, match="could not read"):
        read_mano_pickle(tmp_path / "none.pkl")


def array_bytes(shape: bytes, dtype: bytes, data: bytes) -> bytes:
    """A dictionary with one array of the given declared shape, type and data, written by hand."""
    head = b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01" + shape
    kind = b"cnumpy\ndtype\nU" + struct.pack("B", len(dtype)) + dtype + b"K\x00K\x01\x87R(K\x03U\x01<NNNJ"
    return head + kind + b"\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89" + data + b"tbs."


def test_arrays_that_lie_about_themselves_are_refused(tmp_path):
    eight = b"U\x08" + b"\0" * 8
    good = read_good(tmp_path, array_bytes(b"K\x01\x85", b"f8", eight))
    np.testing.assert_array_equal(good["a"], [0.0])
    huge = b"\x8a\x05" + (2**33).to_bytes(5, "little")
    refused(tmp_path, array_bytes(huge + b"\x85", b"f8", eight), "bytes of data")
    refused(tmp_path, array_bytes(b"K\x02\x85", b"f8", eight), "bytes of data")
    refused(tmp_path, array_bytes(b"J\xff\xff\xff\xff\x85", b"f8", eight), "plain numbers")
    refused(tmp_path, array_bytes(b"K\x01\x85", b"O8", eight), "type")
    refused(tmp_path, array_bytes(b"K\x01\x85", b"V8", eight), "type")
    refused(tmp_path, array_bytes(b"K\x01\x85", b"f8", b"]U\x01a"), "expected")


def read_good(tmp_path, data: bytes) -> dict:
    (tmp_path / "good.pkl").write_bytes(data)
    return read_mano_pickle(tmp_path / "good.pkl")


def test_memory_bombs_are_refused_before_they_go_off(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_good(tmp_path, b"\x80\x02}r\xff\xff\xff\x7f.") == {}  # a memo of two thousand million entries
    refused(tmp_path, b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc.", "no readable pickle")  # BINBYTES8
    refused(tmp_path, b"\x80\x02" + b"]" * 300_000 + b".", "far more parts")
    refused(tmp_path, b"\x80\x02}" + b"\0" * pickle_reader.MAX_FILE_BYTES, "16 MB")
    text = b"X" + struct.pack("<I", 4_000_000) + b"a" * 4_000_000 + b"q\x02"
    refused(tmp_path, b"\x80\x02}" + text + b"c_codecs\nencode\nh\x02U\x06latin1\x86R" * 200 + b".", "64 MB of arrays")
    sparse = Ch(None)
    sparse.__dict__.update(_shape=(10**6, 10**6), data=np.zeros(1), indices=np.zeros(1, int), indptr=np.zeros(2, int))
    data = python_2_bytes({"J_regressor": sparse}).replace(b"chumpy.ch\nCh", b"scipy.sparse.csc\ncsc_matrix")
    refused(tmp_path, data, "sparse matrix of shape")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300_000  # kB


def seconds_to_refuse(tmp_path, data: bytes, word: str) -> float:
    start = time.perf_counter()
    refused(tmp_path, data, word)
    return time.perf_counter() - start


def test_games_of_the_stack_and_of_sharing_end_at_once(tmp_path):
    # Tuples that hold one another twice: hashing the outermost takes 2 to the power of its depth.
    nested = b")" + b"q\x00h\x00\x86" * 60
    sets = b"\x80\x02}(" + b"N" * 8000 + b"lq\x00" + b"c__builtin__\nset\nh\x00\x85R" * 2000
    # A selection out of itself twice, of that one twice, and so on.
    zero = array_bytes(b"K\x01\x85", b"i8", b"U\x08" + b"\0" * 8)
    array = zero[zero.index(b"cnumpy.core") : zero.rindex(b"s.")] + b"q\x00"
    step = b"cchumpy.reordering\nSelect\n)\x81}(U\x01ah\x00U\x04idxsh\x00U\x0fpreferred_shapeK\x01\x85ubq\x00"
    for data, word in (
        (b"\x80\x02}" + b")" + b"2\x86" * 60 + b"Ns.", "DUP"),
        (b"\x80\x02}" + nested + b"Ns.", "something else than names"),
        (b"\x80\x04}(" + nested + b"\x91Ns.", "FROZENSET"),
        (b"\x80\x02}K\x01K\x02s.", "something else than names"),
        (b"\x80\x02}X" + struct.pack("<I", 999) + b"a" * 999 + b"Ns.", "something else than names"),
        (b"\x80\x02)" + b"\x85" * 100_000 + b".", "far more parts"),
        (sets + b"0.", "POP"),
        (b"\x80\x02}(U\x01a" + array + (b"U\x01b" + step) * 40 + b"u.", "deeper than"),
        (b"\x80\x02}U\x01acchumpy.ch\nCh\n)\x81q\x00}U\x01xh\x00sbs.", "deeper than"),
        (b"\x80\x02}U\x01a\x8b" + struct.pack("<i", 90_000) + b"\x01" * 90_000 + b"s.", "64 bits"),
    ):
        assert seconds_to_refuse(tmp_path, data, word) < 10


def test_sparse_matrices_share_one_budget(tmp_path):
    sparse = Ch(None)
    sparse.__dict__.update(_shape=(2000, 2000), data=np.zeros(0), indices=np.zeros(0, int), indptr=np.zeros(2001, int))
    data = python_2_bytes({f"m{i}": sparse for i in range(3)})
    refused(tmp_path, data.replace(b"chumpy.ch\nCh", b"scipy.sparse.csc\ncsc_matrix"), "64 MB of arrays")


def test_ctrl_c_ends_the_reading(tmp_path, fake_mano, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pickle_reader._Machine, "_follow", interrupt)
    (tmp_path / "a.pkl").write_bytes(python_2_bytes(mano_content(fake_mano)))
    with pytest.raises(KeyboardInterrupt):
        read_mano_pickle(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("indices", np.array([0, 99]), "indices do not fit"),
        ("indptr", np.array([0, 5, 2]), "indices do not fit"),
        ("indptr", np.array([0, 2]), "shape"),
        ("indices", np.array([0.5, 1.0]), "parts do not fit"),
    ],
)
def test_sparse_matrices_with_wrong_indices_are_refused(tmp_path, key, value, word):
    matrix = Ch(None)
    parts = {"_shape": (3, 2), "data": np.ones(2), "indices": np.array([0, 1]), "indptr": np.array([0, 1, 2])}
    matrix.__dict__.update(parts)
    name = (b"chumpy.ch\nCh", b"scipy.sparse.csc\ncsc_matrix")
    good = read_good(tmp_path, python_2_bytes({"m": matrix}).replace(*name))
    np.testing.assert_array_equal(good["m"], [[1, 0], [0, 1], [0, 0]])
    matrix.__dict__[key] = value
    refused(tmp_path, python_2_bytes({"m": matrix}).replace(*name), word)


def test_a_select_that_points_outside_is_refused(tmp_path):
    select = Select(np.arange(30.0).reshape(5, 2, 3), 2)
    np.testing.assert_array_equal(
        read_good(tmp_path, python_2_bytes({"s": select}))["s"], np.arange(30.0).reshape(5, 2, 3)[..., :2]
    )
    select.idxs = select.idxs + 20
    refused(tmp_path, python_2_bytes({"s": select}), "outside its array")
    select.idxs, select.preferred_shape = np.arange(3), (4,)
    refused(tmp_path, python_2_bytes({"s": select}), "shape does not fit")


def test_foreign_files_are_refused(tmp_path):
    refused(tmp_path, pickle.dumps([1, 2], protocol=2), "dictionary")
    refused(tmp_path, pickle.dumps({1: 2}, protocol=2), "dictionary")
    refused(tmp_path, b"PK\x03\x04 not a pickle", "expected an unmodified")
    rng = np.random.default_rng(0)
    for _ in range(50):
        refused(tmp_path, rng.bytes(200), "expected")
