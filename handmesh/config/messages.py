"""What pydantic refuses of the settings, as an error that names the setting, what it may be, and what came."""

from __future__ import annotations

import difflib
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from handmesh.errors import HandMeshError

_WORDS = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}


def named_error(error: ValidationError, kind: type[Any]) -> HandMeshError:
    """The first fault in words: the setting, what it may be, what came."""
    fault = error.errors(include_url=False, include_context=False)[0]
    path = [str(part)[:60] for part in fault["loc"]]
    name = ".".join(path)
    if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        valid = sorted(schema_of(kind, path[:-1]).get("properties", {}))
        near = difflib.get_close_matches(path[-1], valid, n=1)
        hint = f"did you mean {'.'.join([*path[:-1], near[0]])}? " if near else ""
        return HandMeshError(f"unknown key {name}; {hint}valid keys here: {', '.join(valid)}")
    if path[-2:-1] in (["mixture"], ["scenes"]):
        return HandMeshError(
            f"expected a weight above 0 for {name}, got {_shown(fault['input'])}; leave the folder out instead"
        )
    wanted, got = _wanted(schema_of(kind, path)), _shown(fault["input"])
    return HandMeshError(f"expected {name} to be {wanted}, got {got}; see handmesh/config/settings.py")


def schema_of(kind: Any, path: list[str]) -> dict[str, Any]:
    """The JSON schema of a setting, by the names that lead to it; {} where there is none."""
    whole = _json_schema(kind)
    part = whole
    for name in path:
        part = part.get("items", {}) if name.isdigit() else part.get("properties", {}).get(name, {})
        if "$ref" in part:
            part = whole["$defs"][part["$ref"].rpartition("/")[2]]
    return part


@cache
def _json_schema(kind: Any) -> dict[str, Any]:
    return TypeAdapter(kind).json_schema()


def _wanted(schema: dict[str, Any]) -> str:
    """What a setting may be, in words."""
    kind = schema.get("type", "")
    if "enum" in schema:
        *words, last = schema["enum"]
        return f"{', '.join(words)} or {last}"
    if "maxLength" in schema:
        return f"text of at most {schema['maxLength']} letters"
    least, most, step = schema.get("minimum"), schema.get("maximum"), schema.get("multipleOf")
    if least is None:
        return {"object": "a section of settings", "array": "a list of numbers"}.get(kind) or _WORDS.get(kind, kind)
    limits = f"{least} or more" if most is None else f"{least} to {most}"
    return f"{_WORDS[kind]}, {limits}" + (f", a multiple of {step}" if step else "")


def _shown(value: Any) -> str:
    """The value as text, however long it is: Python refuses to write whole numbers of thousands of digits."""
    try:
        return repr(value)[:60]
    except ValueError:
        return "a number of thousands of digits"
