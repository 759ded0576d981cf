"""Crops in, hands in the camera's frame out: the one step of predictor, tracker, evaluation and training pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from handmesh.geometry.crop import CropSettings, CropTransform, box_around, roll_of
from handmesh.inference.alignment.keypoint_alignment import KeypointAligner
from handmesh.inference.alignment.placement import Estimate, lift_hand
from handmesh.inference.engines.base import EngineOutput
from handmesh.inference.stage_clock import StageClock
from handmesh.inference.views import Views, merge_views
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.hand_model import HandModel
from handmesh.results import Detection, Hand

if TYPE_CHECKING:
    from handmesh.inference.engines.base import Engine

FloatArray = NDArray[np.floating[Any]]
#: Probability of a hand's side below which the network's word stands against the detector's.
UNLIKELY_SIDE = 0.2


class HandEstimator:
    """Crop, network, alignment to the keypoints, placement before the camera. Keeps no state.

    Attributes:
        engine: runs the network.
        crop: what the network was trained to see, as far as the engine takes it.
        model: the hand model inside the network.
        align: move each mesh onto the network's keypoints (keypoint_alignment.py); it may be changed at any time.
    """

    def __init__(self, engine: Engine, mano: ManoArrays, crop: CropSettings, align: bool = True) -> None:
        """Compose the step.

        Args:
            engine: runs the network.
            mano: the arrays of the hand model inside it.
            crop: what the network was trained to see.
            align: move each mesh onto the network's keypoints.
        """
        if crop.sizes and not engine.any_size:
            crop = replace(crop, sizes=())
        self.engine, self.crop, self.align = engine, crop, align
        self.model, self._aligner = HandModel(mano), KeypointAligner(mano)

    def make_crop(self, place: Detection, K: FloatArray) -> CropTransform:
        """The crop the network gets for a place; a left hand's is mirrored."""
        return self.crop.crop(place.box_xyxy, K, place.rotation_deg, mirror=not place.is_right)

    def view_crops(self, crops: Sequence[CropTransform], views: Views) -> list[list[CropTransform]]:
        """For each crop those that the network sees in its place, no two alike; without views itself."""
        largest = self.crop.all_sizes[-1]
        return [
            [
                crop.turned(turn_deg, zoom).resized(size)
                for turn_deg, zoom, size in dict.fromkeys(
                    (turn_deg, zoom, self.crop.size_for(crop.source_size, density, largest))
                    for turn_deg, zoom, density in views
                )
            ]
            or [crop]
            for crop in crops
        ]

    def estimate(
        self, images: Sequence[NDArray[np.uint8]], crops: Sequence[CropTransform], clock: StageClock | None = None,
        mesh: bool = True, views: Views = (),
    ) -> list[Estimate]:  # fmt: skip
        """One Estimate a crop, in their order, all in one batch.

        Args:
            images: (H, W, 3) uint8 RGB, one a crop.
            crops: where to look, of :meth:`make_crop`; at least one.
            clock: gets the milliseconds of crop, network and place.
            mesh: False leaves the vertices out, as of lift_hand.
            views: turns (degrees) and zooms of each crop that the network sees in its place; the answer is their mean
                (views.py). None: it sees the crop as it is.
        """
        clock = clock or StageClock()
        views = views if self.align else ()  # a mean has no mesh of the network's own
        groups = self.view_crops(crops, views)
        with clock("crop"):
            pictures = [seen.apply_image(image) for group, image in zip(groups, images, strict=True) for seen in group]
        with clock("network"):
            output = self._answers(pictures)
        with clock("place"):
            if views:
                output = merge_views(output, groups, crops)
            aligner = self._aligner if self.align else None
            return [lift_hand(output, index, crop, self.model, aligner, mesh) for index, crop in enumerate(crops)]

    def _answers(self, pictures: list[NDArray[np.uint8]]) -> EngineOutput:
        """The network's answers about crops, in their order; all of one size are one batch."""
        # The mesh is posed anew once it is moved onto the keypoints: some engines can leave theirs out.
        run = (getattr(self.engine, "without_mesh", None) if self.align else None) or self.engine
        sizes = [len(picture) for picture in pictures]
        if len(set(sizes)) == 1:
            return run(np.stack(pictures))
        places = [np.flatnonzero(np.equal(sizes, size)) for size in sorted(set(sizes))]
        parts = [run(np.stack([pictures[i] for i in place])) for place in places]
        order = np.argsort(np.concatenate(places))
        return EngineOutput(*(np.concatenate(rows)[order] for rows in zip(*parts, strict=True)))

    def estimate_either(
        self, images: Sequence[NDArray[np.uint8]], crops: Sequence[Sequence[CropTransform]],
        clock: StageClock | None = None, mesh: bool = True, views: Views = (),
    ) -> list[Estimate]:  # fmt: skip
        """One Estimate a hand, of the likelier side where a hand may be either.

        Args:
            images: (H, W, 3) uint8 RGB, one a hand.
            crops: of each hand its crop, or two where nobody knows its side: as a right and (mirrored) as a left one.
            clock, mesh, views: as of :meth:`estimate`.
        """
        pictures = [image for image, own in zip(images, crops, strict=True) for _ in own]
        found = iter(self.estimate(pictures, [crop for own in crops for crop in own], clock, mesh, views))
        return [next(found) if len(own) == 1 else likelier(next(found), next(found)) for own in crops]


def place_of(hand: Hand) -> Detection:
    """Where to crop to see this hand again: the square around its points, turned upright."""
    roll = roll_of(hand.keypoints_2d)
    return Detection(box_around(hand.keypoints_2d, rotation_deg=roll), hand.is_right, hand.score, roll)


def place_after(estimate: Estimate) -> Detection:
    """As :func:`place_of`, of the other side where the network is sure that the hand was seen as one that it is not."""
    hand = estimate.hand
    is_likely = (estimate.right if hand.is_right else 1.0 - estimate.right) >= UNLIKELY_SIDE
    return replace(place_of(hand), is_right=hand.is_right if is_likely else not hand.is_right)


def likelier(right: Estimate, left: Estimate) -> Estimate:
    """Which hand it is: of one place seen as a right and (mirrored) as a left hand, what both answers together favour.

    Args:
        right: the answer about the crop as it is.
        left: that about the mirrored crop.
    """
    return right if right.right + left.right >= 1.0 else left


def is_plausible(hand: Hand, place: Detection, sides: tuple[float, float] = (0.4, 1.8), shift: float = 0.5) -> bool:
    """Whether a hand found at a place is still about there, so that a next crop may follow it.

    Args:
        hand: as it was found there.
        place: where it was looked for.
        sides: least and largest side of the hand's box, in sides of the place's.
        shift: how far the middles of the boxes may lie apart, in sides of the place's.
    """
    before, found = np.asarray(place.box_xyxy, np.float64), np.asarray(hand.box_xyxy, np.float64)
    side, new_side = float((before[2:] - before[:2]).max()), float(found[2] - found[0])
    moved = np.abs(found[:2] + found[2:] - before[:2] - before[2:]).max() / 2
    is_sized = sides[0] * side < new_side < sides[1] * side
    return bool(np.isfinite(hand.keypoints_2d).all() and is_sized and moved < shift * side)
