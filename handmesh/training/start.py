"""What a run's network begins as: new, from ImageNet, or from another run's checkpoint."""

from __future__ import annotations

import dataclasses

from handmesh.config import Config
from handmesh.errors import HandMeshError
from handmesh.mano.arrays import ManoArrays
from handmesh.models.checkpoint import hand_fingerprint_of, load_checkpoint
from handmesh.models.hand_mesh_net import HandMeshNet


def start_network(config: Config, mano: ManoArrays) -> HandMeshNet:
    """The network of a config, with the weights of ``train.start_from`` where that is given.

    Those may have been learned with another hand model (on the open hand, say, to go on with MANO): only what they
    hold of shape and of the mean pose has to be learned anew.

    Raises:
        HandMeshError: a checkpoint that is not there, is folded, or is of another network; or ImageNet weights that
            cannot be had.
    """
    path = config.train.start_from
    if not path:
        return HandMeshNet(config.model, mano)
    is_same_hand = hand_fingerprint_of(path) == mano.fingerprint()
    start, header = load_checkpoint(path, mano if is_same_hand else None)
    if start.is_folded:
        raise HandMeshError(
            f"expected a checkpoint in its training form to start from, got {path}, "
            "whose branches are folded; start from the run's own folder"
        )
    net = HandMeshNet(dataclasses.replace(config.model, pretrained=False), mano)
    try:
        net.load_state_dict(start.state_dict())
    except RuntimeError as error:
        raise HandMeshError(
            f"expected a checkpoint of this config's network, got {path} "
            f"({header['config']['model']['backbone']}); give the same model settings"
        ) from error
    return net
