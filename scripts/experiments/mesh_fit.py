#!/usr/bin/env python3
"""Does the mesh lie on the hand? The figures by which the shipped weights are steered, of one checkpoint.

scripts/experiments/mesh_fit.py --checkpoint default --photos GATHERED --teacher REAL --annotated REAL --data SYNTH

Of photos of held-out makers (folders with labels.jsonl: handmesh/labeling/landmark_files.py), maker by maker:
  2D keypoints, 2D mesh   mean distance of the network's keypoints, and of the placed mesh's joints, to the labels, in
                          per cent of the side of the label's box (labels corrected to the hand model's joints)
  PA                      mm to the label's points in space, proper rotations
  mesh px, tips px        mesh joints to the network's own keypoints, in pixels of a crop of 256; fingertips alone
  fingers                 per cent of hands with a finger (thumb left out) that is straight by the label and not by the
                          mesh, or the other way round; fingers that are neither in the label do not count
  agreed                  the same with --networks, of the fingers that each network says are straight, or bent
  by eye                  the same as fingers, but where finger_labels.jsonl has what a person saw, that is the label;
                          fingers of which he could not tell do not count
A table of its own leaves out the photos of label_faults.jsonl, whose label does not lie on the hand by eye.
With --networks the labels are those of several landmark networks together (handmesh/labeling/ensemble.py), for all
hands and for those on which the networks agree. The same of the held-out photos of REAL by the landmark model's labels
(sign-digits and webcam-crops), of its annotated ones, and of the rendered evaluation split of SYNTH against its truth;
crops as in training (upright, padded). The placement is the predictor's own (handmesh/inference/estimator.py): the mesh
is aligned to the keypoints, unless --no-align.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import run_command
from handmesh.geometry.alignment import similarity_align
from handmesh.geometry.camera import project_points
from handmesh.geometry.crop import CropTransform, box_around, roll_of
from handmesh.io.files import write_json
from handmesh.results import Hand
from handmesh.skeleton import FINGERS, FINGERTIPS

if TYPE_CHECKING:
    from handmesh.data.freihand import FreiHandDataset
    from handmesh.inference.estimator import HandEstimator
    from handmesh.inference.views import Views
    from handmesh.labeling.photo_sets import LabelledPhoto

Array = NDArray[np.float64]
#: By photo and finger: 1 straight, -1 bent, 0 could not be told.
Fingers = dict[str, dict[int, int]]
FINGERS_FILE = Path(__file__).with_name("finger_labels.jsonl")
FAULTS_FILE = Path(__file__).with_name("label_faults.jsonl")
FOUR_FINGERS = ("index", "middle", "ring", "little")
#: Tip to knuckle over the finger's bones: at least the first is straight, at most the second is bent.
STRAIGHT, BENT = 0.9, 0.7
PICTURE_PX = 256
#: A mesh fits where its joints lie within so many per cent of the box's side, on average.
FITS = 5.0


@dataclass(frozen=True)
class Row:
    """One hand's figures; see the script's description."""

    group: str
    keypoints: float
    mesh: float
    pa_mm: float
    mesh_px: float
    tips_px: float
    keypoints_px: float
    has_wrong_finger: bool
    fit_score: float
    #: None where no fingers were told so.
    is_wrong_where_agreed: bool | None = None
    is_wrong_by_eye: bool | None = None


def straightness(joints: Array) -> Array:
    """(4,) tip to knuckle over the length of the bones between, of the four fingers of joints (21, 3)."""
    found = []
    for name in FOUR_FINGERS:
        points = joints[list(FINGERS[name])]
        found.append(np.linalg.norm(points[3] - points[0]) / np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
    return np.array(found)


def states(label: Array) -> Array:
    """(4,) of the four fingers of joints (21, 3): 1 straight, -1 bent, 0 neither."""
    told = straightness(label)
    return np.where(told >= STRAIGHT, 1, np.where(told <= BENT, -1, 0))


def agreed_states(opinions: Array) -> Array:
    """(4,) the states of which all opinions (N, 21, 3) are, 0 where they are not of one; all 0 without opinions."""
    each = np.stack([states(joints) for joints in opinions]) if len(opinions) else np.zeros((1, 4))
    return np.where((each == each[0]).all(0), each[0], 0)


def has_wrong_finger(joints: Array, told: Array) -> bool:
    """Whether a finger of joints (21, 3) is bent that is told to be straight, or the other way round; told: (4,)."""
    ours = straightness(joints) - (STRAIGHT + BENT) / 2
    return bool((ours * told < 0).any())


def read_fingers(path: Path) -> Fingers:
    """What a person saw: for "maker/file.jpg" the states by the finger's place among the four; 0 could not be told."""
    found = Fingers()
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        seen = {None: 0, True: 1, False: -1}[entry["is_straight"]]
        found.setdefault(entry["photo"], {})[FOUR_FINGERS.index(entry["finger"])] = seen
    return found


def read_faults(path: Path) -> dict[str, str]:
    """Photos ("maker/file.jpg") whose label does not lie on the hand as a person saw it, and what is wrong with it."""
    return {(entry := json.loads(line))["photo"]: entry["fault"] for line in path.read_text().splitlines()}


def name_of(photo: LabelledPhoto) -> str:
    """ "maker/file.jpg", as the files of what a person saw have it."""
    return f"{photo.path.parent.name}/{photo.path.name}"


def by_eye(photo: LabelledPhoto, told: Array, fingers: Fingers) -> Array:
    """The states (4,) of a photo's label with those that a person saw in their place."""
    seen = fingers.get(name_of(photo), {})
    return np.array([seen.get(place, state) for place, state in enumerate(told)])


def compare(
    group: str, hand: Hand, crop: CropTransform, keypoints: Array, joints: Array | None, label_px: Array
) -> Row:
    """The figures of one placed hand.

    Args:
        hand: of the predictor. crop: what the network saw.
        keypoints: (21, 2) the label, pixels of the picture; joints: (21, 3) metres, any origin, or None.
        label_px: (21, 2) the label's keypoints in crop pixels.
    """
    side = float(np.ptp(keypoints, axis=0).max())
    projected = project_points(np.asarray(hand.joints, np.float64), np.asarray(hand.K, np.float64))
    zoom = PICTURE_PX / crop.size
    own = crop.apply_points_2d(np.asarray(hand.keypoints_2d, np.float64))
    apart = zoom * np.linalg.norm(crop.apply_points_2d(projected) - own, axis=-1)
    pa, wrong = np.nan, False
    if joints is not None:
        aligned, _ = similarity_align(np.asarray(hand.joints, np.float64), joints, allow_reflection=False)
        pa = 1000 * float(np.linalg.norm(aligned - joints, axis=-1).mean())
        wrong = has_wrong_finger(np.asarray(hand.joints, np.float64), states(joints))

    def off(points: Array) -> float:
        return 100 * float(np.linalg.norm(points - keypoints, axis=-1).mean()) / side

    return Row(
        group, off(np.asarray(hand.keypoints_2d, np.float64)), off(projected), pa, float(apart.mean()),
        float(apart[list(FINGERTIPS)].mean()), zoom * float(np.linalg.norm(own - label_px, axis=-1).mean()), wrong,
        hand.fit_score,
    )  # fmt: skip


def photo_rows(
    estimator: HandEstimator, photos: Sequence[LabelledPhoto], views: Views = (), fingers: Fingers | None = None
) -> list[Row]:
    """Figures of every photo, its crop made from the label, seen once or in ``views``.

    Where a label does not say which hand it is, the network does, as for users. ``fingers`` is what a person saw.
    """
    from handmesh.io.images import read_image
    from handmesh.labeling.photo_sets import crops_for

    rows = []
    for photo in photos:
        image = read_image(photo.path)
        height, width = image.shape[:2]
        crops = crops_for(photo, width, height, estimator.crop)
        hand = estimator.estimate_either([image], [crops], views=views)[0].hand
        crop = next(crop for crop in crops if crop.is_mirrored != hand.is_right)
        known = np.asarray(np.isfinite(photo.keypoints_2d).all(-1))
        if not known.all():
            rows.append(_partly(photo, hand, crop, known))
            continue
        joints = photo.joints if photo.has_depth else None
        label_px = crop.apply_points_2d(photo.keypoints_2d)
        row = compare(photo.group, hand, crop, photo.keypoints_2d, joints, label_px)
        if joints is not None:
            ours = np.asarray(hand.joints, np.float64)
            if len(photo.opinions):
                row = replace(row, is_wrong_where_agreed=has_wrong_finger(ours, agreed_states(photo.opinions)))
            if fingers is not None:
                row = replace(row, is_wrong_by_eye=has_wrong_finger(ours, by_eye(photo, states(joints), fingers)))
        rows.append(row)
    return rows


def _partly(photo: LabelledPhoto, hand: Hand, crop: CropTransform, known: NDArray[np.bool_]) -> Row:
    """Of a photo in which not all 21 points are annotated: the others take the prediction's place, with no error."""
    side = float(np.ptp(photo.keypoints_2d[known], axis=0).max())
    projected = project_points(np.asarray(hand.joints, np.float64), np.asarray(hand.K, np.float64))

    def off(points: Array) -> float:
        return 100 * float(np.linalg.norm(points[known] - photo.keypoints_2d[known], axis=-1).mean()) / side

    zoom = PICTURE_PX / crop.size
    apart = zoom * np.linalg.norm(crop.apply_points_2d(projected) - crop.apply_points_2d(hand.keypoints_2d), axis=-1)
    return Row(
        photo.group, off(np.asarray(hand.keypoints_2d, np.float64)), off(projected), np.nan, float(apart.mean()),
        float(apart[list(FINGERTIPS)].mean()), np.nan, False, hand.fit_score,
    )  # fmt: skip


def rendered_rows(estimator: HandEstimator, dataset: FreiHandDataset, views: Views = ()) -> list[Row]:
    """Figures of every sample of a set in FreiHAND's layout."""
    rows = []
    for index in range(len(dataset)):
        sample = dataset.sample(index)
        joints = np.asarray(sample["joints"], np.float64)
        pixels = project_points(joints, sample["K"])
        roll = roll_of(pixels)
        crop = estimator.crop.crop(box_around(pixels, rotation_deg=roll), sample["K"], roll)
        hand = estimator.estimate([sample["image"]], [crop], views=views)[0].hand
        rows.append(compare("rendered", hand, crop, pixels, joints, crop.apply_points_2d(pixels)))
    return rows


def maker_tables(rows: list[Row], photos: Sequence[LabelledPhoto], by_networks: bool) -> dict[str, Any]:
    """Tables of all photos, of those whose label lies on the hand by eye, and of those on which the networks agree."""
    faults = read_faults(FAULTS_FILE)
    sound = [row for row, photo in zip(rows, photos, strict=True) if name_of(photo) not in faults]
    trusted = [row for row, photo in zip(rows, photos, strict=True) if photo.is_trusted]
    tables = {"held-out makers": summarize(rows), "held-out makers, labels that lie on the hand": summarize(sound)}
    if by_networks:
        tables["held-out makers, where the networks agree"] = summarize(trusted)
    return tables


NAMES = ("keypoints", "mesh", "pa_mm", "mesh_px", "tips_px", "keypoints_px")
#: Shares of the hands that have a label in space.
SHARES = {"wrong_fingers": "has_wrong_finger", "agreed": "is_wrong_where_agreed", "by_eye": "is_wrong_by_eye"}


def summarize(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Group by group the means, and ``mean of groups`` where there are several."""
    table = {}
    for group in sorted({row.group for row in rows}):
        part = [row for row in rows if row.group == group]
        columns = {name: np.array([getattr(row, name) for row in part]) for name in NAMES}
        values = {name: float(np.nanmean(column)) for name, column in columns.items() if np.isfinite(column).any()}
        labelled = [row for row in part if np.isfinite(row.pa_mm)]
        for name, attribute in SHARES.items():
            wrong = [share for row in labelled if (share := getattr(row, attribute)) is not None]
            if wrong:
                values[name] = 100 * float(np.mean(wrong))
        table[group] = {"hands": len(part), **values}
    if len(table) > 1:
        names = [name for name in (*NAMES, *SHARES) if all(name in values for values in table.values())]
        means = {name: float(np.nanmean([values[name] for values in table.values()])) for name in names}
        table["mean of groups"] = {"hands": len(rows), **means}
    return table


def reliability(rows: list[Row]) -> list[dict[str, float]]:
    """Of hands by ``fit_score``: how many, the mean score, and the share whose mesh is within 5 % of the box."""
    table = []
    edges = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)
    for low, high in itertools.pairwise(edges):
        part = [row for row in rows if low <= row.fit_score < high or (high == 1.0 == row.fit_score)]
        if part:
            scores, fits = [row.fit_score for row in part], [row.mesh < FITS for row in part]
            table.append({"hands": len(part), "fit_score": float(np.mean(scores)), "fits": float(np.mean(fits))})
    return table


def show(table: dict[str, dict[str, float]]) -> str:
    """The table as text."""
    heads = ("2D keyp. %", "2D mesh %", "PA mm", "mesh px", "tips px", "keyp. px", "fingers %", "agreed %", "by eye %")
    lines = [f"{'group':24s} {'hands':>5s}" + "".join(f" {head:>10s}" for head in heads)]
    for group, values in table.items():
        cells = "".join(f" {values[name]:10.2f}" if name in values else f" {'-':>10s}" for name in (*NAMES, *SHARES))
        lines.append(f"{group:24s} {values['hands']:5.0f}{cells}")
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="default")
    parser.add_argument("--photos", metavar="DIR", help="folders with labels.jsonl")
    networks = "label --photos anew by these landmark networks and the project's own together"
    parser.add_argument("--networks", nargs="+", metavar="TFLITE", default=[], help=networks)
    parser.add_argument("--teacher", metavar="DIR", help="folder with sign-digits/ and webcam-crops/ in it")
    parser.add_argument("--annotated", metavar="DIR", help="folder with annotated/ in it")
    parser.add_argument("--data", metavar="ROOT", help="rendered set in FreiHAND's layout")
    parser.add_argument("--split", choices=["evaluation", "training"], default="evaluation", help="of --data")
    parser.add_argument("--all-makers", action="store_true", help="also those that are trained on")
    parser.add_argument("--padding", type=float, help="side of the crop over the hand's box; default: the checkpoint's")
    parser.add_argument("--crop-size", type=int, help="its pixels, one of those trained at; default: the checkpoint's")
    parser.add_argument("--no-align", action="store_true", help="the mesh as the network has it")
    parser.add_argument("--engine", default="auto", help="what runs the network: a word or file of handmesh's --engine")
    parser.add_argument("--views", action="store_true", help="each hand in the several views of a still, not once")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    from handmesh.data.packed import open_split
    from handmesh.inference.engines.factory import make_engine
    from handmesh.inference.estimator import HandEstimator
    from handmesh.inference.views import STILL_VIEWS
    from handmesh.labeling.ensemble import label_together
    from handmesh.labeling.landmark_files import read_landmark_photos
    from handmesh.labeling.photo_sets import annotated_photos, photos_with_landmarks, readable
    from handmesh.labeling.pseudo_labels import correct
    from handmesh.mano.arrays import load_mano
    from handmesh.models.checkpoint import config_of, load_checkpoint

    mano = load_mano("open")
    net, header = load_checkpoint(args.checkpoint, mano)
    crop = config_of(header).crop
    crop = replace(crop.at_size(args.crop_size or crop.image_size), padding=args.padding or crop.padding)
    estimator = HandEstimator(make_engine(net, args.engine), mano, crop, not args.no_align)
    views = STILL_VIEWS if args.views else ()
    tables: dict[str, Any] = {"checkpoint": str(args.checkpoint)}
    if args.photos:
        photos = [photo for photo in read_landmark_photos(args.photos) if photo.is_held_out or args.all_makers]
        photos = label_together(photos, args.networks)
        rows = photo_rows(estimator, correct(photos, mano), views, read_fingers(FINGERS_FILE))
        tables |= maker_tables(rows, photos, bool(args.networks))
        tables["reliability"] = reliability(rows)
        tables["hands"] = [[row.group, round(row.mesh, 3), round(row.fit_score, 5)] for row in rows]
        for entry in tables["reliability"]:
            print("{hands:5.0f} hands of fit_score {fit_score:.2f}: {fits:.2f} fit".format(**entry))
    if args.teacher:
        photos = [photo for photo in photos_with_landmarks(args.teacher) if photo.is_held_out and photo.is_trusted]
        tables["the landmark model's labels"] = summarize(photo_rows(estimator, correct(photos, mano), views))
    if args.annotated:
        annotated = readable(annotated_photos(args.annotated))
        tables["annotated"] = summarize(photo_rows(estimator, annotated, views))
    if args.data:
        tables["rendered"] = summarize(rendered_rows(estimator, open_split(args.data, args.split), views))
    for name, table in tables.items():
        if isinstance(table, dict):
            print(f"\n{name}:\n{show(table)}")
    if args.json:
        write_json(args.json, tables, indent=2)


if __name__ == "__main__":
    run_command(main)
