"""Which values settings may have: the type of their default, numbers in their range.

Knows names and bounds; does not know what the settings do, nor which words a setting takes: who uses a word checks it.
"""

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
    "data.workers": (0, 4096),
    "data.render_size": (16, 4096),
    "train.steps": (1, math.inf),
    "train.batch_size": (1, math.inf),
    "train.accumulate": (1, math.inf),
    "train.warmup_steps": (0, math.inf),
    "train.validate_every": (1, math.inf),
    "train.save_every": (1, math.inf),
    "train.log_every": (1, math.inf),
    "train.shares_every": (0, math.inf),
    "train.pictures": (0, math.inf),
    "train.max_minutes": (0, math.inf),
    "train.min_steps": (0, math.inf),
    "seed": (0, math.inf),
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
            if not 0 < weight < math.inf:
                raise HandMeshError(
                    f"expected a weight above 0 for data.mixture.{folder}, got {weight:g}; leave the folder out instead"
                )


def _check_value(name: str, value: Any, kind: type) -> None:
    # True is an int to Python, and no number here.
    if not isinstance(value, _KINDS.get(kind, (kind,))) or (isinstance(value, bool) and kind is not bool):
        raise HandMeshError(f"expected {name} to be {_WORDS.get(kind, f'a {kind.__name__}')}, got {value!r}")
    least, most = RANGES.get(name, (-math.inf, math.inf))
    step = MULTIPLES.get(name, 1)
    if isinstance(value, int | float) and not (least <= value <= most and (step == 1 or value % step == 0)):
        limits = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
        multiple = f", a multiple of {step}," if step > 1 else ""
        raise HandMeshError(f"expected {name} to be {limits}{multiple}, got {value}; see handmesh/config.py")
