"""What the commands that follow hands have in common."""

from __future__ import annotations

import argparse

import pytest

from handmesh.cli.commands import webcam
from handmesh.cli.tracking import (
    add_run_options,
    add_smoothing_options,
    expect_run_options,
    load_tracker,
    run_settings,
)
from handmesh.errors import CommandParser
from handmesh.inference.views import STILL_VIEWS


def parse(*words: str) -> argparse.Namespace:
    parser = CommandParser()
    add_run_options(parser)
    add_smoothing_options(parser)
    args: argparse.Namespace = parser.parse_args(words)
    expect_run_options(args)
    return args


@pytest.mark.parametrize(("words", "views"), [((), ()), (("--tta",), STILL_VIEWS)])
def test_several_views_are_had_for_a_word(words: tuple[str, ...], views: tuple[tuple[float, float], ...]) -> None:
    assert load_tracker(parse("--detector", "fastvit", *words), smoothing=False).views == views


def test_a_camera_may_be_seen_in_several_views_too() -> None:
    assert webcam.parse(["--tta"]).tta and not webcam.parse([]).tta


def test_a_run_with_other_views_is_another_run() -> None:
    assert run_settings(parse("--tta")) != run_settings(parse())
    assert run_settings(parse("--tta")) == run_settings(parse("--tta"))
