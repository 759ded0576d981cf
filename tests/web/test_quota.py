"""What visitors leave on the disk stays within its limits, whoever was first goes first, and nothing in use goes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from handmesh.web.quota import FileQuota


def put(folder: Path, name: str, size: int, age_s: float) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (time.time() - age_s, time.time() - age_s))
    return path


@pytest.mark.parametrize("seed", range(5))
def test_what_stays_is_the_newest_that_fits(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes, ages = rng.integers(1, 400, 30), rng.permutation(30) * 10.0 + 1
    paths = [put(tmp_path, f"uploads/{i % 4}/{i}.jpg", int(sizes[i]), float(ages[i])) for i in range(30)]
    quota = FileQuota(tmp_path, max_bytes=2000, max_files=12, max_age_s=250.0)
    removed = quota.enforce()
    kept = [i for i in range(30) if paths[i].exists()]
    assert removed == 30 - len(kept) > 0
    assert sum(sizes[i] for i in kept) <= 2000 and len(kept) <= 12
    newest_first = sorted(range(30), key=lambda i: ages[i])
    assert sorted(kept) == sorted(newest_first[: len(kept)])
    following = newest_first[len(kept)]
    fits = len(kept) < 12 and sum(sizes[i] for i in kept) + sizes[following] <= 2000
    assert not fits or ages[following] > 250.0, "no more went than had to"
    assert quota.enforce() == 0


def test_a_file_in_use_stays_though_it_is_the_oldest(tmp_path: Path) -> None:
    old, young = put(tmp_path, "uploads/old", 60, 500.0), put(tmp_path, "uploads/young", 60, 5.0)
    quota = FileQuota(tmp_path, max_bytes=100, max_files=10, max_age_s=100.0)
    with quota.in_use(old), quota.in_use(old):
        quota.enforce()
        assert old.exists() and not young.exists()
    quota.enforce()
    assert not old.exists()


def test_folders_left_empty_go_but_not_those_that_others_write_into(tmp_path: Path) -> None:
    put(tmp_path, "results/hand-1/hands.glb", 10, 500.0)
    quota = FileQuota(tmp_path, max_bytes=100, max_files=10, max_age_s=100.0)
    quota.enforce()
    os.utime(tmp_path / "results" / "hand-1", (1.0, 1.0))
    os.utime(tmp_path / "results", (1.0, 1.0))
    quota.enforce()
    assert (tmp_path / "results").is_dir() and not (tmp_path / "results" / "hand-1").exists()


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = put(tmp_path, "outside/photo.jpg", 5000, 500.0)
    inside = tmp_path / "page" / "uploads"
    inside.mkdir(parents=True)
    (inside / "link").symlink_to(outside.parent)
    (inside / "photo").symlink_to(outside)
    FileQuota(tmp_path / "page", max_bytes=100, max_files=1, max_age_s=1e9).enforce()
    assert outside.exists()
