"""The hard form of GELU: near it, exact where it is simple, and in the convolutions alone."""

from __future__ import annotations

import torch
from torch import nn

from handmesh.config import ModelConfig
from handmesh.mano.arrays import ManoArrays
from handmesh.models.activation import HardGelu
from handmesh.models.detector_net import HandDetectorNet
from handmesh.models.hand_mesh_net import HandMeshNet


def test_it_is_near_gelu_and_has_its_slope_at_nothing() -> None:
    x = torch.linspace(-8, 8, 4001, dtype=torch.float64, requires_grad=True)
    y = HardGelu()(x)
    torch.testing.assert_close(y, x * (x / 3 + 0.5).clamp(0, 1))
    assert (y - nn.functional.gelu(x)).abs().max() < 0.101
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert abs(slope[2000] - 0.5) < 1e-9 and (slope[x > 1.6] == 1).all() and (slope[x < -1.6] == 0).all()


def test_a_network_has_it_in_its_convolutions_alone(open_mano: ManoArrays) -> None:
    small = {"image_size": 64, "width": 32}
    soft, hard = (
        HandMeshNet(ModelConfig(**small, activation=name), open_mano) for name in ("gelu", "hard_gelu")
    )
    for net in (soft, hard):
        other = HardGelu if net is soft else nn.GELU
        assert not any(isinstance(module, other) for module in (*net.backbone.modules(), *net.head.up.modules()))
        assert any(isinstance(module, nn.GELU) for module in net.head.modules())
    # It has no weights: those of the one are those of the other.
    hard.load_state_dict(soft.state_dict())
    pictures = torch.randint(0, 255, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        before, folded = hard.eval()(pictures), hard.reparameterize()(pictures)
    torch.testing.assert_close(folded.joints, before.joints, atol=1e-4, rtol=1e-4)
    # Its factors are in the layers around it, where those are convolutions on both sides.
    assert sum(isinstance(module, nn.Hardswish) for module in hard.backbone.modules()) == 10
    detector = HandDetectorNet(ModelConfig(width=32, activation="hard_gelu"))
    assert not any(isinstance(module, nn.GELU) for module in detector.modules())
