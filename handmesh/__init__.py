"""handmesh: 3D hand meshes from a colour picture, a clip or a webcam, in real time.

Only the public names live here, and each is loaded when it is first used, so that importing the package is free.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from handmesh._version import __version__

_PUBLIC: dict[str, str] = {
    "CameraCalibration": "handmesh.io.calibration",
    "Detection": "handmesh.results",
    "Hand": "handmesh.results",
    "HandMeshError": "handmesh.errors",
    "HandMeshPredictor": "handmesh.inference.predictor",
    "HandTracker": "handmesh.inference.tracking.tracker",
    "Recording": "handmesh.motion.recording",
    "draw_hands": "handmesh.rendering.overlay",
    "load_mano": "handmesh.mano.arrays",
    "read_image": "handmesh.io.images",
    "write_image": "handmesh.io.images",
}
__all__ = [*sorted(_PUBLIC), "__version__"]

if TYPE_CHECKING:
    from handmesh.errors import HandMeshError as HandMeshError
    from handmesh.inference.predictor import HandMeshPredictor as HandMeshPredictor
    from handmesh.inference.tracking.tracker import HandTracker as HandTracker
    from handmesh.io.calibration import CameraCalibration as CameraCalibration
    from handmesh.io.images import read_image as read_image
    from handmesh.io.images import write_image as write_image
    from handmesh.mano.arrays import load_mano as load_mano
    from handmesh.motion.recording import Recording as Recording
    from handmesh.rendering.overlay import draw_hands as draw_hands
    from handmesh.results import Detection as Detection
    from handmesh.results import Hand as Hand


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'handmesh' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
