"""Published results on FreiHAND, each with its source and its protocol, and the table beside which ours stands.

Figures: PA-MPJPE and PA-MPVPE in mm, F-scores aligned, at 5 and 15 mm; None where a source does not give one.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FREIHAND_ONLY = "FreiHAND only"
ASSET = Path(__file__).resolve().parents[1] / "assets" / "published.csv"
_FIGURES = ("pa_mpjpe", "pa_mpvpe", "f5", "f15")


@dataclass(frozen=True)
class PublishedRow:
    """One line of the table. fps: frames a second on the named GPU; crop: the test protocol, tta: its
    views.
    """

    method: str
    source: str
    output: str
    backbone: str
    pa_mpjpe: float | None
    pa_mpvpe: float | None
    f5: float | None = None
    f15: float | None = None
    fps: str = ""
    crop: str = ""
    training: str = FREIHAND_ONLY
    tta: str = ""


def published() -> tuple[PublishedRow, ...]:
    """The published results, in the order of assets/published.csv; its columns are the row's fields."""
    with open(ASSET, newline="", encoding="utf-8") as file:
        return tuple(_row(line) for line in csv.DictReader(file))


def _row(line: dict[str, str]) -> PublishedRow:
    words = {name: text for name, text in line.items() if name not in _FIGURES}
    figures = {name: float(line[name]) if line[name] else None for name in _FIGURES}
    return PublishedRow(**words, **figures)  # type: ignore[arg-type]


_COLUMNS = "{:1} {:20} {:18} {:21} {:>6} {:>6} {:>6} {:>6}  {:14} {:13} {}"


def format_table(ours: Sequence[PublishedRow], training: str = FREIHAND_ONLY) -> str:
    """Our rows among the published ones of the same training data, best PA-MPJPE first; ours are marked
    '>'.
    """
    rows = [(row, " ") for row in published() if row.training == training] + [(row, ">") for row in ours]
    rows.sort(key=lambda pair: pair[0].pa_mpjpe if pair[0].pa_mpjpe is not None else float("inf"))
    head = ("", "method", "output", "backbone", "PJ mm", "PV mm", "F@5", "F@15", "FPS", "test crop", "TTA")
    lines = [_COLUMNS.format(*head), "-" * 132]
    for row, mark in rows:
        figures = [_number(row.pa_mpjpe, 1), _number(row.pa_mpvpe, 1), _number(row.f5, 3), _number(row.f15, 3)]
        words = (row.method, row.output, row.backbone)
        lines.append(_COLUMNS.format(mark, *words, *figures, row.fps, row.crop, row.tta).rstrip())
    return "\n".join(lines)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
