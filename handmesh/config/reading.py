"""A config from a YAML file, from ``key=value`` words and from plain dictionaries; each holds only what differs."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Gt
from pydantic import TypeAdapter

from handmesh.config.messages import schema_of
from handmesh.config.settings import Config, Real
from handmesh.errors import HandMeshError, reason_of

#: What follows in a word is a folder, dots and all.
_MIXTURES = (("data", "mixture"), ("detector", "scenes"))
_MAX_FILE_BYTES = 2**20
_MAX_BASES = 32
_WEIGHT: TypeAdapter[float] = TypeAdapter(Annotated[Real, Gt(0)])


def load_config(path: str | Path | None = None, overrides: list[str] | None = None) -> Config:
    """The defaults, changed by a YAML file, changed by ``key=value`` words.

    Args:
        path: of a file that holds only what differs from the defaults, or from the file that its first key, ``base``,
            names (relative to it). A mixture takes the place of the base's.
        overrides: words such as ``train.steps=100`` or ``data.mixture.FOLDER=0.5``.

    Raises:
        HandMeshError: no such file, not YAML, an unknown key (naming the nearest and all valid ones), a wrong type, a
            number out of its range.
    """
    values = config_to_dict(Config())
    layers = [] if path is None else _files(Path(path))
    layers += [(word, _read_word(word)) for word in overrides or []]
    config = Config()
    for name, layer in layers:
        for section, key in _MIXTURES:
            part = layer.get(section)
            is_word = name.startswith(f"{section}.{key}.")
            if isinstance(part, dict) and isinstance(part.get(key), dict) and not is_word:
                values[section][key] = {}  # A mixture is one value; only its own words change a folder's weight.
        values = _merged(values, layer)
        try:
            config = config_from_dict(values)
        except HandMeshError as error:
            raise HandMeshError(f"{str(name)[-200:]}: {error}") from error
    return config


def _files(path: Path, seen: tuple[Path, ...] = ()) -> list[tuple[str, dict[str, Any]]]:
    """The file's settings after those of the files it is based on."""
    content = _read_file(path)
    base = content.pop("base", None)
    if base is None:
        return [(str(path), content)]
    seen = (*seen, path.resolve())
    below = path.parent / str(base)
    if below.resolve() in seen:
        raise HandMeshError(f"expected another file as base of {path}, got {str(base)[:80]}: it is based on this one")
    if len(seen) > _MAX_BASES:
        raise HandMeshError(f"expected at most {_MAX_BASES} files below one another as bases, got more at {path}")
    return [*_files(below, seen), (str(path), content)]


def _read_file(path: Path) -> dict[str, Any]:
    from yaml import YAMLError

    from handmesh.yaml_text import read_yaml

    # Not Path.is_file, which raises for a name that is longer than the system allows.
    if not os.path.isfile(path):
        raise HandMeshError(f"expected a config file, got {str(path)[:200]}: no such file; see the configs/ folder")
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ValueError("a file of more than 1 MB")
        content = read_yaml(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, YAMLError) as error:
        line = reason_of(error)
        raise HandMeshError(f"expected settings in {path}, got {line}; see the configs/ folder") from error
    if not isinstance(content, dict):
        raise HandMeshError(f"expected {path} to hold key: value lines, got a list or text; see the configs/ folder")
    return content


def _read_word(word: str) -> dict[str, Any]:
    """``a.b=value`` as nested dictionaries; what is no YAML is text."""
    from yaml import YAMLError

    from handmesh.yaml_text import read_yaml

    if "=" not in word:
        raise HandMeshError(f"expected key=value, got {word[:200]!r}; for example train.steps=1000")
    for section, name in _MIXTURES:
        if word.startswith(f"{section}.{name}."):
            return {section: {name: _weight(word, f"{section}.{name}.")}}
    key, _, text = word.partition("=")
    try:
        value = read_yaml(text)
    except (ValueError, YAMLError):
        value = text
    *sections, name = key.split(".")
    is_text = schema_of(Config, [*sections, name]).get("type") == "string"
    result = {name: text if is_text and not isinstance(value, str) else value}
    for section in reversed(sections):
        result = {section: result}
    return result


def _weight(word: str, mixture: str) -> dict[str, Any]:
    """The folder and the weight of ``data.mixture.FOLDER=WEIGHT``; ``mixture`` is what stands before the folder."""
    folder, _, text = word.removeprefix(mixture).rpartition("=")
    try:
        if not folder:
            raise ValueError("no folder")
        return {folder: _WEIGHT.validate_python(float(text))}
    except ValueError:
        raise HandMeshError(
            f"expected {mixture}FOLDER=WEIGHT with a number above 0, got {word[:200]!r}; "
            f"for example {mixture}synthetic=1"
        ) from None


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``values`` with ``changes`` laid over them, section by section; an empty section changes nothing."""
    result = dict(values)
    for key, value in changes.items():
        old = result.get(key)
        if isinstance(old, dict) and (value is None or isinstance(value, dict)):
            result[key] = _merged(old, value or {})
        else:
            result[key] = "" if value is None and isinstance(old, str) else value
    return result


def config_to_dict(config: Any) -> dict[str, Any]:
    """A config (or any part of one) as plain nested dictionaries, for JSON."""
    return dataclasses.asdict(config)


def config_from_dict(values: dict[str, Any], kind: type[Any] = Config) -> Any:
    """The inverse of :func:`config_to_dict`; keys that are missing take their defaults.

    Raises:
        HandMeshError: not a dictionary, a key that ``kind`` does not have, a value that does not fit.
    """
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        got = type(values).__name__
        raise HandMeshError(f"expected names and values of a config, got {got}; see handmesh/config/settings.py")
    return kind(**values)


def without_folders(config: Config) -> Config:
    """The config with folders and files by their last name only: where they lay is nobody else's business."""
    data = dataclasses.replace(
        config.data,
        root=Path(config.data.root).name,
        val_root=Path(config.data.val_root).name,
        backgrounds=Path(config.data.backgrounds).name,
        mixture={Path(name).name: weight for name, weight in config.data.mixture.items()},
    )
    detector = dataclasses.replace(
        config.detector,
        val_scenes=Path(config.detector.val_scenes).name,
        held_out=Path(config.detector.held_out).name,
        # Of data/scenes/training the last name alone says nothing.
        scenes={"/".join(Path(name).parts[-2:]): weight for name, weight in config.detector.scenes.items()},
    )
    start, teacher = Path(config.train.start_from).name, Path(config.train.teacher).name
    train = dataclasses.replace(config.train, start_from=start, teacher=teacher)
    return dataclasses.replace(
        config, data=data, train=train, detector=detector, mano=Path(config.mano).name,
        output=Path(config.output).name, resume=False,
    )  # fmt: skip
