"""What the commands that follow hands through time have in common: options, the tracker, where a clip goes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from handmesh.cli.options import (
    CameraOptions,
    add_camera_options,
    add_hand_options,
    add_model_options,
    camera_options,
    expect_hand_options,
    model_options,
)
from handmesh.cli.progress import say
from handmesh.errors import HandMeshError
from handmesh.io.files import refuse_to_replace
from handmesh.io.video.frames import Source
from handmesh.io.video.sources import ClipSource
from handmesh.io.video.video_writer import CLIP_SUFFIXES

if TYPE_CHECKING:
    from handmesh.inference.predictor import HandMeshPredictor
    from handmesh.inference.tracking.tracker import HandTracker

DEFAULT_FOLDER = Path("output")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """What is written, how it is drawn, camera and weights."""
    parser.add_argument("--output", help="clip to write (.mp4), or folder; default: output/ if there is no window")
    parser.add_argument("--recording", metavar="FILE", help="write every frame's hands: .jsonl or .npz; alone, no clip")
    parser.add_argument("--opacity", type=float, default=0.85, metavar="A", help="of the meshes, 0 to 1 (default 0.85)")
    parser.add_argument("--outline", action="store_true", help="a line around each hand")
    parser.add_argument("--mirror", action="store_true", help="show and write everything as in a mirror")
    parser.add_argument("--hud", action="store_true", help="labels and speed in files too, not in the window alone")
    parser.add_argument("--stats", metavar="FILE.json", help="write frames, fps and milliseconds by stage")
    add_camera_options(parser)
    add_model_options(parser)
    add_hand_options(parser)
    add_views_option(parser)


def add_smoothing_options(parser: argparse.ArgumentParser) -> None:
    """How the recordings of clips are made: ``args.smoothing``, one of SMOOTHINGS."""
    how = parser.add_mutually_exclusive_group()
    for name, kind, about in (
        ("--offline", "offline", "smooth without lag, fill short gaps, one shape a hand (default)"),
        ("--live-filter", "live", "smooth as the webcam does: no frame knows of a later one"),
        ("--no-smoothing", "none", "each frame as the network gives it"),
    ):
        how.add_argument(name, dest="smoothing", action="store_const", const=kind, help=about)
    parser.set_defaults(smoothing="offline")


def add_views_option(parser: argparse.ArgumentParser) -> None:
    """``args.tta``: whether each frame is seen as a photo is."""
    parser.add_argument(
        "--tta", action="store_true",
        help="see each hand in several views a frame and average them, as in photos: nearer to the hand, and slower",
    )  # fmt: skip


def run_settings(args: argparse.Namespace) -> dict[str, str]:
    """What decides about the numbers of a recording besides its source and the engine: of other settings no run is
    taken up.
    """
    from handmesh.io.files import sha256_file
    from handmesh.models.checkpoint_path import find_checkpoint

    return {
        "weights": sha256_file(find_checkpoint(args.checkpoint))[:16],
        "max_hands": str(args.max_hands),
        "min_score": str(args.min_score),
        "camera": args.view.describe(),
        "hand_length_m": str(args.view.hand_length_m),
        **({"tta": "1"} if args.tta else {}),
        **({"crop_size": str(args.crop_size)} if args.crop_size else {}),
    }


def expect_run_options(args: argparse.Namespace) -> None:
    """Check what add_run_options parsed, and add ``args.view``, the camera as the user described it."""
    expect_hand_options(args)
    if not 0 <= args.opacity <= 1:
        raise HandMeshError(f"expected --opacity between 0 (not seen) and 1 (solid), got {args.opacity:g}")
    args.view = camera_options(args)


def load_tracker(args: argparse.Namespace, smoothing: bool) -> HandTracker:
    """The tracker that the options ask for, its detector loaded."""
    from handmesh.inference.predictor import HandMeshPredictor

    predictor = HandMeshPredictor.from_pretrained(**model_options(args))
    tracker = follow_with(predictor, args.view, smoothing, args.max_hands, args.min_score, args.tta)
    say(args.view.describe())
    return tracker


def follow_with(
    predictor: HandMeshPredictor, view: CameraOptions, smoothing: bool, max_hands: int, min_score: float,
    tta: bool = False,
) -> HandTracker:  # fmt: skip
    """A tracker of a predictor, whose detector is loaded now.

    Args:
        predictor: keeps weaker hands than usual from here on, where ``min_score`` asks for them.
        view: the camera and the hand.
        smoothing: filter the hands as the webcam does.
        max_hands: in a frame.
        min_score: least score of a hand, 0..1.
        tta: see each hand in the views of a still (test-time augmentation).
    """
    from handmesh.inference.tracking.tracker import HandTracker
    from handmesh.inference.views import STILL_VIEWS

    predictor.detector.load()
    keep_hands_of(predictor, min_score)
    views = STILL_VIEWS if tta else ()
    return HandTracker(predictor, smoothing, max_hands, min_score=min_score, views=views, **view.tracker_words())


def keep_hands_of(predictor: HandMeshPredictor, min_score: float) -> None:
    """Asked for, hands are kept that the network gives less than its usual threshold; 0 is nothing asked for."""
    predictor.presence_threshold = min(predictor.presence_threshold, min_score or 1.0)


def clip_path(output: str | None, source: Source) -> Path:
    """Where the annotated clip goes: the name given, or the source's own name in the folder given."""
    target = Path(output) if output else DEFAULT_FOLDER
    if target.suffix.lower() in CLIP_SUFFIXES:
        if isinstance(source, ClipSource):
            refuse_to_replace([source.path], [target])
        return target
    if output and target.suffix and not target.is_dir():
        raise HandMeshError(f"expected --output as a clip ({', '.join(CLIP_SUFFIXES)}) or a folder, got {target.name}")
    return target / f"{Path(source.description).stem.replace(' ', '-')}-hands.mp4"
