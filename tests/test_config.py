"""Settings: defaults, files and words in that order; nothing unknown slips through."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from handmesh.config import Config, config_from_dict, config_to_dict, load_config, without_folders
from handmesh.config_ranges import MULTIPLES, RANGES
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


def test_a_config_to_give_away_says_where_nothing_lay() -> None:
    words = [
        "mano=/home/me/mano_right.npz", "data.root=/home/me/a", "data.val_root=/home/me/b", "data.mixture./home/me/c=1",
        "data.backgrounds=/home/me/d", "train.start_from=/home/me/e", "train.teacher=/home/me/f", "output=/home/me/g",
    ]  # fmt: skip
    config = without_folders(load_config(None, words))
    assert "/home" not in str(config) and config.mano == "mano_right.npz"
    assert without_folders(Config()).mano == "open"


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


def test_a_mixture_in_words_takes_any_path() -> None:
    config = load_config(None, ["data.mixture.../data/synth.v2=3", "data.mixture.a=b=0.5", "data.mixture.synthetic=1"])
    assert config.data.mixture == {"../data/synth.v2": 3.0, "a=b": 0.5, "synthetic": 1.0}


@pytest.mark.parametrize("weight", ["many", "0", "-1", "nan", "inf", ""])
def test_a_weight_of_a_mixture_is_a_number_above_0(weight: str, tmp_path: Path) -> None:
    with pytest.raises(HandMeshError, match=r"data\.mixture\.FOLDER=WEIGHT with a number above 0, got 'data.mixture.x"):
        load_config(None, [f"data.mixture.x={weight}"])
    path = tmp_path / "mixture.yaml"
    path.write_text(f"data:\n  mixture:\n    x.y: {weight or 'null'}\n")
    with pytest.raises(HandMeshError, match=r"mixture.*x\.y|mixture.yaml"):
        load_config(path)


@pytest.mark.parametrize(
    "word",
    [
        "train.validate_every=0", "train.save_every=0", "train.log_every=0", "train.steps=0", "train.accumulate=0",
        "train.batch_size=0", "model.width=30", "model.width=0", "model.image_size=-32", "data.workers=-1", "seed=-1",
    ],
)  # fmt: skip
def test_a_number_out_of_its_range_is_named(word: str) -> None:
    key, value = word.split("=")
    with pytest.raises(HandMeshError, match=rf"expected {key} to be .*, got {value};"):
        load_config(None, [word])


def test_every_range_is_of_a_setting() -> None:
    for name in (*RANGES, *MULTIPLES):
        value = config_to_dict(Config())
        for part in name.split("."):
            value = value[part]
    assert load_config(None, ["train.shares_every=0", "train.max_minutes=0"]).train.shares_every == 0


def test_settings_do_not_change_under_a_run() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().seed = 1  # type: ignore[misc]


def test_every_shipped_config_loads() -> None:
    folder = Path(__file__).parent.parent / "configs"
    paths = sorted(folder.glob("*.yaml"))
    assert paths
    for path in paths:
        assert isinstance(load_config(path), Config)
