"""A user's camera and hand: ``--fov``, ``--camera``, ``--hand-length``, alike in every command.

Imports nothing heavy before a calibration is named, so that every command's help is instant.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, NamedTuple

from handmesh.errors import HandMeshError
from handmesh.skeleton import HAND_LENGTH_RANGE_M

if TYPE_CHECKING:
    from handmesh.io.calibration import CameraCalibration

FOV_RANGE_DEG = (5.0, 170.0)
#: The library's range, as it is typed.
HAND_LENGTH_RANGE_CM = tuple(round(100 * length_m, 1) for length_m in HAND_LENGTH_RANGE_M)


class CameraOptions(NamedTuple):
    """The camera and the hand as the user described them; None where nothing was given."""

    fov_deg: float | None = None
    calibration: CameraCalibration | None = None
    hand_length_m: float | None = None

    def tracker_words(self) -> dict[str, Any]:
        """These as arguments of HandTracker."""
        return {"fov_deg": self.fov_deg, "camera": self.calibration, "hand_length_m": self.hand_length_m}

    @property
    def is_fov_assumed(self) -> bool:
        """Whether the field of view is unknown: distances are a guess."""
        return self.fov_deg is None and self.calibration is None

    def describe(self) -> str:
        """One line that says which focal length is used and why."""
        from handmesh.geometry.camera import DEFAULT_FOV_DEG

        if self.calibration is not None:
            return self.calibration.describe()
        if self.fov_deg is not None:
            return f"the camera's field of view is {self.fov_deg:g} degrees over the longer side, as given"
        return (
            f"the camera's field of view is taken to be {DEFAULT_FOV_DEG:g} degrees over the longer side; "
            "--fov or --camera makes distances true"
        )


def add_camera_options(parser: argparse.ArgumentParser) -> None:
    """The three options, on any command that places hands before a camera."""
    parser.add_argument("--fov", type=float, metavar="DEG", help="the camera's field of view over the longer side")
    parser.add_argument("--camera", metavar="FILE.yaml", help="OpenCV's calibration of it: matrix and distortion")
    parser.add_argument(
        "--hand-length", type=float, metavar="CM", help="wrist crease to middle fingertip, measured: makes sizes true"
    )


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Weights, hand model and what runs them, on any command that runs them."""
    parser.add_argument("--checkpoint", default="default", help="weights: a file, a run's folder, or 'default'")
    parser.add_argument("--mano", default="open", metavar="FILE", help="hand model: 'open' or a MANO file")
    parser.add_argument("--engine", default="auto", help="auto, openvino, onnx, torch[-half|-compile] or a file")
    parser.add_argument(
        "--detector", default="auto", metavar="NAME",
        help="finds the hands: fastvit (our own network), mediapipe, both, a network's file, or auto (default): both "
        "where MediaPipe's have been fetched",
    )  # fmt: skip
    parser.add_argument(
        "--trust-engine-file", action="store_true",
        help="run a TorchScript file (.pt) named with --engine: it is a program, and may do whatever you may",
    )  # fmt: skip
    parser.add_argument(
        "--crop-size", type=int, default=0, metavar="PX",
        help="side of the largest crop in which a hand is seen once, 96 or 128 with the default weights: smaller "
        "is faster, larger nearer to hands of many pixels (default: the checkpoint's, 128)",
    )  # fmt: skip


def add_hand_options(parser: argparse.ArgumentParser) -> None:
    """How many hands are followed and how sure they must be, on any command that follows them."""
    parser.add_argument("--max-hands", type=int, default=2, metavar="N", help="as many are followed (default 2)")
    parser.add_argument("--min-score", type=float, default=0.0, metavar="S", help="least score of a hand, 0 to 1")


def expect_hand_options(args: argparse.Namespace) -> None:
    """Check ``args.max_hands`` (None for all) and ``args.min_score``.

    Raises:
        HandMeshError: no hand at all, or a score that is none.
    """
    if args.max_hands is not None and args.max_hands < 1:
        raise HandMeshError(f"expected --max-hands of at least 1, got {args.max_hands}")
    if not 0 <= args.min_score <= 1:
        raise HandMeshError(f"expected --min-score between 0 and 1, got {args.min_score:g}")


_MODEL_OPTIONS = ("checkpoint", "mano", "engine", "trust_engine_file", "detector", "crop_size")


def model_options(args: argparse.Namespace) -> dict[str, Any]:
    """These as arguments of HandMeshPredictor.from_pretrained."""
    return {name: getattr(args, name) for name in _MODEL_OPTIONS}


def camera_options(args: argparse.Namespace) -> CameraOptions:
    """The options, checked; the calibration file is read (HandMeshError for what cannot be)."""
    if args.fov is not None and args.camera:
        raise HandMeshError("expected --fov or --camera, got both; leave out --fov: the calibration knows it better")
    if args.fov is not None and not FOV_RANGE_DEG[0] <= args.fov <= FOV_RANGE_DEG[1]:
        raise HandMeshError(f"expected --fov between 5 and 170 degrees, got {args.fov:g}")
    length_cm = args.hand_length
    if length_cm is not None and not HAND_LENGTH_RANGE_CM[0] <= length_cm <= HAND_LENGTH_RANGE_CM[1]:
        raise HandMeshError(
            f"expected --hand-length between {HAND_LENGTH_RANGE_CM[0]:g} and {HAND_LENGTH_RANGE_CM[1]:g} cm, got "
            f"{length_cm:g}; measure from the wrist's crease to the tip of the middle finger"
        )
    calibration = None
    if args.camera:
        from handmesh.io.calibration import CameraCalibration

        calibration = CameraCalibration.load(args.camera)
    return CameraOptions(args.fov, calibration, None if length_cm is None else length_cm / 100)
