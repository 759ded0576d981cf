"""Settings: defaults, files and words in that order; nothing unknown slips through."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from handmesh.config import (
    Config,
    DataConfig,
    ModelConfig,
    config_from_dict,
    config_to_dict,
    load_config,
    without_folders,
)
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
        ("colour=red", "valid keys here: data, detector, mano, model"),
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


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("task", "mesh or detector"),
        ("model.head", "aligned or pooled"),
        ("data.source", "freihand, synthetic or mixture"),
        ("train.schedule", "cosine or step"),
        ("train.precision", "no, bf16 or fp16"),
        ("train.device", "auto, cpu or cuda"),
        ("train.optimizer", "text of at most 60 letters"),
    ],
)
def test_a_word_of_a_list_is_checked_where_the_settings_are(key: str, words: str) -> None:
    with pytest.raises(HandMeshError, match=f"expected {key} to be {words}, got 'zz") as caught:
        load_config(None, [f"{key}={'z' * 100_000}"])
    assert len(str(caught.value)) < 400


def test_a_bare_no_of_yaml_is_the_word(tmp_path: Path) -> None:
    path = tmp_path / "no.yaml"
    path.write_text("train: {precision: no}\n")
    assert load_config(path).train.precision == load_config(None, ["train.precision=no"]).train.precision == "no"


def test_both_ends_of_every_range_are_held() -> None:
    schema = TypeAdapter(Config).json_schema()
    sections = {"model": "ModelConfig", "data": "DataConfig", "train": "TrainConfig", "data.augment": "AugmentConfig"}
    checked = 0
    for prefix, section in sections.items():
        for name, setting in schema["$defs"][section]["properties"].items():
            for end, change in (("minimum", -1), ("maximum", 1)):
                if end in setting:
                    load_config(None, [f"{prefix}.{name}={setting[end]}"])
                    with pytest.raises(HandMeshError, match=f"expected {prefix}.{name} to be"):
                        load_config(None, [f"{prefix}.{name}={setting[end] + change}"])
                    checked += 1
    assert checked > 40


def test_settings_made_in_code_are_checked_alike() -> None:
    with pytest.raises(HandMeshError, match="expected width to be a whole number, 4 to 1024, a multiple of 4, got 30"):
        ModelConfig(width=30)
    with pytest.raises(HandMeshError, match="expected workers to be a whole number, 0 to 4096, got True"):
        DataConfig(workers=True)
    with pytest.raises(HandMeshError, match="expected image_size"):
        dataclasses.replace(ModelConfig(), image_size=8)


def test_a_file_says_only_what_differs_from_its_base(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("seed: 4\ntrain: {steps: 7, batch_size: 3}\ndata: {mixture: {a: 1, b: 2}}\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "middle.yaml").write_text("base: ../base.yaml\ntrain: {steps: 8}\n")
    path = tmp_path / "deep" / "top.yaml"
    path.write_text("base: middle.yaml\ndata: {mixture: {c: 3}}\n")
    config = load_config(path, ["data.mixture.d=1"])
    assert (config.seed, config.train.steps, config.train.batch_size) == (4, 8, 3)
    assert config.data.mixture == {"c": 3.0, "d": 1.0}
    assert load_config(tmp_path / "deep" / "middle.yaml").data.mixture == {"a": 1.0, "b": 2.0}


@pytest.mark.parametrize("base", ["none.yaml", "x" * 5000, "a/" * 3000])
def test_a_base_that_is_not_there_is_named_in_a_short_line(base: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(f"base: {base}\n")
    with pytest.raises(HandMeshError, match="no such file") as caught:
        load_config(tmp_path / "run.yaml")
    assert len(str(caught.value)) < 300


def test_bases_may_lie_many_deep_but_not_without_end(tmp_path: Path) -> None:
    (tmp_path / "0.yaml").write_text("seed: 5\n")
    for number in range(1, 40):
        (tmp_path / f"{number}.yaml").write_text(f"base: {number - 1}.yaml\n")
    assert load_config(tmp_path / "20.yaml").seed == 5
    with pytest.raises(HandMeshError, match="at most 32 files below one another"):
        load_config(tmp_path / "39.yaml")


def test_bases_that_go_round_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n")
    with pytest.raises(HandMeshError, match="based on this one"):
        load_config(tmp_path / "a.yaml")
    (tmp_path / "c.yaml").write_text("base: absent.yaml\n")
    with pytest.raises(HandMeshError, match="absent.yaml: no such file"):
        load_config(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("word", "output"), [("output=2024", "2024"), ("output=a: b", "a: b"), ("output=@x", "@x"), ("output=", "")]
)
def test_a_name_may_look_like_anything(word: str, output: str) -> None:
    assert load_config(None, [word]).output == output


def test_settings_do_not_change_under_a_run() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().seed = 1  # type: ignore[misc]


def test_every_shipped_config_loads() -> None:
    folder = Path(__file__).parent.parent / "configs"
    paths = sorted(folder.rglob("*.yaml"))
    assert paths
    for path in paths:
        assert isinstance(load_config(path), Config)
