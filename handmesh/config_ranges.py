"""Which values settings may have: the type of their default, numbers in their range."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from handmesh.errors import HandMeshError

#: Least and largest value. The network's upper bounds are far beyond what is of use: they keep a damaged or foreign
#: checkpoint from filling the memory before its arrays are looked at.
RANGES: dict[str, tuple[float, float]] = {
    "model.drop_path": (0, 0.99),
    "model.image_size": (32, 1024),
    "model.width": (4, 1024),
    "model.blocks": (0, 16),
    "model.refinements": (0, 8),
    # The network sees a square of so many sides of its box: below 1 it is cut, above 4 a hand is a speck.
    "data.crop_padding": (1, 4),
    "data.workers": (0, 4096),
    "data.render_size": (16, 4096),
    "train.steps": (1, 10**9),
    "train.batch_size": (1, 10**6),
    "train.accumulate": (1, 10**6),
    "train.warmup_steps": (0, math.inf),
    "train.validate_every": (1, math.inf),
    "train.save_every": (1, math.inf),
    "train.log_every": (1, math.inf),
    "train.shares_every": (0, math.inf),
    "train.pictures": (0, math.inf),
    "train.max_minutes": (0, math.inf),
    "train.min_steps": (0, math.inf),
    # Generators of random numbers take 64 bits, one of them for a sign.
    "seed": (0, 2**63 - 1),
}
#: The attention's heads share the width out evenly.
MULTIPLES = {"model.width": 4}
_KINDS: dict[type, tuple[type, ...]] = {float: (int, float)}
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def check_ranges(settings: Any, prefix: str = "") -> None:
    """Look at a config, or at a part of one (``prefix`` is then its name and a dot).

    Raises:
        HandMeshError: a value of another type than its default, or outside its range; it names the key.
    """
    usual = type(settings)()
    for spec in dataclasses.fields(settings):
        name, value, default = prefix + spec.name, getattr(settings, spec.name), getattr(usual, spec.name)
        if dataclasses.is_dataclass(default):
            check_ranges(value, f"{name}.")
        else:
            _check_value(name, value, type(default))
    if prefix == "data.":
        for folder, weight in settings.mixture.items():
            is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
            if not is_number or not 0 < weight < math.inf:
                raise HandMeshError(
                    f"expected a weight above 0 for data.mixture.{folder}, got {str(weight)[:40]}; "
                    "leave the folder out instead"
                )


def _check_value(name: str, value: Any, kind: type) -> None:
    # True is an int to Python, and no number here.
    if not isinstance(value, _KINDS.get(kind, (kind,))) or (isinstance(value, bool) and kind is not bool):
        raise HandMeshError(f"expected {name} to be {_WORDS.get(kind, f'a {kind.__name__}')}, got {_shown(value)}")
    if isinstance(value, str) and "\0" in value:
        raise HandMeshError(f"expected {name} to be text, got {value[:40]!r}: a zero byte in it; check its spelling")
    if isinstance(value, list):
        for entry in value:
            _check_value(f"each entry of {name}", entry, float)
    least, most = RANGES.get(name, (-math.inf, math.inf))
    step = MULTIPLES.get(name, 1)
    if isinstance(value, float) and not math.isfinite(value):
        raise HandMeshError(f"expected {name} to be a finite number, got {value}; see handmesh/config.py")
    if isinstance(value, int | float) and not (least <= value <= most and (step == 1 or value % step == 0)):
        limits = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
        multiple = f", a multiple of {step}," if step > 1 else ""
        raise HandMeshError(f"expected {name} to be {limits}{multiple}, got {_shown(value)}; see handmesh/config.py")


def _shown(value: Any) -> str:
    """The value as text, however long it is: Python refuses to write whole numbers of thousands of digits."""
    try:
        return repr(value)[:60]
    except ValueError:
        return "a number of thousands of digits"
