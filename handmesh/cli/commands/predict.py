"""``handmesh predict``: photos and clips in; overlays, meshes and numbers out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from handmesh.cli.options import (
    CameraOptions,
    add_camera_options,
    add_model_options,
    camera_options,
    expect_hand_options,
    model_options,
)
from handmesh.errors import CommandParser, HandMeshError
from handmesh.io.files import atomic_path, refuse_to_replace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from handmesh.inference.predictor import HandMeshPredictor
    from handmesh.results import Hand

#: What is written for a photo, in this order: the numbers come last, so that where they are, everything is.
FORMATS = ("png", "glb", "obj", "json")
#: With --masks: a PNG whose pixels are 0, or k where the photo shows the k-th of its hands.
MASK = "mask.png"
_ABOUT = "photos, clips and folders of them in; overlays (.png, .mp4), meshes (.glb, .obj) and numbers (.json) out"


class Job(NamedTuple):
    """One input and the name of its results, without suffix."""

    source: Path
    base: Path
    is_clip: bool

    def files(self, formats: Sequence[str]) -> dict[str, Path]:
        """The result of each format; a clip has an overlay and numbers."""
        still = {each: f".{each}" for each in (MASK, *FORMATS)}
        suffixes = {"png": ".mp4", "json": ".json"} if self.is_clip else still
        return {each: self.base.with_name(f"{self.base.name}{suffixes[each]}") for each in formats if each in suffixes}

    def is_done(self, formats: Sequence[str]) -> bool:
        """Whether an earlier run has finished it. A photo without hands has no meshes, so they do not tell."""
        files = self.files(formats)
        telling = [files["json"]] if "json" in files else [files["png"]] if "png" in files else list(files.values())
        return bool(telling) and all(file.is_file() for file in telling)


def find_jobs(paths: Sequence[str | Path], target: Path) -> tuple[list[Job], list[Path]]:
    """What is to be done for the paths named, in their order, and what their folders hold besides.

    Args:
        paths: photos, clips, and folders, of which the photos are taken by content, the clips by name, sub-folders not.
        target: folder of the results.

    Raises:
        HandMeshError: a path where there is nothing, or nothing to be done in all of them.
    """
    from handmesh.io.images import IMAGE_SUFFIXES, is_photo
    from handmesh.io.video.sources import CLIP_SUFFIXES

    sources: list[Path] = []
    left_out: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(each for each in path.iterdir() if not each.name.startswith("."))
            taken = [
                each for each in inside if each.is_file() and (each.suffix.lower() in CLIP_SUFFIXES or is_photo(each))
            ]
            sources += taken
            left_out += [each for each in inside if each not in taken]
        elif path.is_file():
            sources.append(path)
        elif path.exists():
            raise HandMeshError(
                f"expected a photo, a clip or a folder of them, got {path}: it is no file; a camera is for: handmesh "
                "webcam, and of a pipe save what it gives to a file first"
            )
        else:
            raise HandMeshError(
                f"expected a photo, a clip or a folder of them, got {path}: no such file; check the path"
            )
    sources = list(dict.fromkeys(sources))
    if not sources:
        raise HandMeshError(
            f"expected photos ({', '.join(IMAGE_SUFFIXES)}) or clips ({', '.join(CLIP_SUFFIXES)}) in "
            f"{', '.join(map(str, paths))}, got none; name the folder that holds them"
        )
    names = _result_names(sources)
    jobs = [
        Job(source, target / name, not is_photo(source)) for source, name in zip(sources, names, strict=True)
    ]
    return jobs, left_out


def _result_names(sources: Sequence[Path]) -> list[str]:
    """A name for each source: the shortest that no other has, of its stem, its name, and its name with its folder's."""
    wishes = [[each.stem, each.name, f"{each.absolute().parent.name}_{each.name}"] for each in sources]
    taken: set[str] = set()
    names = []
    for wish in wishes:
        free = [name for level, name in enumerate(wish) if [other[level] for other in wishes].count(name) == 1]
        name = next((name for name in free if name.lower() not in taken), None)
        if name is None:
            number = next(n for n in range(2, len(sources) + 2) if f"{wish[-1]}_{n}".lower() not in taken)
            name = f"{wish[-1]}_{number}"
        taken.add(name.lower())
        names.append(name)
    return names


class Predictions:
    """The predictor, loaded when the first picture is there, with the user's options on hands and camera."""

    def __init__(
        self, load: Callable[[], HandMeshPredictor], view: CameraOptions, most: int | None, score: float,
        hide_covered: bool = False,
    ) -> None:  # fmt: skip
        """Nothing is loaded yet.

        Args:
            load: gives the predictor, called once.
            view: field of view, calibration and hand length, as far as the user gave them.
            most: hands a picture at most; None for all.
            score: hands of at least this score, 0..1.
            hide_covered: draw no mesh over what covers a photo's hand.
        """
        self.hide_covered = hide_covered
        self._load, self._view, self._most, self._score = load, view, most, score

    @cached_property
    def predictor(self) -> HandMeshPredictor:
        """Loaded now."""
        from handmesh.cli.tracking import keep_hands_of

        predictor = self._load()
        keep_hands_of(predictor, self._score)
        return predictor

    def undistorted(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture as a pinhole sees it, where the camera's distortion is known."""
        calibration = self._view.calibration
        return image if calibration is None else calibration.undistort(image)

    def matrix(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """K (3, 3) for pictures of this size."""
        from handmesh.inference.arguments import camera_matrix

        calibration = self._view.calibration
        K = None if calibration is None else calibration.matrix(image.shape[1], image.shape[0])
        return camera_matrix(image, K, self._view.fov_deg)

    @property
    def is_fov_assumed(self) -> bool:
        """Whether the camera is unknown."""
        return self._view.calibration is None and self._view.fov_deg is None

    def photo(self, image: NDArray[np.uint8], masks: bool = False) -> list[Hand]:
        """The hands of an undistorted picture, with their masks if asked for."""
        found = self.predictor(image, K=self.matrix(image), hand_length_m=self._view.hand_length_m, masks=masks)
        return self._kept(found)

    def clip(self, frames: Iterator[object]) -> Iterator[tuple[float, NDArray[np.uint8], list[Hand], list[int]]]:
        """Of each frame its time, its undistorted picture, the hands and the numbers of their tracks."""
        from handmesh.inference.tracking.tracker import HandTracker

        words = self._view.tracker_words()
        tracker = HandTracker(self.predictor, max_hands=self._most or 2, min_score=self._score, **words)
        for frame in tracker.run(frames):
            yield frame.timestamp_s, frame.image, frame.hands, frame.ids

    def _kept(self, hands: Sequence[Hand]) -> list[Hand]:
        return [hand for hand in hands if hand.score >= self._score][: self._most]


def predict_photo(job: Job, formats: Sequence[str], predictions: Predictions) -> list[Hand]:
    """Write one photo's results.

    Args:
        job: the photo and the name of its results.
        formats: of FORMATS, and MASK.
        predictions: finds the hands.

    Returns:
        The photo's hands.

    Raises:
        HandMeshError: a photo that cannot be read, or results that cannot be written.
    """
    from handmesh.io.images import read_image, write_image
    from handmesh.rendering.overlay import draw_hands
    from handmesh.rendering.result_files import write_glb, write_masks, write_obj, write_record

    image = predictions.undistorted(read_image(job.source))
    hands = predictions.photo(image, masks=MASK in formats or predictions.hide_covered)
    for kind, file in job.files(formats).items():
        if kind == "png":
            write_image(file, draw_hands(image, hands, hide_covered=predictions.hide_covered))
        elif kind == MASK:
            write_masks(file, image.shape, hands)
        elif kind == "json":
            size = (image.shape[1], image.shape[0])
            write_record(file, hands, job.source.name, size, predictions.matrix(image), predictions.is_fov_assumed)
        elif hands:
            (write_glb if kind == "glb" else write_obj)(file, hands)
    return hands


def predict_clip(
    job: Job, formats: Sequence[str], predictions: Predictions, progress: Callable[[], object]
) -> tuple[int, str]:
    """Write one clip's results: its frames with the hands drawn, its sound, and a JSON of a line a frame.

    A clip's hands are written without their meshes, which the hand model makes of the parameters.

    Args:
        job: the clip.
        formats: of FORMATS; "png" stands for the drawn clip.
        predictions: finds the hands.
        progress: called for each frame.

    Returns:
        How many frames show a hand, and why the drawn clip is silent where the clip is not.

    Raises:
        HandMeshError: not a clip, or results that cannot be written.
    """
    from handmesh.io.video.sources import open_source
    from handmesh.io.video.video_writer import ClipWriter
    from handmesh.rendering.overlay import draw_hands
    from handmesh.rendering.result_files import record_of

    files = job.files(formats)
    source = open_source(job.source)
    seen = count = 0
    with ExitStack() as stack:
        stack.callback(source.close)
        writer = None
        if "png" in files:
            writer = stack.enter_context(ClipWriter(files["png"], source.fps or 30.0, sound_from=job.source))
        record = None
        if "json" in files:
            record = stack.enter_context(open(stack.enter_context(atomic_path(files["json"])), "w", encoding="utf-8"))
        for timestamp_s, image, hands, ids in predictions.clip(source):  # type: ignore[arg-type]
            if writer:
                writer.write(draw_hands(image, hands), timestamp_s)
            if record:
                if not count:
                    size = (image.shape[1], image.shape[0])
                    head = record_of([], job.source.name, size, predictions.matrix(image), predictions.is_fov_assumed)
                    del head["hands"]
                    record.write(json.dumps(head)[:-1] + ', "frames": [')
                content = [{"track": track, **hand.to_dict(mesh=False)} for track, hand in zip(ids, hands, strict=True)]
                line = json.dumps({"timestamp_s": round(timestamp_s, 6), "hands": content})
                record.write((",\n" if count else "\n") + line)
            seen, count = seen + bool(hands), count + 1
            progress()
        if record:
            record.write("\n]}\n" if count else '{"frames": []}\n')
    return seen, writer.lost_sound if writer else ""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The words of the command, checked."""
    parser = CommandParser(prog="handmesh predict", description=_ABOUT)
    parser.add_argument("sources", nargs="+", metavar="PATH", help="a photo, a clip, or a folder of photos and clips")
    parser.add_argument("--output", default="output", metavar="DIR", help="folder for the results (default output/)")
    parser.add_argument(
        "--formats", default=",".join(FORMATS), metavar="LIST",
        help="what to write, of png (overlay; for a clip .mp4), glb, obj, json; default all",
    )  # fmt: skip
    parser.add_argument("--max-hands", type=int, metavar="N", help="best N of a picture; default all (clip: 2)")
    parser.add_argument("--min-score", type=float, default=0.0, metavar="S", help="least score, 0 to 1")
    parser.add_argument("--skip-existing", action="store_true", help="leave out what an earlier run has finished")
    parser.add_argument(
        "--masks", action="store_true", help="also NAME.mask.png of a photo: which pixels show its hand 1, 2, ..."
    )
    parser.add_argument(
        "--hide-covered", action="store_true",
        help="draw no mesh over what covers a photo's hand, as far as our network's mask tells",
    )  # fmt: skip
    parser.add_argument("--view", action="store_true", help="then show each photo's meshes in a 3D window")
    add_camera_options(parser)
    add_model_options(parser)
    args = parser.parse_args(argv)
    asked = [word.strip().lower().lstrip(".") for word in args.formats.split(",") if word.strip()]
    unknown = [word for word in asked if word not in FORMATS]
    if unknown or not asked:
        raise HandMeshError(f"expected --formats of {', '.join(FORMATS)}, got {args.formats!r}; separate by commas")
    args.formats = [*([MASK] if args.masks else []), *(each for each in FORMATS if each in asked)]
    expect_hand_options(args)
    args.view_options = camera_options(args)
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, find, predict, write, and report what came of each input."""
    args = parse(argv)
    if args.view:
        from handmesh.rendering.viewer import expect_viewer

        expect_viewer()
    target = Path(args.output)
    if target.is_file():
        raise HandMeshError(f"expected a folder for the results, got the file {target}; name another with --output")
    jobs, left_out = find_jobs(args.sources, target)
    refuse_to_replace([job.source for job in jobs], [file for job in jobs for file in job.files(args.formats).values()])
    if left_out:
        names = ", ".join(each.name for each in left_out[:3]) + (", ..." if len(left_out) > 3 else "")
        _say(f"left out, neither photo nor clip: {len(left_out)} ({names})")
    if args.skip_existing:
        done = [job for job in jobs if job.is_done(args.formats)]
        jobs = [job for job in jobs if job not in done]
        _say(f"finished before: {len(done)}, to do: {len(jobs)}")
    _say(args.view_options.describe())
    predictions = Predictions(
        lambda: _load(args), args.view_options, args.max_hands, args.min_score, args.hide_covered
    )
    to_view = _run(jobs, args.formats, predictions)
    print(f"wrote the results of {len(jobs)} input{'s' if len(jobs) != 1 else ''} to {args.output}", flush=True)
    if args.view:
        from handmesh.rendering.viewer import show_hands

        for name, hands in to_view:
            show_hands(hands, name)


def _load(args: argparse.Namespace) -> HandMeshPredictor:
    from handmesh.inference.predictor import HandMeshPredictor

    predictor = HandMeshPredictor.from_pretrained(**model_options(args))
    if predictor.transfer is not None:
        _say(f"results are transferred to the hand model {args.mano}: {predictor.transfer.error().describe()}")
    return predictor


def _run(jobs: Sequence[Job], formats: Sequence[str], predictions: Predictions) -> list[tuple[str, list[Hand]]]:
    """Each job, with a bar; a damaged one among several is named on stderr and skipped."""
    from tqdm import tqdm

    found: list[tuple[str, list[Hand]]] = []
    failed = 0
    is_single = len(jobs) == 1
    # A bar where there is something to wait for, and where somebody looks.
    with tqdm(jobs, desc="predicting", unit="input", disable=True if is_single else None) as bar:
        for job in bar:
            try:
                words = _one(job, formats, predictions, found)
            except HandMeshError as error:
                if is_single:
                    raise
                failed += 1
                tqdm.write(f"skipped: {error}", file=sys.stderr)
                continue
            tqdm.write(f"{job.source.name}: {words}", file=sys.stdout)
    if jobs and failed == len(jobs):
        raise HandMeshError("expected photos or clips, got none that can be read; see the lines above")
    return found


def _one(job: Job, formats: Sequence[str], predictions: Predictions, found: list[tuple[str, list[Hand]]]) -> str:
    from tqdm import tqdm

    if not job.is_clip:
        hands = predict_photo(job, formats, predictions)
        if hands:
            found.append((job.source.name, hands))
        return ", ".join(f"{hand.side} {hand.score:.2f}" for hand in hands) or "no hand"
    with tqdm(desc=job.source.name, unit="frame", disable=None, leave=False) as bar:
        seen, lost_sound = predict_clip(job, formats, predictions, bar.update)
    return f"{seen} frames with hands" + (f"; silent: {lost_sound}" if lost_sound else "")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
