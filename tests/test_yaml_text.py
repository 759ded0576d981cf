"""YAML read from a stream of events agrees with PyYAML on plain documents and has limits where PyYAML has none."""

from __future__ import annotations

import math

import pytest
import yaml

from handmesh.yaml_text import MAX_DEPTH, checked_events, read_yaml

PLAIN = """
a: 1
b: [1.5, -2, "3", 'x: y', [1, [2, {c: d}]]]
e:
  - f: 1.0e+3
    g: true
  - ~
h: {i: {j: []}, k: {}}
l: some words
"""


def test_plain_documents_are_read_as_by_pyyaml() -> None:
    assert read_yaml(PLAIN) == yaml.safe_load(PLAIN)
    for text in ("5", "[1, 2]", "word", "a: 2.5", "- - 1\n  - 2", "{}", "[]"):
        assert read_yaml(text) == yaml.safe_load(text)


def test_numbers_as_opencv_writes_them() -> None:
    assert read_yaml("[1., -6.5e-02, 1e-3, .5]") == [1.0, -0.065, 0.001, 0.5]
    infinite, negative, nan = read_yaml("[.Inf, -.Inf, .Nan]")
    assert infinite == math.inf and negative == -math.inf and math.isnan(nan)
    assert read_yaml("[inf, nan, infinity]") == ["inf", "nan", "infinity"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]", "alias"),
        ("a: &a 1", "alias"),
        ("[" * (MAX_DEPTH + 1), "deep"),
        ("\n".join(f"{' ' * i}a:" for i in range(MAX_DEPTH + 1)), "deep"),
        ("[" + "1," * 200_000 + "]", "values"),
        ("a: 1\n---\nb: 2", "one document"),
        ("? [a, b]\n: c", "plain word"),
    ],
)
def test_limits(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        read_yaml(text)


def test_what_is_no_yaml_is_an_error_of_the_parser() -> None:
    for text in ("a: {b", "a: 'b", "\tb: 1", "a: b: c"):
        with pytest.raises(yaml.YAMLError):
            list(checked_events(text))
