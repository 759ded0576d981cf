"""Importing the package is free: quick, no heavy package, no file, no process, no network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import handmesh

ROOT = Path(__file__).resolve().parent.parent

_WATCHED_IMPORT = """
import json, sys, sysconfig, time
events = []
sys.addaudithook(lambda event, args: events.append((event, str(args[0]) if args else ""))
                 if event in {"open", "os.mkdir", "socket.connect", "subprocess.Popen", "os.rename"} else None)
start = time.perf_counter()
import handmesh
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "events": list(events), "modules": sorted(sys.modules),
                  "stdlib": sysconfig.get_path("stdlib")}))
"""


def _import_watched() -> dict:
    done = subprocess.run(
        [sys.executable, "-B", "-c", _WATCHED_IMPORT], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


def test_import_takes_less_than_a_second_and_loads_nothing_heavy() -> None:
    seen = _import_watched()
    heavy = {"open3d", "gradio", "openvino", "smplx", "trimesh", "cv2", "torch", "timm", "numba", "scipy", "numpy"}
    assert not heavy & set(seen["modules"])
    assert seen["seconds"] < 1.0


def test_following_hands_needs_no_torch_before_a_network_is_built() -> None:
    code = "import sys, handmesh.inference.tracking.tracker, handmesh.cli.commands.webcam\n"
    code += "print({'torch', 'timm', 'openvino'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"


def test_import_touches_no_file_outside_the_package() -> None:
    seen = _import_watched()
    # The interpreter finds modules by reading its own library and its path entries' .pth and finder files.
    allowed = (str(ROOT / "handmesh"), seen["stdlib"])
    outside = [e for e in seen["events"] if not (e[0] == "open" and e[1].startswith(allowed))]
    assert not outside


def test_every_public_name_is_importable_and_listed() -> None:
    assert set(dir(handmesh)) == set(handmesh.__all__)
    for name in handmesh.__all__:
        assert getattr(handmesh, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(handmesh, "no_such_name")


def test_the_version_is_the_packages_own() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{handmesh.__version__}"' in text
