"""The drawing of the tree held against the code: who may import whom, how long a module may be, what never appears.

The table below is the drawing. A new module gets its place by adding its name to a row.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "handmesh"
MAX_MODULE_LINES = 350
MAX_FUNCTION_LINES = 120

#: Heavy or fragile: only inside a function, wherever a row allows them at all.
LAZY_ONLY = {
    "open3d", "gradio", "openvino", "smplx", "trimesh", "omegaconf", "matplotlib", "onnx", "onnxruntime", "onnxscript",
    "nncf", "coremltools", "tensorboard", "wandb", "PIL",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One row of the table. Names are relative to ``handmesh``; ``name`` stands for name/* and name_* too."""

    floor: str
    modules: frozenset[str]
    third_party: frozenset[str]
    ours: frozenset[str]
    #: Of ours, but only inside a function or under TYPE_CHECKING.
    ours_lazily: frozenset[str] = frozenset()


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


FACTS = _set("errors files skeleton hand config system_libraries stage_clock ahead openvino_loader")
GEOMETRY = _set("geometry")
SEEING = _set("detection smoothing video rendering images")
LOWER = FACTS | GEOMETRY
FLOOR_2 = _set("mano models data losses metrics published") | SEEING
LIVE = _set("predictor lifting tracker steadying runtime hand_model engine_cache quick_start")
COMPOSITIONS = LIVE | _set(
    "synthesis training evaluation export fitting doctor real_evaluation real_causes real_photos pseudo_labels "
    "pseudo_backgrounds footage adaptation validation check_data photos live_stats camera_options teacher_calibration"
)
#: hand_model is no part of hand.
NO_FAMILY = _set("hand")
#: The bodies of demo/*.py, which the handmesh command reaches too.
PAGES = _set("web_app live_app evaluation_door")

TABLE = (
    Row("0 facts", FACTS, _set("numpy omegaconf yaml trimesh openvino"), FACTS, ours_lazily=GEOMETRY),
    Row("1 geometry", GEOMETRY, _set("numpy torch cv2"), _set("errors skeleton hand geometry")),
    Row("2 mano", _set("mano"), _set("numpy scipy torch trimesh"), LOWER | _set("mano")),
    Row(
        "2 models",
        _set("models"),
        _set("numpy torch timm numba safetensors huggingface_hub"),
        LOWER | _set("mano models"),
    ),
    Row("2 data", _set("data"), _set("numpy torch cv2 scipy tqdm"), LOWER | _set("data")),
    Row(
        "2 losses",
        _set("losses metrics published"),
        _set("numpy scipy torch"),
        LOWER | _set("losses metrics published"),
    ),
    Row("2 seeing", SEEING, _set("numpy cv2 numba scipy open3d openvino tqdm PIL"), LOWER | SEEING),
    Row(
        "3 live",
        LIVE,
        _set("numpy torch cv2 openvino onnxruntime"),
        LOWER | _set("mano models detection smoothing video images") | LIVE,
    ),
    Row(
        "3 compositions",
        COMPOSITIONS - LIVE,
        _set(
            "numpy scipy torch torchvision cv2 numba timm tqdm accelerate safetensors yaml openvino onnx onnxruntime "
            "onnxscript nncf coremltools matplotlib tensorboard wandb PIL trimesh"
        ),
        LOWER | FLOOR_2 | COMPOSITIONS,
    ),
    Row("4 pages", PAGES, _set("numpy cv2 trimesh gradio"), LOWER | FLOOR_2 | COMPOSITIONS),
    Row("4 doors", _set("cli"), _set("numpy"), LOWER | FLOOR_2 | COMPOSITIONS | PAGES),
)


class Import(NamedTuple):
    """One imported name as written (``handmesh.geometry.crop``, ``cv2``), and whether it waits until a call."""

    name: str
    line: int
    is_lazy: bool


def package_modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def row_of(module: str) -> Row | None:
    head = module.split(".")[0]
    return next((row for row in TABLE if is_among(head, row.modules)), None)


def is_among(head: str, names: frozenset[str]) -> bool:
    return head in names or any(head.startswith(f"{name}_") and name not in NO_FAMILY for name in names)


@cache
def imports_of(path: Path) -> tuple[Import, ...]:
    """Every import of a file, those under TYPE_CHECKING counted as lazy."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]

    def walk(node: ast.AST, is_lazy: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            lazy = is_lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                lazy = True
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, lazy)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    base = ".".join([*package[: len(package) - child.level + 1], *filter(None, [base])])
                for alias in child.names:
                    yield Import(f"{base}.{alias.name}", child.lineno, lazy)
            yield from walk(child, lazy)

    return tuple(walk(ast.parse(path.read_text(encoding="utf-8")), False))


def complaint(row: Row, found: Import) -> str:
    """Why this import breaks the row, or nothing."""
    top = found.name.split(".")[0]
    if top in sys.stdlib_module_names:
        return ""
    if top == "handmesh":
        parts = found.name.split(".")
        target = parts[1] if len(parts) > 1 else ""
        is_module = (PACKAGE / target).is_dir() or (PACKAGE / f"{target}.py").is_file()
        if not is_module or is_among(target, row.ours) or (found.is_lazy and is_among(target, row.ours_lazily)):
            return ""
        return f"imports handmesh.{target}" + (" outside a function" if is_among(target, row.ours_lazily) else "")
    if top not in row.third_party:
        return f"imports {top}"
    if top in LAZY_ONLY and not found.is_lazy:
        return f"imports {top} outside a function"
    return ""


@pytest.mark.parametrize("path", package_modules(), ids=module_name)
def test_imports_keep_to_the_floors(path: Path) -> None:
    module = module_name(path)
    if not module:
        assert all(found.is_lazy or found.name.split(".")[0] in sys.stdlib_module_names for found in imports_of(path))
        return
    row = row_of(module)
    assert row is not None, f"handmesh.{module} has no place in the table of {Path(__file__).name}: give it one"
    broken = [f"line {found.line}: {why}" for found in imports_of(path) if (why := complaint(row, found))]
    assert not broken, f"handmesh.{module} (floor {row.floor}): " + "; ".join(broken)


def test_cv2_in_geometry_is_for_the_crop_alone() -> None:
    users = {p.name for p in (PACKAGE / "geometry").glob("*.py") if any(i.name == "cv2" for i in imports_of(p))}
    assert users <= {"crop.py"}


def test_doors_do_not_import_one_another() -> None:
    for folder in ("demo", "scripts"):
        doors = {path.stem for path in (ROOT / folder).glob("*.py")}
        for path in (ROOT / folder).glob("*.py"):
            for found in imports_of(path):
                head = found.name.split(".")[0]
                assert head not in {"demo", "scripts"} and (head not in doors or head in sys.stdlib_module_names), path


def test_nothing_below_imports_a_door() -> None:
    for path in package_modules():
        heads = {found.name.split(".")[0] for found in imports_of(path)}
        assert not heads & {"demo", "scripts"}, path


@pytest.mark.parametrize("path", package_modules(), ids=module_name)
def test_modules_say_what_they_are_and_stay_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module opens by saying what it knows and what it does not"
    assert len(text.splitlines()) <= MAX_MODULE_LINES
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"


def our_sources() -> list[Path]:
    folders = ("handmesh", "scripts", "demo", "configs")
    files = [p for folder in folders for p in (ROOT / folder).rglob("*") if p.suffix in {".py", ".sh", ".yaml"}]
    return sorted(files)


#: Never written, because each hides a fault or runs what a file says.
FORBIDDEN = r"allow_pickle\s*=\s*True|weights_only\s*=\s*False|NotImplementedError|\b(?:TODO|FIXME)\b"


@pytest.mark.parametrize("path", our_sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_never_written(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = [m.group(0) for m in re.finditer(FORBIDDEN, text)]
    assert not found, found
    if path.suffix != ".py":
        return
    if path.name != "pickle_reader.py":
        assert not any(i.name.split(".")[0] in {"pickle", "dill", "joblib", "cloudpickle"} for i in imports_of(path))
    for call in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func).split(".")[-1]
        assert ast.unparse(call.func) not in {"eval", "exec"}
        loose = [k for k in call.keywords if k.arg == "strict" and ast.unparse(k.value) == "False"]
        # torch.export has an argument of that name too, which is about tracing and not about weights.
        assert not loose or name == "export", f"line {call.lineno}: {name}(strict=False)"


def test_what_every_training_run_imports_comes_with_the_package() -> None:
    """`make demo` installs no extra, and `handmesh adapt` and `handmesh train` are to work after it."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    base, _, extras = text.partition("[project.optional-dependencies]")
    assert '"accelerate>=' in base and "accelerate" not in extras


#: Tests of the project as a whole, which mirror no one module.
WHOLE = {"architecture", "bad_input", "import"}


def test_every_test_mirrors_something() -> None:
    """tests/test_b_more.py tests handmesh/b.py, handmesh/b/ or scripts/b.*; tests/a/ belongs to handmesh/a/ or a/."""
    orphans = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        folder = path.parent.relative_to(ROOT / "tests")
        words = path.stem.removeprefix("test_").split("_")
        if folder.parts:
            homes = [PACKAGE / folder, ROOT / folder]
        else:
            names = ["_".join(words[:n]) for n in range(len(words), 0, -1)]
            places = (PACKAGE, ROOT, ROOT / "scripts")
            homes = [place / f"{name}{end}" for place in places for name in names for end in (".py", ".sh", "")]
        if path.stem.removeprefix("test_") not in WHOLE and not any(home.exists() for home in homes):
            orphans.append(str(path.relative_to(ROOT)))
    assert not orphans, f"no module beside: {orphans}"
