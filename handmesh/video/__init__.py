"""Pictures in time: cameras, clips and photos as sources of stamped frames, and clips written to disk.

Knows OpenCV's capture and writing; every frame that leaves is RGB. Does not know hands.
"""

from handmesh.video.calibration import CameraCalibration
from handmesh.video.camera import CameraSource
from handmesh.video.sources import ClipSource, PhotoSource, Source, SourceFrame, open_source
from handmesh.video.writer import ClipWriter

__all__ = [
    "CameraCalibration",
    "CameraSource",
    "ClipSource",
    "ClipWriter",
    "PhotoSource",
    "Source",
    "SourceFrame",
    "open_source",
]
