"""How well hands are found: average precision, recall at a rate of false hands, sides, rolls and masks, by size.

A detection is right if its square overlaps a hand's by half (IoU). Hands of which nearly nothing is seen, and places of
which nothing is known, are neither to be found nor false.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handmesh.detection.nms import containment_matrix, iou_matrix

OVERLAP = 0.5
#: False hands a picture at which recall is measured.
FALSE_A_PICTURE = 0.1
#: A detection of which so much lies in a place of which nothing is known is not counted.
_IN_UNKNOWN = 0.5
#: Sizes of hands by the side of their square over the picture's longer side.
SIZES = (("small", 0.0, 0.12), ("medium", 0.12, 0.3), ("large", 0.3, 10.0))

Float = NDArray[np.float64]


class Truth(NamedTuple):
    """The hands of one picture and the places (M, 4) of which nothing is known.

    A side or a roll that is not known is NaN; ``kinds`` are the words for each hand, or none for all of them.
    """

    boxes: Float  # (N, 4) xyxy
    rolls_deg: Float  # (N,)
    is_right: Float  # (N,) 1, 0 or NaN
    unknown: Float  # (M, 4)
    longer_side: float  # of the picture, in the boxes' unit
    kinds: tuple[tuple[str, ...], ...] = ()


class Found(NamedTuple):
    """What was found in one picture; a side that the detector does not say is NaN."""

    boxes: Float  # (N, 4) xyxy
    scores: Float  # (N,)
    rolls_deg: Float  # (N,)
    right: Float  # (N,) probability of a right hand


@dataclass(frozen=True)
class DetectionScores:
    """Figures of one detector on one set.

    ap: average precision at an overlap of half. recall: at FALSE_A_PICTURE false hands a picture, at the score
    ``threshold``. side_accuracy: of the hands found then. roll_deg: median error of their rolls. recall_by_size: the
    same recall of the hands of each of SIZES, NaN where there are none. recall_by_kind: the same of the hands of each
    kind that the labels name.
    """

    pictures: int
    hands: int
    ap: float
    recall: float
    threshold: float
    false_a_picture: float
    side_accuracy: float
    roll_deg: float
    recall_by_size: dict[str, float]
    recall_by_kind: dict[str, float]


class _Match(NamedTuple):
    score: float
    #: 1 right, 0 false, -1 not counted.
    verdict: int
    hand: int  # number of the hand in the whole set, -1 for none
    right: float
    roll_deg: float


def score_detections(
    found: Sequence[Found], truths: Sequence[Truth], rate: float = FALSE_A_PICTURE, threshold: float | None = None
) -> DetectionScores:
    """Compare what was found with what is there.

    Args:
        found: of each picture.
        truths: of the same pictures.
        rate: false hands a picture at which recall is measured.
        threshold: least score that counts instead, whatever the rate.
    """
    first, matches = 0, []
    for each, truth in zip(found, truths, strict=True):
        matches += _match(each, truth, first)
        first += len(truth.boxes)
    matches.sort(key=lambda match: -match.score)
    counted = [match for match in matches if match.verdict >= 0]
    hits = np.cumsum([match.verdict for match in counted]) if counted else np.zeros(0)
    ranks = np.arange(1, len(counted) + 1)
    recall, precision = hits / max(first, 1), hits / ranks
    ap = 0.0
    if len(counted):
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        ap = float((np.diff(np.concatenate([[0.0], recall])) * envelope).sum())
    if threshold is None:
        # Detections of one score come together: a threshold cannot part them.
        kept = int(np.searchsorted(ranks - hits, rate * len(truths), side="right"))
        while 0 < kept < len(counted) and counted[kept - 1].score == counted[kept].score:
            kept -= 1
        threshold = counted[kept - 1].score if kept else 1.0
    else:
        kept = sum(match.score >= threshold for match in counted)
    right = [match for match in counted[:kept] if match.verdict]
    sides = np.concatenate([truth.is_right for truth in truths]) if truths else np.zeros(0)
    rolls = np.concatenate([truth.rolls_deg for truth in truths]) if truths else np.zeros(0)
    sized = np.concatenate([_sizes(truth) for truth in truths]) if truths else np.zeros(0)
    kinds = [own for truth in truths for own in truth.kinds or ((),) * len(truth.boxes)]
    numbers = np.array([match.hand for match in right], int)
    said, known = np.array([match.right for match in right]), sides[numbers] if len(numbers) else np.zeros(0)
    both = np.isfinite(said) & np.isfinite(known)
    turned = np.array([match.roll_deg for match in right]) - (rolls[numbers] if len(numbers) else 0.0)
    is_hit = np.zeros(first, bool)
    is_hit[numbers] = True
    return DetectionScores(
        len(truths), first, ap, float(is_hit.mean()) if first else float("nan"), float(threshold),
        (kept - len(right)) / max(1, len(truths)),
        float(((said >= 0.5) == (known > 0.5))[both].mean()) if both.any() else float("nan"),
        float(np.nanmedian(np.abs((turned + 180) % 360 - 180))) if np.isfinite(turned).any() else float("nan"),
        {name: _share(is_hit, (sized >= low) & (sized < high)) for name, low, high in SIZES},
        {kind: _share(is_hit, np.array([kind in own for own in kinds])) for kind in sorted(set().union(*kinds))},
    )  # fmt: skip


def _sizes(truth: Truth) -> Float:
    return np.asarray((truth.boxes[:, 2:] - truth.boxes[:, :2]).max(1, initial=0) / truth.longer_side, np.float64)


def _share(hits: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> float:
    return float(hits[chosen].mean()) if chosen.any() else float("nan")


def _match(found: Found, truth: Truth, first: int) -> list[_Match]:
    """Each detection, best first, takes the hand that it overlaps most and that no better one has taken."""
    overlaps = iou_matrix(found.boxes, truth.boxes)
    hidden = containment_matrix(found.boxes, truth.unknown).max(1, initial=0)
    free, matches = np.ones(len(truth.boxes), bool), []
    for index in np.argsort(-found.scores, kind="stable"):
        row = np.where(free, overlaps[index], 0.0)
        hand = int(row.argmax()) if len(row) else -1
        if hand >= 0 and row[hand] >= OVERLAP:
            free[hand] = False
            verdict, hand = 1, first + hand
        else:
            verdict, hand = (-1 if hidden[index] >= _IN_UNKNOWN else 0), -1
        matches.append(
            _Match(float(found.scores[index]), verdict, hand, float(found.right[index]), float(found.rolls_deg[index]))
        )
    return matches


def mask_overlap(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks; NaN where both are empty."""
    union = int((predicted | truth).sum())
    return float((predicted & truth).sum() / union) if union else float("nan")


def format_scores(rows: dict[str, DetectionScores]) -> str:
    """A table of detectors, a line each."""
    names = [name for name, _, _ in SIZES]
    head = f"{'':28}{'pictures':>9}{'hands':>7}{'AP50':>7}{'recall':>8}{'false':>7}{'side':>7}{'roll':>7}" + "".join(
        f"{name:>8}" for name in names
    )
    lines = [head]
    for label, scores in rows.items():
        lines.append(
            f"{label:28}{scores.pictures:9d}{scores.hands:7d}{scores.ap:7.3f}{scores.recall:8.3f}"
            f"{scores.false_a_picture:7.2f}{scores.side_accuracy:7.3f}{scores.roll_deg:7.1f}"
            + "".join(f"{scores.recall_by_size[name]:8.3f}" for name in names)
        )
    for kind in sorted(set().union(*(scores.recall_by_kind for scores in rows.values()))):
        values = (f"{label} {scores.recall_by_kind.get(kind, float('nan')):.3f}" for label, scores in rows.items())
        lines.append(f"recall of {kind}: {', '.join(values)}")
    return "\n".join(lines)
