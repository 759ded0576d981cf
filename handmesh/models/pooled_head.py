"""The FastViT paper's head: MANO parameters and a camera, regressed from one pooled feature."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from handmesh.geometry.rotation import matrix_to_rotation_6d, rotation_6d_to_matrix
from handmesh.models.outputs import HeadOutput

#: What a hand of ordinary size fills of a crop: half sizes per metre, the camera's scale before training.
START_SCALE = 9.0


class PooledHead(nn.Module):
    """Pooled feature -> 16 x 6D as a residual to the mean pose, 10 betas, a weak-perspective camera (FastViT, 4.4)."""

    mean_6d: Tensor

    def __init__(self, channels: int, mean_pose: Tensor, hidden: int = 512) -> None:
        """A head that begins near the mean pose.

        Args:
            channels: width of the pooled feature.
            mean_pose: (15, 3, 3) rotations of the finger joints.
            hidden: width of the hidden layer.
        """
        super().__init__()
        mean = torch.cat([torch.eye(3)[None], mean_pose.float()])
        self.register_buffer("mean_6d", matrix_to_rotation_6d(mean), persistent=False)
        self.hidden = nn.Sequential(nn.Linear(channels, hidden), nn.GELU())
        self.parameters_out = nn.Linear(hidden, 16 * 6 + 10 + 3)
        self.is_hand = nn.Linear(channels, 2)
        small_start(self.parameters_out, self.is_hand)

    def forward(self, maps: list[Tensor], pooled: Tensor, *of_the_hand: Tensor) -> HeadOutput:
        """The head's prediction.

        Args:
            maps: not used.
            pooled: (B, channels).
            of_the_hand: mean_6d (16, 6), where it is not to be the head's own.
        """
        (mean_6d,) = of_the_hand or (self.mean_6d,)
        d6, betas, camera = self.parameters_out(self.hidden(pooled)).split([96, 10, 3], dim=-1)
        rotations = rotation_6d_to_matrix(mean_6d + d6.unflatten(-1, (16, 6)))
        scale = START_SCALE * torch.exp(camera[:, :1])
        presence, is_right = self.is_hand(pooled).unbind(-1)
        camera = torch.cat([scale, camera[:, 1:] * 0.1], dim=-1)
        return HeadOutput(rotations, betas, camera, None, None, presence, is_right, None)


def small_start(*layers: nn.Linear) -> None:
    """Let output layers begin near zero, so that training starts at the mean hand."""
    for layer in layers:
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(layer.bias)
