"""Calibration files of several programs, parsed and checked here before any of their numbers reaches OpenCV.

OpenCV's own FileStorage is not used: it writes past its buffer where a matrix has fewer columns or more values than it
says. Read are OpenCV's YAML, XML and JSON, ROS camera_info (a file or a message), and plain JSON or YAML with fx, fy,
cx, cy and coefficients by name.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import yaml
from numpy.typing import NDArray

from handmesh.errors import HandMeshError, reason_of
from handmesh.yaml_text import MAX_DEPTH, read_yaml

#: A calibration with all its views is some 100 kB.
MAX_FILE_BYTES = 2 * 2**20
#: Names under which a matrix and the distortion are found: OpenCV's calibration sample first, then common others.
MATRIX_NAMES = ("camera_matrix", "cameraMatrix", "K", "k", "mtx", "intrinsics")
DISTORTION_NAMES = (
    "distortion_coefficients", "dist_coeffs", "dist_coeff", "distCoeffs", "D", "d", "dist", "distortion",
)  # fmt: skip
_SIZES = ("image_size", "img_size", "resolution")
_WIDTHS, _HEIGHTS = ("image_width", "width", "w"), ("image_height", "height", "h")
_FOCAL_NAMES = (("fx", "fl_x"), ("fy", "fl_y"), ("cx",), ("cy",))
#: Coefficients by name, in OpenCV's order.
_PINHOLE_NAMES = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6", "s1", "s2", "s3", "s4", "tx", "ty")
_FISHEYE_NAMES = ("k1", "k2", "k3", "k4")
_MODEL_NAMES = ("model", "distortion_model", "camera_model", "lens_model")
#: What programs call the two models, in lower case and without signs between words.
_FISHEYE_MODELS = frozenset(("fisheye", "equidistant", "opencvfisheye", "kannalabrandt", "kannalabrandt4", "kb4"))
_PINHOLE_MODELS = frozenset(
    ("", "pinhole", "opencv", "fullopencv", "plumbbob", "rationalpolynomial", "radtan", "brownconrady", "perspective")
)
#: OpenCV 5 writes a list of numbers as the second.
_TYPES = ("opencv-matrix", "opencv-nd-matrix")
#: Types of a matrix's numbers that hold them as they are written: floating point, and whole numbers of 32 bits.
_NUMBER_TYPES = ("d", "f", "i")
_MAX_ENTRIES = 64
_MAX_SIDE_PX = 100_000

HOW_TO_WRITE = (
    "write it with OpenCV's calibration sample, or as JSON: "
    '{"image_width": 640, "image_height": 480, "camera_matrix": [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], '
    '"distortion_coefficients": [k1, k2, p1, p2, k3]}; for a fisheye lens "model": "fisheye" and [k1, k2, k3, k4]'
)


class CalibrationNumbers(NamedTuple):
    """What a file says, its shapes checked and nothing else: K (3, 3), distortion (n,), (width, height) or None."""

    K: NDArray[np.float64]
    distortion: NDArray[np.float64]
    size: tuple[int, int] | None
    is_fisheye: bool


def read_calibration(path: Path) -> CalibrationNumbers:
    """The numbers of a calibration file, recognised by content.

    Raises:
        HandMeshError: no such file, no calibration, a matrix whose size, type and values do not agree.
    """
    if not path.is_file():
        raise HandMeshError(f"expected a camera calibration, got {path}: no such file; check the path")
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"a file of more than {MAX_FILE_BYTES >> 20} MB")
        return _numbers(_parsed(path.read_text(encoding="utf-8-sig")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ElementTree.ParseError, RecursionError) as error:
        reason = "it is neither YAML, JSON nor XML as text"
        if isinstance(error, OSError):
            reason = error.strerror or "it cannot be read"
        elif isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
            reason = f"no YAML in line {error.problem_mark.line + 1}"
        raise _unreadable(path, reason) from error
    except ValueError as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, reason: str) -> HandMeshError:
    return HandMeshError(f"expected a camera calibration, got {path}: {reason[:200]}; {HOW_TO_WRITE}")


def _parsed(text: str) -> Any:
    start = text.lstrip()
    if start.startswith("<"):
        return _from_xml(start)
    if start.startswith("{"):
        return _from_json(start)
    # OpenCV's first line, %YAML:1.0, has a colon where YAML has none.
    return read_yaml(re.sub(r"\A\s*%YAML[^\n]*\n", "", text))


def _from_json(text: str) -> Any:
    depth = deepest = 0
    for letter in re.findall(r"[\[\]{}]", text):
        depth += 1 if letter in "[{" else -1
        deepest = max(deepest, depth)
    # Brackets inside of texts count too, and no calibration has any.
    if deepest > MAX_DEPTH:
        raise ValueError(f"lists within lists, more than {MAX_DEPTH} deep")
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"no JSON ({reason_of(error)})") from error


def _from_xml(text: str) -> Any:
    if "<!" in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL):
        raise ValueError("XML with declarations of its own (<!...>), which are not read")
    return {child.tag: _from_element(child) for child in ElementTree.fromstring(text)}


def _from_element(element: ElementTree.Element) -> Any:
    if len(element):
        parts: dict[str, Any] = {child.tag: _words(child.text) for child in element}
        if "type_id" in element.attrib:
            parts["type_id"] = element.attrib["type_id"]
        return parts
    words = _words(element.text)
    return words[0] if len(words) == 1 else words


def _words(text: str | None) -> list[Any]:
    """Numbers and words between spaces, as OpenCV's XML has them."""
    found: list[Any] = []
    for word in (text or "").split():
        try:
            found.append(float(word))
        except ValueError:
            found.append(word.strip('"'))
    return found


def _numbers(content: Any) -> CalibrationNumbers:
    if not isinstance(content, Mapping):
        raise ValueError("it holds no names with values")
    K = _matrix(content)
    is_fisheye = _is_fisheye(content)
    return CalibrationNumbers(K, _distortion(content, is_fisheye), _size(content), is_fisheye)


def _size(content: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = _first(content, _WIDTHS), _first(content, _HEIGHTS)
    if width is not None and height is not None:
        return _whole(*width), _whole(*height)
    both = _first(content, _SIZES)
    if both is None or not isinstance(both[1], list | tuple) or len(both[1]) != 2:
        return None
    return _whole(both[0], both[1][0]), _whole(both[0], both[1][1])


def _matrix(content: Mapping[str, Any]) -> NDArray[np.float64]:
    found = _first(content, MATRIX_NAMES)
    if found is not None:
        name, value = found
        entries = _entries(name, value)
        if entries.size == 9:
            return entries.reshape(3, 3)
        # [fx, fy, cx, cy], as calibrations of many cameras have it.
        if entries.size != 4 or isinstance(value, Mapping):
            raise ValueError(f"{name} has {entries.size} numbers, not the 9 of a 3 x 3 matrix")
        fx, fy, cx, cy = entries
    else:
        parts = [_first(content, names) for names in _FOCAL_NAMES]
        if parts[1] is None:
            parts[1] = parts[0]
        if any(part is None for part in parts):
            raise ValueError(f"it holds none of {', '.join(MATRIX_NAMES)}, nor fx, fy, cx and cy")
        fx, fy, cx, cy = (_number(*part) for part in parts if part is not None)
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)


def _distortion(content: Mapping[str, Any], is_fisheye: bool) -> NDArray[np.float64]:
    found = _first(content, DISTORTION_NAMES)
    if found is not None and not isinstance(found[1], str):
        if isinstance(found[1], Mapping) and not {"data", "rows", "cols"} & found[1].keys():
            return _by_name(found[1], is_fisheye)
        return _entries(*found)
    return _by_name(content, is_fisheye)


def _by_name(content: Mapping[str, Any], is_fisheye: bool) -> NDArray[np.float64]:
    """k1, k2, ... as values of their own; none is 0, and what follows the last one is left out."""
    names = _FISHEYE_NAMES if is_fisheye else _PINHOLE_NAMES
    values = [_number(name, content[name]) if name in content else 0.0 for name in names]
    last = max((i for i, name in enumerate(names) if name in content), default=-1)
    if last < 0:
        return np.zeros(0)
    counts = (4,) if is_fisheye else (4, 5, 8, 12, 14)
    return np.array(values[: next(count for count in counts if count > last)])


def _is_fisheye(content: Mapping[str, Any]) -> bool:
    for name in _MODEL_NAMES:
        value = content.get(name)
        if isinstance(value, str):
            word = re.sub(r"[^a-z0-9]", "", value.lower())
            if word not in _FISHEYE_MODELS | _PINHOLE_MODELS:
                raise ValueError(f"{name} {value[:40]!r} is a lens that is not known (pinhole, plumb_bob or fisheye)")
            return word in _FISHEYE_MODELS
    flag = content.get("fisheye_model", 0)
    return bool(flag) if isinstance(flag, int | float) else str(flag).lower() in ("true", "yes", "on")


def _first(content: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, Any] | None:
    return next(((name, content[name]) for name in names if content.get(name) is not None), None)


def _entries(name: str, value: Any) -> NDArray[np.float64]:
    """The numbers of a matrix, in rows: OpenCV's and ROS's rows, cols, data, or lists; their count is proved."""
    data: Any
    expected: int | None = None
    if not isinstance(value, Mapping):
        rows = value if isinstance(value, list | tuple) else [value]
        nested = [row if isinstance(row, list | tuple) else [row] for row in rows]
        if len({len(row) for row in nested}) > 1:
            raise ValueError(f"{name} has rows of different lengths")
        data = [entry for row in nested for entry in row]
    else:
        kind = _only(value.get("type_id", _TYPES[0]))
        number_type = str(_only(value.get("dt", "d"))).removeprefix("1")
        if kind not in _TYPES or number_type not in _NUMBER_TYPES:
            raise ValueError(f"{name} is a {str(kind)[:30]} of type {number_type[:8]!r}, no matrix of type d, f or i")
        sides = value.get("sizes", [_only(value.get(key)) for key in ("rows", "cols")])
        if not isinstance(sides, list | tuple) or not 1 <= len(sides) <= 2:
            raise ValueError(f"{name} has sizes that are no rows and columns")
        expected = math.prod(_whole(f"{name}: rows or cols", side) for side in sides)
        data = value.get("data")
        if not isinstance(data, list | tuple):
            raise ValueError(f"{name} has no list of data")
    if len(data) > _MAX_ENTRIES or (expected is not None and len(data) != expected):
        raise ValueError(f"{name} has {len(data)} numbers, not {expected or f'{_MAX_ENTRIES} or fewer'}")
    return np.array([_number(name, entry) for entry in data], np.float64)


def _only(value: Any) -> Any:
    """OpenCV's XML gives every value as a list of words."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} holds {str(value)[:20]!r}, which is no number")
    if isinstance(value, int) and value.bit_length() > 1000:
        raise ValueError(f"{name} holds a number of more than 300 digits")
    return float(value)


def _whole(name: str, value: Any) -> int:
    if value is None:
        raise ValueError(f"{name} is missing")
    number = _number(name, value)
    if not (math.isfinite(number) and number == round(number) and 1 <= number <= _MAX_SIDE_PX):
        raise ValueError(f"{name} is {number:g}, not a whole number from 1 to {_MAX_SIDE_PX}")
    return round(number)
