"""The packed file gives the folder's samples to the bit, and a cut, damaged or outdated one is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from handmesh.data.freihand import FreiHandDataset, image_path
from handmesh.data.packed import PackedDataset, open_split, pack_path, pack_split
from handmesh.errors import HandMeshError


@pytest.mark.parametrize("split", ["training", "evaluation"])
def test_packed_samples_are_the_folder_s_samples(freihand_root, fake_mano, split):
    folder = FreiHandDataset(freihand_root, split, fake_mano.hands_mean)
    pack_split(freihand_root, split)
    packed = open_split(freihand_root, split, fake_mano.hands_mean)
    assert isinstance(packed, PackedDataset)
    assert len(packed) == len(folder) and packed.fingerprint() == folder.fingerprint()
    for index in range(len(folder)):
        wanted, got = folder.sample(index), packed.sample(index)
        assert wanted.keys() == got.keys()
        for key in wanted:
            np.testing.assert_array_equal(got[key], wanted[key], err_msg=key)
    packed.verify()


def test_versions_are_packed_too(freihand_root):
    for index in range(6):
        content = image_path(freihand_root, "training", (index + 1) % 6).read_bytes()
        image_path(freihand_root, "training", 6 + index).write_bytes(content)
    folder = FreiHandDataset(freihand_root)
    pack_split(freihand_root, "training")
    packed = PackedDataset(freihand_root)
    assert len(packed) == 12 and packed.unique == 6
    np.testing.assert_array_equal(packed.sample(9)["image"], folder.sample(9)["image"])
    np.testing.assert_array_equal(packed.sample(9)["joints"], folder.sample(3)["joints"])


def test_without_a_pack_the_folder_is_read(freihand_root):
    assert type(open_split(freihand_root, "training")) is FreiHandDataset


def test_a_cut_damaged_or_outdated_pack_is_refused(freihand_root):
    path = pack_split(freihand_root, "training")
    data = path.read_bytes()
    description = json.loads(data[data.rindex(b'{"split"') : -16])
    for size in (0, 5, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(HandMeshError, match="handmesh pack"):
            PackedDataset(freihand_root)
    label = bytearray(data)
    label[description["arrays"]["vertices"]["offset"] + 50] ^= 1
    path.write_bytes(label)
    with pytest.raises(HandMeshError, match="other bytes in its vertices"):
        PackedDataset(freihand_root)
    pixel = bytearray(data)
    pixel[description["arrays"]["images"]["offset"] + 5000] ^= 1
    path.write_bytes(pixel)
    with pytest.raises(HandMeshError, match="other bytes in its images"):
        PackedDataset(freihand_root).verify()
    path.write_bytes(data)
    (freihand_root / "training_scale.json").write_text("[0.0306, 0.0305, 0.0304, 0.0303, 0.0302, 0.03011]")
    with pytest.raises(HandMeshError, match="other annotations"):
        PackedDataset(freihand_root)


def test_a_bad_image_leaves_no_pack(freihand_root):
    image_path(freihand_root, "training", 3).write_bytes(b"")
    with pytest.raises(HandMeshError, match="00000003"):
        pack_split(freihand_root, "training")
    assert not pack_path(freihand_root, "training").exists()
    assert not list(freihand_root.glob(".training*"))
