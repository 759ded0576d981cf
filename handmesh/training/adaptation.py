"""Self-training on a user's own footage: the default network, a little better for this camera, this room, these hands.

The landmark model labels the footage (footage.py), the hand model is fitted to its labels and what is doubtful left out
(pseudo_labels.py), a short run mixes those hands with rendered ones (trainer.py), and blocks of frames that were never
trained on say whether it helped. New weights are written only if it did.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from handmesh.config import Config, TrainConfig, config_from_dict, without_folders
from handmesh.data.loading import HandDataset, StridedSubset, make_loader
from handmesh.errors import HandMeshError
from handmesh.evaluation.real_photos import as_landmarks, evaluate_real
from handmesh.io.files import user_path
from handmesh.io.runtime.cpu_count import available_cores
from handmesh.labeling.footage import SPACING_S, LabelledFootage, gather_frames, label_frames
from handmesh.labeling.landmark_correction import correction_for
from handmesh.labeling.photo_sets import LabelledPhoto
from handmesh.labeling.pseudo_labels import shipped_segmentation, write_pseudo_labelled
from handmesh.mano.arrays import ManoArrays, load_mano
from handmesh.models.checkpoint import FILE_NAME, load_checkpoint, save_checkpoint
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.training.sources import RENDERED, VALIDATION_SEED

#: Fewer hands than these say nothing: to train on, and held out.
MIN_TRAINING = 20
MIN_HELD_OUT = 6
#: Fewer steps change little for better or worse; on a slow machine they take longer than the minutes asked for.
MIN_STEPS = 200
#: Share of the samples that come from the footage; the rest is rendered, so that the network forgets nothing.
FOOTAGE_SHARE = 0.5
#: Of the rendered part, pictures without a hand and left hands: the footage has neither.
NEGATIVES, LEFT_HANDS = 0.2, 0.1
#: New weights are better if the two figures together fall by this share, neither rises by more than it, and rendered
#: hands, the reminder of all that the footage does not show, get worse by no more than the second.
MIN_GAIN = 0.01
MAX_RENDERED_LOSS = 0.05
#: Rendered hands that are used for that.
RENDERED_SAMPLES = 200


@dataclass(frozen=True)
class Figures:
    """How far a network is from the labels on held-out hands of the footage, and from the truth on rendered ones.

    pa_mm: mean joint error after similarity alignment, mm. error_2d: mean keypoint error as a share of the hand's box.
    rendered_pa_mm: PA-MPJPE in mm on rendered hands that nothing was trained on.
    """

    pa_mm: float
    error_2d: float
    rendered_pa_mm: float


@dataclass(frozen=True)
class Adaptation:
    """What came of it: counts, the figures of both networks on the same held-out hands, and where the new one is.

    frames were used; the landmark model saw hands in frames_with_hands of them, hands in all, and its views agree on
    trusted; trained_on fitted the hand model and were trained on; held_out were measured on. checkpoint: None if the
    old weights were kept.
    """

    frames: int
    frames_with_hands: int
    hands: int
    trusted: int
    trained_on: int
    held_out: int
    before: Figures
    after: Figures
    steps: int
    checkpoint: Path | None


def adapt(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    checkpoint: str | Path = "default",
    mano: str = "open",
    minutes: float = 3.0,
    frames: int = 240,
    backgrounds: str = "",
    seed: int = 0,
    progress: bool = True,
) -> Adaptation:
    """Fine-tune a checkpoint on a clip or a folder of photos that nobody annotated.

    Args:
        source: a clip, or a folder of photos. Nothing of it is kept but what the weights learnt.
        output: folder of the new checkpoint, written whole or not at all.
        checkpoint: as load_checkpoint takes it.
        mano: the hand model, as load_mano takes it.
        minutes: of training, at least MIN_STEPS steps; labelling and fitting take about one more for 240 frames on two
            cores.
        frames: so many are used, spread over the footage; all of them where there are fewer.
        backgrounds: photos and light maps behind the rendered hands; drawn ones when empty.
        seed: of the run.
        progress: show progress bars on stderr.

    Raises:
        HandMeshError: no footage, no hand in it, too few whose landmarks are certain, a folder in the way.
    """
    if minutes <= 0 or frames < 1 or seed < 0:
        raise HandMeshError(f"expected minutes above 0, frames of 1 or more and a seed of 0 or more, got {minutes:g}, "
                            f"{frames} and {seed}")  # fmt: skip
    target = user_path(output)
    if target.is_file() or (target / FILE_NAME).exists():
        raise HandMeshError(f"expected a new folder for the new weights, got {target}; name another with --output")
    arrays = load_mano(mano)
    net, header = load_checkpoint(checkpoint, arrays)
    start: Config = config_from_dict(header["config"])
    with tempfile.TemporaryDirectory(prefix="handmesh-adapt-") as name:
        work = Path(name)
        footage = _label(source, work / "frames", frames, progress)
        trusted = _enough(footage, source)
        held_out = [hand for hand in trusted if hand.is_held_out]
        kept = write_pseudo_labelled(trusted, work / "footage", arrays, progress, segment=shipped_segmentation())
        if kept.training < MIN_TRAINING or kept.evaluation < 1:
            raise HandMeshError(
                f"expected the hand model to fit at least {MIN_TRAINING} hands of {source}, it fits {kept.training}; "
                "give footage in which hands are larger and sharper"
            )
        config = fine_tuning(start, work, str(checkpoint), mano, minutes, backgrounds, seed)
        measure = _Measure(config, arrays, held_out)
        before = measure(net)
        tuned, steps = _train(config, arrays)
        after = measure(tuned)
        is_kept = is_better(before, after)
        result = Adaptation(
            footage.frames, footage.frames_with_hands, len(footage.hands), len(trusted), kept.training, len(held_out),
            before, after, steps, target if is_kept else None,
        )  # fmt: skip
        if is_kept:
            _save(target, tuned, config, result)
    return result


def is_better(before: Figures, after: Figures) -> bool:
    """Whether new weights are worth having; see MIN_GAIN and MAX_RENDERED_LOSS."""
    gains = [1 - after.pa_mm / before.pa_mm, 1 - after.error_2d / before.error_2d]
    remembers = after.rendered_pa_mm <= before.rendered_pa_mm * (1 + MAX_RENDERED_LOSS)
    return remembers and min(gains) >= -MIN_GAIN and sum(gains) / 2 >= MIN_GAIN


def fine_tuning(
    start: Config, work: Path, checkpoint: str, mano: str, minutes: float, backgrounds: str, seed: int
) -> Config:
    """The settings of the short run: the network and crops of the start, everything else small and careful.

    Args:
        start: the config of the checkpoint.
        work: a folder that holds the labelled footage and gets the run.
        checkpoint: to start from.
        mano: the hand model.
        minutes: of training.
        backgrounds: a folder of photos and light maps; empty for drawn ones.
        seed: of the run.
    """
    cores = available_cores()
    footage = str(work / "footage")
    data = replace(
        start.data, source="mixture", root="", mixture={footage: FOOTAGE_SHARE, RENDERED: 1 - FOOTAGE_SHARE},
        val_root=footage, val_samples=200, negatives=NEGATIVES, left_hands=LEFT_HANDS,
        backgrounds=backgrounds, workers=max(1, min(8, cores // 2)),
    )  # fmt: skip
    # The clock ends the run; one validation then, by which nothing is chosen.
    train = TrainConfig(
        steps=20_000, max_minutes=minutes, min_steps=MIN_STEPS, batch_size=32, learning_rate=1.5e-4,
        warmup_steps=500, ema=0.99,
        weight_decay=0.0, start_from=checkpoint, validate_every=1_000_000, save_every=1_000_000, tensorboard=False,
        loss=start.train.loss,
    )  # fmt: skip
    return Config(model=start.model, data=data, train=train, mano=mano, output=str(work / "run"), seed=seed)


def report(result: Adaptation) -> str:
    """The result in words and figures."""
    lines = [
        f"{result.frames} frames, hands in {result.frames_with_hands}; of {result.hands} hands the views agree on "
        f"{result.trusted}: {result.trained_on} trained on for {result.steps} steps, {result.held_out} held out",
        f"{'':44}{'before':>8}{'after':>8}",
    ]
    for label, key, scale in (
        ("held-out frames, PA error to the labels, mm", "pa_mm", 1),
        ("held-out frames, 2D error, % of the box", "error_2d", 100),
        ("rendered hands, PA-MPJPE, mm", "rendered_pa_mm", 1),
    ):
        lines.append(f"{label:44}{scale * getattr(result.before, key):8.2f}{scale * getattr(result.after, key):8.2f}")
    if result.checkpoint is None:
        forgets = result.after.rendered_pa_mm > result.before.rendered_pa_mm * (1 + MAX_RENDERED_LOSS)
        why = "worse on rendered hands" if forgets else "not better on the held-out frames"
        lines.append(
            f"{why}: the old weights are kept and nothing is written; give more varied footage, or more --minutes"
        )
    else:
        written = result.checkpoint / FILE_NAME
        lines.append(f"better: {written} is written; use it with --checkpoint {result.checkpoint}")
    return "\n".join(lines)


def _label(source: str | os.PathLike[str], folder: Path, most: int, progress: bool) -> LabelledFootage:
    from handmesh.detection import HandDetector
    from handmesh.detection.landmark_model import LandmarkModel

    folder.mkdir()
    return label_frames(gather_frames(os.fspath(source), folder, most), HandDetector(), LandmarkModel(), progress)


def _enough(footage: LabelledFootage, source: str | os.PathLike[str]) -> list[LabelledPhoto]:
    """The hands that all views agree on, or an error where they are too few to learn from or to measure on."""
    if not footage.hands:
        raise HandMeshError(
            f"expected hands in {source}, found none in {footage.frames} frames; "
            "give footage of hands as the camera sees them in use, near and in the light"
        )
    trusted = [hand for hand in footage.hands if hand.is_trusted]
    held_out = sum(hand.is_held_out for hand in trusted)
    if len(trusted) - held_out < MIN_TRAINING or held_out < MIN_HELD_OUT:
        raise HandMeshError(
            f"expected at least {MIN_TRAINING} hands to train on and {MIN_HELD_OUT} to hold out, got "
            f"{len(trusted) - held_out} and {held_out} on which the views agree in {footage.frames} frames; "
            f"give a longer clip or more photos: {_needed(footage, len(trusted) - held_out, held_out)}"
        )
    return trusted


def _needed(footage: LabelledFootage, training: int, held_out: int) -> str:
    """How much footage of this kind it takes, from how many of its hands the views agree on."""
    most = max(MIN_TRAINING / max(training, 1), MIN_HELD_OUT / max(held_out, 1))
    frames = max(MIN_TRAINING + MIN_HELD_OUT, round(1.2 * most * footage.frames))
    seconds = max(10, round(frames * SPACING_S))
    return f"about {frames} frames of this kind, {seconds} s of a clip, and --frames {frames}"


class _Measure:
    """The figures of a network on what is never trained on: held-out hands of the footage, and rendered hands."""

    def __init__(self, config: Config, arrays: ManoArrays, held_out: Sequence[LabelledPhoto]) -> None:
        from handmesh.synthesis.generator import SampleGenerator

        self.config, self.arrays, self.held_out = config, arrays, held_out
        self.correction = correction_for(arrays.fingerprint())
        rendered = SampleGenerator(
            arrays, config.seed + VALIDATION_SEED, config.data.render_size, config.data.backgrounds or None
        )
        self.rendered = HandDataset(StridedSubset(rendered, RENDERED_SAMPLES), config, train=False)

    def __call__(self, net: HandMeshNet) -> Figures:
        from handmesh.evaluation.validation import validate
        from handmesh.inference.engines.factory import make_engine
        from handmesh.inference.estimator import HandEstimator

        scores = validate(net, make_loader(self.rendered, 32))
        estimator = HandEstimator(make_engine(net, "torch", "cpu"), self.arrays, self.config.crop)
        results = as_landmarks(evaluate_real(estimator, self.held_out), self.correction)
        return Figures(
            float(np.mean([result.pa_mm for result in results])),
            float(np.mean([result.error_2d for result in results])),
            scores["pa_mpjpe"],
        )


def _train(config: Config, arrays: ManoArrays) -> tuple[HandMeshNet, int]:
    """The network at the end of the run (its moving average), and the run's steps."""
    from handmesh.training.trainer import Trainer

    trainer = Trainer(config)
    trainer.run()
    return load_checkpoint(trainer.folder / "last", arrays)[0], trainer.progress.step


def _save(target: Path, net: HandMeshNet, config: Config, result: Adaptation) -> None:
    # The temporary folder's name and the user's paths stay out of the file.
    facts = {key: value for key, value in asdict(result).items() if key != "checkpoint"}
    save_checkpoint(target, net, without_folders(config), asdict(result.after), adaptation=facts, step=result.steps)
