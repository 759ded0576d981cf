"""Distillation: a trained network sees the batch too, and its predictions become labels beside the true ones.

The teacher may be of any backbone, head and input size: the batch is cropped at the larger of the two sizes, and each
network sees it at its own.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from handmesh.config import Config
from handmesh.data.sample import Batch, TeacherOutput
from handmesh.errors import HandMeshError
from handmesh.geometry.camera import resize_matrix, resize_points
from handmesh.mano.arrays import ManoArrays
from handmesh.models.auxiliary import COMPARED
from handmesh.models.checkpoint import config_of, load_checkpoint


class Teacher:
    """A trained network, folded and without gradient.

    Attributes:
        crop_size: side in pixels of the crops that a batch is to have.
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
        self.size, self.pupil_size = net.config.image_size, config.model.image_size
        self.crop_size = max(self.size, self.pupil_size)

    @torch.no_grad()
    def label(self, batch: Batch) -> Batch:
        """The batch for the pupil: its pictures and pixels at the pupil's size, and the teacher's answers."""
        maps, pooled = self.net.features(resize(batch["image"], self.size))
        found, _ = self.net.decode(maps, pooled)
        teacher = TeacherOutput(
            found.joints.float(), found.vertices.float(), found.rotations.float(), found.betas.float(),
            [features.float() for features in maps[-COMPARED:]],
        )  # fmt: skip
        return {**shrink(batch, self.pupil_size), "teacher": teacher}


def shrink(batch: Batch, size: int) -> Batch:
    """A batch of crops at another size in pixels: pictures, keypoints and intrinsics together."""
    factor = size / batch["image"].shape[1]
    if factor == 1.0:
        return batch
    K_crop = torch.from_numpy(resize_matrix(factor, factor)).to(batch["K_crop"]) @ batch["K_crop"]
    keypoints = resize_points(batch["keypoints_2d"], factor)
    return {**batch, "image": resize(batch["image"], size), "keypoints_2d": keypoints, "K_crop": K_crop}


def resize(images: Tensor, size: int) -> Tensor:
    """Pictures (B, S, S, 3) uint8 -> (B, size, size, 3) uint8, averaged where they become smaller."""
    if images.shape[1] == size:
        return images
    planes = images.permute(0, 3, 1, 2).float()
    planes = functional.interpolate(planes, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
    return planes.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
