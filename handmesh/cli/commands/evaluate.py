"""The evaluate command: options in, tables and files out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from handmesh.cli.evaluate_detectors import expect_detectors, report_detectors
from handmesh.errors import CommandParser, HandMeshError
from handmesh.io.files import write_json

if TYPE_CHECKING:
    from handmesh.data.freihand import FreiHandDataset
    from handmesh.data.loading import SampleSource
    from handmesh.evaluation.protocols import Evaluation, Predictions, Protocol
    from handmesh.inference.estimator import HandEstimator
    from handmesh.mano.arrays import ManoArrays
    from handmesh.models.hand_mesh_net import HandMeshNet

ABOUT = """\
Score a checkpoint, a file of predictions, or the mean-pose baseline on a set in FreiHAND's layout.

  --checkpoint default --data FREIHAND_ROOT               print the table
  --checkpoint runs/a/best --data ROOT --output report/   and write everything there
  --checkpoint runs/a/best --data ROOT --pred pred.json   and keep the predictions
  --pred pred.json --data ROOT                            score predictions made elsewhere
  --baseline mean-pose --data ROOT                        what ignoring the picture scores
  --checkpoint default --real PHOTOS                      on real photos, against landmarks and annotations
  --checkpoint default --real PHOTOS --detect             and as a user gets it: the detector has to find the hand
  --detector fastvit,mediapipe --scenes SCENES            detectors side by side on scenes (handmesh synth --scenes)
"""


class Outcome(NamedTuple):
    """What was scored: results and predictions a protocol, words about their maker, and the hand model."""

    results: list[Evaluation]
    predictions: list[Predictions]
    method: str
    backbone: str
    mano: ManoArrays
    facts: dict[str, Any]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The words as options; HandMeshError where they contradict one another."""
    parser = CommandParser(
        prog="handmesh evaluate", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", metavar="ROOT", help="folder in FreiHAND's layout")
    parser.add_argument("--real", metavar="ROOT", help="folder with sign-digits/, webcam-crops/ or annotated/ in it")
    parser.add_argument("--detect", action="store_true", help="with --real: also let the detector find the hands")
    parser.add_argument("--detector", metavar="NAMES", help="score detectors by commas: fastvit, mediapipe, a run")
    parser.add_argument("--scenes", metavar="ROOT", help="with --detector: a folder of scenes, or negatives:FOLDER")
    parser.add_argument("--quick", action="store_true", help="with --detector: one pass, as a clip's frames get it")
    parser.add_argument("--split", default="evaluation", choices=("evaluation", "training"))
    parser.add_argument("--checkpoint", metavar="C", help="'default', a run's folder or a .safetensors file")
    parser.add_argument("--baseline", choices=("mean-pose",), help="score this instead of a network")
    parser.add_argument("--pred", metavar="pred.json", help="write predictions here; without --checkpoint: score it")
    parser.add_argument("--mano", help="hand model: 'open' or a file (default: the checkpoint's)")
    parser.add_argument("--protocol", default="box,fixed180", help="box, fixed180, fixed130, box1.25, box2; by commas")
    parser.add_argument("--rounds", type=int, default=2, help="crops: 1 the protocol's alone, 2 then the network's own")
    parser.add_argument("--tta", type=int, default=1, metavar="VIEWS", help="views averaged at test time")
    parser.add_argument("--no-align", action="store_true", help="the mesh as the network has it")
    parser.add_argument("--corruptions", type=int, default=0, metavar="N", help="also N samples under 35 corruptions")
    parser.add_argument("--proper-rotations", action="store_true", help="align without reflections (not official)")
    parser.add_argument("--json", metavar="OUT", help="write the figures as JSON")
    parser.add_argument("--output", metavar="DIR", help="write JSON, scores.txt, CSV, PCK plot and worst samples")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--batch", type=int, default=32)
    args = parser.parse_args(argv)
    if args.detector:
        expect_detectors(args)
        return args
    if args.scenes or args.quick:
        raise HandMeshError("expected --detector NAMES with --scenes and --quick; see handmesh evaluate --help")
    if sum(map(bool, (args.checkpoint, args.baseline))) > 1 or not (args.checkpoint or args.baseline or args.pred):
        raise HandMeshError("expected one of --checkpoint, --baseline and --pred; see handmesh evaluate --help")
    if not (args.data or args.real):
        raise HandMeshError("expected --data ROOT or --real ROOT, got neither; see handmesh evaluate --help")
    if args.real and not args.checkpoint:
        raise HandMeshError("expected --checkpoint with --real: photos are scored for a network")
    if args.detect and not args.real:
        raise HandMeshError("expected --real ROOT with --detect: data sets come with their boxes")
    unused = [word for word in ("output", "pred", "corruptions") if getattr(args, word) and not args.data]
    if unused:
        raise HandMeshError(
            f"expected --data ROOT with --{unused[0]}: photos have no such result; --json OUT writes their figures"
        )
    if args.corruptions and not args.checkpoint:
        raise HandMeshError("expected --checkpoint with --corruptions: only a network can be shown corrupted pictures")
    if args.corruptions < 0:
        raise HandMeshError(f"expected --corruptions of 0 or more samples, got {args.corruptions}")
    if min(args.rounds, args.tta, args.batch) < 1:
        raise HandMeshError("expected --rounds, --tta and --batch to be at least 1")
    return args


def load_estimator(
    args: argparse.Namespace,
) -> tuple[HandMeshNet, ManoArrays, HandEstimator, dict[str, Any]]:
    """The network of --checkpoint, its hand model, what makes hands of its answers, and its description."""
    from handmesh.inference.engines.factory import make_engine
    from handmesh.inference.estimator import HandEstimator
    from handmesh.mano.arrays import load_mano
    from handmesh.models.checkpoint import config_of, load_checkpoint

    net, description = load_checkpoint(args.checkpoint, load_mano(args.mano) if args.mano else None)
    config = config_of(description)
    mano = load_mano(args.mano or config.mano)
    engine = make_engine(net, "torch", args.device)
    return net, mano, HandEstimator(engine, mano, config.crop, not args.no_align), description


def score_checkpoint(args: argparse.Namespace, dataset: FreiHandDataset) -> Outcome:
    """Predict with the network under every protocol asked for."""
    from tqdm import tqdm

    from handmesh.evaluation.protocols import evaluate, find_protocols, predict

    protocols = find_protocols(args.protocol)
    net, mano, estimator, description = load_estimator(args)
    results, predictions = [], []
    start = time.perf_counter()
    # Averaged views are worth several tenths of a millimetre: they are columns and rows of their own, after the plain.
    for views, protocol in [(views, protocol) for views in sorted({1, args.tta}) for protocol in protocols]:
        name = protocol.name if views == 1 else f"{protocol.name} x{views}"
        bar = lambda steps, name=name: tqdm(steps, desc=name, unit="batch")  # noqa: E731
        found = predict(estimator, dataset, protocol, args.rounds, views, args.batch, bar)
        predictions.append(found)
        details = {"rounds": args.rounds, "views": views}
        results.append(evaluate(found, dataset, name, protocol.about, not args.proper_rotations, **details))
    facts = {
        "checkpoint": str(args.checkpoint),
        "handmesh_version": description.get("version"),
        "hand_fingerprint": net.hand_fingerprint,
        "engine": estimator.engine.name,
        "aligned": estimator.align,
        "seconds": round(time.perf_counter() - start, 1),
    }
    if args.corruptions:
        facts["corruptions"] = robustness(args, estimator, dataset, protocols[0])
    return Outcome(results, predictions, "handmesh", net.config.backbone, mano, facts)


def robustness(
    args: argparse.Namespace, estimator: HandEstimator, dataset: SampleSource, protocol: Protocol
) -> dict[str, Any]:
    """Score some samples under the corruptions and print the table.

    Args:
        args: the command's options.
        estimator: makes hands of crops.
        dataset: ``args.corruptions`` samples of it are taken.
        protocol: which box the first crop has.

    Returns:
        The errors in mm, as plain data.
    """
    from dataclasses import asdict

    from tqdm import tqdm

    from handmesh.data.loading import StridedSubset
    from handmesh.evaluation.robustness import format_robustness, measure_robustness

    result = measure_robustness(
        estimator, StridedSubset(dataset, args.corruptions), protocol, args.rounds, args.batch, tqdm.write
    )
    print(f"\n{result.samples} samples, {protocol.name}:\n{format_robustness(result)}\n")
    return asdict(result)


def score_fixed(args: argparse.Namespace, dataset: FreiHandDataset) -> Outcome:
    """The baseline, or predictions from a file."""
    from handmesh.evaluation.protocols import Predictions, evaluate, mean_pose_predictions
    from handmesh.evaluation.submission import read_predictions
    from handmesh.mano.arrays import load_mano

    mano = load_mano(args.mano or "open")
    if args.baseline:
        name, found = "mean pose", mean_pose_predictions(mano, dataset)
    else:
        name, found = Path(args.pred).name, Predictions(*read_predictions(args.pred))
    result = evaluate(found, dataset, name, "", not args.proper_rotations)
    return Outcome([result], [found], name, "", mano, {"scored": name})


def report(args: argparse.Namespace, outcome: Outcome, dataset: FreiHandDataset) -> None:
    """Write the files that were asked for and print the tables.

    Args:
        args: the command's options.
        outcome: what was scored.
        dataset: what it was scored on.
    """
    from handmesh.evaluation import report as forms
    from handmesh.evaluation.protocols import mean_pose_error
    from handmesh.evaluation.submission import write_predictions

    mean_pose = mean_pose_error(outcome.mano, dataset)
    content = forms.result_dict(
        outcome.results,
        mean_pose_pa_mpjpe=mean_pose,
        data_fingerprint=dataset.fingerprint(),
        proper_rotations=args.proper_rotations,
        **outcome.facts,
    )
    written = []
    if args.json:
        write_json(args.json, content, indent=2)
        written.append(args.json)
    if args.pred and (args.checkpoint or args.baseline):
        # The first protocol's, averaged over views where that was asked for.
        chosen = next((i for i, result in enumerate(outcome.results) if result.views == args.tta), 0)
        write_predictions(args.pred, outcome.predictions[chosen].joints, outcome.predictions[chosen].vertices)
        written.append(args.pred)
    if args.output:
        forms.write_folder(args.output, outcome.results, outcome.predictions[0], dataset, content)
        written.append(args.output)
    print(
        forms.format_results(
            outcome.results, mean_pose, outcome.method, outcome.backbone, dataset.is_official_evaluation
        )
    )
    if written:
        print(f"\nwrote {', '.join(written)}")


def report_real(args: argparse.Namespace) -> dict[str, Any]:
    """Score a network on real photos, print the tables and return them as --json writes them."""
    from tqdm import tqdm

    from handmesh.evaluation.breakdown import by_cause, format_causes
    from handmesh.evaluation.real_photos import (
        as_landmarks,
        evaluate_found,
        evaluate_real,
        format_rows,
        summarize,
        summarize_found,
    )
    from handmesh.inference.predictor import HandMeshPredictor
    from handmesh.labeling.landmark_correction import correction_for
    from handmesh.labeling.photo_sets import annotated_photos, list_unlabelled, photos_with_landmarks, readable

    net, mano, estimator, _ = load_estimator(args)
    photos = photos_with_landmarks(args.real) if list_unlabelled(args.real) else []
    photos = [photo for photo in photos if photo.is_trusted] + readable(annotated_photos(args.real))
    if not photos:
        raise HandMeshError(
            f"expected sign-digits/, webcam-crops/ or annotated/ in {args.real}, got none of them; give their folder"
        )
    results = evaluate_real(estimator, photos, args.batch)
    rows, causes = summarize(results), by_cause(results)
    print(f"crops made from the labels:\n{format_rows(rows)}")
    if causes:
        print(f"\nby cause, photos with the landmark model's labels:\n{format_causes(causes)}")
    content: dict[str, Any] = {"real": rows, "real_by_cause": causes}
    labelled = [result for result in results if not result.photo.group.startswith("annotated")]
    correction = correction_for(net.hand_fingerprint)
    if labelled and correction is not None:
        content["real_as_landmarks"] = summarize(as_landmarks(labelled, correction))
        print("\nthe same, joints moved to the landmark model's points:")
        print(format_rows(content["real_as_landmarks"]))
    if args.detect:
        predictor = HandMeshPredictor(estimator.engine, mano, estimator.crop, align=estimator.align)
        found = evaluate_found(predictor, tqdm(photos, desc="finding hands", unit="photo"))
        content["real_found"] = summarize_found(photos, found)
        print(f"\nhands found by the detector, errors of those:\n{format_rows(content['real_found'])}")
    return content


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, predict, score, report."""
    args = parse(argv)
    if args.detector:
        content = report_detectors(args)
        if args.json:
            write_json(args.json, content, indent=2)
        return 0
    real = report_real(args) if args.real else {}
    if not args.data:
        if args.json:
            write_json(args.json, {"checkpoint": str(args.checkpoint), **real}, indent=2)
        return 0
    from handmesh.data.packed import open_split

    dataset = open_split(args.data, args.split)
    outcome = score_checkpoint(args, dataset) if args.checkpoint else score_fixed(args, dataset)
    outcome.facts.update(real)
    report(args, outcome, dataset)
    return 0
