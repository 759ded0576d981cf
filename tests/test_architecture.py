"""The order of the packages (docs/architecture.md) held against the code, no circle between files, what is written."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "handmesh"
MAX_MODULE_LINES = 350
MAX_FUNCTION_LINES = 120
MAX_MODULES_IN_THE_PACKAGE = 8
#: A folder with more is parted; that of the commands holds one file for each.
MAX_MODULES_IN_A_FOLDER = 14

#: Each package or module imports from itself and from floors above its own, never from its neighbours on a floor.
FLOORS = (
    ("errors", "skeleton", "_version"),
    ("geometry", "yaml_text"),
    ("results", "config"),
    ("io",),
    ("mano",),
    ("rendering", "detection", "models", "data"),
    ("synthesis",),
    ("inference",),
    ("motion",),
    ("labeling",),
    ("evaluation",),
    ("training",),
    ("web",),
    ("cli",),
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}

#: Packages that must not be needed before something uses them: imported inside a function, wherever they are.
LAZY_ONLY = {
    "open3d", "gradio", "openvino", "smplx", "trimesh", "matplotlib", "onnx", "onnxruntime", "onnxscript", "nncf",
    "coremltools", "tensorboard", "wandb", "PIL", "av", "websockets", "pythonosc", "rerun", "ray", "pygltflib",
}  # fmt: skip
#: What a room does without, whatever its code would find handy.
FORBIDDEN = {
    "errors": {"torch", "cv2", "numpy"},
    "skeleton": {"torch", "cv2"},
    "results": {"torch", "cv2"},
    "config": {"torch", "cv2"},
    "rendering": {"torch", "timm"},
    "detection": {"torch", "timm"},
    "synthesis": {"torch", "timm"},
    "motion": {"torch", "timm"},
    "io": {"torch", "timm"},
}


AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef


class Import(NamedTuple):
    """One imported name as written (``handmesh.geometry.crop``, ``cv2``), and whether it waits until a call."""

    name: str
    line: int
    is_lazy: bool
    is_for_types: bool


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def package_modules() -> tuple[Path, ...]:
    return tuple(sorted(PACKAGE.rglob("*.py")))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports_of(path: Path) -> tuple[Import, ...]:
    """Every import of a file, those inside functions and under TYPE_CHECKING too."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]

    def walk(node: ast.AST, is_lazy: bool, for_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            lazy = is_lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            types = for_types or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, lazy, types)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    base = ".".join([*package[: len(package) - child.level + 1], *filter(None, [base])])
                for alias in child.names:
                    yield Import(f"{base}.{alias.name}", child.lineno, lazy, types)
            yield from walk(child, lazy, types)

    return tuple(walk(tree_of(path), False, False))


@cache
def module_names() -> frozenset[str]:
    return frozenset(module_name(each) for each in package_modules())


def targets_of(path: Path) -> Iterator[tuple[str, Import]]:
    """The modules of this package that a file imports, by their full names."""
    names = module_names()
    for found in imports_of(path):
        if found.name.split(".")[0] == "handmesh":
            head, _, last = found.name.rpartition(".")
            target = found.name if found.name in names else head
            yield target or last, found


def test_imports_follow_the_order_of_the_packages() -> None:
    broken = []
    for path in package_modules():
        own = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if own in ("__init__", "__main__"):
            assert all(i.is_lazy or i.is_for_types or i.name.split(".")[0] in {*sys.stdlib_module_names, "handmesh"}
                       for i in imports_of(path))  # fmt: skip
            continue
        assert own in FLOOR_OF, f"{own} has no floor in {Path(__file__).name}: give it one"
        for target, found in targets_of(path):
            room = target.split(".")[1] if "." in target else ""
            if room and room != own and not FLOOR_OF[room] < FLOOR_OF[own]:
                broken.append(f"{module_name(path)}, line {found.line}, imports {target}")
            if not room:
                broken.append(f"{module_name(path)}, line {found.line}, imports the package's own public names")
    assert not broken, broken


def test_no_circle_between_files() -> None:
    """Imports inside functions count; those for type checkers alone count too: they tie two files together as well."""
    edges = {module_name(path): sorted({target for target, _ in targets_of(path)}) for path in package_modules()}
    edges["handmesh"] = []  # the public names, loaded on first use
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, "a circle: " + " -> ".join([*trail[trail.index(module) :], module])
        if module in done:
            return
        for target in edges.get(module, []):
            if target != module:
                visit(target, (*trail, module))
        done.add(module)

    for module in edges:
        visit(module, ())


def test_heavy_packages_wait_and_rooms_stay_light() -> None:
    for path in package_modules():
        own = path.relative_to(PACKAGE).with_suffix("").parts[0]
        banned = FORBIDDEN.get(own, set())
        for found in imports_of(path):
            top = found.name.split(".")[0]
            waits = found.is_lazy or found.is_for_types
            assert waits or top not in LAZY_ONLY, f"{path.name}:{found.line} imports {top} outside a function"
            assert found.is_for_types or top not in banned, f"{path.name}:{found.line}: {own} imports {top}"


def test_few_modules_stand_directly_in_the_package() -> None:
    modules = [path.name for path in PACKAGE.glob("*.py") if path.name not in ("__init__.py", "__main__.py")]
    assert len(modules) <= MAX_MODULES_IN_THE_PACKAGE, modules


def test_folders_are_parted_before_they_are_large() -> None:
    counts: dict[str, int] = {}
    for path in package_modules():
        folder = path.parent.relative_to(PACKAGE).as_posix()
        counts[folder] = counts.get(folder, 0) + (path.name != "__init__.py")
    large = {folder: count for folder, count in counts.items() if count > MAX_MODULES_IN_A_FOLDER}
    assert not large.keys() - {"cli/commands"}, large


def test_the_package_does_not_import_demos_scripts_or_tests() -> None:
    for path in package_modules():
        assert not {i.name.split(".")[0] for i in imports_of(path)} & {"demo", "scripts", "tests"}, path


def test_modules_and_functions_are_of_readable_length() -> None:
    documented = ast.Module | ast.ClassDef | AnyFunction
    for path in package_modules():
        tree = tree_of(path)
        described = sum((ast.get_docstring(n) or "").count("\n") for n in ast.walk(tree) if isinstance(n, documented))
        length = path.read_text(encoding="utf-8").count("\n") - described
        assert length <= MAX_MODULE_LINES, f"{path.name} has {length} lines, each docstring counted as one"
        for node in ast.walk(tree):
            if isinstance(node, AnyFunction):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                assert length <= MAX_FUNCTION_LINES, f"{path.name}: {node.name} has {length} lines"


#: From so many arguments on, besides self, a public function says in its docstring what each of them is.
ARGUMENTS_TO_DESCRIBE = 3
#: Calls that a caller makes without a name of their own.
PUBLIC_DUNDERS = {"__init__", "__call__"}
_NAMES = re.compile(r"(?m)^    (\*{0,2}\w+(?:, \*{0,2}\w+)*):")
_SECTION = re.compile(r"(?ms)^Args:\n(.*?)(?=^\S|\Z)")


def public_functions(body: list[ast.stmt], owner: str = "") -> Iterator[tuple[str, AnyFunction]]:
    """Functions and methods that others may call, by their qualified names: not nested, not of a private class."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, f"{node.name}.")
        elif isinstance(node, ast.If | ast.Try):
            yield from public_functions(node.body, owner)
        elif isinstance(node, AnyFunction) and (not node.name.startswith("_") or node.name in PUBLIC_DUNDERS):
            yield f"{owner}{node.name}", node


def arguments_of(name: str, node: AnyFunction) -> list[str]:
    """The names of what a caller gives, without self and cls."""
    decorators = {ast.unparse(each).split(".")[-1] for each in node.decorator_list}
    if "overload" in decorators:
        return []
    given = node.args
    positional = [each.arg for each in (*given.posonlyargs, *given.args)]
    is_bound = "." in name and "staticmethod" not in decorators
    rest = [each.arg for each in (given.vararg, *given.kwonlyargs, given.kwarg) if each is not None]
    return positional[1 if is_bound else 0 :] + rest


def described_in(docstring: str) -> set[str]:
    """The names before the colons of a docstring's Args."""
    section = _SECTION.search(docstring)
    found = _NAMES.findall(section.group(1)) if section else []
    return {name.lstrip("*") for names in found for name in names.split(", ")}


def test_arguments_are_described() -> None:
    missing = []
    for path in package_modules():
        for name, node in public_functions(tree_of(path).body):
            arguments = arguments_of(name, node)
            left = set(arguments) - described_in(ast.get_docstring(node) or "")
            if len(arguments) >= ARGUMENTS_TO_DESCRIBE and left:
                missing.append(f"{path.name}:{node.lineno}: {name} does not say what {', '.join(sorted(left))} is")
    assert not missing, missing


def test_the_check_of_docstrings_reads_them() -> None:
    """It sees arguments alone, in groups and with stars, and misses those that prose alone names."""
    docstring = "F.\n\nArgs:\n    a, b: x.\n        c: continued.\n    *d: y.\n\nReturns:\n    e: z."
    assert described_in(docstring) == {"a", "b", "d"}
    assert not described_in("F of a.\n\na: (3,).")
    node = ast.parse("class A:\n def f(self, a, *b, c, **d): ...").body
    assert [arguments_of(*found) for found in public_functions(node)] == [["a", "b", "c", "d"]]


def our_sources() -> list[Path]:
    folders = ("handmesh", "scripts", "demo", "configs")
    files = [p for folder in folders for p in (ROOT / folder).rglob("*") if p.suffix in {".py", ".sh", ".yaml"}]
    return sorted(files)


#: Never written, because each hides a fault or runs what a file says.
NEVER = r"allow_pickle\s*=\s*True|weights_only\s*=\s*False|NotImplementedError|\b(?:TODO|FIXME)\b"


def test_what_is_never_written() -> None:
    found = []
    for path in our_sources():
        found += [f"{path}: {match.group(0)}" for match in re.finditer(NEVER, path.read_text(encoding="utf-8"))]
        if path.suffix != ".py":
            continue
        if path.name != "pickle_reader.py":
            packages = {each.name.split(".")[0] for each in imports_of(path)}
            found += [f"{path}: {name}" for name in packages & {"pickle", "dill", "joblib", "cloudpickle"}]
        for call in (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)):
            function = ast.unparse(call.func)
            loose = any(k.arg == "strict" and ast.unparse(k.value) == "False" for k in call.keywords)
            # torch.export has an argument of that name too, which is about tracing and not about weights.
            if function in {"eval", "exec"} or (loose and not function.endswith(".export")):
                found.append(f"{path}:{call.lineno}: {ast.unparse(call)[:80]}")
    assert not found, found


def test_what_every_training_run_imports_comes_with_the_package() -> None:
    """`make demo` installs no extra, and `handmesh adapt` and `handmesh train` are to work after it."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    base, _, extras = text.partition("[project.optional-dependencies]")
    assert '"accelerate>=' in base and "accelerate" not in extras


#: Calls that wait until something else is done, and for ever unless they are told how long.
_WAITS = {"wait", "join", "communicate", "get", "result", "acquire", "predict"}
_CHILDREN = {"subprocess.run", "subprocess.check_call", "subprocess.check_output", "urllib.request.urlopen"}
#: What computes, in this process, rather than waits for another.
_COMPUTES = {"request.wait()", "waiting.popleft().result()"}


def waits_without_limit(text: str) -> Iterator[str]:
    """Calls in Python code that may wait for ever for a thread, a process or a connection."""
    nodes = list(ast.walk(ast.parse(text)))
    awaited = {id(node.value) for node in nodes if isinstance(node, ast.Await)}
    for node in nodes:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)) or id(node) in awaited:
            continue
        may_wait = node.func.attr in _WAITS and not node.args or ast.unparse(node.func) in _CHILDREN
        if may_wait and not {each.arg for each in node.keywords} & {"timeout", "blocking"}:
            written = ast.unparse(node)
            if written not in _COMPUTES:
                yield f"line {node.lineno}: {written[:80]}"


@pytest.mark.parametrize("folder", ["handmesh", "demo", "tests"])
def test_every_wait_has_a_limit(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {each}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for each in waits_without_limit(path.read_text(encoding="utf-8"))
    ]
    assert not found, found


def test_the_check_of_waits_sees_them() -> None:
    waits = "t.join()", "q.get()", "lock.acquire()", "p.communicate()", "subprocess.run(['a'], check=True)"
    assert [len(list(waits_without_limit(each))) for each in waits] == [1] * len(waits)
    limited = "t.join(5)", "', '.join(a)", "q.get(timeout=1)", "lock.acquire(blocking=False)", "values.get('a')"
    assert not [each for each in limited if list(waits_without_limit(each))]


#: Folders of tests that mirror no package: the scripts', and those of building the open hand.
OTHER_TESTS = {"scripts", "benchmarks", "experiments", "tools"}


def test_the_tests_mirror_the_packages() -> None:
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("test_*.py"))}
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders <= packages | OTHER_TESTS, f"no package beside: {sorted(folders - packages - OTHER_TESTS)}"
