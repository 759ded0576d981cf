"""What a user can get wrong, through the real commands: one clear line, exit code 2, nothing left behind."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from handmesh.config import load_config
from handmesh.mano.arrays import ManoArrays
from handmesh.results import Hand

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
SMOKE = str(ROOT / "configs" / "smoke.yaml")


def files_under(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refuse(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """refuse("handmesh"|"demo/x.py", words..., says=[...]): run that command, expect a refusal."""
    monkeypatch.chdir(tmp_path)

    def check(command: str, *words: object, says: list[str]) -> None:
        before = files_under(tmp_path)
        monkeypatch.setattr(sys, "argv", [command, *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            if command == "handmesh":
                runpy.run_module("handmesh", run_name="__main__")
            else:
                runpy.run_path(str(ROOT / command), run_name="__main__")
        check_refusal(stop.value.code, capfd.readouterr().err, says)
        assert files_under(tmp_path) == before, "something was left behind"

    return check


def check_refusal(code: object, err: str, says: list[str]) -> None:
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2, err
    assert "Traceback" not in err
    assert len(lines) == 1 and err.splitlines()[-1] == lines[0], err
    assert len(lines[0]) < 500
    for word in says:
        assert word in lines[0], f"{word!r} is not in: {lines[0]}"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, open_mano: ManoArrays) -> Path:
    """Untrained weights for the open hand."""
    return save_untrained(tmp_path_factory.mktemp("checkpoint") / "model.safetensors", open_mano)


def save_untrained(path: Path, mano: ManoArrays) -> Path:
    from handmesh.models.checkpoint import save_checkpoint
    from handmesh.models.hand_mesh_net import HandMeshNet

    config = load_config(SMOKE)
    save_checkpoint(path, HandMeshNet(config.model, mano), config)
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def rendered_photo(folder: Path) -> Path:
    from handmesh.io.images import read_image, write_image
    from handmesh.web.page import EXAMPLES

    write_image(folder / "rendered-hand.png", read_image(EXAMPLES[0].path))
    return folder / "rendered-hand.png"


def copy_half(source: Path, target: Path) -> Path:
    data = source.read_bytes()
    target.write_bytes(data[: len(data) // 2])
    return target


# Pictures, clips and cameras


@pytest.mark.parametrize("command", [("handmesh", "predict"), ("demo/webcam.py", "--headless", "--source")])
def test_pictures_that_are_none(
    command: tuple[str, ...], refuse: Callable[..., None], checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "zero.jpg").write_bytes(b"")
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    refuse(*command, "none.jpg", says=["none.jpg", "no such file"])
    refuse(*command, "folder", says=["folder", "photos"])
    refuse(*command, "empty", says=["empty", "photos"])
    for name in ("zero.jpg", "text.png"):
        refuse(*command, name, "--engine", "torch", "--checkpoint", checkpoint, says=[name])


def test_a_photo_cut_short(refuse: Callable[..., None], tmp_path: Path) -> None:
    import numpy as np

    from handmesh.io.images import write_image

    write_image(tmp_path / "whole.png", np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    copy_half(tmp_path / "whole.png", tmp_path / "half.png")
    refuse("handmesh", "predict", "half.png", says=["half.png"])


def test_a_clip_that_is_none(refuse: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_text("not a clip")
    (tmp_path / "empty.mp4").write_bytes(b"")
    for name in ("clip.mp4", "empty.mp4"):
        refuse("demo/webcam.py", "--headless", "--source", name, says=[name])
        refuse("handmesh", "predict", name, says=[name])
    refuse("handmesh", "webcam", "--headless", "--source", "none.mp4", says=["none.mp4", "no such file"])


def test_a_camera_that_is_not_there(refuse: Callable[..., None]) -> None:
    refuse("demo/webcam.py", "--headless", "--source", 97, says=["camera", "97", "--source"])


def test_a_stream_that_goes_nowhere(refuse: Callable[..., None]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        in_use = f"ws://127.0.0.1:{taken.getsockname()[1]}"
        refuse("demo/webcam.py", "--headless", "--stream", in_use, says=[in_use, "another program"])
    refuse("handmesh", "webcam", "--headless", "--stream", "tcp://:5005", says=["tcp://:5005", "no such kind"])
    refuse("handmesh", "webcam", "--headless", "--stream", "udp://:70000", says=["70000", "1 to 65535"])
    refuse("handmesh", "webcam", "--headless", "--stream", "osc://none.invalid:39539", says=["none.invalid"])


# Files that are not there or not what they are said to be


def test_a_missing_mano_file(refuse: Callable[..., None]) -> None:
    refuse("handmesh", "convert-mano", "MANO_RIGHT.pkl", says=["MANO_RIGHT.pkl", "no such file"])
    refuse("handmesh", "synth", "--out", "set", "--mano", "MANO_RIGHT.pkl", says=["MANO_RIGHT.pkl"])
    refuse("handmesh", "train", SMOKE, "data.root=x", "mano=MANO_RIGHT.pkl", says=["MANO_RIGHT.pkl"])


def test_a_mano_file_that_is_something_else(refuse: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "empty.pkl").write_bytes(b"")
    (tmp_path / "text.pkl").write_text("hello")
    (tmp_path / "evil.pkl").write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    for name in ("empty.pkl", "text.pkl", "evil.pkl"):
        refuse("handmesh", "convert-mano", name, says=[name])


def test_an_output_that_cannot_be_written(refuse: Callable[..., None], open_mano: ManoArrays, tmp_path: Path) -> None:
    open_mano.save_npz(tmp_path / "hand.npz")
    (tmp_path / "file").write_text("")
    refuse("handmesh", "convert-mano", "hand.npz", says=["another file"])
    refuse("handmesh", "convert-mano", "hand.npz", "--output", "file/out.npz", says=["file"])
    refuse("handmesh", "convert-mano", "hand.npz", "--output", "out.txt", says=[".npz", "out.txt"])


def test_a_missing_freihand_folder(refuse: Callable[..., None], checkpoint: Path) -> None:
    refuse("handmesh", "train", SMOKE, "data.root=FreiHAND", says=["FreiHAND"])
    refuse("handmesh", "train", SMOKE, "data.root=FreiHAND", says=["FreiHAND"])
    refuse("handmesh", "evaluate", "--checkpoint", checkpoint, "--data", "FreiHAND", says=["FreiHAND"])


def test_a_truncated_freihand_json(refuse: Callable[..., None], freihand_root: Path, checkpoint: Path) -> None:
    copy_half(freihand_root / "training_xyz.json", freihand_root / "half.json")
    shutil.move(freihand_root / "half.json", freihand_root / "training_xyz.json")
    refuse("handmesh", "train", SMOKE, f"data.root={freihand_root}", says=["training_xyz.json"])
    words = ["--checkpoint", checkpoint, "--data", freihand_root, "--split", "training"]
    refuse("handmesh", "evaluate", *words, says=["training_xyz.json"])


def test_a_freihand_json_of_another_length(refuse: Callable[..., None], freihand_root: Path, checkpoint: Path) -> None:
    path = freihand_root / "evaluation_K.json"
    path.write_text(json.dumps(json.loads(path.read_text())[:-1]))
    words = ["--checkpoint", checkpoint, "--data", freihand_root]
    refuse("handmesh", "evaluate", *words, says=["evaluation_"])


# Settings


def test_a_config_key_that_does_not_exist(refuse: Callable[..., None], tmp_path: Path) -> None:
    refuse("handmesh", "train", SMOKE, "train.step=3", says=["train.step", "train.steps"])
    refuse("handmesh", "train", SMOKE, "trian.steps=3", says=["trian", "train"])
    (tmp_path / "mine.yaml").write_text("model:\n  backbon: fastvit_t8\n")
    refuse("handmesh", "train", "mine.yaml", says=["mine.yaml", "backbon", "backbone"])
    (tmp_path / "broken.yaml").write_text("model: [1, 2\n")
    refuse("handmesh", "train", "broken.yaml", says=["broken.yaml"])
    refuse("handmesh", "train", "none.yaml", says=["none.yaml", "no such file"])


@pytest.mark.slow
def test_no_internet_for_pretrained_weights(freihand_root: Path, tmp_path: Path) -> None:
    words = ["model.pretrained=true", f"data.root={freihand_root}", f"output={tmp_path / 'run'}", "data.workers=0"]
    # With no network at all the hub's client ends in the same error after a minute of trying.
    nowhere = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "handmesh", "train", SMOKE, *words],
        cwd=ROOT, env={**os.environ, **nowhere}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    check_refusal(done.returncode, done.stderr, ["ImageNet weights", "pretrained=false"])
    assert not list((tmp_path / "run").rglob("*.safetensors"))


# Checkpoints


def test_a_checkpoint_of_another_hand_model(
    refuse: Callable[..., None], fake_mano: ManoArrays, freihand_root: Path, tmp_path: Path
) -> None:
    save_untrained(tmp_path / "other.safetensors", fake_mano)
    words = ["--checkpoint", "other.safetensors", "--data", freihand_root, "--mano", "open"]
    refuse("handmesh", "evaluate", *words, says=["other.safetensors", "hand model"])


@pytest.mark.parametrize("name", ["half.safetensors", "text.safetensors", "none.safetensors"])
def test_a_checkpoint_that_is_damaged_or_missing(
    name: str, refuse: Callable[..., None], checkpoint: Path, freihand_root: Path, tmp_path: Path
) -> None:
    copy_half(checkpoint, tmp_path / "half.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    refuse("handmesh", "evaluate", "--checkpoint", name, "--data", freihand_root, says=[name])
    refuse("demo/gradio_app.py", "--checkpoint", name, "--port", free_port(), says=[name])
    photo = rendered_photo(tmp_path)
    refuse("handmesh", "predict", photo, "--checkpoint", name, says=[name])


# Recordings


@pytest.fixture
def recorded(hands: list[Hand], tmp_path: Path) -> Path:
    """A recording of two hands in three frames."""
    from handmesh.mano.arrays import load_mano
    from handmesh.motion.formats.tables import RecordingHeader
    from handmesh.motion.recorder import recording_of
    from handmesh.motion.recording import RecordedFrame

    mano = load_mano("open")
    header = RecordingHeader(
        "clip.mp4", hand_model=mano.name, hand_model_fingerprint=mano.fingerprint(), image_size=(80, 60),
        rest_joints=((0.0, 0.0, 0.0),) * 16,
    )  # fmt: skip
    frames = [RecordedFrame(index, index / 30, (80, 60), hands[0].K, hands) for index in range(3)]
    recording = recording_of(header, frames)
    recording.save(tmp_path / "r.jsonl")
    recording.save(tmp_path / "r.npz")
    return tmp_path / "r.jsonl"


ANIMATIONS = ("h.glb", "h.bvh", "h.csv", "h.npz")


def test_a_recording_of_a_newer_version(refuse: Callable[..., None], recorded: Path) -> None:
    recorded.write_text(recorded.read_text().replace('"version":1', '"version":99'))
    for output in ANIMATIONS:
        refuse("handmesh", "convert", recorded, "--output", output, says=["version 99", "pip install --upgrade"])


def test_a_recording_cut_short(
    refuse: Callable[..., None], recorded: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from handmesh.cli.main import main

    data = recorded.read_bytes()
    (tmp_path / "head.jsonl").write_bytes(data[: data.index(b"\n") - 5])
    refuse("handmesh", "convert", "head.jsonl", "--output", "h.glb", says=["head.jsonl", "first line"])
    copy_half(tmp_path / "r.npz", tmp_path / "half.npz")
    refuse("handmesh", "convert", "half.npz", "--output", "h.glb", says=["half.npz", "cannot be read"])
    # One that was being written when its program was killed is used to its last whole line, and that is said: also
    # where it ends between two lines.
    lines = data.splitlines(keepends=True)
    for number, cut in enumerate((b"".join(lines[:3]), data[:-40])):
        (tmp_path / "cut.jsonl").write_bytes(cut)
        with pytest.raises(SystemExit) as stop:
            main(["convert", "cut.jsonl", "--output", f"{number}.csv"])
        assert stop.value.code == 0 and "cut off" in capfd.readouterr().out
        assert len((tmp_path / f"{number}.csv").read_text().splitlines()) == 1 + 2 * 2


def test_a_recording_of_another_hand_model(
    refuse: Callable[..., None], recorded: Path, fake_mano: ManoArrays, tmp_path: Path
) -> None:
    fake_mano.save_npz(tmp_path / "fake.npz")
    for output in ("h.glb", "h.bvh"):
        words = [recorded, "--output", output, "--mano", "fake.npz"]
        refuse("handmesh", "convert", *words, says=["hand model of this recording", "fake"])


def test_a_track_that_is_not_there(refuse: Callable[..., None], recorded: Path) -> None:
    for output in ANIMATIONS:
        refuse("handmesh", "convert", recorded, "--output", output, "--track", 17, says=["(0, 1)", "got 17"])


def test_results_of_motion_that_cannot_be_written(refuse: Callable[..., None], recorded: Path, tmp_path: Path) -> None:
    from handmesh.io.images import read_image
    from handmesh.io.video.video_writer import ClipWriter
    from handmesh.web.page import EXAMPLES

    (tmp_path / "file").write_text("")
    for output in ANIMATIONS:
        refuse("handmesh", "convert", recorded, "--output", f"file/{output}", says=[f"file/{output}"])
    refuse("handmesh", "convert", recorded, "--output", recorded, says=["for both"])
    (tmp_path / "clips").mkdir()
    with ClipWriter(tmp_path / "clips" / "clip.mp4") as writer:
        writer.write(read_image(EXAMPLES[0].path))
    refuse("handmesh", "video", "clips/clip.mp4", "--recording", "file/r.jsonl", says=["file/r.part.jsonl"])
    refuse("handmesh", "video", "clips", "--output", "file/drawn", says=["file/drawn"])


# Numbers out of range


@pytest.mark.parametrize(
    "words",
    [("--train", 0, "--eval", 0), ("--size", 5), ("--workers", 0), ("--seed", -1), ("--backgrounds", "no-such-folder")],
)
def test_a_data_set_that_makes_no_sense(words: tuple[object, ...], refuse: Callable[..., None]) -> None:
    refuse("handmesh", "synth", "--out", "set", *words, says=["expected"])


def test_a_folder_that_holds_something_else(refuse: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    refuse("handmesh", "synth", "--out", "mine", says=["mine"])
