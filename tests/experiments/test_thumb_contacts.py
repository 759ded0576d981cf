"""Tips that touch: the measure does not depend on the hand's size, and the command says what it found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.labeling.photo_sets import LabelledPhoto


@pytest.fixture
def contacts(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("experiments.thumb_contacts")


def hand(gap: float) -> np.ndarray:
    """A middle finger of 180 mm with its wrist, and tips of thumb and index finger that are this far apart."""
    joints = np.zeros((21, 3))
    joints[[0, 9, 10, 11, 12], 1] = 0, 0.09, 0.13, 0.16, 0.18
    joints[8], joints[4] = [0.05, 0.1, 0.0], [0.05, 0.1, gap]
    return joints


def test_the_gap_is_of_a_hand_of_fixed_length(contacts: ModuleType) -> None:
    hands = np.stack([hand(0.012), 3.0 * hand(0.012) + 1, hand(0.03)])
    np.testing.assert_allclose(contacts.gap_mm(hands, 8), [12, 12, 30])


def test_gestures_of_the_open_hand_that_touch_do(contacts: ModuleType) -> None:
    gaps = contacts.of_gestures()
    # Pads that meet leave the joints at the tips about a finger's thickness apart.
    assert list(gaps) == ["0", "6", "7", "8", "9"] and all(8 < gap < 17 for gap in gaps.values())


def test_the_table_has_held_out_photos_of_those_digits_alone(
    contacts: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = LabelledPhoto(tmp_path / "9" / "a.png", "sign-digits", True, np.zeros((21, 2)), hand(0.025), True)
    other = replace(photo, path=tmp_path / "5" / "a.png")
    photos = [photo, other, replace(photo, is_held_out=False), replace(photo, disagreement=1.0)]
    monkeypatch.setattr(contacts, "photos_with_landmarks", lambda _: photos)
    monkeypatch.setattr(contacts, "of_checkpoint", lambda name, chosen: np.stack([hand(0.014)] * len(chosen)))
    assert contacts.main(["--real", "x", "--checkpoint", "mine"]) == 0
    lines = {line[:41].strip(): line[41:].split() for line in capsys.readouterr().out.splitlines()}
    assert lines["photos"] == ["0", "0", "0", "0", "1"]
    assert lines["landmarks"][4] == "25.0" and lines["mine"][4] == "14.0"
    monkeypatch.setattr(contacts, "photos_with_landmarks", lambda _: [other])
    with pytest.raises(HandMeshError, match="sign-digits/0 and 6 to 9"):
        contacts.main(["--real", "x"])
