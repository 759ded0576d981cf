"""One predictor shared by threads, forked children, spawned processes and data-loading workers: are answers the same?

``python -m scripts.benchmarks.concurrency [--engine NAME] [--threads 8] [--calls 50]``: every answer is compared with
the one of a single thread. Exit code 1 where one differs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import DataLoader, Dataset

from handmesh.errors import run_command
from handmesh.inference.predictor import HandMeshPredictor
from handmesh.synthesis.demo_clip import DemoScene

#: Metres within which two answers are the same: engines add in another order on fewer threads.
TOLERANCE_M = 1e-4


class Case(NamedTuple):
    """A picture, and boxes where the hands need not be looked for."""

    image: np.ndarray
    boxes: np.ndarray | None


def make_cases() -> list[Case]:
    """One picture that is searched, which takes longest, and eleven whose boxes are known."""
    scene = DemoScene()
    images = [np.ascontiguousarray(scene.frame(time_s).image[::2, ::2]) for time_s in (1.0, 2.2, 5.5, 7.0)]
    boxes = np.array([[20.0, 40, 150, 170], [90, 60, 220, 190], [160, 30, 300, 170]])
    return [Case(images[2], None), *(Case(image, box) for image in images for box in boxes)][:12]


def numbers(predictor: HandMeshPredictor, case: Case) -> np.ndarray:
    """Side, score, joints of each hand, (N, 65)."""
    hands = predictor(case.image, case.boxes)
    return np.array([[hand.is_right, hand.score, *hand.joints.ravel()] for hand in hands]).reshape(-1, 65)


class Photos(Dataset):
    """What a training set that uses the predictor looks like to a DataLoader."""

    def __init__(self, predictor: HandMeshPredictor, cases: list[Case], length: int) -> None:
        self.predictor, self.cases, self.length = predictor, cases, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return index % len(self.cases), numbers(self.predictor, self.cases[index % len(self.cases)])


def in_threads(predictor: HandMeshPredictor, cases: list[Case], count: int, calls: int) -> list[Any]:
    """``calls`` calls in each of ``count`` threads."""
    which = [index % len(cases) for index in range(count * calls)]
    with ThreadPoolExecutor(count) as pool:
        return list(zip(which, pool.map(lambda index: numbers(predictor, cases[index]), which), strict=True))


def in_processes(kind: str, predictor: HandMeshPredictor, cases: list[Case], calls: int) -> list[Any]:
    """Calls in two processes that were forked with the predictor, or spawned and given it pickled, once each."""
    which = [index % len(cases) for index in range(calls)]
    context = multiprocessing.get_context(kind)
    with ProcessPoolExecutor(2, context, initializer=_adopt, initargs=(predictor,)) as pool:
        return list(zip(which, pool.map(_adopted_numbers, [cases[index] for index in which]), strict=True))


_ADOPTED: list[HandMeshPredictor] = []


def _adopt(predictor: HandMeshPredictor) -> None:
    _ADOPTED.append(predictor)


def _adopted_numbers(case: Case) -> np.ndarray:
    return numbers(_ADOPTED[0], case)


def in_loader(kind: str, predictor: HandMeshPredictor, cases: list[Case], calls: int) -> list[Any]:
    """Two workers of PyTorch's DataLoader."""
    return list(
        DataLoader(Photos(predictor, cases, calls), batch_size=None, num_workers=2, multiprocessing_context=kind)
    )


def inherited(predictor: HandMeshPredictor, cases: list[Case]) -> list[Any]:
    """A child that was forked with the predictor in its memory, not pickled."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=lambda: queue.put([numbers(predictor, case) for case in cases]))
    child.start()
    answers = list(enumerate(queue.get()))
    child.join()
    return answers


def main(argv: Sequence[str]) -> int:
    """Run each way, print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--calls", type=int, default=50, help="in each thread; processes get a fifth in all")
    args = parser.parse_args(argv)
    cases = make_cases()
    predictor = HandMeshPredictor.from_pretrained("default", engine=args.engine)
    expected = [numbers(predictor, case) for case in cases]
    print(f"{predictor.engine.name}: {[len(each) for each in expected]} hands in {len(cases)} pictures")
    few = max(args.calls // 5, 3)
    ways: dict[str, Callable[[], list[Any]]] = {
        f"{args.threads} threads x {args.calls} calls": lambda: in_threads(predictor, cases, args.threads, args.calls),
        "forked child": lambda: inherited(predictor, cases),
        "forked pool": lambda: in_processes("fork", predictor, cases, few),
        "spawned pool": lambda: in_processes("spawn", predictor, cases, few),
        "DataLoader, forked": lambda: in_loader("fork", predictor, cases, few),
        "DataLoader, spawned": lambda: in_loader("spawn", predictor, cases, few),
    }
    failed = 0
    for name, run in ways.items():
        start_s = time.perf_counter()
        answers = run()
        apart = [
            float(np.abs(np.asarray(found) - expected[index]).max(initial=0))
            if np.shape(found) == np.shape(expected[index]) else np.inf
            for index, found in answers
        ]  # fmt: skip
        wrong = sum(not value < TOLERANCE_M for value in apart)
        failed += wrong > 0
        print(
            f"{name:28s} {len(answers):5d} answers, {wrong} wrong, farthest {max(apart):.1e}, "
            f"{time.perf_counter() - start_s:.1f} s", flush=True,
        )  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
