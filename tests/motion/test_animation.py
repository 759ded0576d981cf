"""Animation files, read back by others and posed by the formats' own rules: bones and meshes are where they were."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handmesh.cli import main as cli
from handmesh.errors import HandMeshError
from handmesh.mano.hand_model import HandModel
from handmesh.mano.layers.numpy_layer import joint_regressor_21
from handmesh.motion.formats.convert import convert
from handmesh.motion.formats.skeletal import resampled, skeletal_motions
from handmesh.motion.formats.tables import RecordingHeader
from handmesh.motion.recorder import recording_of
from handmesh.motion.recording import RecordedFrame, Recording
from handmesh.skeleton import MANO_JOINT_NAMES

Y_UP = np.array([1.0, -1.0, -1.0])


class Glb:
    """A binary glTF posed by the rules of its specification, knowing nothing of hands."""

    def __init__(self, path: Path) -> None:
        import pygltflib

        self.gltf = pygltflib.GLTF2().load(str(path))
        self.blob = self.gltf.binary_blob()
        self.names = [node.name for node in self.gltf.nodes]

    def values(self, number: int) -> np.ndarray:
        accessor = self.gltf.accessors[number]
        view = self.gltf.bufferViews[accessor.bufferView]
        dtype = {5126: np.float32, 5121: np.uint8, 5123: np.uint16}[accessor.componentType]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor.type]
        flat = np.frombuffer(self.blob, dtype, accessor.count * width, view.byteOffset)
        return flat.reshape(accessor.count, width).astype(np.float64)

    def pose(self, time_s: float) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """Global matrices (N, 4, 4) of the nodes, and the weights of the meshes by node, at a key frame's time."""
        local: dict[tuple[int, str], np.ndarray] = {}
        for channel in self.gltf.animations[0].channels:
            sampler = self.gltf.animations[0].samplers[channel.sampler]
            times, values = self.values(sampler.input)[:, 0], self.values(sampler.output)
            key = max(0, int(np.searchsorted(times, time_s + 1e-4)) - 1)
            local[channel.target.node, channel.target.path] = values.reshape(len(times), -1)[key]
        matrices = np.tile(np.eye(4), (len(self.gltf.nodes), 1, 1))
        stack = [(node, np.eye(4)) for node in self.gltf.scenes[0].nodes]
        while stack:
            number, above = stack.pop()
            node = self.gltf.nodes[number]
            matrix = np.eye(4)
            matrix[:3, 3] = local.get((number, "translation"), node.translation or [0, 0, 0])
            turn = Rotation.from_quat(local.get((number, "rotation"), node.rotation or [0, 0, 0, 1])).as_matrix()
            matrix[:3, :3] = turn * local.get((number, "scale"), np.ones(3))
            matrices[number] = above @ matrix
            stack += [(child, matrices[number]) for child in node.children or []]
        return matrices, {node: values for (node, path), values in local.items() if path == "weights"}

    def mesh(self, node: int, time_s: float) -> np.ndarray:
        """Vertices (V, 3) of a skinned mesh at a key frame's time."""
        matrices, weights = self.pose(time_s)
        primitive = self.gltf.meshes[self.gltf.nodes[node].mesh].primitives[0]
        skin = self.gltf.skins[self.gltf.nodes[node].skin]
        points = self.values(primitive.attributes.POSITION)
        for target, weight in zip(primitive.targets or [], weights.get(node, []), strict=True):
            points = points + weight * self.values(target["POSITION"] if isinstance(target, dict) else target.POSITION)
        inverse = self.values(skin.inverseBindMatrices).reshape(-1, 4, 4).swapaxes(1, 2)
        bones = matrices[skin.joints] @ inverse
        index = self.values(primitive.attributes.JOINTS_0).astype(int)
        share = self.values(primitive.attributes.WEIGHTS_0)
        blended = np.einsum("vk,vkij->vij", share, bones[index])
        return np.einsum("vij,vj->vi", blended[:, :3, :3], points) + blended[:, :3, 3]


@pytest.fixture(scope="module")
def source(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "r.jsonl"
    recording.save(path)
    return path


@pytest.fixture(scope="module")
def glb(source: Path) -> Path:
    convert(source, source.with_suffix(".glb"))
    return source.with_suffix(".glb")


def test_gltf_puts_meshes_joints_and_bones_where_they_were(glb: Path, recording: Recording, model: HandModel) -> None:
    file, regressor = Glb(glb), joint_regressor_21(model.arrays)
    for motion in skeletal_motions(recording):
        node = file.names.index(f"{motion.side}_hand_{motion.track_id}_mesh")
        bones = [file.names.index(f"{motion.side}_{name}") for name in MANO_JOINT_NAMES]
        for row in (0, 11, len(motion.timestamp_s) - 1):
            time_s, frame = motion.timestamp_s[row], int(recording.frames.index[motion.frame_row[row]])
            posed = file.mesh(node, time_s) * Y_UP
            assert np.abs(posed - recording.vertices(motion.track_id, frame)).max() < 1e-4
            track = recording.track(motion.track_id)
            assert np.linalg.norm(regressor @ posed - track.hands.joints[row], axis=1).max() < 1e-4
            places = file.pose(time_s)[0][bones, :3, 3] * Y_UP
            assert np.abs(places - motion.joint_positions()[row]).max() < 1e-5
    # The left hand comes in at the fifth frame: before it has no size.
    top = file.names.index("left_hand_4")
    assert np.abs(file.pose(0.0)[0][top][:3, :3]).max() == 0 and np.abs(file.pose(1.0)[0][top][:3, :3]).max() == 1


def test_gltf_keeps_the_clips_own_times(glb: Path, recording: Recording) -> None:
    file = Glb(glb)
    sampler = file.gltf.animations[0].samplers[0]
    np.testing.assert_allclose(file.values(sampler.input)[:, 0], recording.frames.timestamp_s, atol=1e-6)


def test_gltf_passes_khronos_validator(glb: Path) -> None:
    node = shutil.which("node")
    found = node and subprocess.run(
        [node, "-e", "require.resolve('gltf-validator')"], cwd=Path(__file__).parent, capture_output=True, timeout=60
    )
    if not found or found.returncode:
        pytest.skip("needs node and: npm install gltf-validator")
    program = (
        "require('gltf-validator').validateBytes(new Uint8Array(require('fs').readFileSync(process.argv[1])))"
        ".then(report => console.log(JSON.stringify(report)))"
    )
    done = subprocess.run(
        [str(node), "-e", program, str(glb)], cwd=Path(__file__).parent, capture_output=True, text=True, check=True,
        timeout=120,
    )  # fmt: skip
    issues = json.loads(done.stdout)["issues"]
    assert issues["numErrors"] == 0 and issues["numWarnings"] == 0, issues["messages"]


def test_a_shape_that_varies_is_said_in_the_files_error(
    tmp_path: Path, recording: Recording, source: Path
) -> None:  # fmt: skip
    rng = np.random.default_rng(0)
    betas = recording.hands.betas + rng.normal(0, 0.5, recording.hands.betas.shape)
    replace(recording, hands=replace(recording.hands, betas=betas)).save(tmp_path / "v.npz")
    error = [float(convert(path, tmp_path / "h.glb").split("within ")[1].split(" mm")[0])
             for path in (source, tmp_path / "v.npz")]  # fmt: skip
    assert error[0] < 0.06 and error[1] > 1
    assert float(convert(tmp_path / "v.npz", tmp_path / "h.glb", offline=True).split("within ")[1].split()[0]) < 0.06


def bvh_positions(path: Path) -> tuple[list[str], np.ndarray, float]:
    """Joint names, places (T, J, 3) in metres, camera axes, and the frame time, by another program's reader."""
    import bvhio

    file = bvhio.readAsBvh(str(path))
    root = bvhio.readAsHierarchy(str(path))
    layout = [joint for joint, _, _ in root.layout()]
    places = np.empty((file.FrameCount, len(layout), 3))
    for frame in range(file.FrameCount):
        root.loadPose(frame, recursive=True)
        for number, joint in enumerate(layout):
            places[frame, number] = np.array(joint.PositionWorld)
    return [joint.Name for joint in layout], places / 100 * Y_UP, float(file.FrameTime)


def test_bvh_puts_bones_where_they_were(tmp_path: Path, source: Path, recording: Recording) -> None:
    pytest.importorskip("bvhio")
    convert(source, tmp_path / "right.bvh", track_id=0)
    names, places, step_s = bvh_positions(tmp_path / "right.bvh")
    motion = skeletal_motions(recording, 0)[0]
    # The recording's times are uneven: the file has its rate, and each hand is where it was at that time.
    times = recording.frames.timestamp_s[0] + np.arange(len(places)) * step_s
    assert step_s == pytest.approx(1 / 30) and abs(times[-1] - recording.frames.timestamp_s[-1]) < step_s
    turned = replace(motion, **dict(zip(("rotations", "wrist"), resampled(motion, times), strict=True)))
    order = [names.index(name) for name in motion.bone_names]
    assert np.linalg.norm(places[:, order] - turned.joint_positions(), axis=-1).max() < 5e-5
    convert(source, tmp_path / "both.bvh")
    both, _, _ = bvh_positions(tmp_path / "both.bvh")
    assert "left_index_3" in both and "right_wrist" in both and both[0] == "camera"


def test_bvh_of_even_times_has_every_frame(
    tmp_path: Path, header: RecordingHeader, model: HandModel, recording: Recording
) -> None:
    pytest.importorskip("bvhio")
    even = np.arange(len(recording.frames)) / 25
    replace(recording, frames=replace(recording.frames, timestamp_s=even)).save(tmp_path / "even.jsonl")
    convert(tmp_path / "even.jsonl", tmp_path / "left.bvh", track_id=4)
    names, places, step_s = bvh_positions(tmp_path / "left.bvh")
    motion = skeletal_motions(recording, 4)[0]
    order = [names.index(name) for name in motion.bone_names]
    assert step_s == pytest.approx(1 / 25) and len(places) == len(recording.frames)
    np.testing.assert_allclose(places[motion.frame_row][:, order], motion.joint_positions(), atol=5e-5)


def test_a_table_for_spreadsheets(tmp_path: Path, source: Path, recording: Recording) -> None:
    convert(source, tmp_path / "t.csv")
    rows = list(csv.DictReader((tmp_path / "t.csv").open()))
    assert len(rows) == len(recording.hands) and rows[0]["side"] == "right"
    assert float(rows[-1]["index_tip_x"]) == recording.hands.joints[-1, 8, 0]
    assert float(rows[-1]["thumb_3_qw"]) == recording.hands.hand_pose[-1, 14, 3]
    convert(source, tmp_path / "one.npz", track_id=4)
    assert list(Recording.load(tmp_path / "one.npz").tracks()) == [4]


def test_bad_words_leave_nothing(
    tmp_path: Path, source: Path, header: RecordingHeader, fake_mano: Any,
    make_frames: Callable[..., list[RecordedFrame]],
) -> None:  # fmt: skip
    fake_mano.save_npz(tmp_path / "fake.npz")
    recording_of(header, make_frames(sees=lambda index, side: False)).save(tmp_path / "none.jsonl")
    (tmp_path / "file").write_text("")
    before = sorted(file.name for file in tmp_path.iterdir())
    for words, match in (
        ([source, tmp_path / "h.fbx"], r"\.glb, \.bvh"),
        ([tmp_path / "missing.jsonl", tmp_path / "h.glb"], "no such file"),
        ([source, tmp_path / "h.glb", tmp_path / "fake.npz"], "--mano"),
        ([source, tmp_path / "h.glb", "open", 9], "track"),
        ([tmp_path / "none.jsonl", tmp_path / "h.bvh"], "none"),
        ([source, tmp_path / "file" / "h.glb"], "write"),
        ([source, source], "for both"),
    ):
        with pytest.raises(HandMeshError, match=match):
            convert(*words)  # type: ignore[arg-type]
    assert sorted(file.name for file in tmp_path.iterdir()) == before


def test_the_command(tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(["convert", str(source), "--output", str(tmp_path / "h.bvh"), "--track", "0"])
    assert done.value.code == 0 and "1 hand, " in capsys.readouterr().out and (tmp_path / "h.bvh").is_file()
