"""What a first picture needs, made side by side: on two cores it is there in half the time.

The compilation of the networks is C++ that other threads run beside; the compiled functions of the placement are read
from the disk by Numba in Python, a third of a second for the first of them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from handmesh.errors import HandMeshError
from handmesh.geometry.camera import intrinsics_from_fov, project_points
from handmesh.geometry.crop import CropSettings
from handmesh.inference.alignment.keypoint_alignment import KeypointAligner
from handmesh.inference.alignment.placement import lift_hand
from handmesh.inference.engines.base import EngineOutput
from handmesh.mano.arrays import ManoArrays
from handmesh.mano.hand_model import HandModel

_LOG = logging.getLogger("handmesh")

#: Compiling the functions anew takes ten seconds; nothing should take this long.
_LIMIT_S = 600.0


@contextmanager
def beside(*tasks: Callable[[], object]) -> Iterator[None]:
    """Run tasks in threads of their own while the block runs; all have ended when it ends, so that none meets a fork.

    They are work done ahead: what one raises is logged for developers, and raised again by whoever needs its result.
    """

    def run(task: Callable[[], object]) -> None:
        try:
            task()
        except (HandMeshError, OSError, RuntimeError, ValueError) as error:
            _LOG.debug("done ahead, and failed: %s", error)

    threads = [threading.Thread(target=run, args=(task,), name="handmesh start-up", daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join(timeout=_LIMIT_S)


def load_kernels(mano: ManoArrays) -> None:
    """Load the compiled functions between the network's answer and a placed hand, by placing one at rest."""
    model, aligner = HandModel(mano), KeypointAligner(mano)
    rotations, betas = np.tile(np.eye(3, dtype=np.float32), (16, 1, 1)), np.zeros(10, np.float32)
    crop = CropSettings().crop(np.array([40.0, 40, 200, 200]), intrinsics_from_fov(240, 240, 60.0))
    joints = aligner.joints(rotations, betas).astype(np.float32)
    pixels = project_points(joints - joints.mean(0) + np.array([0.0, 0.0, 0.5]), crop.K_crop).astype(np.float32)
    one = np.ones(1, np.float32)
    none = np.empty((1, 0, 3), np.float32)
    output = EngineOutput(
        none, none, rotations[None], betas[None], none[:, :, 0], pixels[None], np.full((1, 21), 0.9, np.float32),
        one, one,
    )  # fmt: skip
    lift_hand(output, 0, crop, model, aligner, mesh=False)
