"""What the detector is asked for in training: which cells show which hand, and named terms over them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from handmesh.data.scene_crops import HAND, NO_LABEL, NOTHING, SceneCrop
from handmesh.models.detector_net import START_SIDE_PX, STRIDE, DetectorLogits

#: Cells whose middle is nearer to a hand's, in sides of its square, belong to it; beyond the second is background.
INNER, OUTER = 0.20, 0.32
#: The second power of the focal loss, and what the score of a cell of a hand is taught at least.
FOCUS, LEAST_TARGET = 2.0, 0.3
#: Where hands may be missing from the labels, a cell that scores above this is left alone.
DOUBTFUL = 0.5


class Assignment(NamedTuple):
    """What each cell (B, h, w) is to say."""

    row: Tensor  # which row of the table of hands it belongs to; -1 for none
    is_background: Tensor  # bool: it belongs to no hand, and that is known
    weight: Tensor  # of a cell that belongs to a hand: 1 over the root of how many the hand has; else 0


def assign(hands: Tensor, shape: tuple[int, int]) -> Assignment:
    """Cells to hands: those around a hand's middle, of several hands the smallest.

    Args:
        hands: (B, N, 8) of data/scene_crops.py.
        shape: (h, w) of the map.
    """
    device = hands.device
    y, x = torch.meshgrid(torch.arange(shape[0], device=device), torch.arange(shape[1], device=device), indexing="ij")
    cells = (torch.stack([x, y], -1).flatten(0, 1) + 0.5) * STRIDE  # (C, 2)
    is_row, side = hands[..., 7] != NOTHING, hands[..., 2].clamp_min(1.0)
    apart = (cells[None, None] - hands[:, :, None, :2]).norm(dim=-1)  # (B, N, C)
    share = apart / side[..., None]
    inside = apart == apart.amin(-1, keepdim=True)  # every hand has its nearest cell, however small it is
    inside = ((share < INNER) | inside) & (apart < 0.75 * STRIDE + INNER * side[..., None]) & is_row[..., None]
    size = torch.where(inside, side[..., None], torch.inf)
    smallest, row = size.min(dim=1)  # (B, C)
    row = torch.where(smallest < torch.inf, row, -1)
    # A place of which nothing is known takes cells too, so that they are not background.
    kind = hands[..., 7].gather(1, row.clamp_min(0))
    reach = torch.where(hands[..., 7] == HAND, OUTER, 0.6)[..., None]
    is_background = (row < 0) & ~((share < reach) & is_row[..., None]).any(1)
    row = torch.where(kind == HAND, row, -1)
    counts = (row.unsqueeze(1) == torch.arange(hands.shape[1], device=device)[None, :, None]).sum(-1)  # (B, N)
    weight = torch.where(row >= 0, counts.gather(1, row.clamp_min(0)).clamp_min(1).float().rsqrt(), 0.0)
    return Assignment(*(part.view(-1, *shape) for part in (row, is_background, weight)))


def detector_losses(logits: DetectorLogits, batch: SceneCrop) -> dict[str, Tensor]:
    """Unweighted terms by the names of DetectorLossConfig.

    Args:
        logits: the network's.
        batch: stacked training pictures.

    Returns:
        Scalars; a term without a label is 0 and still carries (zero) gradients.
    """
    hands: Tensor = batch["hands"]
    found = assign(hands, (int(logits.score.shape[1]), int(logits.score.shape[2])))
    own = hands.gather(1, found.row.clamp_min(0).flatten(1).unsqueeze(-1).expand(-1, -1, hands.shape[2]))
    own = own.view(*found.row.shape, hands.shape[2])  # (B, h, w, 8)
    weight = found.weight
    overlap, box = _boxes(logits, own)
    sin_cos = functional.normalize(logits.roll, dim=1, eps=1e-3)
    roll = 1 - (sin_cos * own[..., 3:5].permute(0, 3, 1, 2)).sum(1)
    rolled = weight * (own[..., 3:5].abs().sum(-1) > 0)
    side, cut_off = own[..., 5], own[..., 6]
    entropy = functional.binary_cross_entropy_with_logits
    known = weight * (side >= 0)
    return {
        "score": _score(logits.score, overlap.detach(), found, batch["is_complete"]),
        "box": _mean(box, weight),
        "roll": _mean(roll, rolled) + 0.01 * _mean((logits.roll.norm(dim=1) - 1).square(), weight),
        "is_right": _mean(entropy(logits.is_right, side.clamp_min(0), reduction="none"), known),
        "cut_off": _mean(entropy(logits.cut_off, cut_off.clamp_min(0), reduction="none"), weight * (cut_off >= 0)),
        "mask": _mask(logits.mask, batch["hand_map"]),
    }


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp_min(1.0)


def _boxes(logits: DetectorLogits, own: Tensor) -> tuple[Tensor, Tensor]:
    """Of each cell (B, h, w) the overlap of its square with its hand's, and 1 - generalized IoU (Rezatofighi 2019)."""
    height, width = logits.score.shape[1:]
    y = torch.arange(height, device=own.device).view(1, -1, 1)
    x = torch.arange(width, device=own.device).view(1, 1, -1)
    middle = torch.stack([(x + 0.5 + logits.offset[:, 0]) * STRIDE, (y + 0.5 + logits.offset[:, 1]) * STRIDE], -1)
    half = 0.5 * START_SIDE_PX * torch.exp(logits.log_side).unsqueeze(-1)
    own_half = 0.5 * own[..., 2:3].clamp_min(1.0)
    low, high, own_low, own_high = middle - half, middle + half, own[..., :2] - own_half, own[..., :2] + own_half
    both = (torch.minimum(high, own_high) - torch.maximum(low, own_low)).clamp_min(0).prod(-1)
    union = (4 * half.square() + 4 * own_half.square()).squeeze(-1) - both
    hull = (torch.maximum(high, own_high) - torch.minimum(low, own_low)).prod(-1)
    overlap = both / union
    return overlap, 1 - overlap + (hull - union) / hull


def _score(score: Tensor, overlap: Tensor, found: Assignment, is_complete: Tensor) -> Tensor:
    """Quality focal loss (Li et al. 2020): the score of a hand's cell is its square's overlap, of others 0."""
    probability = score.sigmoid()
    is_hand = found.row >= 0
    target = torch.where(is_hand, overlap.clamp_min(LEAST_TARGET), 0.0)
    loss = functional.binary_cross_entropy_with_logits(score, target, reduction="none")
    loss = loss * (probability.detach() - target).abs().pow(FOCUS)
    is_counted = found.is_background & ((is_complete.view(-1, 1, 1) > 0) | (probability.detach() < DOUBTFUL))
    return (loss * (found.weight + is_counted)).sum() / found.weight.sum().clamp_min(1.0)


def _mask(logits: Tensor, hand_map: Tensor) -> Tensor:
    """Cross-entropy and Dice (Milletari et al. 2016) over the pixels that are labelled."""
    known = (hand_map != NO_LABEL).float()
    target = (hand_map == 1).float()
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    probability = logits.sigmoid() * known
    both = (probability * target).sum((1, 2))
    dice = 1 - (2 * both + 1) / (probability.sum((1, 2)) + (target * known).sum((1, 2)) + 1)
    has_label = (known.sum((1, 2)) > 0).float()
    return _mean(entropy, known) + _mean(dice, has_label * (target.sum((1, 2)) > 0))
