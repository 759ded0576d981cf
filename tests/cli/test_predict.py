"""handmesh predict: every input gets its results, nothing is replaced, repeated or lost, and what is wrong is named."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handmesh.cli import main as cli
from handmesh.cli.commands import predict as predict_command
from handmesh.cli.commands.predict import find_jobs
from handmesh.errors import HandMeshError
from handmesh.inference.predictor import HandMeshPredictor
from handmesh.io.images import read_image, write_image
from handmesh.io.video.sources import Source, open_source
from handmesh.io.video.video_writer import ClipWriter
from handmesh.rendering import viewer
from handmesh.results import Hand


class FakePredictor:
    """Sees in every picture what it is told, by the picture's brightness; knows no tracks."""

    presence_threshold, transfer = 0.5, None

    def __init__(self, answers: dict[int, list[Hand]]) -> None:
        self.answers, self.calls = answers, 0

    def __call__(self, image: np.ndarray, **_: object) -> list[Hand]:
        self.calls += 1
        return self.answers.get(int(image.mean()), [])


@pytest.fixture
def predictor(hands: list[Hand], monkeypatch: pytest.MonkeyPatch) -> FakePredictor:
    fake = FakePredictor({90: hands, 30: [replace(hands[0], score=0.6)]})
    monkeypatch.setattr(HandMeshPredictor, "from_pretrained", lambda *_, **__: fake)
    return fake


def photo(path: Path, brightness: int = 90) -> Path:
    write_image(path, np.full((60, 80, 3), brightness, np.uint8))
    return path


def run(*words: object, capsys: pytest.CaptureFixture[str] | None = None) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main(["predict", *map(str, words)])
    out, err = capsys.readouterr() if capsys else ("", "")
    return int(stop.value.code or 0), out, err


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_each_photo_gets_overlay_meshes_and_numbers(
    tmp_path: Path, predictor: FakePredictor, capsys: pytest.CaptureFixture[str]
) -> None:
    photo(tmp_path / "in" / "a.png"), photo(tmp_path / "in" / "b.png", 0)
    (tmp_path / "in" / "notes.txt").write_text("")
    code, out, err = run(tmp_path / "in", "--output", tmp_path / "out", capsys=capsys)
    assert code == 0 and out.splitlines()[:2] == ["a.png: right 0.90, left 0.90", "b.png: no hand"]
    assert "1 (notes.txt)" in err
    assert names(tmp_path / "out") == ["a.glb", "a.json", "a.obj", "a.png", "b.json", "b.png"]
    assert read_image(tmp_path / "out" / "a.png").std() > read_image(tmp_path / "out" / "b.png").std()
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    assert record["image_size"] == {"width": 80, "height": 60} and record["camera"]["fov_deg"] == 60
    assert record["camera"]["is_fov_assumed"] is True
    assert [hand["side"] for hand in record["hands"]] == ["right", "left"]
    run(tmp_path / "in" / "b.png", "--output", tmp_path / "out", "--fov", 70)
    camera = json.loads((tmp_path / "out" / "b.json").read_text())["camera"]
    assert camera["fov_deg"] == pytest.approx(70, abs=1e-3) and camera["is_fov_assumed"] is False


def test_many_inputs_many_options(tmp_path: Path, predictor: FakePredictor, capsys: pytest.CaptureFixture[str]) -> None:
    files = [photo(tmp_path / "x" / "a.png"), photo(tmp_path / "y" / "a.png", 30), photo(tmp_path / "y" / "c.png", 30)]
    words = (*files[:1], tmp_path / "y", "--output", tmp_path / "out", "--formats", "json,.GLB", "--max-hands", 1)
    code, out, _ = run(*words, "--min-score", 0.7, capsys=capsys)
    assert code == 0 and out.splitlines()[:3] == ["a.png: right 0.90", "a.png: no hand", "c.png: no hand"]
    assert names(tmp_path / "out") == ["c.json", "x_a.png.glb", "x_a.png.json", "y_a.png.json"]
    before = predictor.calls
    _, out, err = run(*words, "--skip-existing", capsys=capsys)
    assert predictor.calls == before and "finished before: 3, to do: 0" in err and "0 inputs" in out
    (tmp_path / "out" / "c.json").unlink()
    run(*words, "--skip-existing")
    assert predictor.calls == before + 1 and "c.json" in names(tmp_path / "out")


def test_masks_are_written_and_cut_the_drawn_meshes(
    tmp_path: Path, predictor: FakePredictor, hands: list[Hand]
) -> None:
    image = photo(tmp_path / "a.png")
    shape = read_image(image).shape[:2]
    masks = np.zeros(shape, bool), np.ones(shape, bool)
    predictor.answers[90] = [replace(hand, mask=mask) for hand, mask in zip(hands, masks, strict=True)]
    run(image, "--output", tmp_path / "out", "--formats", "png", "--masks")
    assert names(tmp_path / "out") == ["a.mask.png", "a.png"]
    assert set(np.unique(read_image(tmp_path / "out" / "a.mask.png"))) == {2}
    run(image, "--output", tmp_path / "cut", "--formats", "png", "--hide-covered")
    assert names(tmp_path / "cut") == ["a.png"]
    whole, cut = (read_image(tmp_path / folder / "a.png").astype(int) for folder in ("out", "cut"))
    ground = read_image(image).astype(int)
    assert 0 < (cut != ground).any(-1).sum() < (whole != ground).any(-1).sum()


def test_names_are_the_shortest_that_differ(tmp_path: Path) -> None:
    for name in ("p/a.png", "p/a.jpg", "p/b.png", "q/b.png", "q/c.png", "r/q/b.png"):
        photo(tmp_path / name)
    jobs, _ = find_jobs([tmp_path / "p", tmp_path / "q", tmp_path / "r" / "q"], tmp_path)
    assert [job.base.name for job in jobs] == ["a.jpg", "a.png", "p_b.png", "q_b.png_2", "c", "q_b.png_3"]
    jobs, left = find_jobs([tmp_path / "p" / "b.png", tmp_path / "p"], tmp_path)
    assert len(jobs) == 3 and left == []
    assert find_jobs([tmp_path / "p", tmp_path / "q"], tmp_path)[1] == []


def test_a_folders_clip_is_predicted_too(
    tmp_path: Path, hands: list[Hand], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo(tmp_path / "in" / "a.png", 0)
    with ClipWriter(tmp_path / "in" / "b.mp4", 10) as writer:
        for index in range(4):
            writer.write(np.full((64, 96, 3), 40 * index, np.uint8), index / 10)
    monkeypatch.setattr(HandMeshPredictor, "from_pretrained", lambda *_, **__: FakePredictor({}))

    def clip(self: object, source: Source) -> Iterator[tuple[float, np.ndarray, list[Hand], list[int]]]:
        for index, frame in enumerate(source):
            yield frame.timestamp_s, frame.image, hands if index else [], [4, 7] if index else []

    monkeypatch.setattr(predict_command.Predictions, "clip", clip)
    code, out, _ = run(tmp_path / "in", "--output", tmp_path / "out", capsys=capsys)
    assert code == 0 and "b.mp4: 3 frames with hands" in out
    assert names(tmp_path / "out") == ["a.json", "a.png", "b.json", "b.mp4"]
    content = json.loads((tmp_path / "out" / "b.json").read_text())
    assert content["image_size"] == {"width": 96, "height": 64} and len(content["frames"]) == 4
    assert [frame["timestamp_s"] for frame in content["frames"]] == pytest.approx([0, 0.1, 0.2, 0.3], abs=1e-3)
    assert [hand["track"] for hand in content["frames"][2]["hands"]] == [4, 7]
    assert "joints" in content["frames"][2]["hands"][0] and "vertices" not in content["frames"][2]["hands"][0]
    assert len(list(open_source(tmp_path / "out" / "b.mp4"))) == 4


def test_photos_are_known_by_their_content_whatever_they_are_called(
    tmp_path: Path, predictor: FakePredictor, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    photo(folder / "whole.jpg").rename(folder / "a.jfif")
    photo(folder / "whole.png").rename(folder / "b")
    (folder / "c.jfif").write_text("no picture")
    code, out, err = run(folder, "--output", tmp_path / "out", "--formats", "json", capsys=capsys)
    assert code == 0 and out.splitlines()[:2] == ["a.jfif: right 0.90, left 0.90", "b: right 0.90, left 0.90"]
    assert "1 (c.jfif)" in err
    code, out, _ = run(folder / "a.jfif", "--output", tmp_path / "alone", "--formats", "png", capsys=capsys)
    assert code == 0 and names(tmp_path / "alone") == ["a.png"]


def clip_with_sound(path: Path) -> Path:
    """Twelve grey frames and half a second of silence."""
    import av

    with av.open(str(path), "w") as container:
        video, audio = container.add_stream("libx264", rate=25), container.add_stream("aac", rate=48000)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for index in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="rgb24")
            frame.pts = index
            container.mux(video.encode(frame))
        for start in range(0, 24000, 960):
            samples = av.AudioFrame.from_ndarray(np.zeros((2, 960), np.float32), "fltp", "stereo")
            samples.sample_rate, samples.pts = 48000, start
            container.mux(audio.encode(samples))
        for stream in (video, audio):
            container.mux(stream.encode(None))
    return path


def test_a_clip_keeps_its_sound_and_one_without_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    clip_with_sound(tmp_path / "in" / "loud.mp4")
    with ClipWriter(tmp_path / "in" / "silent.mp4", 25) as writer:
        writer.write(np.full((48, 64, 3), 90, np.uint8))
    monkeypatch.setattr(HandMeshPredictor, "from_pretrained", lambda *_, **__: FakePredictor({}))

    def clip(self: object, source: Source) -> Iterator[tuple[float, np.ndarray, list[Hand], list[int]]]:
        for frame in source:
            yield frame.timestamp_s, frame.image, [], []

    monkeypatch.setattr(predict_command.Predictions, "clip", clip)
    code, out, _ = run(tmp_path / "in", "--output", tmp_path / "out", "--formats", "png", capsys=capsys)
    assert code == 0 and out.splitlines()[:2] == ["loud.mp4: 0 frames with hands", "silent.mp4: 0 frames with hands"]
    assert [open_source(tmp_path / "out" / f"{name}.mp4").audio_codec for name in ("loud", "silent")] == ["aac", None]


def test_what_is_no_file_is_refused(tmp_path: Path, predictor: FakePredictor) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(HandMeshError, match="pipe: it is no file; a camera is for: handmesh webcam"):
        find_jobs([tmp_path / "pipe"], tmp_path / "out")


def test_bad_words_sources_and_targets(tmp_path: Path, predictor: FakePredictor) -> None:
    photo(tmp_path / "a.png")
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for words, said in (
        (["missing.png"], "missing.png"), (["empty"], "empty"), (["a.png", "--output", "file"], "folder"),
        (["a.png", "--formats", "png,fbx"], "fbx"), (["a.png", "--formats", ","], "--formats"),
        (["a.png", "--max-hands", "0"], "--max-hands"), (["a.png", "--min-score", "2"], "--min-score"),
        (["file", "--output", "out"], "file"),
    ):  # fmt: skip
        placed = [str(tmp_path / word) if "-" not in word and (tmp_path / word).exists() else word for word in words]
        with pytest.raises(HandMeshError, match=said):
            predict_command.main([*placed, *([] if "--output" in words else ["--output", str(tmp_path / "out")])])
    assert not (tmp_path / "out").exists() or not names(tmp_path / "out")


def test_a_damaged_photo_among_several_is_named_and_the_others_are_done(
    tmp_path: Path, predictor: FakePredictor, capsys: pytest.CaptureFixture[str]
) -> None:
    photo(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.jpg").write_bytes(b"no picture")
    code, _, err = run(tmp_path / "in", "--output", tmp_path / "out", capsys=capsys)
    assert code == 0 and "skipped: " in err and "b.jpg" in err and "a.json" in names(tmp_path / "out")
    (tmp_path / "in" / "a.png").write_bytes(b"")
    code, _, err = run(tmp_path / "in", "--output", tmp_path / "out2", capsys=capsys)
    assert code == 2 and "none that can be read" in err and not (tmp_path / "out2").exists()


def test_an_input_is_never_replaced_by_its_result(tmp_path: Path, predictor: FakePredictor) -> None:
    for name in ("a.png", "b.jpg"):
        photo(tmp_path / "in" / name)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    before = (tmp_path / "in" / "a.png").read_bytes()
    for source, target in (("in", "in"), ("in/a.png", "in"), ("in", "in/../in"), ("in", "link")):
        with pytest.raises(HandMeshError, match=r"a\.png for both; .*--output"):
            predict_command.main([str(tmp_path / source), "--output", str(tmp_path / target)])
    assert names(tmp_path / "in") == ["a.png", "b.jpg"] and (tmp_path / "in" / "a.png").read_bytes() == before
    # Beside a photo of another format there is room.
    predict_command.main([str(tmp_path / "in" / "b.jpg"), "--output", str(tmp_path / "in")])
    assert "b.png" in names(tmp_path / "in")


def test_photos_are_viewed_one_after_another_once_their_results_are_written(
    tmp_path: Path, predictor: FakePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, brightness in (("a.png", 90), ("b.png", 0), ("c.png", 30)):
        photo(tmp_path / "in" / name, brightness)
    shown = []

    def show(some: list[Hand], title: str) -> None:
        assert (tmp_path / "out" / "c.glb").is_file()
        shown.append((title, len(some)))

    monkeypatch.setattr(viewer, "expect_viewer", lambda: None)
    monkeypatch.setattr(viewer, "show_hands", show)
    assert run(tmp_path / "in", "--output", tmp_path / "out", "--view")[0] == 0
    assert shown == [("a.png", 2), ("c.png", 1)]


def test_without_a_display_viewing_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "a.png", np.full((60, 80, 3), 90, np.uint8))
    viewer.expect_viewer.cache_clear()
    monkeypatch.setattr(viewer, "why_no_window", lambda: "there is no display")
    with pytest.raises(SystemExit) as stop:
        cli.main(["predict", str(tmp_path / "a.png"), "--output", str(tmp_path / "out"), "--view"])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.startswith("error: ") and "no display" in said and ".glb" in said
    assert not (tmp_path / "out").exists()
