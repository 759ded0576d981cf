"""The landmark model's depth of open fingers: ``python -m scripts.experiments.landmark_depth [--backgrounds DIR]``.

Open palms are rendered square to a camera, their fingers anywhere from stretched to half bent, so that the truth is
known; the landmark model and a network are asked how far the fingertips stand before the palm. Labels of photos, and
errors measured against them, know of a finger's depth what the landmark model does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from handmesh.data.crops import plain_crop
from handmesh.data.sample import Sample
from handmesh.detection.landmark_model import LandmarkModel
from handmesh.errors import HandMeshError, run_command
from handmesh.inference.engines.factory import make_engine
from handmesh.labeling.landmark_calibration import Ask, ask_with, right_hand
from handmesh.mano.arrays import load_mano
from handmesh.mano.prior.joint_limits import angles_to_rotations, clamp
from handmesh.mano.prior.pose_prior import SLACK
from handmesh.models.checkpoint import load_checkpoint
from handmesh.synthesis.generator import SampleGenerator
from handmesh.synthesis.viewpoint import View, turn_about, turn_to_ray

Array = NDArray[np.float64]
CROP_PADDING = 1.3
TIPS = (8, 12, 16, 20)
#: Bounds of the rows, by the true mean depth of index, middle and ring fingertip.
EDGES = (-0.5, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0)


class OpenPalms(SampleGenerator):
    """The generator's pictures of one gesture, held up to the camera: five fingers spread, bent more or less."""

    def pose(self, index: int) -> np.ndarray:
        """hand_pose (15, 3, 3) float32 of one sample: from a little over-stretched to half bent."""
        rng = np.random.default_rng([self.seed, 6, index])
        angles = self.poses.angles_of("five, open")
        angles[:12, 0] += np.radians(np.tile(SLACK, 4) * rng.uniform(-0.3, 2.5))
        angles += np.radians(rng.normal(0, 1, (15, 3)) * [3.0, 1.2, 0.6])
        rotations = angles_to_rotations(clamp(angles[None]), self.poses.axes)[0]
        return rotations.astype(np.float32)

    def _view(self, rng: np.random.Generator) -> View:
        view = super()._view(rng)
        roll, pitch, yaw = (turn_about(axis, np.radians(rng.normal(0, by))) for axis, by in ((2, 8), (0, 10), (1, 15)))
        x, y, depth = view.centre
        turn = turn_to_ray(x / depth, y / depth) @ roll @ pitch @ yaw @ self.renderer.upright
        return replace(view, rotation=turn, fill=float(rng.uniform(0.6, 0.85)), shift=np.zeros(2))


def tip_depths(joints: NDArray[np.floating]) -> Array:
    """joints (n, 21, 3) of right hands -> (n, 4): how far the tips of index to little finger stand before the plane of
    wrist, index and little knuckle turned to the middle one, in distances from wrist to middle knuckle.
    """
    points = np.asarray(joints, np.float64) - joints[:, :1]
    along = points[:, 9]
    length = np.linalg.norm(along, axis=-1, keepdims=True)
    along = along / length
    across = points[:, 5] - points[:, 17]
    across -= along * (across * along).sum(-1, keepdims=True)
    out = np.cross(across, along)
    out /= np.linalg.norm(out, axis=-1, keepdims=True)
    depths: Array = (points[:, TIPS] * out[:, None]).sum(-1) / length
    return depths


def measure(samples: Iterable[Sample], ask: Ask, network: Callable[[Sample], Array]) -> dict[str, Array]:
    """Joints (n, 21, 3) of the hands that the landmark model sees, by "truth", "landmarks" and "network"."""
    found: dict[str, list[Array]] = {"truth": [], "landmarks": [], "network": []}
    for sample in samples:
        label = right_hand(sample, ask)
        if label is not None:
            rows = {"truth": sample["joints"], "landmarks": label.joints, "network": network(sample)}
            for name, joints in rows.items():
                found[name].append(np.asarray(joints, np.float64))
    return {name: np.reshape(rows, (-1, 21, 3)) for name, rows in found.items()}


def table(joints: dict[str, Array]) -> str:
    """Median depths by the true depth, and how the mean of three fingers follows it: slope and correlation."""
    depths = {name: tip_depths(rows) for name, rows in joints.items()}
    means = {name: rows[:, :3].mean(1) for name, rows in depths.items()}
    heads = "".join(f"{name + ': index middle ring little':>38}" for name in depths)
    lines = [f"{'true depth':14}{'hands':>6}{heads}"]
    for low, high in pairwise(EDGES):
        rows = (means["truth"] >= low) & (means["truth"] < high)
        if rows.any():
            cells = ["".join(f"{value:8.2f}" for value in np.median(part[rows], axis=0)) for part in depths.values()]
            lines.append(f"{f'{low:.1f} to {high:.1f}':14}{rows.sum():6}" + "".join(f"{cell:>38}" for cell in cells))
    for name in ("landmarks", "network"):
        slope = np.polyfit(means["truth"], means[name], 1)[0]
        r = np.corrcoef(means["truth"], means[name])[0, 1]
        lines.append(f"{name}: {slope:.2f} of what the truth changes, correlation {r:.2f}")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.experiments.landmark_depth", description=__doc__)
    parser.add_argument("--count", type=int, default=400, help="rendered pictures (default 400)")
    parser.add_argument("--seed", type=int, default=55, help="of the pictures")
    parser.add_argument("--backgrounds", metavar="FOLDER", help="photos and .hdr maps to lay hands on")
    parser.add_argument("--checkpoint", default="default", help="the network to ask besides")
    options = parser.parse_args(argv)
    if options.count < 2:
        raise HandMeshError(f"expected --count of at least 2, got {options.count}; see --help")
    net, _ = load_checkpoint(options.checkpoint)
    size, engine = net.config.image_size, make_engine(net, "torch")
    generator = OpenPalms(load_mano("open"), options.seed, backgrounds=options.backgrounds)

    def network(sample: Sample) -> Array:
        crop = plain_crop(sample, size, CROP_PADDING, upright=True)
        return np.asarray(engine(crop["image"][None]).joints[0], np.float64)

    joints = measure((generator.sample(i) for i in range(options.count)), ask_with(LandmarkModel()), network)
    if len(joints["truth"]) < 2:
        raise HandMeshError(
            f"expected two hands that the landmark model sees, got {len(joints['truth'])}; ask for more with --count"
        )
    print(table(joints))


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
