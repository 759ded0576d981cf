"""Labelled pictures of the hand model: posed, lit, put before a background and degraded as a camera would.

Every sample is a pure function of (seed, index). Needs numpy, scipy, numba and OpenCV; never torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from handmesh.synthesis.dataset.dataset_writer import write_dataset as write_dataset
    from handmesh.synthesis.generator import SampleGenerator as SampleGenerator

_HOME = {
    "SampleGenerator": "handmesh.synthesis.generator",
    "write_dataset": "handmesh.synthesis.dataset.dataset_writer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
