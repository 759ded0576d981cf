"""handmesh: 3D hand meshes from a colour picture, a clip or a webcam, in real time.

Only the public names live here, and each is loaded when it is first used, so that importing the package is free.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC: dict[str, str] = {
    "CameraCalibration": "handmesh.video.calibration",
    "Detection": "handmesh.hand",
    "Hand": "handmesh.hand",
    "HandMeshError": "handmesh.errors",
    "HandMeshPredictor": "handmesh.predictor",
    "HandTracker": "handmesh.tracker",
    "draw_hands": "handmesh.rendering.overlay",
    "load_mano": "handmesh.mano.arrays",
    "read_image": "handmesh.images",
    "write_image": "handmesh.images",
}
__all__ = [*sorted(_PUBLIC), "__version__"]

if TYPE_CHECKING:
    from handmesh.errors import HandMeshError as HandMeshError
    from handmesh.hand import Detection as Detection
    from handmesh.hand import Hand as Hand
    from handmesh.images import read_image as read_image
    from handmesh.images import write_image as write_image
    from handmesh.mano.arrays import load_mano as load_mano
    from handmesh.predictor import HandMeshPredictor as HandMeshPredictor
    from handmesh.rendering.overlay import draw_hands as draw_hands
    from handmesh.tracker import HandTracker as HandTracker
    from handmesh.video.calibration import CameraCalibration as CameraCalibration


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'handmesh' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
