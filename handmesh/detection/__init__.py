"""Finding hands in a picture with MediaPipe's two published models: where each is, how it is rolled, left or right."""

from handmesh.detection.hand_detector import HandDetector
from handmesh.detection.model_files import ensure_landmark_model, ensure_palm_detector
from handmesh.detection.palm_detector import PalmDetector

__all__ = ["HandDetector", "PalmDetector", "ensure_landmark_model", "ensure_palm_detector"]
