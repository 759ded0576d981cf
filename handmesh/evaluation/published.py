"""Published results on FreiHAND as data, each with its source and its protocol, and the table beside which
ours stands.

Figures: PA-MPJPE and PA-MPVPE in mm, F-scores aligned, at 5 and 15 mm; None where a source does not give one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FREIHAND_ONLY, MORE_DATA = "FreiHAND only", "more data"


@dataclass(frozen=True)
class PublishedRow:
    """One line of the table. fps: frames a second on the named GPU; crop: the test protocol, tta: its
    views."""

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


PUBLISHED: tuple[PublishedRow, ...] = (
    PublishedRow(
        "simpleHand",
        "CVPR 2024",
        "vertices",
        "FastViT-MA36",
        5.7,
        6.0,
        0.772,
        0.986,
        "70 (2080 Ti)",
        "joint box x1.25",
        tta="none",
    ),
    PublishedRow(
        "TokenHand", "CVPR 2026", "vertex tokens", "FastViT-MA36", 5.7, 5.9, 0.768, None, "65 (2080 Ti)", tta="none"
    ),
    PublishedRow("WiLoR", "CVPR 2025", "MANO + refinement", "ViT, pose-pretrained", 6.1, 5.8, 0.793, 0.990, "", "box"),
    PublishedRow("PointHMR", "CVPR 2023", "vertices", "HRNet", 6.1, 6.6, 0.720, 0.984, "", "fixed"),
    PublishedRow("AMVUR", "CVPR 2023", "MANO", "HRNet", 6.2, 6.1, 0.767, 0.987),
    PublishedRow(
        "ReJSHand", "2025", "vertices", "RepViT", 6.3, 6.4, 0.756, 0.984, "72 (2080 Ti)", "joint box", tta="none"
    ),
    PublishedRow(
        "MeshGraphormer",
        "ICCV 2021",
        "vertices",
        "HRNet-W64",
        6.3,
        6.5,
        0.738,
        0.983,
        "24 (2080 Ti)",
        "fixed 180 px",
        tta="none",
    ),
    PublishedRow(
        "MeshGraphormer",
        "ICCV 2021",
        "vertices",
        "HRNet-W64",
        5.9,
        6.0,
        0.764,
        0.986,
        "",
        "fixed 180 px",
        tta="95 views",
    ),
    PublishedRow(
        "FastMETRO-L", "ECCV 2022", "vertices", "HRNet-W64", 6.5, 7.1, 0.687, 0.983, "28 (2080 Ti)", "fixed", tta="none"
    ),
    PublishedRow(
        "METRO",
        "CVPR 2021",
        "vertices",
        "HRNet-W64",
        6.6,
        6.7,
        0.721,
        0.981,
        "27 (2080 Ti)",
        "fixed 180 px",
        tta="none",
    ),
    PublishedRow(
        "METRO", "CVPR 2021", "vertices", "HRNet-W64", 6.2, 6.3, 0.743, 0.984, "", "fixed 180 px", tta="95 views"
    ),
    PublishedRow(
        "FastViT",
        "ICCV 2023",
        "MANO",
        "FastViT-MA36",
        6.6,
        6.7,
        0.722,
        0.981,
        "84 (2080 Ti)",
        "fixed 180 px",
        tta="none",
    ),
    PublishedRow(
        "MobRecon",
        "CVPR 2022",
        "vertices",
        "DenseStack",
        6.9,
        7.2,
        0.694,
        0.979,
        "80 (2080 Ti)",
        "fixed 130 px",
        tta="none",
    ),
    PublishedRow("I2L-MeshNet", "ECCV 2020", "vertices", "ResNet-50", 7.4, 7.6, 0.681, 0.973, "33"),
    PublishedRow("HIU-DMTL", "ICCV 2021", "MANO + 2D tasks", "custom", 7.1, 7.3, 0.699, 0.974, "5"),
    PublishedRow("YoutubeHand", "CVPR 2020", "vertices", "ResNet-50", 8.4, 8.6, 0.614, 0.966, "60"),
    PublishedRow("FreiHAND baseline", "ICCV 2019", "MANO", "ResNet-50", 11.0, 10.9, 0.516, 0.934),
    PublishedRow("Hasson et al.", "CVPR 2019", "MANO", "ResNet-18", None, 13.2, 0.436, 0.908, "20"),
    PublishedRow("MobileHand", "2020", "MANO", "MobileNetV3", None, 13.1, 0.439, 0.902, "110"),
    PublishedRow("HandOS", "CVPR 2025", "", "", 5.0, None, training=MORE_DATA),
    PublishedRow("WiLoR", "CVPR 2025", "MANO + refinement", "ViT", 5.5, 5.1, 0.825, 0.993, training=MORE_DATA),
    PublishedRow("WiLoR", "CVPR 2025", "MANO + refinement", "FastViT", 6.5, 6.3, 0.741, 0.967, training=MORE_DATA),
    PublishedRow("MaskHand", "2024", "", "", 5.5, 5.4, 0.801, 0.991, training=MORE_DATA),
    PublishedRow("Hamba", "NeurIPS 2024", "MANO", "", 5.8, 5.5, training=MORE_DATA),
    PublishedRow("HaMeR", "CVPR 2024", "MANO", "ViT-H", 6.0, 5.7, 0.785, 0.990, training=MORE_DATA),
)

_COLUMNS = "{:1} {:20} {:18} {:21} {:>6} {:>6} {:>6} {:>6}  {:14} {:13} {}"


def format_table(ours: Sequence[PublishedRow], training: str = FREIHAND_ONLY) -> str:
    """Our rows among the published ones of the same training data, best PA-MPJPE first; ours are marked
    '>'."""
    rows = [(row, " ") for row in PUBLISHED if row.training == training] + [(row, ">") for row in ours]
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
