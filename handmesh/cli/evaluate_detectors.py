"""``handmesh evaluate --detector``: detectors side by side on scenes."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from handmesh.errors import HandMeshError

#: Least score at which our own detector's finds are listed, so that precision can be seen at every recall.
_LEAST_SCORE = 0.05


def report_detectors(args: argparse.Namespace) -> dict[str, Any]:
    """Score the detectors of --detector on the scenes of --scenes, print the table, return it as --json writes it.

    Raises:
        HandMeshError: no scenes, no such detector.
    """
    from tqdm import tqdm

    from handmesh.data.scenes import EmptyScenes, SceneFolder, SceneSource
    from handmesh.detection.hand_detector import HandDetector
    from handmesh.evaluation.detection_scores import format_scores, score_detections
    from handmesh.evaluation.detectors import run_detector
    from handmesh.inference.detectors.fastvit import FastVitDetector
    from handmesh.io.images import list_images
    from handmesh.models.checkpoint_path import SHIPPED_DETECTOR

    source: SceneSource
    if args.scenes.startswith("negatives:"):
        source = EmptyScenes(list_images(args.scenes.removeprefix("negatives:")))
    else:
        source = SceneFolder(args.scenes)
    rows, content = {}, {}
    for name in args.detector.split(","):
        detector: Any
        if name == "mediapipe":
            detector = HandDetector()
        else:
            detector = FastVitDetector(SHIPPED_DETECTOR if name == "fastvit" else name, threshold=_LEAST_SCORE)
        detector.load()
        run = run_detector(detector, source, args.quick, partial(tqdm, desc=name))
        rows[name] = score_detections(run.found, run.truths)
        content[name] = {
            **asdict(rows[name]), "median_ms": float(np.median(run.milliseconds)), "mask_iou": run.mask_iou,
        }  # fmt: skip
    print(f"{args.scenes}, {'one pass' if args.quick else 'thorough'}:\n{format_scores(rows)}")
    for name, values in content.items():
        masks = ", ".join(f"{size} {iou:.3f}" for size, iou in values["mask_iou"].items())
        print(f"{name}: {values['median_ms']:.1f} ms a picture" + (f"; mask IoU {masks}" if masks else ""))
    return {"scenes": args.scenes, "is_quick": args.quick, "detectors": content}


def expect_detectors(args: argparse.Namespace) -> None:
    """Check the words that go with --detector.

    Raises:
        HandMeshError: scenes are missing, or other sets are named besides.
    """
    if not args.scenes:
        raise HandMeshError("expected --scenes ROOT with --detector: the folder of scenes to find hands in")
    if args.data or args.real or args.checkpoint or args.baseline or args.pred:
        raise HandMeshError("expected --detector with --scenes alone: a detector is scored on scenes")
