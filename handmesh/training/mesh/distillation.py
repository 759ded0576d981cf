"""Distillation: a trained network sees the batch too, and its predictions become labels beside the true ones.

The teacher may be of any backbone, head and input size: the batch is cropped at the larger of the two sizes, and each
network sees it at its own.
"""

from __future__ import annotations

import torch

from handmesh.config import Config
from handmesh.data.sample import Batch, TeacherOutput
from handmesh.errors import HandMeshError
from handmesh.mano.arrays import ManoArrays
from handmesh.models.auxiliary import COMPARED
from handmesh.models.checkpoint import config_of, load_checkpoint
from handmesh.training.mesh.resizing import resize_crops, resize_images


class Teacher:
    """A trained network, folded and without gradient.

    Attributes:
        size: side in pixels of the crops that it sees.
    """

    def __init__(self, config: Config, mano: ManoArrays, device: torch.device | str) -> None:
        """Load the teacher that a config names.

        Args:
            config: of the run.
            mano: the hand model of the run, and of the teacher.
            device: where it runs.

        Raises:
            HandMeshError: no such checkpoint, one of another hand model, or one for another kind of crop.
        """
        net, header = load_checkpoint(config.train.teacher, mano)
        is_perspective = config_of(header).data.perspective
        if is_perspective != config.data.perspective:
            raise HandMeshError(
                f"expected a teacher trained with data.perspective={config.data.perspective}, got "
                f"{config.train.teacher} with {is_perspective}: its hands are turned another way; change one of them"
            )
        self.net = net.reparameterize().to(device).requires_grad_(False)
        self.size = net.config.image_size

    @torch.no_grad()
    def label(self, batch: Batch, pupil_size: int) -> Batch:
        """The batch for the pupil: its pictures and pixels at the pupil's size, and the teacher's answers."""
        maps, pooled = self.net.features(resize_images(batch["image"], self.size))
        found, _ = self.net.decode(maps, pooled)
        teacher = TeacherOutput(
            found.joints.float(), found.vertices.float(), found.rotations.float(), found.betas.float(),
            [features.float() for features in maps[-COMPARED:]],
        )  # fmt: skip
        return {**resize_crops(batch, pupil_size), "teacher": teacher}
