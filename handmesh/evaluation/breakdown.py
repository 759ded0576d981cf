"""Why some photos are harder: what a photo's label and pixels tell of it, and the errors class by class.

Pose, viewpoint, skin, light, size, cut-off and side are estimated, not annotated: pose and viewpoint from the
landmarks in space, skin and light from the picture (so dark skin in bright light and pale skin in the dark fall
together).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handmesh.evaluation.real_photos import RealResult
from handmesh.geometry.camera import is_in_picture
from handmesh.io.images import read_image
from handmesh.labeling.photo_sets import LabelledPhoto
from handmesh.skeleton import FINGERS

#: A finger whose tip is this far from its knuckle, in lengths of its bones, is straight.
STRAIGHT = 0.9
#: The palm or the back is seen where its normal is within 60 degrees of the line of sight; end-on where the hand's
#: direction is within 45 of it.
FACING, END_ON = 0.5, 0.71
#: Sides of the hand's box in pixels that divide small, medium and large.
BOX_BOUNDS_PX = (60.0, 120.0)
#: Numbers of points outside the picture that divide whole, touched and cut-off hands.
OUTSIDE_BOUNDS = (1, 5)
#: The skin's lightness is looked up inside the palm.
_PALM = [0, 1, 5, 9, 13, 17]


@dataclass(frozen=True)
class Traits:
    """What is known of one photo.

    side, view and fingers are class names; skin and light are CIE lightness (0..100) inside the palm and of the whole
    picture, medians; box_px the longer side of the hand's box; outside how many of the 21 points the picture misses.
    """

    side: str
    view: str
    fingers: str
    skin: float
    light: float
    box_px: float
    outside: int


def traits_of(photo: LabelledPhoto, image: NDArray[np.uint8]) -> Traits:
    """The traits of a photo labelled in 2D and 3D, with known side."""
    assert photo.joints is not None and photo.is_right is not None
    lightness = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[..., 0], np.float64) / 2.55
    points = photo.keypoints_2d
    height, width = image.shape[:2]
    inside = is_in_picture(points, width, height)
    palm = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(palm, cv2.convexHull(np.rint(points[_PALM]).astype(np.int32)), 1)
    skin = lightness[palm > 0] if palm.any() else lightness.ravel()
    return Traits(
        "right" if photo.is_right else "left", view_of(photo.joints, photo.is_right), fingers_of(photo.joints),
        float(np.median(skin)), float(np.median(lightness)), float(np.ptp(points, axis=0).max()), int((~inside).sum()),
    )  # fmt: skip


def view_of(joints: NDArray[np.floating], is_right: bool) -> str:
    """From where a hand is seen, by its joints (21, 3) in camera axes: palm, back, side, or end-on."""
    index, little, middle = (np.asarray(joints[k] - joints[0], np.float64) for k in (5, 17, 9))
    if abs(middle[2]) > END_ON * np.linalg.norm(middle):
        return "end-on"
    normal = np.cross(index, little)
    towards = -normal[2] / max(float(np.linalg.norm(normal)), 1e-9) * (1 if is_right else -1)
    return "palm" if towards > FACING else "back" if towards < -FACING else "side"


def fingers_of(joints: NDArray[np.floating]) -> str:
    """How many of the four fingers are straight: open (all), some, or curled (none)."""
    straight = 0
    for name, ids in FINGERS.items():
        chain = np.asarray(joints, np.float64)[list(ids)]
        length = np.linalg.norm(np.diff(chain, axis=0), axis=-1).sum()
        straight += name != "thumb" and bool(np.linalg.norm(chain[-1] - chain[0]) > STRAIGHT * length)
    return {0: "curled", 4: "open"}.get(straight, "some")


def by_cause(results: Sequence[RealResult]) -> list[dict[str, Any]]:
    """The errors of pseudo-labelled photos class by class: for each, of all photos and of those held out.

    Rows have cause, class, and samples, pa_mm, error_2d, with held_out_ before them for the second; errors are means,
    None where there is no sample.
    """
    chosen = [
        r for r in results
        if r.photo.joints is not None and r.photo.is_right is not None and not r.photo.group.startswith("annotated")
    ]  # fmt: skip
    if not chosen:
        return []
    traits = [traits_of(result.photo, read_image(result.photo.path)) for result in chosen]
    sides, views, fingers = ("left", "right"), ("palm", "back", "side", "end-on"), ("open", "some", "curled")
    columns = [
        ("side", sides, [sides.index(t.side) for t in traits]),
        ("viewpoint", views, [views.index(t.view) for t in traits]),
        ("pose", tuple(f"fingers {name}" for name in fingers), [fingers.index(t.fingers) for t in traits]),
        ("skin", *_thirds([t.skin for t in traits])),
        ("light", *_thirds([t.light for t in traits])),
        ("box", *_between([t.box_px for t in traits], BOX_BOUNDS_PX, "{} px")),
        ("cut off", *_between([t.outside for t in traits], OUTSIDE_BOUNDS, "{} points outside")),
    ]
    return [
        {"cause": cause, "class": name, **_means([(r, c == k) for r, c in zip(chosen, classes, strict=True)])}
        for cause, names, classes in columns
        for k, name in enumerate(names)
        if k in classes
    ]


def _thirds(values: Sequence[float]) -> tuple[tuple[str, ...], list[int]]:
    """Names of three classes of equal size, by lightness, and the class of each value."""
    low, high = np.percentile(values, [100 / 3, 200 / 3])
    dark, light = f"darkest third, L* to {low:.0f}", f"lightest third, from {high:.0f}"
    names = dark, f"middle third, {low:.0f} to {high:.0f}", light
    return names, np.searchsorted([low, high], values, side="right").tolist()


def _between(values: Sequence[float], bounds: tuple[float, float], words: str) -> tuple[tuple[str, ...], list[int]]:
    """Names of three classes divided by two bounds, and the class of each value; a bound belongs to the upper class."""
    low, high = (f"{bound:g}" for bound in bounds)
    names = words.format(f"below {low}"), words.format(f"{low} to {high}"), words.format(f"from {high}")
    return names, np.searchsorted(bounds, values, side="right").tolist()


def _means(marked: Sequence[tuple[RealResult, bool]]) -> dict[str, Any]:
    """Means over the marked results, and over those of them that are held out."""
    row: dict[str, Any] = {}
    for prefix, held_out_only in (("", False), ("held_out_", True)):
        here = [r for r, is_marked in marked if is_marked and (r.photo.is_held_out or not held_out_only)]
        row[f"{prefix}samples"] = len(here)
        row[f"{prefix}pa_mm"] = float(np.mean([r.pa_mm for r in here])) if here else None
        row[f"{prefix}error_2d"] = float(np.mean([r.error_2d for r in here])) if here else None
    return row


def format_causes(rows: Sequence[dict[str, Any]]) -> str:
    """The rows of :func:`by_cause` as a text table; 2D errors in per cent of the hand's box."""
    errors = f"{'PA mm':>7s} {'2D %':>6s}"
    lines = [f"{'cause':10s} {'class':28s} {'all':>5s} {errors}   {'held out':>8s} {errors}"]
    before = ""
    for row in rows:
        cells = [
            f"{row[f'{p}samples']:{w}d} {_cell(row[f'{p}pa_mm'], 1, 7)} {_cell(row[f'{p}error_2d'], 100, 6)}"
            for p, w in (("", 5), ("held_out_", 8))
        ]
        lines.append(f"{row['cause'] if row['cause'] != before else '':10s} {row['class']:28s} {cells[0]}   {cells[1]}")
        before = row["cause"]
    return "\n".join(lines)


def _cell(value: float | None, scale: float, width: int) -> str:
    return f"{'-':>{width}s}" if value is None else f"{scale * value:{width}.2f}"
