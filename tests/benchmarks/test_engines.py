"""The runtime benchmark compares the same network's forms, counts what it says, and writes a table and a plot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from timm.models import fastvit
from torch import nn

from handmesh.errors import HandMeshError
from handmesh.models.backbone import Backbone


@pytest.fixture
def runtime(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("benchmarks.engines")


class FakeNet(nn.Module):
    """One layer of 2 x 3 x 4 multiplications and additions."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(image_size=32)
        self.layer = nn.Linear(3, 4)

    def reparameterize(self) -> FakeNet:
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images[:, 0, :2].float())


def test_it_takes_turns_and_writes_what_it_measured(
    runtime: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []

    def build(variant: str, size: int, engine: str, precision: str, form: str, options: object) -> object:
        if precision == "int8":
            raise HandMeshError("expected nncf, which is not installed")

        def run(images: np.ndarray) -> None:
            assert images.shape == (2, 32, 32, 3) and images.dtype == np.uint8
            calls.append(f"{engine} {form}")

        return run

    monkeypatch.setattr(runtime, "make_network", lambda variant, size: FakeNet())
    monkeypatch.setattr(runtime, "build_engine", build)
    monkeypatch.setattr(runtime, "GEMM_SIDE", 32)
    rows = [{"side": side, "as trained": 4.0, "RepMixer as trained": 2.0, "folded": 1.5} for side in (64, 128)]
    monkeypatch.setattr(runtime._engines_repmixer, "measure", lambda *_: {"variant": "fastvit_t8", "rows": rows})
    words = (
        "--engines openvino torch --precisions float32 int8 --forms folded train --rounds 2 --calls 3 --threads 1 "
        f"--batch 2 --no-load --output {tmp_path}/speed.md --json {tmp_path}/speed.json"
    )
    assert runtime.main(words.split()) == 0
    # Warm-up, then three turns, in each of which every engine comes once.
    assert len(calls) == 4 * (3 + 3 * 3)
    turn = [calls[index] for index in range(12, 24, 3)]
    assert turn == ["openvino folded", "openvino train", "torch folded", "torch train"]
    cases = json.loads((tmp_path / "speed.json").read_text())["cases"]
    assert len(cases) == 5 and all(case["gflop"] == pytest.approx(48e-9) for case in cases)
    assert [len(case["milliseconds"]) for case in cases if case["precision"] == "float32"] == [2] * 4
    text = (tmp_path / "speed.md").read_text()
    out, err = capsys.readouterr()
    assert "nncf" in err and "nncf" in text and "25.0 %" in text and text.strip().endswith(out.strip())
    assert (tmp_path / "images" / "speed.png").stat().st_size > 5000 and "images/speed.png" in text


@pytest.mark.parametrize("words", ["--variants resnet50", "--sizes 100", "--repmixer 7", "--rounds 0"])
def test_wrong_words_are_named(runtime: ModuleType, words: str) -> None:
    with pytest.raises(HandMeshError, match="expected"):
        runtime.main(words.split())


def test_only_repmixers_differ_and_the_answer_does_not(runtime: ModuleType) -> None:
    torch.manual_seed(0)
    trained = Backbone("fastvit_t8", with_final=True).eval()
    partly = runtime._engines_repmixer.unfolded_mixers(trained)
    mixers = [module for module in partly.modules() if isinstance(module, fastvit.RepMixer)]
    assert len(mixers) == 10 and all(module.reparam_conv is None for module in mixers)
    others = [m for m in partly.modules() if isinstance(m, fastvit.MobileOneBlock)]
    inside = {id(block) for mixer in mixers for block in mixer.modules()}
    assert all(block.reparam_conv is not None for block in others if id(block) not in inside)
    picture = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip([*partly(picture)[0]], [*trained(picture)[0]], strict=True):
            assert (a - b).abs().max() < 2e-4 * b.abs().max()
