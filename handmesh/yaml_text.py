"""YAML as a stream of events, with limits: no aliases, no deep nesting, no endless lists.

A few lines of aliases stand for thousands of millions of values, and brackets within brackets end the process of a
reader that follows them by recursion. Nothing here recurses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import yaml

MAX_DEPTH = 20
MAX_VALUES = 100_000
#: Plain words of YAML that stand for numbers which Python spells otherwise.
_SPECIAL = {".inf": float("inf"), "+.inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}
_CONSTANTS = {"true": True, "false": False, "null": None, "~": None, "": None}


def checked_events(text: str) -> Iterator[yaml.Event]:
    """The events of one document.

    Raises:
        ValueError: an alias or anchor, deeper than MAX_DEPTH, more than MAX_VALUES values, more than one document.
        yaml.YAMLError: no YAML.
    """
    # The parser in C where it is there: it is twenty times as fast, and gives the same events.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = documents = 0
    for count, event in enumerate(yaml.parse(text, Loader=loader), 1):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ValueError("an alias (&name, *name), which is not read here; write the values out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"lists within lists, more than {MAX_DEPTH} deep")
        if count > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES} values")
        if documents > 1:
            raise ValueError("more than one document (---)")
        yield event


def read_yaml(text: str) -> Any:
    """One document as dictionaries, lists, text and numbers; tags say nothing, and of equal keys the last one stands.

    Raises:
        ValueError, yaml.YAMLError: as :func:`checked_events`; a key that is no plain word.
    """
    # Open collections, outermost first, and the key that waits for its value in each.
    parents: list[Any] = []
    keys: list[str | None] = []
    root: Any = None
    for event in checked_events(text):
        if isinstance(event, yaml.CollectionEndEvent):
            parents.pop()
            keys.pop()
            continue
        if isinstance(event, yaml.MappingStartEvent):
            value: Any = {}
        elif isinstance(event, yaml.SequenceStartEvent):
            value = []
        elif isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        else:
            continue
        parent = parents[-1] if parents else None
        if isinstance(parent, dict) and keys[-1] is None:
            if not isinstance(event, yaml.ScalarEvent):
                raise ValueError("a key that is no plain word")
            keys[-1] = event.value
            continue
        if isinstance(parent, dict):
            parent[keys[-1]] = value
            keys[-1] = None
        elif isinstance(parent, list):
            parent.append(value)
        else:
            root = value
        if isinstance(value, dict | list) and isinstance(event, yaml.CollectionStartEvent):
            parents.append(value)
            keys.append(None)
    return root


def _scalar(event: yaml.ScalarEvent) -> Any:
    """A number, truth value or text; quoted, it is text."""
    text = event.value
    # The parser in C says "" where the other one says None.
    if event.style:
        return text
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    if text.lower() in _SPECIAL:
        return _SPECIAL[text.lower()]
    for kind in (int, float):
        with suppress(ValueError, OverflowError):
            # Python also takes 1_000 and words such as "infinity" for numbers.
            return kind(text) if text[-1:].isdigit() or text.endswith(".") else text
    return text
