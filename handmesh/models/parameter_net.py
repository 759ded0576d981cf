"""The network without its hand: pictures in, MANO parameters out, and not one array of the hand model inside.

For a hand whose licence keeps its arrays out of files that are passed on. The two constants a head needs of the hand,
the mean pose and the palm's frame at rest, are inputs of :class:`ParameterNet`, so that whoever holds the hand gives
them.
"""

from __future__ import annotations

import copy

from torch import Tensor, nn

from handmesh.errors import HandMeshError
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.models.outputs import HeadOutput, to_pixels

#: Buffers of a head that come from the hand model.
_OF_THE_HAND = ("mean_6d", "rest_frame")


class ParameterNet(nn.Module):
    """Backbone and head of a HandMeshNet.

    Attributes:
        constants: what to give besides pictures, by name: ``mean_6d`` (16, 6), the identity and the mean hand pose as
            the first two columns of each matrix; with the image-aligned head ``rest_frame`` (3, 3) too, the columns
            of aligned_head.palm_frame of the mean hand at identity.
        outputs: names of what :meth:`forward` gives.
    """

    def __init__(self, net: HandMeshNet) -> None:
        """Build the network.

        Raises:
            HandMeshError: a network that looks at its own mesh (refinements), and so cannot go without the hand.
        """
        super().__init__()
        if len(net.refinements):
            raise HandMeshError(
                f"expected a network without refinement rounds, got {len(net.refinements)}: they project the hand's "
                "mesh, so the parameters cannot be had without it; export with --with-hand if its licence allows you"
            )
        self.net = copy.deepcopy(net)
        self.net.mano = nn.Identity()  # type: ignore[assignment]
        self.constants = {}
        for name in _OF_THE_HAND:
            if hasattr(net.head, name):
                self.constants[name] = getattr(net.head, name).detach().clone()
                getattr(self.net.head, name).zero_()
        self._has_keypoints = net.config.head == "aligned"
        found = ("keypoints_2d", "confidence") if self._has_keypoints else ("camera",)
        self.outputs = ("rotations", "betas", *found, "presence", "is_right")

    def forward(self, images: Tensor, *constants: Tensor) -> tuple[Tensor, ...]:
        """images (B, S, S, 3) uint8 RGB, and the constants in their order -> the outputs, as HandMeshOutput has them.

        The image-aligned head's camera is fitted to the mesh's joints, for which keypoints_2d is all one needs
        (outputs.fit_camera).
        """
        maps, pooled = self.net.backbone(self.net.normalise(images))
        found: HeadOutput = self.net.head(maps, pooled, *constants)
        presence, is_right = found.presence.sigmoid(), found.is_right.sigmoid()
        if not self._has_keypoints:
            assert found.camera is not None, "the pooled head gives a camera"
            return found.rotations, found.betas, found.camera, presence, is_right
        assert found.keypoints_2d is not None and found.confidence is not None, "the image-aligned head gives keypoints"
        keypoints = to_pixels(found.keypoints_2d, maps[-1].shape[-1] * self.net.backbone.strides[-1])
        return found.rotations, found.betas, keypoints, found.confidence.sigmoid(), presence, is_right
