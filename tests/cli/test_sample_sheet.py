"""The sheet's command writes one picture, or says in one line what was wrong."""

from __future__ import annotations

import numpy as np
import pytest

from handmesh.cli import sample_sheet
from handmesh.cli.sample_sheet import main
from handmesh.errors import HandMeshError
from handmesh.geometry.camera import project_points
from handmesh.inference.alignment.placement import Estimate
from handmesh.inference.views import STILL_VIEWS, Views
from handmesh.io.images import read_image
from handmesh.results import Detection, Hand
from handmesh.synthesis.generator import SampleGenerator


def test_sheet_is_written(tmp_path) -> None:
    plain, marked = tmp_path / "a.png", tmp_path / "b.png"
    words = ["--count", "5", "--columns", "3", "--size", "64"]
    assert main([str(plain), *words]) == 0
    assert main([str(marked), *words, "--labels"]) == 0
    assert read_image(plain).shape == (2 * 66 - 2, 3 * 66 - 2, 3)
    assert (read_image(plain) != read_image(marked)).any(-1).mean() < 0.4


@pytest.mark.parametrize("wrong", [["--count", "0"], ["--size", "8"], ["--columns", "-1"], ["--backgrounds", "absent"]])
def test_impossible_sheets(tmp_path, wrong) -> None:
    with pytest.raises(HandMeshError, match="expected"):
        main([str(tmp_path / "a.png"), *wrong])
    assert not list(tmp_path.iterdir())


def test_a_networks_meshes_stand_beside_the_samples(tmp_path, open_mano, monkeypatch) -> None:
    """The mesh is drawn on the second picture of each pair alone, where and as the predictor says."""
    truth = SampleGenerator(open_mano, seed=0, size=64)

    class Knowing:
        """A predictor that gives the true hands, in the order they are asked for."""

        asked, views = 0, STILL_VIEWS

        def predict_places(
            self, image: np.ndarray, K: np.ndarray, places: list[Detection], views: Views
        ) -> list[Estimate]:
            assert views == STILL_VIEWS  # as photos are seen
            sample = truth.sample(self.asked)
            self.asked += 1
            np.testing.assert_array_equal(image, sample["image"])
            points = project_points(sample["joints"], K)
            assert len(places) == 1 and places[0].is_right
            low, high = places[0].box_xyxy[:2], places[0].box_xyxy[2:]
            assert (low < points.mean(0)).all() and (points.mean(0) < high).all()
            hand = Hand(
                sample["vertices"], sample["joints"], points, True, 1.0, open_mano.faces, sample["global_orient"],
                sample["hand_pose"], sample["betas"], np.zeros(3), K, places[0].box_xyxy,
            )  # fmt: skip
            return [Estimate(hand, 1.0, 1.0)]

    monkeypatch.setattr(sample_sheet, "_predictor", lambda options: Knowing())
    words = ["--count", "2", "--size", "64", "--columns", "2"]
    assert main([str(tmp_path / "pairs.png"), *words, "--checkpoint", "any"]) == 0
    assert main([str(tmp_path / "plain.png"), *words]) == 0
    pairs, plain = read_image(tmp_path / "pairs.png"), read_image(tmp_path / "plain.png")
    assert pairs.shape == (2 * 66 - 2, 2 * 66 - 2, 3)
    for row in range(2):
        left, right = pairs[66 * row : 66 * row + 64, :64], pairs[66 * row : 66 * row + 64, 66:]
        np.testing.assert_array_equal(left, plain[:64, 66 * row : 66 * row + 64])
        assert 0.02 < (left != right).any(-1).mean() < 0.9
