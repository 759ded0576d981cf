"""Cells to hands, and losses that vanish when all is said rightly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from handmesh.data.scene_crops import HAND, MOST_HANDS, NO_LABEL, UNKNOWN, SceneCrop
from handmesh.models.detector_net import START_SIDE_PX, STRIDE, DetectorLogits
from handmesh.training.detector.losses import LEAST_TARGET, assign, detector_losses


def batch_of(rows: list[list[float]], is_complete: float = 1.0, size: int = 96) -> SceneCrop:
    hands = torch.zeros(1, MOST_HANDS, 8)
    hands[0, : len(rows)] = torch.tensor(rows) if rows else torch.zeros(0, 8)
    hand_map = torch.zeros(1, size // 4, size // 4, dtype=torch.uint8)
    hand_map[:, 4:10, 4:10] = 1
    return {
        "image": torch.zeros(1, size, size, 3, dtype=torch.uint8), "hands": hands, "hand_map": hand_map,
        "is_complete": torch.tensor([is_complete]),
    }  # fmt: skip


def perfect(batch: SceneCrop, confidence: float = 12.0) -> DetectorLogits:
    """What the network should say about a batch."""
    hands, size = batch["hands"], batch["image"].shape[1] // STRIDE
    found = assign(hands, (size, size))
    own = hands[0][found.row[0].clamp_min(0)]
    y, x = np.indices((size, size))
    middle = torch.from_numpy(np.stack([x, y], -1) + 0.5).float()
    is_hand = found.row >= 0
    offset = torch.where(is_hand[0, ..., None], own[..., :2] / STRIDE - middle, 0.0).permute(2, 0, 1)[None]
    log_side = torch.log(own[..., 2].clamp_min(1) / START_SIDE_PX)[None]
    score = torch.where(is_hand, confidence, -confidence)
    sure = lambda flag: confidence * (2 * flag - 1)[None]  # noqa: E731
    mask = confidence * (2.0 * (batch["hand_map"] == 1) - 1)
    return DetectorLogits(
        score, offset, log_side, sure(own[..., 5]), own[..., 3:5].permute(2, 0, 1)[None], sure(own[..., 6]), mask
    )


ROWS = [[30.0, 41.0, 40.0, 0.6, 0.8, 1.0, 0.0, HAND], [75.0, 70.0, 20.0, -1.0, 0.0, 0.0, 1.0, HAND]]


def test_all_said_rightly_costs_nothing() -> None:
    batch = batch_of(ROWS)
    terms = detector_losses(perfect(batch), batch)
    assert set(terms) == {"score", "box", "roll", "is_right", "cut_off", "mask"}
    assert all(float(value) < 0.02 for value in terms.values()), terms


@pytest.mark.parametrize("name", ["score", "offset", "log_side", "is_right", "roll", "cut_off", "mask"])
def test_every_wrong_answer_costs(name: str) -> None:
    batch = batch_of(ROWS)
    right = perfect(batch)
    wrong = right._replace(**{name: -getattr(right, name) if name != "offset" else right.offset + 1.0})
    if name == "log_side":
        wrong = right._replace(log_side=right.log_side + 0.7)
    before, after = (sum(detector_losses(logits, batch).values()) for logits in (right, wrong))
    assert float(after) > float(before) + 0.05


def test_turn_and_edge_of_a_box_alone_are_not_taught() -> None:
    batch = batch_of([[30.0, 41.0, 40.0, 0.0, 0.0, -1.0, -1.0, HAND]])
    logits = perfect(batch)._replace(roll=torch.full((1, 2, 12, 12), 0.5**0.5, requires_grad=True),
                                     cut_off=torch.zeros(1, 12, 12, requires_grad=True))  # fmt: skip
    terms = detector_losses(logits, batch)
    values = {name: float(value.detach()) for name, value in terms.items()}
    assert values["roll"] < 1e-6 and values["cut_off"] == 0 and values["box"] < 0.02


def test_every_hand_has_cells_and_the_smaller_one_wins() -> None:
    rows = [[*place, 0, 1, 1, 0, HAND] for place in ([48.0, 48.0, 80.0], [50.0, 50.0, 12.0], [3.0, 90.0, 4.0])]
    found = assign(batch_of(rows)["hands"], (12, 12))
    assert set(found.row.unique().tolist()) == {-1, 0, 1, 2}
    assert found.row[0, 6, 6] == 1 and found.row[0, 5, 4] == 0 and found.row[0, 11, 0] == 2
    for number in range(3):
        chosen = found.row == number
        assert float(found.weight[chosen].sum()) == pytest.approx(math.sqrt(int(chosen.sum())))
    assert not (found.is_background & (found.row >= 0)).any() and found.is_background.any()


def test_a_hand_whose_middle_is_outside_has_no_far_cells() -> None:
    found = assign(batch_of([[-60.0, 48.0, 30.0, 0, 1, 1, 0, HAND]])["hands"], (12, 12))
    assert (found.row == -1).all()


def test_what_is_not_known_costs_nothing() -> None:
    loud = batch_of([[48.0, 48.0, 40.0, 0, 0, -1, 0, UNKNOWN]])
    loud["hand_map"][:] = NO_LABEL
    said = perfect(batch_of([[48.0, 48.0, 40.0, 0, 1, 1, 0, HAND]]))
    terms = detector_losses(said, loud)
    assert all(float(value) < 1e-3 for value in terms.values()), terms


def test_where_hands_may_be_missing_sure_cells_are_left_alone() -> None:
    said = perfect(batch_of(ROWS))
    whole, partly = (detector_losses(said, batch_of(ROWS[:1], complete)) for complete in (1.0, 0.0))
    assert float(whole["score"]) > 1 and float(partly["score"]) < 0.02
    timid = said._replace(score=torch.full_like(said.score, -0.1))
    assert float(detector_losses(timid, batch_of([], 0.0))["score"]) > 1


def test_gradients_are_finite_without_any_hand() -> None:
    logits = DetectorLogits(*(torch.randn_like(part, requires_grad=True) for part in perfect(batch_of(ROWS))))
    sum(detector_losses(logits, batch_of([])).values()).backward()  # type: ignore[union-attr]
    assert all(part.grad is not None and torch.isfinite(part.grad).all() for part in logits)
    assert 0 < LEAST_TARGET < 1
