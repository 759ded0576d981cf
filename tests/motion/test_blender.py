"""Real Blender (PyPI's bpy) imports the animation files: its bones are where the recording's are.

bpy is found in this Python, or in the one that BPY_PYTHON names: it wants one Python version and brings its own numpy.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handmesh.motion.formats.convert import convert
from handmesh.motion.formats.skeletal import skeletal_motions
from handmesh.motion.recording import Recording

_PROGRAM = """
import json, sys
import bpy

glb, bvh, frames = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
out = {}
for kind, path in (("glb", glb), ("bvh", bvh)):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.render.fps = 100
    if kind == "glb":
        bpy.ops.import_scene.gltf(filepath=path)
    else:
        bpy.ops.import_anim.bvh(filepath=path, global_scale=0.01, use_fps_scale=False, update_scene_fps=False)
    found = out[kind] = {}
    for frame in frames[kind]:
        bpy.context.scene.frame_set(int(frame), subframe=frame % 1)
        heads = {}
        for each in bpy.data.objects:
            if each.type == "ARMATURE":
                for bone in each.pose.bones:
                    heads[bone.name] = list((each.matrix_world @ bone.matrix).translation)
        found[str(frame)] = heads
print("RESULT" + json.dumps(out))
"""


def python_with_bpy() -> str | None:
    named = os.environ.get("BPY_PYTHON")
    return named or (sys.executable if importlib.util.find_spec("bpy") else None)


def test_blender_puts_bone_heads_where_the_joints_are(tmp_path: Path, recording: Recording) -> None:
    python = python_with_bpy()
    if python is None:
        pytest.skip("needs bpy: pip install bpy, or BPY_PYTHON=a Python that has it")
    # Even times: BVH then has every frame as it is.
    times = np.arange(len(recording.frames)) / 25
    recording = replace(recording, frames=replace(recording.frames, timestamp_s=times))
    recording.save(tmp_path / "r.jsonl")
    convert(tmp_path / "r.jsonl", tmp_path / "h.glb")
    convert(tmp_path / "r.jsonl", tmp_path / "h.bvh", track_id=0)
    rows = (6, 20, 35)
    # A scene of 100 frames a second: glTF's time t is frame 100 t; BVH's frames are numbered from 1.
    frames = {"glb": [100 * float(times[row]) for row in rows], "bvh": [1 + row for row in rows]}
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "NODE_PATH")}
    done = subprocess.run(
        [python, "-c", _PROGRAM, str(tmp_path / "h.glb"), str(tmp_path / "h.bvh"), json.dumps(frames)],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.split("RESULT")[1])
    for motion in skeletal_motions(recording):
        for kind in ("glb", "bvh") if motion.is_right else ("glb",):
            for row, frame in zip(rows, frames[kind], strict=True):
                heads = found[kind][str(frame)]
                # Blender's z is up: glTF and BVH are y up.
                places = np.array([heads[name] for name in motion.bone_names])[:, [0, 2, 1]] * [1, 1, -1]
                wanted = motion.joint_positions()[motion.frame_row == row][0] * [1, -1, -1]
                limit = 1e-4 if kind == "glb" else 5e-4
                assert np.linalg.norm(places - wanted, axis=1).max() < limit, (kind, row)
