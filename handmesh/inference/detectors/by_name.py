"""What finds the hands: MediaPipe's pair of models, our own network, or both, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from handmesh.detection import HandDetector
from handmesh.detection.interface import Detector
from handmesh.detection.model_files import are_cached
from handmesh.errors import HandMeshError
from handmesh.inference.detectors.fastvit import FastVitDetector
from handmesh.inference.detectors.joint import JointDetector
from handmesh.inference.engines.detector_engine import RUNTIMES
from handmesh.models.checkpoint_path import SHIPPED_DETECTOR

#: What may find the hands; "auto" is both where MediaPipe's models have been fetched, else our own network.
DETECTORS = ("auto", "fastvit", "mediapipe", "both")


def make_detector(name: str, engine: str = "auto", threads: int = 0) -> Detector:
    """What finds the hands.

    Args:
        name: as of :meth:`HandMeshPredictor.from_pretrained`.
        engine: what runs the mesh network; ours runs on the same.
        threads: 0 = the runtime's own choice.

    Raises:
        HandMeshError: no such detector.
    """
    if name == "auto":
        name = "both" if are_cached() else "fastvit"
    if name == "mediapipe":
        return HandDetector(threads=threads)
    if name == "both":
        return JointDetector(HandDetector(threads=threads), _own(SHIPPED_DETECTOR, engine, threads))
    if name != "fastvit" and not (Path(name).suffix or Path(name).is_dir()):
        raise HandMeshError(
            f"expected the detector to be {', '.join(DETECTORS)}, or a file or run of a network of ours, got {name!r}"
        )
    return _own(SHIPPED_DETECTOR if name == "fastvit" else name, engine, threads)


def loaders_of(detector: Detector) -> list[Callable[[], object]]:
    """What loads the networks ahead, where they are there: nothing is fetched before it is needed."""
    parts = (detector.first, detector.second) if isinstance(detector, JointDetector) else (detector,)
    return [
        part.load
        for part in parts
        if isinstance(part, FastVitDetector) or (isinstance(part, HandDetector) and are_cached())
    ]


def _own(checkpoint: str, engine: str, threads: int) -> FastVitDetector:
    runtime = "torch" if engine.startswith("torch") else engine if engine in RUNTIMES else "openvino"
    return FastVitDetector(checkpoint, runtime, threads)


def segmenter_of(detector: Detector | None) -> FastVitDetector | None:
    """The network in a detector that tells hand pixels from others, where it has one."""
    detector = detector.second if isinstance(detector, JointDetector) else detector
    return detector if isinstance(detector, FastVitDetector) else None
