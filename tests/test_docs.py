"""The pages say what is there: links lead somewhere, code is Python, commands exist, keys are those of the files."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from handmesh.cli.main import command_names
from handmesh.results import Hand

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])


def _anchors(page: Path) -> set[str]:
    """The names by which a page's headings are linked to."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", re.sub(r"[`*]", "", head)).strip().lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page.name}: no {target}"
        assert not anchor or anchor in _anchors(found), f"{page.name}: no heading for {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_on_the_pages_is_python_and_commands_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        ast.parse(block)
    if page.name not in ("LOG.md", "CHANGELOG.md"):
        for name in re.findall(r"(?:^|`|\s)handmesh ([a-z][a-z-]+)(?=[ `\n])", text):
            assert name in command_names(), f"{page.name}: handmesh {name}"


def test_usage_names_every_number_of_a_hand(hands: list[Hand]) -> None:
    usage = (ROOT / "docs" / "usage.md").read_text(encoding="utf-8")
    missing = [key for key in hands[0].to_dict() if f"`{key}`" not in usage]
    assert not missing


def test_short_pages_stay_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8").count("\n") <= 120
