"""Settings: defaults, files and words in that order; nothing unknown slips through."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from handmesh.config import Config, config_from_dict, config_to_dict, load_config
from handmesh.errors import HandMeshError


def test_words_win_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("model:\n  backbone: fastvit_sa12\ntrain:\n  steps: 7\n  batch_size: 3\n")
    config = load_config(path, ["train.steps=9"])
    assert config.model.backbone == "fastvit_sa12"
    assert (config.train.steps, config.train.batch_size) == (9, 3)
    assert config.train.loss == Config().train.loss


def test_round_trip_through_plain_dictionaries() -> None:
    config = load_config(None, ["data.augment.scale=0.5", "seed=3"])
    assert config_from_dict(config_to_dict(config)) == config
    assert config.data.augment.scale == 0.5


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("train.stps=5", "did you mean train.steps"),
        ("colour=red", "valid keys here: data, mano, model"),
        ("train.steps=many", "train.steps"),
        ("train.steps", "expected key=value"),
    ],
)
def test_a_wrong_word_is_named(word: str, message: str) -> None:
    with pytest.raises(HandMeshError, match=message):
        load_config(None, [word])


def test_of_several_words_the_wrong_one_is_named() -> None:
    with pytest.raises(HandMeshError, match="^train.steps=many: "):
        load_config(None, ["seed=1", "train.steps=many", "data.workers=0"])


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HandMeshError, match="no such file"):
        load_config(tmp_path / "absent.yaml")
    broken = tmp_path / "broken.yaml"
    for text in ("train: [1, 2", "- a\n- b\n", "train:\n  stps: 1\n"):
        broken.write_text(text)
        with pytest.raises(HandMeshError, match="broken.yaml"):
            load_config(broken)


def test_a_foreign_dictionary_is_refused() -> None:
    values = config_to_dict(Config())
    values["model"]["depth"] = 3
    with pytest.raises(HandMeshError, match=r"unknown key model\.depth"):
        config_from_dict(values)


def test_a_mixture_names_any_folders(tmp_path: Path) -> None:
    path = tmp_path / "mixture.yaml"
    path.write_text("data:\n  source: mixture\n  mixture:\n    /data/a.b: 3\n    synthetic: 1\n")
    config = load_config(path)
    assert config.data.mixture == {"/data/a.b": 3.0, "synthetic": 1.0}
    assert config_from_dict(config_to_dict(config)) == config


def test_settings_do_not_change_under_a_run() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().seed = 1  # type: ignore[misc]


def test_every_shipped_config_loads() -> None:
    folder = Path(__file__).parent.parent / "configs"
    paths = sorted(folder.glob("*.yaml"))
    assert paths
    for path in paths:
        assert isinstance(load_config(path), Config)
