"""Batches of crops at another size: what a teacher or a step of another ``train.image_sizes`` sees."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from handmesh.data.sample import Batch
from handmesh.geometry.camera import resize_matrix, resize_points


def resize_crops(batch: Batch, size: int) -> Batch:
    """A batch of crops at another size in pixels: pictures, keypoints and intrinsics together."""
    factor = size / batch["image"].shape[1]
    if factor == 1.0:
        return batch
    K_crop = torch.from_numpy(resize_matrix(factor, factor)).to(batch["K_crop"]) @ batch["K_crop"]
    keypoints = resize_points(batch["keypoints_2d"], factor)
    return {**batch, "image": resize_images(batch["image"], size), "keypoints_2d": keypoints, "K_crop": K_crop}


def resize_images(images: Tensor, size: int) -> Tensor:
    """Pictures (B, S, S, 3) uint8 -> (B, size, size, 3) uint8, averaged where they become smaller."""
    if images.shape[1] == size:
        return images
    planes = images.permute(0, 3, 1, 2).float()
    planes = functional.interpolate(planes, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
    return planes.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
